"""All heads of a model on one map: how much rests on the first token, and what each head is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layerwidget.figures.sheets import HeatColumns, Sheet
from layerwidget.questions.attention_flow import HeadScoreGrid, SinkGrid
from layerwidget.results import FloatArray
from layerwidget.widgets.heat_grid import HeatGrid

#: A head is called after its largest score from here on.
NAMED_FROM = 0.4
_SINK = "sink share"
_RESTING = "share of attention on token 0"
#: No head has chosen it: a map of that would be one colour, and the strongest one.
_SINGLE = "One token: all of every head's attention is on it. Of two tokens, how much rests on the first appears here."
_DETAILS = {
    "induction": "weight on what followed the same token",
    "previous": "weight on the token before",
    "duplicate": "weight on the same token",
}


class HeadMap(HeatGrid):
    """Rows are the layers in view, columns the heads; a click opens a head in the views that share the selection.

    Args:
        sink: how much of its attention each head rests on token 0, or None.
        scores: what heads do on a repeated random sequence, one result per kind.
    """

    def __init__(self, sink: SinkGrid | None = None, scores: Sequence[HeadScoreGrid] = (), **traits: Any) -> None:
        self._sink: tuple[SinkGrid | None, str | None] = (None, None)
        self._scores: tuple[HeadScoreGrid, ...] = ()
        super().__init__(**{"title": "Heads", **traits})
        if scores:
            self.show_scores(scores)
        if sink is not None:
            self.show_sink(sink)

    def show_sink(self, sink: SinkGrid | None, prompt: str | None = None, note: str = "") -> None:
        """Draw the share of attention on token 0 of a prompt; None where there is none, and `note` why."""
        single = sink is not None and sink.on_first.shape[-1] == 1
        self._sink = (None if single else sink, prompt)
        if note or sink is not None:
            self.placeholder = _SINGLE if single else note
        self._draw()

    def show_scores(self, scores: Sequence[HeadScoreGrid]) -> None:
        """Draw what heads are, beside it; the first of the scores comes to the front."""
        first = not self._scores
        self._scores = tuple(scores)
        self._draw()
        if first and self._scores:
            self.sheet = self._scores[0].kind

    @property
    def scores(self) -> tuple[HeadScoreGrid, ...]:
        """What heads are, as far as that is drawn."""
        return self._scores

    def note_of(self, layer: int, head: int) -> str:
        """What a head is called: `induction head (0.89)`; its largest score, or nothing where that is below 0.4."""
        found = [(float(grid.values[layer, head]), grid.kind) for grid in self._scores if _has(grid, layer, head)]
        score, kind = max(found, default=(0.0, ""))
        return f"{kind}{'-token' if kind != 'induction' else ''} head ({score:.2f})" if score >= NAMED_FROM else ""

    def _draw(self) -> None:
        sink, prompt = self._sink
        held = [grid for grid in (sink, *self._scores) if grid is not None]
        if not held:
            self.show(None, prompt=prompt)
            return
        n_layers = held[0].n_layers
        n_heads = max(_values(grid).shape[1] for grid in held)
        sheets = [_sheet(grid, n_layers, n_heads) for grid in held]
        self.show(sheets, HeatColumns.heads(range(n_heads)), layers=range(n_layers), n_layers=n_layers, prompt=prompt)


def _values(grid: SinkGrid | HeadScoreGrid) -> FloatArray:
    return grid.share if isinstance(grid, SinkGrid) else grid.values


def _has(grid: HeadScoreGrid, layer: int, head: int) -> bool:
    return layer in grid.layers and head < grid.values.shape[1] and bool(np.isfinite(grid.values[layer, head]))


def _sheet(grid: SinkGrid | HeadScoreGrid, n_layers: int, n_heads: int) -> Sheet:
    """A sheet of all layers; NaN where the result holds none, or a layer has no such head."""
    of_all = np.full((n_layers, n_heads), np.nan, dtype=np.float32)
    values = _values(grid)
    of_all[list(grid.layers), : values.shape[1]] = values
    if isinstance(grid, SinkGrid):
        detail, learned = _RESTING, grid.on_learned[grid.on_learned > 0]
        if learned.size:
            detail = f"{detail}; learned sinks take {np.nanmean(grid.learned_share):.0%} of it all besides"
        return Sheet(_SINK, of_all, limits=1.0, detail=detail)
    return Sheet(grid.kind, of_all, limits=1.0, detail=_DETAILS[grid.kind])
