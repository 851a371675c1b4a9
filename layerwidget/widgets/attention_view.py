"""Attention: a gallery of all heads in view, and the matrix of the chosen one."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets as t

from layerwidget.layers import parse_layers
from layerwidget.results import AttentionGrid, FloatArray
from layerwidget.widgets.base import View
from layerwidget.widgets.logit_lens_view import sixteen_bit

#: The gallery sends every matrix whole up to this size; beyond it they are pooled, and the chosen one comes whole.
GALLERY_BYTES = 6 * 2**20


class AttentionView(View, module="attention_view"):
    """Thumbnails of every head of the layers in view beside the chosen head: query tokens down, key tokens across.

    Attributes:
        show_heads: what the matrix shows: one `head`, or the `mean` or `max` over all heads of the layers in view.
        hide_first: leave out the first token, on which most heads rest, and scale the rest of each row to sum to 1.
    """

    show_heads = t.Enum(("head", "mean", "max"), "head").tag(sync=True)
    hide_first = t.Bool(True).tag(sync=True)

    def __init__(self, attention: AttentionGrid | None = None, **traits: Any) -> None:
        self._grid: AttentionGrid | None = None
        self._prompt: str | None = None
        self._pooled = False
        super().__init__(**traits)
        self.observe(self._refocus, ["layer", "head", "show_heads", "layers"])
        if attention is not None:
            self.show(attention)

    def show(self, attention: AttentionGrid | None, prompt: str | None = None, note: str = "") -> None:
        """Draw a result, or `note` in its place; `prompt` is the text it answers."""
        self._grid, self._prompt = attention, prompt
        if attention is None:
            self._publish({"layers": [], "n_pos": 0, "prompt": prompt, "note": note}, {})
            return
        self._bound_to(attention.n_layers, max(attention.heads) + 1)
        self.position = min(self.position, len(attention.token_ids) - 1)
        self._send_grid(attention)

    def _send_grid(self, grid: AttentionGrid) -> None:
        pooled = max_pooled(grid.pattern, _side(grid))
        meta = {
            "prompt": self._prompt,
            "layers": list(grid.layers),
            "attention_layers": list(grid.attention_layers),
            "heads": list(grid.heads),
            "kv_heads": list(grid.kv_heads),
            "grouped": grid.kv_heads != grid.heads,
            "n_pos": len(grid.token_ids),
            "size": pooled.shape[-1],
            "block": -(-len(grid.token_ids) // pooled.shape[-1]),
            "prompt_visible": [piece.visible for piece in grid.prompt_pieces()],
        }
        arrays = {"pattern": sixteen_bit(pooled)}
        self._pooled = pooled.shape[-1] < len(grid.token_ids)
        focus = self._focus(grid) if self._pooled else None
        if focus is not None:
            meta["focus_key"] = self._focus_key()
            arrays["focus"] = sixteen_bit(focus)
        self._publish(meta, arrays)

    def _refocus(self, _change: object) -> None:
        """Pooled galleries hold one whole matrix at a time: send the one that is now chosen."""
        if self._grid is not None and self._pooled:
            self._send_grid(self._grid)

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
