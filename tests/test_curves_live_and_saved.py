"""Curves and bars as bqplot draws them against those that are saved, of every figure over layers and every quantity."""

from __future__ import annotations

from collections.abc import Iterator

import bqplot
import numpy as np
import pytest

import layerwidget as lw
from layerwidget.figures.number_words import tick_text
from layerwidget.widgets.attribution_figure import AttributionFigure
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.tuned_curves import HeldOutCurves, TrustCurves
from tests.every_answer import one_of_each
from tests.pictures import elements, words
from tests.tiny import letters, tiny


@pytest.fixture(scope="module")
def figures() -> Iterator[list[LayerFigure]]:
    """One of every type, with something to draw."""
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abcdef")
    explorer.pages = [page.page_name for page in PAGES]
    explorer.layers, explorer.layer, explorer.position = "1-2", 1, 3
    # What is only asked when it is drawn is known from the start.
    explorer.lens_view.colour = "jsd"
    explorer.wait()
    found = {type(part): part for page in explorer.stack.open_pages for part in parts_of(page)
             if isinstance(part, LayerFigure)}  # fmt: skip
    answers = one_of_each()
    effects = found[next(kind for kind in found if kind.__name__ == "SkipFigure")]
    effects.show(answers["skipped"])  # type: ignore[attr-defined]
    held_out = HeldOutCurves()
    held_out.show(answers["training"])
    yield [*(figure for kind, figure in found.items() if kind not in (HeldOutCurves, TrustCurves)), held_out]
    explorer.close()


def live_values(figure: LayerFigure) -> list[tuple[int, float, str]]:
    """Layer, value and colour of everything that bqplot draws."""
    if figure.lines.visible:
        # Bqplot draws a single layer as two equal points.
        last = 1 if len(set(figure.lines.x)) == 1 else None
        return [
            (int(layer), float(value), colour)
            for values, colour in zip(np.atleast_2d(figure.lines.y), figure.lines.colors, strict=True)
            for layer, value in zip(figure.lines.x[:last], values[:last], strict=True) if np.isfinite(value)
        ]  # fmt: skip
    bars = figure.bars
    assert bars is not None
    assert bars.visible
    rows, alone = np.atleast_2d(bars.y), bars.color_mode == "no_group"
    return [
        (int(layer), float(row[place]), bars.colors[place if alone else which])
        for which, row in enumerate(rows) for place, layer in enumerate(bars.x) if row[place]
    ]  # fmt: skip


def saved_values(svg: str) -> list[tuple[int, float, str]]:
    dots = [one for kind in ("circle", "rect") for one in elements(svg, kind, "") if "data-value" in one]
    return [(int(one["data-layer"]), float(one["data-value"]), one["fill"]) for one in dots if float(one["data-value"])]


def check(figure: LayerFigure) -> None:
    svg = figure.to_svg()
    live, saved = live_values(figure), saved_values(svg)
    assert live
    live = [one for one in live if one[1]]
    assert sorted((layer, colour) for layer, _, colour in live) == sorted((layer, colour) for layer, _, colour in saved)
    np.testing.assert_allclose(sorted(one[1] for one in live), sorted(one[1] for one in saved), rtol=2e-5)
    check_axis(figure, svg)
    check_marks(figure, svg)
    names = [label for label in figure._names if label.layout.display != "none"]
    assert {label.value[2:] for label in names} <= set(words(svg))


def check_axis(figure: LayerFigure, svg: str) -> None:
    """The same ticks, and dots that stand as high as their values say, the right way up."""
    mark = figure.lines if figure.lines.visible else figure.bars
    assert mark is not None
    scale, axis = mark.scales["y"], figure.figure.axes[1]
    assert axis.scale is scale
    # Where there are many, paper leaves out every other one.
    ticks = [tick_text(float(tick), axis.tick_format) for tick in axis.tick_values]
    assert set(ticks[::2]) <= set(words(svg))
    dots = [one for one in elements(svg, "circle", "") if "data-value" in one]
    if len({one["data-value"] for one in dots}) < 2:
        return
    values, heights = (np.array([float(one[key]) for one in dots]) for key in ("data-value", "cy"))
    values = np.log10(values) if isinstance(scale, bqplot.LogScale) else values
    slope, start = np.polyfit(values, heights, 1)
    np.testing.assert_allclose(slope * values + start, heights, atol=0.1)
    assert (slope > 0) == bool(scale.reverse)


def check_marks(figure: LayerFigure, svg: str) -> None:
    """The layers in view, and the chosen one."""
    bands = elements(svg, "rect", "lw-band")
    shaded = {layer for band in bands for layer in range(int(band["data-first"]), int(band["data-last"]) + 1)}
    assert shaded == {int(x + 0.5) for x, y in zip(figure._band.x[::2], figure._band.y[::2], strict=True) if y}
    (cursor,) = elements(svg, "line", "lw-cursor")
    assert set(figure._cursor.x) == {int(cursor["data-layer"])}


def test_every_figure_is_drawn_as_it_is_saved(figures: list[LayerFigure]) -> None:
    every = {kind.__name__ for kind in LayerFigure.__subclasses__() if kind.__module__.startswith("layerwidget.")}
    assert {type(figure).__name__ for figure in figures} == every - {"TrustCurves"}
    for figure in figures:
        for quantity in figure.quantities:
            figure.quantity = quantity
            check(figure)


def test_the_sum_over_layers_is_drawn_as_it_is_saved(figures: list[LayerFigure]) -> None:
    (figure,) = (one for one in figures if isinstance(one, AttributionFigure))
    paths = elements(figure.to_svg(), "path", "")
    (line,) = (one for one in paths if one.get("stroke") == figure.running.colors[0])
    points = np.array(
        [[float(number) for number in pair.split(",")] for pair in line["d"].removeprefix("M").split("L")]
    )
    for place, values in enumerate((figure.running.x, figure.running.y)):
        slope, start = np.polyfit(values, points[:, place], 1)
        np.testing.assert_allclose(slope * np.asarray(values) + start, points[:, place], atol=0.1)
        assert (slope > 0) == (place == 0)
