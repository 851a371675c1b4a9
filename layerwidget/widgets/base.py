"""What every view has in common: traits, one binary message per result, and strict keywords."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

import anywidget
import ipywidgets
import numpy as np
import traitlets as t

from layerwidget.figures.shown import Shown
from layerwidget.widgets.additions import additions
from layerwidget.widgets.esm import panel_text, style_text
from layerwidget.widgets.messages import Message, packed_message, unpacked_message, without_buffers
from layerwidget.widgets.style_sheet import StyleSheet, shared_sheet, sheets_are_shared
from layerwidget.widgets.traits import SHARED, SelectionTraits

_revisions = itertools.count(1)
#: What ipywidgets keeps for itself.
_NOT_DRAWN = {"comm", "layout", "tabbable", "tooltip"}


class Panel(anywidget.AnyWidget):
    """A widget drawn by `js/<module>.js`.

    Attributes:
        js_module: that module; empty where a class brings a module text of its own.
    """

    js_module: ClassVar[str] = ""

    # One for all of them, and no part of any.
    _sheet = t.Instance(StyleSheet, allow_none=True).tag(sync=True, **ipywidgets.widget_serialization)

    def __init_subclass__(cls, module: str | None = None, **kwargs: Any) -> None:
        if module is not None:
            cls.js_module = module
            cls._esm = panel_text(module)
        super().__init_subclass__(**kwargs)

    def __init__(self, **traits: Any) -> None:
        known = {name for name in self.trait_names() if not name.startswith("_")}
        unknown = sorted(set(traits) - known)
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no trait {', '.join(unknown)}. It has: {', '.join(sorted(known))}."
            )
        if self.js_module and sheets_are_shared():
            traits["_sheet"] = shared_sheet()
        elif self.js_module:
            self._css = style_text()
        super().__init__(**traits)

    def recorded_traits(self) -> dict[str, Any]:
        """What the browser reads of it, for a page without a kernel: what nobody answers there is switched off."""
        own = (name for name in self.trait_names(sync=True) if not name.startswith("_"))
        return {name: getattr(self, name) for name in own if name not in _NOT_DRAWN}


class View(Panel, SelectionTraits):
    """A panel that draws one result and takes part in the shared selection.

    Bulk data travel as one binary message per result, tagged with a revision; they are never traits,
    so a saved notebook stays small. The browser asks for them when it opens. After an edit only what follows the
    unchanged beginning of the prompt travels. A front end that loses the binary part of a message (Colab does) says so,
    and gets it as text from then on.

    Attributes:
        answered_target: of an encoder-decoder, the target that is answered now: what is published from here on is about
            it, by which the browser knows what is stale; None where there is none.
        heeds: what of the shared selection its module reads or sets. The rest stays in Python: a message to each view
            about what it does not draw would cost the browser time at every key.
        growing: which of the arrays that it sends grow with the prompt, and along which axis.
    """

    answered_target: str | None = None
    heeds: ClassVar[tuple[str, ...]] = SHARED
    growing: ClassVar[Mapping[str, int]] = {}

    def __init__(self, **traits: Any) -> None:
        self._message: Message | None = None
        self._part: Message | None = None
        self._as_text = False
        super().__init__(**traits)
        self.on_msg(self._on_message)

    @t.default("keys")
    def _sent(self) -> list[str]:
        return [name for name in self.traits(sync=True) if name in self.heeds or name not in SHARED]

    @t.default("group")
    def _own_group(self) -> str:
        return uuid.uuid4().hex

    @property
    def shown(self) -> Shown:
        """What was published last, as the browser has it; nothing before there was something to draw."""
        message, part = self._message, self._part
        if message is None:
            return Shown()
        meta, arrays = dict(message[0]["meta"]), unpacked_message(*message)
        # Another thread may have published something newer in between.
        if part is not None and part[0]["revision"] == message[0]["revision"]:
            meta |= part[0]["meta"]
            arrays |= unpacked_message(*part)
        return Shown(meta, arrays)

    def _picture_changed(self) -> None:
        """Told when something else is drawn."""

    def _publish(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Send everything the browser needs to draw, in one message."""
        if self.answered_target is not None:
            meta = {**meta, "target": self.answered_target}
        before, message = self._message, packed_message("data", next(_revisions), meta, arrays)
        self._message, self._part = message, None
        self._picture_changed()
        self._deliver(additions(before, message, self.growing) if before and self.growing else message)

    def _publish_part(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Replace some of what was published last, without sending the rest again."""
        if self._message is not None:
            self._part = packed_message("part", self._message[0]["revision"], meta, arrays)
            self._picture_changed()
            self._deliver(self._part)

    def recorded_messages(self) -> list[Message]:
        """What it has sent last, for a page without a kernel; everything that the reader can choose there is in it."""
        return [message for message in (self._message, self._part) if message is not None]

    def outdate(self) -> None:
        """Dim what is drawn until something new is: it is known to be of what is no longer chosen."""
        self._publish_part({"stale": True}, {})

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: list[bytes]) -> None:
        if content.get("type") == "ready":
            # Before the newest message is read: whoever publishes meanwhile sends it as text, or it is sent here.
            self._as_text = self._as_text or bool(content.get("base64"))
            for message in (self._message, self._part):
                if message is not None:
                    self._deliver(message)

    def _deliver(self, message: Message) -> None:
        self.send(*(without_buffers(message) if self._as_text else message))
