"""Curves or bars over the layers as SVG: the layers in view are shaded, the chosen layer is marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, log10

import numpy as np

from layerwidget.figures.curves import BELOW_COLOUR, HERE_COLOUR, Curves, Overlay, Scale, layer_ticks
from layerwidget.figures.heading import heading, names_legend
from layerwidget.figures.number_words import tick_text
from layerwidget.figures.svg import (
    Markup,
    Picture,
    above,
    circle,
    document,
    group,
    joined,
    line,
    polyline,
    rect,
    tag,
    text,
)
from layerwidget.figures.themes import PAPER, Theme, theme_of
from layerwidget.figures.words import fitted, text_width

WIDTH, HEIGHT = 480, 300
_MARGIN = 12
_FOOT = 38
_HEAD = 8


@dataclass(frozen=True)
class Plot:
    """Where the axes are.

    Attributes:
        left, top, width, height: of the area inside them, in px.
        n_layers: how many layers the x axis has.
        scale: the y axis.
    """

    left: float
    top: float
    width: float
    height: float
    n_layers: int
    scale: Scale

    @property
    def step(self) -> float:
        """Px per layer."""
        return self.width / self.n_layers

    def x(self, layer: float) -> float:
        """The place of a layer; of its middle where the number is whole."""
        return self.left + (layer + 0.5) * self.step

    def y(self, value: float) -> float:
        """The height of a value, not clipped."""
        scale = self.scale
        if scale.log:
            share = log10(value / scale.low) / log10(scale.high / scale.low) if value > 0 else -1.0
        else:
            share = (value - scale.low) / (scale.high - scale.low)
        return self.top + self.height * (share if scale.reverse else 1 - share)


def curve_svg(
    curves: Curves | None,
    *,
    n_layers: int,
    title: str,
    axis: str,
    layers_in_view: Iterable[int],
    layer: int,
    width: float = WIDTH,
    height: float = HEIGHT,
    theme: Theme | str | None = PAPER,
    margin: float = _MARGIN,
) -> str:
    """A whole SVG file of curves over the layers.

    The rectangles of class `lw-band` shade the layers in view, one for each run of them; the line of class `lw-cursor`
    marks the chosen layer. A script can move both, and copy a rectangle for another run: `data-x0` of the root is
    the x of the middle of layer 0 in their coordinates, `data-step` the distance to the next layer, and
    `data-n-layers` how many there are. It can draw more lines into `lw-inside`: the y axis goes from `data-low` at the
    y `data-y-low` to `data-high` at `data-y-high`, on a logarithmic scale where `data-log` is 1.

    Args:
        curves: what is drawn, or None for empty axes.
        n_layers: how many layers the model has.
        title: what stands in the title line before `curves.detail`.
        axis: the label of the y axis, with its unit.
        layers_in_view: which layers are shaded.
        layer: the chosen layer.
        width: of the whole, in px.
        height: of the whole, in px.
        theme: a theme or its name; None or "host" for the colours of the page around it.
        margin: around the whole, in px.
    """
    theme, room = theme_of(theme), (width - 2 * margin, height - 2 * margin)
    picture, plot = _composed(curves, n_layers, title, axis, layers_in_view, layer, room, theme)
    return document(
        picture, theme, title, margin=margin, data_x0=round(plot.x(0), 3), data_step=f"{plot.step:.4f}",
        data_n_layers=n_layers, **_ends(plot),
    )  # fmt: skip


def _ends(plot: Plot) -> dict[str, str]:
    """What both ends of the y axis stand for, and where they are; more exact than what is only drawn."""
    low, high = plot.scale.low, plot.scale.high
    ends = {"data_low": low, "data_high": high, "data_y_low": plot.y(low), "data_y_high": plot.y(high)}
    return {**{name: f"{value:.7g}" for name, value in ends.items()}, "data_log": str(int(plot.scale.log))}


def curve_picture(
    curves: Curves | None, *, n_layers: int, title: str, axis: str, layers_in_view: Iterable[int], layer: int,
    width: float = WIDTH, height: float = HEIGHT, theme: Theme = PAPER,
) -> Picture:  # fmt: skip
    """The same as a piece of a larger figure."""
    return _composed(curves, n_layers, title, axis, layers_in_view, layer, (width, height), theme)[0]


def _composed(
    curves: Curves | None, n_layers: int, title: str, axis: str, in_view: Iterable[int], layer: int,
    room: tuple[float, float], theme: Theme,
) -> tuple[Picture, Plot]:  # fmt: skip
    """Title line, plot, legend."""
    width, height = room
    overlays = () if curves is None else curves.overlays
    names = [] if curves is None else [*curves.names, *(over.name for over in overlays)]
    colours = [] if curves is None else [*curves.colours, *(over.colour for over in overlays)]
    top = heading(title, "" if curves is None else curves.detail, width, theme)
    legend = names_legend(names, colours, width, theme)
    plot = _plot(curves, n_layers, axis, width, max(60.0, height - top.height - legend.height), theme)
    body = plot_body(curves, plot, axis, sorted(in_view), layer, theme)
    middle = Picture(width, plot.top + plot.height + _FOOT, body)
    return above([top, middle, legend]), plot


def _plot(curves: Curves | None, n_layers: int, axis: str, width: float, height: float, theme: Theme) -> Plot:
    scale = Scale.shares() if curves is None else curves.scale
    written = [tick_text(tick, scale.tick_format) for tick in _ticks(scale)]
    left = max((text_width(words, 10) for words in written), default=0.0) + (24 if axis else 10)
    return Plot(left, _HEAD, width - left - 8, height - _HEAD - _FOOT, max(1, n_layers), scale)


def _ticks(scale: Scale) -> list[float]:
    if scale.ticks is not None:
        return [tick for tick in scale.ticks if scale.low <= tick <= scale.high]
    ends = Scale(scale.low, scale.high, scale.log)
    if not ends.log:
        return list(np.linspace(scale.low, scale.high, 5).tolist())
    return [10.0**power for power in range(-300, 300) if scale.low <= 10.0**power <= scale.high]


def plot_body(curves: Curves | None, plot: Plot, axis: str, in_view: Sequence[int], layer: int, theme: Theme) -> Markup:
    """Everything between the axes, and the axes."""
    parts = list(_axes(plot, axis, theme))
    parts += _bands(plot, in_view, theme)
    if curves is not None:
        if plot.scale.low < 0 < plot.scale.high:
            parts.append(_across(plot, 0.0, theme.muted))
        drawn = _lines(curves, plot) if curves.marks == "lines" else _bars(curves, plot)
        parts.append(_inside(plot, [*drawn, *_overlays(curves, plot)]))
    x, colour = plot.x(layer), HERE_COLOUR if theme.ground else theme.accent
    parts.append(line(x, plot.top, x, plot.top + plot.height, stroke=colour, class_="lw-cursor", data_layer=layer))
    return joined(parts)


def _inside(plot: Plot, parts: Iterable[Markup]) -> Markup:
    """Parts of which only that is seen what lies between the axes, and a dot's breadth around."""
    x, y, width, height = plot.left - 3, plot.top - 3, plot.width + 6, plot.height + 6
    view = f"{x:.2f} {y:.2f} {width:.2f} {height:.2f}"
    return tag("svg", {"x": x, "y": y, "width": width, "height": height, "viewBox": view, "class": "lw-inside"}, *parts)


