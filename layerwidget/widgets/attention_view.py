"""Attention: a gallery of all heads in view, and the matrix of the chosen one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.figures.attention_figure import Attention as Drawn, attention_picture, attention_text
from layerwidget.figures.shown import Shown as Seen
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.questions.attention import CrossAttentionGrid, HeadGrid
from layerwidget.widgets.base import View
from layerwidget.widgets.chosen_matrix import Choice, Chosen, chosen_matrix
from layerwidget.widgets.gallery_packing import first_share, gallery_row, largest, thousandth_steps
from layerwidget.widgets.messages import Message, packed_message, unpacked_message
from layerwidget.widgets.picture import Pictured, place_of

#: The gallery sends every matrix whole up to this size; beyond it they are pooled.
GALLERY_BYTES = 3 * 2**19


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the browser holds.

    Attributes:
        grid: the result.
        prompt: the text it answers.
        block: how many queries and keys share a cell of the gallery.
        without_first: whether the gallery's numbers leave out the first key.
        limit: what the last colour stands for.
        rows: the gallery, one row of all its matrices after the other.
        chosen: the chosen matrix; None where the result does not hold it.
    """

    grid: HeadGrid
    prompt: str | None
    block: int
    without_first: bool
    limit: float
    rows: tuple[bytes, ...]
    chosen: Chosen | None


