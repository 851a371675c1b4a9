"""The prompt and its tokens."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.figures.header_figure import prompt_picture, prompt_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.tokens import Tokens, visible, well_formed
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured

#: So many letters of a text are drawn; its tokens are drawn around the chosen one.
_MOST_LETTERS = 1200
#: What a text is called in a picture, and what is said where there is none.
_NAMES = {
    "prompt": ("prompt", "no prompt"),
    "second_prompt": ("compared with", "no second prompt"),
    "target": ("target", "no target"),
}


class PromptEditor(Pictured, View, module="prompt_editor"):
    """A text area with the token strip under it; a click on a token selects its position.

    The text belongs to the browser while it is being edited and is never written back then.

    Attributes:
        prompt: the text.
        placeholder: what an empty text area says.
        read_only: whether the text can be edited; the tokens can be chosen all the same.
        choosable: whether a click on a token chooses its position.
        text_name: under which name views of the same group hear of the text; of the first prompt, `prompt`. A word that
            is clicked is appended to the target, where there is one.
    """

    heeds: ClassVar[tuple[str, ...]] = ("position",)

    prompt = t.Unicode().tag(sync=True)
    placeholder = t.Unicode("Type a prompt").tag(sync=True)
    read_only = t.Bool(False).tag(sync=True)
    text_name = t.Enum(("prompt", "second_prompt", "target"), "prompt").tag(sync=True)
    choosable = t.Bool(True).tag(sync=True)

    def __init__(self, prompt: str = "", **traits: Any) -> None:
        super().__init__(prompt=well_formed(prompt), **traits)

    @t.validate("prompt")
    def _encodable(self, proposal: dict[str, Any]) -> str:
        return well_formed(proposal["value"])

    def recorded_traits(self) -> dict[str, Any]:
        """Only to be read."""
        return {**super().recorded_traits(), "read_only": True}

    def show_tokens(self, tokens: Tokens | None, note: str = "") -> None:
        """Draw the token strip; `note` is one line under it."""
        ids = np.asarray([] if tokens is None else tokens.ids, dtype=np.int32)
        words = [] if tokens is None else [piece.visible for piece in tokens]
        self._publish({"ids": ids.tolist(), "visible": words, "note": note}, {})

    @property
    def is_blank(self) -> bool:
        """Whether nothing of it is drawn among others: no second prompt was typed."""
        return self.text_name != "prompt" and not self.prompt

    def to_text(self) -> str:
        """The text, and its tokens as a table."""
        meta = self.shown.meta
        return prompt_text(self._said(), meta.get("ids", ()), meta.get("visible", ()), self.position)

    def _picture(self, theme: Theme, width: float) -> Picture:
        meta = self.shown.meta
        return prompt_picture(self._said(), meta.get("visible", ()), self.position, meta.get("note", ""), width, theme)

    def _said(self) -> str:
        name, none = _NAMES[self.text_name]
        if not self.prompt:
            return none
        # With its spaces, at which lines are broken.
        words = visible(self.prompt[:_MOST_LETTERS]).replace("␣", " ")
        return f"{name}: {words}{'…' if len(self.prompt) > _MOST_LETTERS else ''}"
