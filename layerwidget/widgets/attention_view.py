"""Attention: a gallery of all heads in view, and the matrix of the chosen one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets as t

from layerwidget.layers import parse_layers
from layerwidget.results import AttentionGrid, FloatArray
from layerwidget.widgets.base import View
from layerwidget.widgets.logit_lens_view import sixteen_bit

#: The gallery sends every matrix whole up to this size; beyond it they are pooled, and the chosen one comes whole.
GALLERY_BYTES = 6 * 2**20


@dataclass(frozen=True, eq=False)
class _Shown:
    """What the browser holds: a result, the text it answers, and the side of the gallery's matrices."""

    grid: AttentionGrid
    prompt: str | None
    side: int

    @property
    def n_pos(self) -> int:
        return len(self.grid.token_ids)

    @property
    def pooled(self) -> bool:
        return self.side < self.n_pos


class AttentionView(View, module="attention_view"):
    """Thumbnails of every head of the layers in view beside the chosen head: query tokens down, key tokens across.

    Attributes:
        show_heads: what the matrix shows: one `head`, or the `mean` or `max` over all heads of the layers in view.
        hide_first: leave out the first token, on which most heads rest, and scale the rest of each row to sum to 1.
    """

    show_heads = t.Enum(("head", "mean", "max"), "head").tag(sync=True)
    hide_first = t.Bool(True).tag(sync=True)

    def __init__(self, attention: AttentionGrid | None = None, **traits: Any) -> None:
        self._shown: _Shown | None = None
        # Results come from the model's thread, choices from the reader's: each message must be of one result.
        self._sending = threading.RLock()
        if attention is not None:
            first = {"layers": ",".join(map(str, attention.layers)), "layer": attention.layers[-1]}
            traits = {**first, "head": attention.heads[0], **traits}
        super().__init__(**traits)
        self.observe(self._refocus, ["layer", "head", "show_heads", "layers"])
        self.observe(self._rehide, "hide_first")
        if attention is not None:
            self.show(attention)

    def show(self, attention: AttentionGrid | None, prompt: str | None = None, note: str = "") -> None:
        """Draw a result, or `note` in its place; `prompt` is the text it answers."""
        with self._sending:
            if attention is None:
                self._shown = None
                self._publish({"layers": [], "n_pos": 0, "prompt": prompt, "note": note}, {})
                return
            self._shown = _Shown(attention, prompt, _side(attention))
            self._bound_to(attention.n_layers, max(attention.heads) + 1)
            self.position = min(self.position, len(attention.token_ids) - 1)
            self._send_whole(self._shown)

    def _send_whole(self, shown: _Shown) -> None:
        grid = shown.grid
        pattern = without_first(grid.pattern) if shown.pooled and self.hide_first else grid.pattern
        pooled = max_pooled(pattern, shown.side)
        meta = {
            "prompt": shown.prompt,
            "layers": list(grid.layers),
            "attention_layers": list(grid.attention_layers),
            "heads": list(grid.heads),
            "kv_heads": list(grid.kv_heads),
            "grouped": grid.kv_heads != grid.heads,
            "n_pos": shown.n_pos,
            "size": pooled.shape[-1],
            "block": -(-shown.n_pos // pooled.shape[-1]),
            "prompt_visible": [piece.visible for piece in grid.prompt_pieces()],
        }
        self._publish(meta, {"pattern": sixteen_bit(pooled)})
        self._refocus(None)

    def _rehide(self, _change: object) -> None:
        """Whole matrices are masked in the browser; pooled ones have to be masked before they are pooled."""
        with self._sending:
            if self._shown is not None and self._shown.pooled:
                self._send_whole(self._shown)

    def _refocus(self, _change: object) -> None:
        """Pooled galleries hold one whole matrix at a time: send the one that is now chosen."""
        with self._sending:
            focus = self._focus(self._shown.grid) if self._shown is not None and self._shown.pooled else None
            if focus is not None:
                self._publish_part({"focus_key": self._focus_key()}, {"focus": sixteen_bit(focus)})

    def _focus_key(self) -> str:
        return f"{self.layer}.{self.head}" if self.show_heads == "head" else f"{self.show_heads}.{self.layers}"

    def _focus(self, grid: AttentionGrid) -> FloatArray | None:
        """The chosen matrix, shape [query, key], or None where this result does not hold it."""
        if self.show_heads == "head":
            held = self.layer in grid.layers and self.head in grid.heads
            return grid.pattern[grid.layers.index(self.layer), grid.heads.index(self.head)] if held else None
        shown = parse_layers(self.layers, grid.n_layers)
        rows = [row for row, layer in enumerate(grid.layers) if layer in shown]
        combine = np.mean if self.show_heads == "mean" else np.max
        return combine(grid.pattern[rows], axis=(0, 1)) if rows else None


def _side(grid: AttentionGrid) -> int:
    """Side of a gallery matrix: whole where it fits into `GALLERY_BYTES`."""
    n_matrices = len(grid.layers) * len(grid.heads)
    return min(len(grid.token_ids), max(16, int((GALLERY_BYTES / (2 * n_matrices)) ** 0.5)))


def without_first(pattern: FloatArray) -> FloatArray:
    """Patterns without their first key, the rest of each row scaled to sum to 1; rows that held nothing else are 0."""
    rest = pattern.copy()
    rest[..., 0] = 0
    total = rest.sum(-1, keepdims=True)
    scaled: FloatArray = np.divide(rest, total, out=rest, where=total > 0)
    return scaled


def max_pooled(pattern: FloatArray, side: int) -> FloatArray:
    """Patterns [..., query, key] reduced to at most [..., side, side] by the largest weight of equal blocks."""
    n_pos = pattern.shape[-1]
    block = -(-n_pos // side)
    if block <= 1:
        return pattern
    starts = np.arange(0, n_pos, block)
    rows = np.maximum.reduceat(pattern, starts, axis=-2)
    pooled: FloatArray = np.maximum.reduceat(rows, starts, axis=-1)
    return pooled
