"""What a figure over layers shows: curves or bars, their scale, and the quantities to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

import numpy as np

from layerwidget.results import FloatArray

#: The colours of `js/colour.js`: data, values below zero, the place where the reader is, structure.
DATA_COLOUR = "#5573ea"
BELOW_COLOUR = "#828606"
HERE_COLOUR = "#e0661f"
LINE_COLOUR = "#8888"


@dataclass(frozen=True)
class Quantity:
    """One button above the figure.

    Attributes:
        label: what the button says.
        axis: what the y axis shows, with its unit.
        tooltip: what is said of the button on hover.
    """

    label: str
    axis: str
    tooltip: str


@dataclass(frozen=True)
class Scale:
    """The y axis.

    Attributes:
        low, high: its ends.
        log: a logarithmic scale; `low` is above zero.
        reverse: `low` is at the top.
        ticks: where it has ticks, or None for a few round numbers.
        tick_format: how d3 writes them.
    """

    low: float
    high: float
    log: bool = False
    reverse: bool = False
    ticks: tuple[float, ...] | None = None
    tick_format: str = ".3~g"

    @classmethod
    def shares(cls) -> Scale:
        """From 0 to 1."""
        return cls(0.0, 1.0, ticks=(0, 0.25, 0.5, 0.75, 1), tick_format=".2~f")

    @classmethod
    def ranks(cls, count: int) -> Scale:
        """Ranks from 1, at the top, to `count` on a logarithmic scale."""
        ticks = tuple(10.0**power for power in range(len(str(count))))
        return cls(1.0, float(count), log=True, reverse=True, ticks=ticks, tick_format="~s")

    @classmethod
    def fitting(cls, values: FloatArray, at_least: float = 0.0) -> Scale:
        """From 0 to a little above the largest value; symmetric around 0 where a value is below it.

        Args:
            values: what is drawn, any shape; what is not finite is left out.
            at_least: the end of the axis where all values are smaller.
        """
        finite = values[np.isfinite(values)]
        top = max(at_least, 1.05 * float(np.abs(finite).max(initial=0.0))) or 1.0
        low = -top if (finite < 0).any() else 0.0
        return cls(low, top, ticks=round_ticks(low, top))

    @classmethod
    def stacking(cls, values: FloatArray) -> Scale:
        """Like `fitting`, for bars that are stacked; values [curve, layer]."""
        finite = np.where(np.isfinite(values), values, 0)
        return cls.fitting(np.stack([np.maximum(finite, 0).sum(0), np.minimum(finite, 0).sum(0)]))


def layer_ticks(n_layers: int) -> list[int]:
    """A few round layer numbers, always with the first and the last."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if n_layers / step <= 7)
    inner = [layer for layer in range(step, n_layers - 1, step) if n_layers - 1 - layer >= step / 2]
    return sorted({0, *inner, n_layers - 1})


def round_ticks(low: float, high: float) -> tuple[float, ...]:
    """Three to seven round numbers from `low` to `high`, 0 among them where it lies between."""
    rough = (high - low) / 6
    decade = 10.0 ** floor(log10(rough))
    step = decade * next(step for step in (1, 2, 5, 10) if decade * step >= rough * (1 - 1e-9))
    return tuple(round(place * step, 12) for place in range(ceil(low / step), floor(high / step) + 1))


@dataclass(frozen=True)
class Overlay:
    """A line through places of its own, drawn over the curves.

    Attributes:
        x, y: its points; `x` in layers, from -0.5 at the left edge.
        colour: of the line.
        name: what the legend says of it.
        width: in px.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: str
    name: str = ""
    width: float = 2


@dataclass(frozen=True, eq=False)
class Curves:
    """What a figure shows at one moment.

    Attributes:
        layers: the layers of the last axis of `values`, ascending; need not be contiguous.
        values: shape [curve, layer]; NaN where there is no value: a gap in a line, no bar.
        names: what the legend says of each curve.
        colours: of each curve. A single series of bars has one of its own above zero and one below.
        scale: the y axis.
        detail: what the title line says.
        marks: `lines`, or bars that are `stacked` or stand beside each other (`grouped`).
        overlays: lines over the curves.
    """

    layers: Sequence[int]
    values: FloatArray
    names: Sequence[str]
    colours: Sequence[str]
    scale: Scale
    detail: str = ""
    marks: Literal["lines", "stacked", "grouped"] = "lines"
    overlays: tuple[Overlay, ...] = ()

    def __post_init__(self) -> None:
        """Check that everything is about the same curves and layers."""
        expected = (len(self.names), len(self.layers))
        if self.values.shape != expected or len(self.colours) != len(self.names):
            raise ValueError(
                f"Expected values of shape [curve, layer] = {expected} and one colour for each name; "
                f"got {self.values.shape} and {len(self.colours)} colours."
            )
