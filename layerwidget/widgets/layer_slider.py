"""The range slider that is a picture of the layer stack."""

from __future__ import annotations

from typing import Any, ClassVar

import traitlets as t

from layerwidget.errors import SelectionError
from layerwidget.figures.rail_figure import Rail, rail_picture, rail_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.layers import BANDS, band_layers, format_layers, parse_layers
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured

#: For reading layers that were checked before, when the number of layers has changed since.
MANY = 1_000_000


class LayerSlider(Pictured, View, module="layer_slider"):
    """An inclusive range of layers, like ipywidgets' `IntRangeSlider`, drawn as the stack of layers.

    Drag an end or the middle, click a layer, use the arrow keys, or press all, early, middle or late.

    Attributes:
        value: first and last layer of the range, inclusive; `layers` says the same as a selection text.
        min, max: the first and last layer there is.
        bands: first and last layer of `early`, `middle` and `late`; empty where a band holds no layer.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer")

    picture_width: ClassVar[float] = 260
    kept_width: ClassVar[float | None] = 260

    value = t.Tuple(t.Int(), t.Int(), default_value=(0, 0)).tag(sync=True)
    min = t.Int(0).tag(sync=True)
    max = t.Int(0).tag(sync=True)
    bands = t.Dict().tag(sync=True)

    def __init__(self, value: tuple[int, int] | None = None, *, max: int, min: int = 0, **traits: Any) -> None:
        if not 0 <= min <= max:
            raise SelectionError(f"A layer slider needs 0 <= min <= max; got min={min}, max={max}.")
        self.n_layers = max + 1
        super().__init__(**{"min": min, "max": max, "value": (min, max), "layers": "all", **traits})
        self.observe(self._from_layers, "layers")
        self.observe(self._from_value, "value")
        self.observe(self._rebound, ["min", "max"])
        self._rebound(None)
        if value is not None:
            self.value = value

    def to_text(self) -> str:
        """A table of the layers: their bands, and which are in view."""
        return rail_text(self._rail())

    def _picture(self, theme: Theme, width: float) -> Picture:
        return rail_picture(self._rail(), width, theme)

    def _rail(self) -> Rail:
        return Rail(range(self.min, self.max + 1), parse_layers(self.layers, MANY), self.layer, self.bands)

    def _from_layers(self, _change: object) -> None:
        self.value = _hull(self.layers)

    def _from_value(self, _change: object) -> None:
        # A list with gaps stays as it is as long as its ends are those of the range.
        if _hull(self.layers) != tuple(self.value):
            self.layers = format_layers(range(self.value[0], self.value[1] + 1))

    def _rebound(self, _change: object) -> None:
        """Bring the bands and the range between `min` and `max`."""
        self.n_layers = self.max + 1
        self.bands = {name: _ends(band_layers(name, self.max - self.min + 1), self.min) for name in BANDS}
        inside = [layer for layer in parse_layers(self.layers, MANY) if self.min <= layer <= self.max]
        self.layers = format_layers(inside or range(self.min, self.max + 1))
        self._from_layers(None)

    @t.validate("layers")
    def _canonical_layers(self, proposal: dict[str, Any]) -> str:
        numbers = parse_layers(proposal["value"], self.max + 1)
        inside = [number for number in numbers if number >= self.min]
        if not inside:
            raise SelectionError(f"The layers {proposal['value']!r} are not inside {self.min} to {self.max}.")
        return format_layers(inside)

    @t.validate("value")
    def _ordered(self, proposal: dict[str, Any]) -> tuple[int, int]:
        first, last = proposal["value"]
        if not self.min <= first <= last <= self.max:
            raise SelectionError(
                f"The layer range {(first, last)} is not inside {self.min} to {self.max}: "
                "expected min <= first <= last <= max."
            )
        return first, last


def _hull(layers: str) -> tuple[int, int]:
    numbers = parse_layers(layers, MANY)
    return numbers[0], numbers[-1]


def _ends(layers: tuple[int, ...], offset: int) -> list[int]:
    return [layers[0] + offset, layers[-1] + offset] if layers else []
