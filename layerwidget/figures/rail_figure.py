"""The layer slider on paper: the stack of layers with its bands, and which of them are in view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layerwidget.figures.heading import heading
from layerwidget.figures.number_words import layers_title
from layerwidget.figures.svg import Markup, Picture, above, joined, line, rect, text
from layerwidget.figures.tables import said, table
from layerwidget.figures.themes import Theme

#: How high the stack is on the screen, too.
_HEIGHT = 420
_NUMBERS, _BAR, _BAND = 22, 14, 44
#: Numbers that are nearer to each other than this cannot be read.
_APART = 13


@dataclass(frozen=True)
class Rail:
    """What the slider shows.

    Attributes:
        layers: the numbers of all layers, ascending.
        in_view: those in the range, ascending.
        layer: the chosen one.
        bands: first and last layer by the name of the band; empty where it holds none.
    """

    layers: Sequence[int]
    in_view: Sequence[int]
    layer: int
    bands: Mapping[str, Sequence[int]]

    @property
    def title(self) -> str:
        """The range in words."""
        return f"{layers_title(tuple(self.in_view))} of {len(self.layers)} in view"

    def band(self, layer: int) -> str:
        """The name of the band that a layer is in."""
        return next((name for name, ends in self.bands.items() if ends and ends[0] <= layer <= ends[1]), "")


def rail_picture(rail: Rail, width: float, theme: Theme) -> Picture:
    """The last layer on top, as in every grid; those in view in the colour of data, the chosen one outlined."""
    row = _HEIGHT / len(rail.layers)
    gap = 0 if len(rail.layers) > 60 else 2
    tops = {layer: place * row for place, layer in enumerate(reversed(rail.layers))}
    bars = [
        rect(_NUMBERS, top, _BAR, max(1, row - gap), rx=2, class_="lw-cell", data_layer=layer,
             fill=theme.data if layer in rail.in_view else theme.edge)
        for layer, top in tops.items()
    ]  # fmt: skip
    if rail.layer in tops:
        outline = rect(_NUMBERS - 2, tops[rail.layer] - 2, _BAR + 4, max(1, row - gap) + 4, rx=3, fill="none",
                       stroke=theme.accent, stroke_width=2, class_="lw-here", data_layer=rail.layer)  # fmt: skip
        bars.append(outline)
    stack = Picture(width, _HEIGHT, joined([*bars, *_numbers(rail, tops, row, theme), *_bands(rail, tops, row, theme)]))
    return above([heading("Layers", rail.title, width, theme), stack])


def _numbers(rail: Rail, tops: Mapping[int, float], row: float, theme: Theme) -> list[Markup]:
    """The ends of the range; those of the whole stack where they have room beside them."""
    found: list[tuple[float, Markup]] = []
    ends = [(rail.in_view[-1], theme.data), (rail.in_view[0], theme.data)]
    for layer, colour in [*ends, (rail.layers[-1], theme.muted), (rail.layers[0], theme.muted)]:
        y = tops[layer] + row / 2
        if all(abs(y - other) >= _APART for other, _ in found):
            found.append((y, text(_NUMBERS - 5, y, str(layer), size=11, fill=colour, text_anchor="end")))
    return [markup for _, markup in found]


def _bands(rail: Rail, tops: Mapping[int, float], row: float, theme: Theme) -> list[Markup]:
    parts = []
    for name, ends in rail.bands.items():
        if ends:
            top, bottom = tops[ends[1]] + 1, tops[ends[0]] + row - 3
            parts += [
                line(_BAND, top, _BAND, bottom, stroke=theme.edge, stroke_width=2),
                text(_BAND + 8, (top + bottom) / 2, name, size=11, fill=theme.muted),
            ]
    return parts


def rail_text(rail: Rail) -> str:
    """A row for each layer, the last one on top."""
    rows = [
        (str(layer), rail.band(layer), "in view" if layer in rail.in_view else "", "chosen" * (layer == rail.layer))
        for layer in reversed(rail.layers)
    ]
    return said(f"Layers · {rail.title}", table(("layer", "band", "range", ""), rows))
