"""The shared selection: which layers are in view, and which layer, head, position and token is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import traitlets as t

from layerwidget.errors import SelectionError
from layerwidget.layers import format_layers, parse_layers

#: Colours of pinned tokens, in their order: Okabe and Ito 2008, colour-blind safe; orange is taken by the selection.
PIN_COLOURS = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#b8a000")
MAX_PINNED = len(PIN_COLOURS)


#: The traits that all views share.
SHARED = ("layers", "layer", "head", "position", "token", "tokens")


@dataclass(frozen=True)
class Selection:
    """Where the reader is: one place in the model and the prompt.

    Attributes:
        layer: layer number, 0-based.
        head: query-head number, 0-based.
        position: position in the prompt, 0-based.
        token: the token id that is followed over the layers, or None.
    """

    layer: int = 0
    head: int = 0
    position: int = 0
    token: int | None = None


class SelectionTraits(t.HasTraits):
    """The traits that all views share; link any of them with `traitlets.link`.

    Attributes:
        layers: the layers in view as a selection text. It is kept in its shortest form: `"late"` becomes `"22-29"`.
        layer, head, position, token: the fields of `Selection`.
        tokens: token ids that are pinned, at most five.
        group: views with the same group share their selection inside the browser.
    """

    layers = t.Unicode("all").tag(sync=True)
    layer = t.Int(0, min=0).tag(sync=True)
    head = t.Int(0, min=0).tag(sync=True)
    position = t.Int(0, min=0).tag(sync=True)
    token = t.Int(None, allow_none=True).tag(sync=True)
    tokens = t.List(t.Int()).tag(sync=True)
    group = t.Unicode().tag(sync=True)

    #: How many layers and heads there are to choose from; None until a result or a model is known.
    n_layers: int | None = None
    n_heads: int | None = None
    #: Whether somebody else keeps the position inside the prompt: an explorer, which knows the prompt that comes next.
    is_led: bool = False

    @property
    def selection(self) -> Selection:
        """Layer, head, position and token in one value; assign a `Selection` to change them together."""
        return Selection(self.layer, self.head, self.position, self.token)

    @selection.setter
    def selection(self, value: Selection) -> None:
        if not isinstance(value, Selection):
            raise SelectionError(f"Expected a layerwidget.Selection, got {value!r}.")
        # Before anything moves: inside the block below, an error would leave some of the values changed.
        _in_range(value.layer, self.n_layers, "layer")
        _in_range(value.head, self.n_heads, "head")
        self._choosing(value.position)
        with self.hold_trait_notifications():
            self.layer, self.head, self.position, self.token = value.layer, value.head, value.position, value.token

    def _choosing(self, position: int) -> None:
        """Told before a position is chosen together with the rest."""

    def _keep_within(self, n_pos: int) -> None:
        """A position beyond a result of so many becomes its last one."""
        if not self.is_led and self.position >= n_pos:
            self.position = n_pos - 1

    @t.validate("layers")
    def _canonical_layers(self, proposal: dict[str, Any]) -> str:
        if self.n_layers is None:
            return str(proposal["value"])
        return format_layers(parse_layers(proposal["value"], self.n_layers))

    @t.validate("layer")
    def _known_layer(self, proposal: dict[str, Any]) -> int:
        return _in_range(proposal["value"], self.n_layers, "layer")

    @t.validate("head")
    def _known_head(self, proposal: dict[str, Any]) -> int:
        return _in_range(proposal["value"], self.n_heads, "head")

    @t.validate("tokens")
    def _few_tokens(self, proposal: dict[str, Any]) -> list[int]:
        tokens = list(proposal["value"])
        if len(tokens) > MAX_PINNED or len(set(tokens)) < len(tokens) or any(token < 0 for token in tokens):
            raise SelectionError(f"Pinned tokens are at most {MAX_PINNED} different token ids from 0; got {tokens}.")
        return tokens

    def _bound_to(self, n_layers: int, n_heads: int | None) -> None:
        """Learn how many layers and heads there are, and bring what was chosen before into range."""
        self.n_layers, self.n_heads = n_layers, n_heads or self.n_heads
        try:
            self.layers = self._canonical_layers({"value": self.layers})
        except SelectionError:
            self.layers = "all"
        self.layer = min(self.layer, n_layers - 1)
        if self.n_heads:
            self.head = min(self.head, self.n_heads - 1)


def _in_range(number: int, count: int | None, what: str) -> int:
    if count is not None and not 0 <= number < count:
        raise SelectionError(f"{what} {number} is out of range: there are {count} {what}s, 0 to {count - 1}.")
    return number