def _across(plot: Plot, value: float, colour: str) -> Markup:
    return line(plot.left, plot.y(value), plot.left + plot.width, plot.y(value), stroke=colour)


def _axes(plot: Plot, axis: str, theme: Theme) -> Iterator[Markup]:
    bottom, right = plot.top + plot.height, plot.left + plot.width
    ticks = _ticks(plot.scale)
    while len(ticks) > 2 and len(ticks) * 13 > plot.height + 13:
        ticks = ticks[::2]
    for tick in ticks:
        yield _across(plot, tick, theme.edge)
        words = tick_text(tick, plot.scale.tick_format)
        yield text(plot.left - 6, plot.y(tick), words, size=10, text_anchor="end", fill=theme.muted)
    yield line(plot.left, bottom, right, bottom, stroke=theme.muted)
    yield line(plot.left, plot.top, plot.left, bottom, stroke=theme.muted)
    for layer in layer_ticks(plot.n_layers):
        x = plot.x(layer)
        yield line(x, bottom, x, bottom + 4, stroke=theme.muted)
        yield text(x, bottom + 12, str(layer), size=10, text_anchor="middle", fill=theme.muted)
    yield text(plot.left + plot.width / 2, bottom + 28, "layer", size=11, text_anchor="middle")
    if axis:
        x, y = 7.0, plot.top + plot.height / 2
        size = max(8.0, min(11.0, 11 * plot.height / text_width(axis, 11)))
        words = fitted(axis, plot.height + _HEAD + _FOOT, size)
        yield group(
            [text(0, 0, words, size=size, text_anchor="middle")], transform=f"translate({x} {y:.1f}) rotate(-90)"
        )


