"""What is saved is what is on the screen, of every view: cells, bitmaps, bars and words, in both themes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import Browser

import layerwidget as lw
from layerwidget.figures.themes import Colour, Theme, colour_of, ramp, theme_of
from layerwidget.widgets.base import View
from layerwidget.widgets.logit_lens_view import COLOURS
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.picture import Pictured
from layerwidget.widgets.target_editor import TargetEditor
from tests.browser.live_pictures import Drawn, css_colour, drawn_in, recorded
from tests.pictures import SVG, elements, embedded
from tests.tiny import N_LAYERS, letters, tiny

THEMES = ("paper", "dark")
#: What paper says in other words: those of the screen.
OTHERWISE = {"layers 1–2 of 3 in view": "layers 1 to 2, layer 1 chosen"}
#: On paper, names stand before what is chosen, or written, in a field that has its name beside it on the screen.
NAMES = re.compile(r"^(colour|compared with|prompt|target): |[“”()]")


@dataclass(frozen=True)
class Case:
    """A view as it was at one moment.

    Attributes:
        kind: its type.
        drawn: whether there is a result to be drawn.
        live: what a browser needs to draw it.
        saved: theme -> SVG.
    """

    kind: str
    drawn: bool
    live: dict[str, Any]
    saved: dict[str, str]


@dataclass(frozen=True)
class Both:
    """The same view on the screen and on paper."""

    kind: str
    drawn: bool
    live: Drawn
    svg: str
    theme: Theme

    def cells(self, key: str = "data-layer", kind: str = "rect") -> list[dict[str, str]]:
        """The cells on paper that say something."""
        return [cell for cell in elements(self.svg, kind, "lw-cell") if key in cell]

    def words(self) -> Counter[tuple[str, Colour]]:
        """All words on paper with their colours."""
        found: Counter[tuple[str, Colour]] = Counter()

        def walk(node: ElementTree.Element, fill: str) -> None:
            own = node.get("fill", fill)
            if node.tag == f"{SVG}text":
                found["".join(node.itertext()), colour_of(own)] += 1
            for child in node:
                walk(child, own)

        walk(ElementTree.fromstring(self.svg.encode()), self.theme.ink)
        return found


def case_of(view: Any) -> Case:
    saved = {theme: view.to_svg(theme=theme) for theme in THEMES}
    drawn = bool(view.shown.layers) or isinstance(view, lw.LayerMap | lw.LayerSlider)
    return Case(type(view).__name__, drawn, recorded(view, view.picture_width), saved)


def of_an_explorer(model: lw.HookedModel) -> Iterator[tuple[str, Any]]:
    """Every view of every page."""
    explorer = lw.Explorer(model, "abcdef", pages=[page.page_name for page in PAGES])
    explorer.page("compare").prompt = "abxdef"
    explorer.layers, explorer.layer, explorer.position, explorer.head = "1-2", 1, 3, 2
    explorer.wait()
    explorer.page("neurons").table.neuron = 4
    explorer.wait()
    views = [part for part in parts_of(explorer) if isinstance(part, View) and isinstance(part, Pictured)]
    for place, view in enumerate(sorted(views, key=lambda view: view.js_module)):
        yield f"{place}: {type(view).__name__} {getattr(view, 'title', '')}", view
    explorer.close()


def alone(model: lw.HookedModel) -> Iterator[tuple[str, Any]]:
    """Views with choices that no page begins with."""
    trace = model.trace("abcdef")
    lens, attention = lw.LogitLens(k=4, tokens=(7, 3)).run(trace), lw.Attention().run(trace)
    for colour in COLOURS:
        yield f"lens {colour}", lw.LogitLensView(lens, layers="1-2", layer=1, position=2, token=3, colour=colour)
    chosen: dict[str, Any] = {"layer": 1, "head": 2, "position": 4}
    yield "attention with its first token", lw.AttentionView(attention, hide_first=False, arcs=True, **chosen)
    yield "attention without its first token", lw.AttentionView(attention, hide_first=True, **chosen)
    yield "mean attention", lw.AttentionView(attention, show_heads="mean", **chosen)
    yield "lengths", lw.AttentionView(lw.ValueWeightedAttention().run(trace), **chosen)
    cross = lw.HookedModel(tiny("bart"), letters(), "tiny").trace("abcd", target="efg")
    target = TargetEditor("efg", lw.PromptEditor("abcd"), position=1)
    target.show_both(cross.tokens)
    yield "target", target
    yield "cross-attention", lw.AttentionView(lw.CrossAttention().run(cross), layer=1, head=1, position=1)
    values = np.array([[0.5, -2, np.nan, 4], [1, 0, -4, 0.25]], np.float32)
    for kind in ("signed", "log", "one-sided"):
        heat = lw.HeatGrid(title="Heat", layer=2, column=1)
        drawn = values if kind == "signed" else np.abs(values) + 0.01
        heat.show([lw.Sheet("x", drawn, "nats", kind)], lw.HeatColumns(("a", "b", "c", "d")), layers=(1, 2))  # type: ignore[arg-type]
        yield f"heat {kind}", heat


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    model = lw.HookedModel(tiny("llama"), letters(), "tiny")
    found = {}
    for views in (of_an_explorer(model), alone(model)):
        found |= {name: case_of(view) for name, view in views}
    return found


@pytest.fixture(scope="module", params=THEMES)
def both(request: pytest.FixtureRequest, browser: Browser, cases: dict[str, Case]) -> dict[str, Both]:
    theme = theme_of(request.param)
    live = drawn_in(browser, {name: case.live for name, case in cases.items()}, theme)
    return {
        name: Both(case.kind, case.drawn, live[name], case.saved[request.param], theme) for name, case in cases.items()
    }  # fmt: skip


def same_grid(both: Both) -> None:
    """Cells of a grid, row by row."""
    cells = both.cells()
    assert len(cells) > 3
    assert [colour for _, colour in both.live.boxes()] == [colour_of(cell["fill"]) for cell in cells]


def same_lens(both: Both) -> None:
    same_grid(both)
    bars = [float(bar["data-value"]) for bar in elements(both.svg, "rect", "lw-bar")]
    assert bars
    live = both.live.bars[: len(bars)]
    np.testing.assert_allclose([width for _, width, _ in live], bars, atol=0.02)
    assert {css_colour(colour) for *_, colour in live} == {colour_of(both.theme.data)}


def same_strip(both: Both) -> None:
    cells = [cell for cell in both.cells() if "data-level" in cell]
    assert [colour for _, colour in both.live.boxes()] == [colour_of(cell["fill"]) for cell in cells]
    steps = [one for one in elements(both.svg, "rect", "") if "data-count" in one]
    new = ramp(both.theme).fills[205]
    live = [box[3] for box, colour in both.live.boxes(1) if colour == colour_of(new)]
    assert len(live) == len(steps) == N_LAYERS
    np.testing.assert_allclose(shares(live), shares([float(one["height"]) for one in steps]), atol=0.01)


def shares(lengths: list[float]) -> np.ndarray:
    found: np.ndarray = np.array(lengths) / max(lengths)
    return found


def same_matrix(both: Both, canvas: int = 0) -> None:
    """The bitmap of a matrix against the cells on paper; where none is, there is the ground."""
    (bitmap,) = both.live.bitmaps(canvas)
    expected = np.full((*bitmap.shape[:2], 3), colour_of(ramp(both.theme).fills[0]))
    cells = both.cells("data-query")
    assert cells
    for cell in cells:
        expected[int(cell["data-query"]), int(cell["data-key"])] = colour_of(cell["fill"])
    np.testing.assert_array_equal(bitmap[..., :3], expected)


def same_heads(both: Both) -> None:
    same_matrix(both, 1)
    colours = np.array([colour_of(fill) for fill in ramp(both.theme).fills])
    tiles = elements(both.svg, "image", "lw-tile")
    bitmaps = both.live.bitmaps(0)
    assert len(tiles) == len(bitmaps) > 1
    for tile, bitmap in zip(tiles, bitmaps, strict=True):
        np.testing.assert_array_equal(bitmap[..., :3], colours[embedded(tile)])


def same_pair(both: Both) -> None:
    pairs = elements(both.svg, "image", "lw-pair")
    assert len(pairs) == 3
    for pair, bitmap in zip(pairs, both.live.bitmaps(), strict=True):
        saved = embedded(pair)
        np.testing.assert_array_equal(bitmap[..., 3], saved[..., 3])
        opaque = saved[..., 3] == 255
        np.testing.assert_array_equal(bitmap[opaque], saved[opaque])
    same_bars(both, both.cells("data-value"))


def same_bars(both: Both, cells: list[dict[str, str]]) -> None:
    """Bars that are elements: as long as each other alike, and of one colour."""
    live = [bar for bar in both.live.bars if bar[1] > 0]
    assert len(cells) == len(live) > 1
    assert [css_colour(colour) for *_, colour in live] == [colour_of(cell["fill"]) for cell in cells]
    # A bar that would not be seen is a px wide on the screen.
    np.testing.assert_allclose(shares([w for _, w, _ in live]), shares([float(c["width"]) for c in cells]), atol=0.02)


def same_parts(both: Both) -> None:
    same_bars(both, both.cells("data-name"))


def same_neurons(both: Both) -> None:
    same_bars(both, both.cells("data-neuron"))
    chips = [(cell["data-position"], colour_of(cell["fill"])) for cell in both.cells("data-position")]
    assert [colour for _, colour in chips] == [css_colour(colour) for _, colour in both.live.chips]


def same_columns(both: Both) -> None:
    """Bars on a canvas: all rectangles but the lines of the axis, which are as wide as the picture."""
    cells = both.cells("data-position")
    assert len(cells) > 3
    live = [(box, colour) for box, colour in both.live.boxes() if box[2] < 200]
    assert [colour for _, colour in live] == [colour_of(cell["fill"]) for cell in cells]
    heights = [box[3] for box, _ in live]
    np.testing.assert_allclose(shares(heights), shares([float(cell["height"]) for cell in cells]), atol=0.02)


def same_layers(both: Both) -> None:
    """Elements for layers, the last one on top: those in view in the colour of data, the chosen one outlined."""
    bars = both.cells() or elements(both.svg, "rect", "lw-chip")
    in_view = {int(bar["data-layer"]): bar["fill"] == both.theme.data for bar in bars}
    (here,) = elements(both.svg, "rect", "lw-here")
    saved = [[layer, in_view[layer], layer == int(here["data-layer"])] for layer in sorted(in_view, reverse=True)]
    assert both.live.layers == saved
    assert len({tuple(marks) for _, *marks in saved}) == 3


def same_words(_both: Both) -> None:
    """Nothing but words, which are compared of every view."""


CHECKS: dict[str, Callable[[Both], None]] = {
    "LogitLensView": same_lens, "HeatGrid": same_grid, "HeadMap": same_grid, "SettleStrip": same_strip,
    "AttentionView": same_heads, "RolloutView": same_matrix, "HeadCompareView": same_pair,
    "AttributionPanel": same_parts, "NeuronTable": same_neurons, "SourceBars": same_columns,
    "PositionLossView": same_columns, "LayerMap": same_layers, "LayerSlider": same_layers, "PromptEditor": same_words,
    "TargetEditor": same_words,
}  # fmt: skip


def kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_view_is_compared(cases: dict[str, Case]) -> None:
    every = {kind.__name__ for kind in kinds(View) if issubclass(kind, Pictured) and "layerwidget." in kind.__module__}
    assert set(CHECKS) == {case.kind for case in cases.values()} == every


@pytest.mark.parametrize("kind", CHECKS)
def test_values_and_colours_are_those_of_the_screen(both: dict[str, Both], kind: str) -> None:
    found = [one for one in both.values() if one.kind == kind]
    assert found
    for one in found:
        if one.drawn:
            CHECKS[kind](one)


def facts_of(texts: Iterable[str]) -> set[str]:
    """What is said one by one, without what only stands around it."""
    parts = [NAMES.sub("", fact.strip()).strip() for words in texts for fact in words.split("·")]
    return {OTHERWISE.get(part, part) for part in parts} - {""}


@pytest.mark.parametrize("kind", CHECKS)
def test_words_are_those_of_the_screen(both: dict[str, Both], kind: str) -> None:
    for name, one in both.items():
        if one.kind != kind:
            continue
        drawn, saved = Counter(one.live.words()), one.words()
        assert not drawn - saved, name
        on_screen, on_paper = [word for word, _ in drawn] + one.live.texts, [word for word, _ in saved]
        # What is open beside the stack is known to the page only.
        if kind != "LayerMap":
            assert not missing(facts_of(on_paper), on_screen), name
        assert not missing(facts_of(one.live.said), on_paper), name


def missing(facts: set[str], texts: list[str]) -> list[str]:
    """The facts that none of some texts says, nor all of them one after the other: lines are broken on paper."""
    said = [NAMES.sub("", text) for text in texts]
    whole = " ".join(said)
    return sorted(fact for fact in facts if fact not in whole and not any(fact in text for text in said))