class AttentionView(Pictured, View, module="attention_view"):
    """Thumbnails of every head of the layers in view beside the chosen head: query tokens down, key tokens across.

    The thumbnails are sent as colours; the chosen matrix as numbers, again whenever something else is chosen. Of a long
    prompt it is colours, too, and the browser asks for the numbers of a row that is pointed at.

    Attributes:
        show_heads: what the matrix shows: one `head`, or the `mean` or `max` over all heads of the layers in view.
        hide_first: leave out the first token, on which most heads rest, and scale the rest of each row to sum to 1;
            what is no share of 1 stays as it is.
        quantity: one of `quantities`; whoever answers hears of a change.
        quantities: what can be shown; empty where nobody answers.
        arcs: whether the chosen query's numbers are drawn as lines, too, beside the matrix.
        head_note: a layer, a head, and what the title of its matrix says of it.
        can_hide: whether there is a switch for `hide_first`.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer", "head", "position")
    growing: ClassVar[Mapping[str, int]] = {"roots": 0, "focus": 0}

    show_heads = t.Enum(("head", "mean", "max"), "head").tag(sync=True)
    hide_first = t.Bool(True).tag(sync=True)
    quantity = t.Unicode("").tag(sync=True)
    quantities = t.List(t.Unicode()).tag(sync=True)
    arcs = t.Bool(False).tag(sync=True)
    can_hide = t.Bool(True).tag(sync=True)
    head_note = t.Tuple(t.Int(), t.Int(), t.Unicode(), default_value=(0, 0, "")).tag(sync=True)

    def __init__(self, attention: HeadGrid | None = None, **traits: Any) -> None:
        self._shown: _Shown | None = None
        # Results come from the model's thread, choices from the reader's: each message must be of one result.
        self._sending = threading.RLock()
        if attention is not None:
            first: dict[str, Any] = {"layers": ",".join(map(str, attention.layers)), "layer": attention.layers[-1]}
            if isinstance(attention, CrossAttentionGrid):
                first["hide_first"] = False  # the first token of another text is no place to rest
            traits = {**first, "head": attention.heads[0], **traits}
        super().__init__(**traits)
        self.observe(self._refocus, ["layer", "head", "show_heads", "layers"])
        self.observe(self._rehide, "hide_first")
        if attention is not None:
            self.show(attention)

    def show(self, attention: HeadGrid | None, prompt: str | None = None, note: str = "") -> None:
        """Draw a result, or `note` in its place; `prompt` is the text it answers."""
        with self._sending:
            before, self._shown = self._shown, None
            if attention is None:
                self._publish({"layers": [], "n_pos": 0, "prompt": prompt, "note": note}, {})
                return
            # Of a long prompt it may be a few heads only.
            self._bound_to(attention.n_layers, max(self.n_heads or 0, max(attention.heads) + 1))
            self._keep_within(len(attention.token_ids))
            self._send_whole(attention, prompt, before)

    def _send_whole(self, grid: HeadGrid, prompt: str | None, before: _Shown | None) -> None:
        n_pos, block = len(grid.token_ids), gallery_block(grid)
        # Where cells are single weights, the browser leaves out the first key by itself.
        hidden = self.hide_first and (block > 1 or bool(grid.unit))
        limit = largest(grid, hidden) if grid.unit else 1.0
        look = (block, hidden, limit)
        same = before is not None and (before.block, before.without_first, before.limit) == look
        kept = before.rows[: before.grid.n_alike(grid) // block] if before is not None and same else ()
        new = [gallery_row(grid, row, *look) for row in range(len(kept), -(-n_pos // block))]
        chosen = chosen_matrix(grid, self._choice(), self.hide_first, before.chosen if before else None)
        self._shown = _Shown(grid, prompt, *look, (*kept, *new), chosen)
        said, focus = ({"focus_key": ""}, {}) if chosen is None else chosen.packed(min(self.position, n_pos - 1))
        meta = {
            **_described(grid),
            "prompt": prompt,
            "size": len(self._shown.rows),
            "block": block,
            "limit": limit,
            "first_share": first_share(grid) if grid.unit else None,
            **said,
        }
        roots = np.frombuffer(b"".join(self._shown.rows), np.uint8)
        self._publish(meta, {"roots": roots, **focus})

    def _rehide(self, _change: object) -> None:
        """Single weights are left out in the browser; others have to be before they are packed."""
        with self._sending:
            shown = self._shown
            if shown is not None and (shown.block > 1 or shown.grid.unit):
                self._send_whole(shown.grid, shown.prompt, shown)
            elif shown is not None and shown.chosen is not None and shown.chosen.masked:
                self._send_chosen(shown)

    def _refocus(self, _change: object) -> None:
        """Send the matrix that is now chosen."""
        with self._sending:
            shown = self._shown
            if shown is not None and (shown.chosen is None or shown.chosen.choice.key != self._choice().key):
                self._send_chosen(shown)

    def _send_chosen(self, shown: _Shown) -> None:
        chosen = chosen_matrix(shown.grid, self._choice(), self.hide_first)
        if chosen is not None:
            self._shown = replace(shown, chosen=chosen)
            self._publish_part(*chosen.packed(min(self.position, len(shown.grid.token_ids) - 1)))

    def _on_message(self, widget: object, content: dict[str, Any], buffers: list[bytes]) -> None:
        """The reader points at a row of which the browser has the colours only: send its numbers."""
        if content.get("type") != "row":
            super()._on_message(widget, content, buffers)
            return
        with self._sending:
            message, chosen = self._message, None if self._shown is None else self._shown.chosen
            if message is None or chosen is None or not chosen.block:
                return
            row, known = content.get("row"), (message[0]["revision"], chosen.choice.key)
            # Of another picture than this one: whoever asked hears of this one.
            here = (content.get("revision"), content.get("focus_key")) == known
            if not here or not isinstance(row, int) or row not in range(len(chosen.rows)):
                return
            first, numbers = chosen.numbers(row)
            self._deliver(packed_message("row", known[0], {"focus_key": known[1], "first": first}, {"row": numbers}))

    def recorded_traits(self) -> dict[str, Any]:
        """Without a choice of quantities; where the kernel leaves out the first token, that stays as it is."""
        shown = self._shown
        browser_hides = shown is None or (shown.block == 1 and not shown.grid.unit)
        if self.show_heads != "head" and shown is not None and shown.chosen is not None:
            browser_hides = browser_hides and not shown.chosen.masked
        return {**super().recorded_traits(), "quantities": [], "can_hide": browser_hides, "recorded": True}

    def recorded_messages(self) -> list[Message]:
        """The gallery with what makes every one of its matrices exact to three decimals, where it is not pooled.

        Then the numbers of the chosen head are in it, too, and are left out.
        """
        with self._sending:
            messages, shown = super().recorded_messages(), self._shown
            if shown is None or shown.block > 1 or shown.grid.unit:
                return messages
            content, arrays = messages[0][0], unpacked_message(*messages[0])
            arrays["steps"] = thousandth_steps(shown.grid)
            if self.show_heads != "head":
                return [packed_message("data", content["revision"], content["meta"], arrays), *messages[1:]]
            for name in ("focus", "row"):
                arrays.pop(name, None)
            return [packed_message("data", content["revision"], {**content["meta"], "focus_key": ""}, arrays)]

    def _choice(self) -> Choice:
        return Choice(self.show_heads, self.layers, self.layer, self.head)

    def to_text(self) -> str:
        """The chosen matrix as a table: queries down, keys across."""
        return attention_text(self._drawn())

    def _picture(self, theme: Theme, width: float) -> Picture:
        return attention_picture(self._drawn(), width, theme)

    def _drawn(self) -> Drawn:
        with self._sending:
            return Drawn(
                self._shown_as_numbers(),
                place_of(self),
                self.show_heads,
                self.hide_first,
                self.arcs,
                tuple(self.head_note),
            )

    def _shown_as_numbers(self) -> Seen:
        """What the browser has, and all numbers of the chosen matrix, whether it has those or not."""
        seen, chosen = self.shown, None if self._shown is None else self._shown.chosen
        if chosen is None or not chosen.block:
            return seen
        meta, arrays = replace(chosen, block=0).packed(0)
        return Seen({**seen.meta, **meta}, {**seen.arrays, **arrays})


def _described(grid: HeadGrid) -> dict[str, Any]:
    """What the browser needs to know of a result besides its numbers."""
    return {
        "layers": list(grid.layers),
        "attention_layers": list(grid.attention_layers),
        "heads": list(grid.heads),
        "kv_heads": list(grid.kv_heads),
        "grouped": grid.kv_heads != grid.heads,
        "causal": grid.causal,
        "quantity": grid.quantity,
        "unit": grid.unit,
        "n_pos": len(grid.token_ids),
        "n_keys": grid.matrices.shape[-1],
        "prompt_visible": [piece.visible for piece in grid.prompt_pieces()],
        "key_visible": [piece.visible for piece in grid.key_pieces()],
    }


def gallery_block(grid: HeadGrid) -> int:
    """How many queries, and keys, share a cell of the gallery: 1 while all matrices fit into `GALLERY_BYTES`."""
    cells = GALLERY_BYTES / (len(grid.layers) * len(grid.heads))
    side = max(16, int((2 * cells if grid.causal else cells) ** 0.5))
    n_queries, n_keys = grid.matrices.shape[-2:]
    return -(-max(int(n_queries), int(n_keys)) // side)
