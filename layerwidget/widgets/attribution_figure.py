"""A logit over the layers: what attention and FFN of every layer give to it, and the sum so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import bqplot
import numpy as np

from layerwidget.figures.curves import DATA_COLOUR, Curves, Overlay, Quantity, Scale, round_ticks
from layerwidget.questions.attribution import AttributionGrid
from layerwidget.results import FloatArray
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.traits import PIN_COLOURS

_GREY = "#888"
#: What a part is called -> what the legend says, and the colour of its bars.
_KINDS = {
    "attn": ("attention", PIN_COLOURS[1]), "mlp": ("FFN", DATA_COLOUR), "mixer": ("mixer", PIN_COLOURS[2]),
    "cross_attn": ("cross-attention", PIN_COLOURS[4]), "bias": ("bias", PIN_COLOURS[3]),
}  # fmt: skip


class AttributionFigure(LayerFigure):
    """Bars for the parts of every layer; the line is their sum, from `embed` on the left to the logit on the right.

    Attributes:
        running: the line; the first of its points is `embed`, the last one is after the biases of norm and head.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "logits": Quantity("logits", "logits", "what the parts of every layer give to the logit")
    }
    follows: ClassVar[tuple[str, ...]] = ()
    max_names: ClassVar[int] = len(_KINDS) + 1

    def __init__(self, **selection: Any) -> None:
        self._grid: AttributionGrid | None = None
        super().__init__(title="Sum over layers", **selection)
        self._put_on_top(self.running)

    def show(self, grid: AttributionGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the figure; `prompt` is the text it is about."""
        with self._drawing:
            self._grid = grid
            self._renew(None if grid is None else grid.n_layers, prompt)

    def _build_marks(self) -> None:
        super()._build_marks()
        self.running = bqplot.Lines(
            x=[0, 1], y=[0, 0], visible=False, colors=[_GREY], stroke_width=2, scales={"x": self._x, "y": self._linear}
        )

    def _curves(self) -> Curves | None:
        if self._grid is None:
            return None
        kinds, values = parts_by_layer(self._grid)
        sums = running_sum(self._grid)
        ends = np.concatenate([np.maximum(values, 0).sum(0), np.minimum(values, 0).sum(0), sums])
        detail = f"from embed {sums[0]:.3f} at the left edge to {sums[-1]:.3f} at the right"
        names, colours = zip(*(_KINDS.get(kind, (kind, _GREY)) for kind in kinds), strict=True)
        x = (-0.5, *map(float, self._grid.layers), self._n_layers - 0.5)
        line = Overlay(x, tuple(sums.tolist()), _GREY, "sum so far")
        return Curves(self._grid.layers, values, names, colours, _around_zero(ends), detail, "stacked", (line,))

    def _show_marks(self, curves: Curves | None) -> None:
        super()._show_marks(curves)
        self.running.visible = curves is not None
        if curves is None or self._grid is None:
            return
        self._put_on_top(self.running)
        with self.running.hold_sync():
            line = curves.overlays[0]
            self.running.x, self.running.y = np.array(line.x, np.float32), np.array(line.y, np.float32)

    def _name(self, curves: Curves | None) -> None:
        super()._name(curves)
        if curves is not None:
            label = self._names[len(curves.names)]
            label.value, label.layout.display, label.style.text_color = "● sum so far", None, _GREY


def parts_by_layer(grid: AttributionGrid) -> tuple[list[str], FloatArray]:
    """The kinds of parts that layers have, such as `attn` and `mlp`, and what they give, shape [kind, layer]."""
    places = [
        (name.removesuffix(str(layer)), layer, float(value))
        for name, layer, value in zip(grid.names, grid.part_layers, grid.values, strict=True)
        if layer is not None
    ]
    kinds = list(dict.fromkeys(kind for kind, _, _ in places))
    values = np.zeros((len(kinds), grid.n_layers), np.float32)
    for kind, layer, value in places:
        values[kinds.index(kind), layer] += value
    return kinds, values


def running_sum(grid: AttributionGrid) -> FloatArray:
    """The sum of `embed`, then with every layer, then with the biases too: shape [layer + 2]."""
    _, values = parts_by_layer(grid)
    embed = float(grid.values[grid.names.index("embed")])
    steps = [embed, *values.sum(0, dtype=np.float64).tolist()]
    total = float(grid.values.sum(dtype=np.float64))
    sums: FloatArray = np.array([*np.cumsum(steps), total], np.float32)
    return sums


def _around_zero(values: FloatArray) -> Scale:
    """From a little below the smallest value, or 0, to a little above the largest."""
    low, high = (1.05 * float(end) for end in (min(0, values.min()), max(0, values.max())))
    high = high if high > low else low + 1.0
    return Scale(low, high, ticks=round_ticks(low, high))