def _bands(plot: Plot, in_view: Sequence[int], theme: Theme) -> list[Markup]:
    return [
        rect(
            plot.x(first) - plot.step / 2, plot.top, (last - first + 1) * plot.step, plot.height, fill=theme.data,
            fill_opacity="0.12", class_="lw-band", data_first=first, data_last=last,
        )
        for first, last in runs(in_view)
    ]  # fmt: skip


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbouring numbers, ascending."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _lines(curves: Curves, plot: Plot) -> Iterator[Markup]:
    """A line through what has a value, with gaps; a dot for each value."""
    for name, colour, values in zip(curves.names, curves.colours, curves.values.tolist(), strict=True):
        # What a logarithmic scale has no place for is a gap, too.
        there = [isfinite(value) and (value > 0 or not plot.scale.log) for value in values]
        points = [(plot.x(layer), plot.y(value)) for layer, value in zip(curves.layers, values, strict=True)]
        for piece in _pieces(points, there):
            if len(piece) > 1:
                yield polyline(piece, stroke=colour, stroke_width=2, stroke_linejoin="round")
        for place, (x, y) in enumerate(points):
            if there[place]:
                yield circle(x, y, 2.3, fill=colour, **_said(curves.layers[place], name, values[place]))


def _pieces(points: Sequence[tuple[float, float]], there: Sequence[bool]) -> list[list[tuple[float, float]]]:
    """The points between gaps."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for point, drawn in zip(points, there, strict=True):
        if drawn:
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return pieces


def _said(layer: int, name: str, value: float) -> dict[str, str | float | None]:
    """What a dot or bar is of; read by tests, scripts and screen readers."""
    return {"data_layer": layer, "data_name": name or None, "data_value": f"{value:.9g}"}


def _bars(curves: Curves, plot: Plot) -> Iterator[Markup]:
    count, single = len(curves.names), len(curves.names) == 1
    width = 0.8 * plot.step / (count if curves.marks == "grouped" else 1)
    for place, layer in enumerate(curves.layers):
        reached = {True: 0.0, False: 0.0}
        for which, (name, colour) in enumerate(zip(curves.names, curves.colours, strict=True)):
            value = float(curves.values[which, place])
            if not isfinite(value):
                continue
            base = reached[value >= 0] if curves.marks == "stacked" else 0.0
            reached[value >= 0] = base + value
            low, high = sorted((plot.y(base), plot.y(base + value)))
            left = plot.x(layer) - 0.4 * plot.step + (which * width if curves.marks == "grouped" else 0)
            fill = BELOW_COLOUR if single and value < 0 else colour
            yield rect(left, low, width, high - low, fill=fill, **_said(layer, name, value))


def _overlays(curves: Curves, plot: Plot) -> Iterator[Markup]:
    for over in curves.overlays:
        points = [(plot.x(x), plot.y(y)) for x, y in zip(over.x, over.y, strict=True)]
        yield polyline(points, stroke=over.colour, stroke_width=over.width, **_gone_through(over))


def _gone_through(over: Overlay) -> dict[str, str | float | None]:
    """What a line is of, where it has values at layers: one without dots says so itself."""
    there = [(round(x), y) for x, y in zip(over.x, over.y, strict=True) if x == round(x)]
    if not there:
        return {}
    layers, values = (" ".join(words) for words in zip(*((str(x), f"{y:.9g}") for x, y in there), strict=True))
    return {"data_name": over.name, "data_layers": layers, "data_values": values}
