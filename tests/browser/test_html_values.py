"""What every view of an exported page says under the pointer is what Python says; the slider moves all of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import layerwidget as lw
from tests.browser.all_views import (
    FIRST,
    HEAD,
    LAST,
    LAYER,
    N_LAYERS,
    NEURON,
    PAGES,
    POSITION,
    PROMPT,
    Recorded,
    random_encoder_decoder,
    recorded_views,
)
from tests.browser.explorer_page import column_width

N_POS = len(PROMPT)
NUMBERS_WIDTH, LABELS_HEIGHT = 26, 22
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
#: What was drawn is what was pointed at: pages draw in the frame after the pointer has moved.
_DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded_views(tmp_path_factory.mktemp("values") / "all.html")


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(browser: Browser, recorded: Recorded, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, opened once in each theme."""
    with opened_file(browser, recorded.path, request.param) as page:
        yield page


@contextmanager
def opened_file(browser: Browser, path: Path, scheme: Literal["light", "dark"]) -> Iterator[Page]:
    """A page, opened from a file, with every network blocked."""
    context = browser.new_context(viewport={"width": 1280, "height": 1400}, color_scheme=scheme, offline=True)
    asked: list[str] = []
    said: list[str] = []
    context.route(re.compile("^(?!file:)"), lambda route: route.abort())
    page = context.new_page()
    page.on("request", lambda one: asked.append(one.url))
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    expect(page.locator("#lw-page")).to_have_class(re.compile("lw-ready"), timeout=60_000)
    ground = page.evaluate("getComputedStyle(document.querySelector('.lw-lens')).backgroundColor")
    assert ground == ("rgb(17, 19, 23)" if scheme == "dark" else "rgb(255, 255, 255)")
    yield page
    context.close()
    assert asked == [path.as_uri()]
    assert not said, said


class Reader:
    """A person who points at things in one page of an exported explorer and reads what is said of them."""

    def __init__(self, page: Page, name: str, pages: Sequence[str] = PAGES) -> None:
        self.page = page
        # Where a test before this one has ended in the middle of a drag.
        page.mouse.up()
        page.mouse.move(0, 0)
        page.get_by_role("tab").nth(pages.index(name)).click()
        expect(page.locator(f".lw-only-{name}")).to_be_visible()
        self.drawn()

    def drawn(self) -> None:
        self.page.evaluate(_DRAWN)

    def all(self, selector: str) -> Locator:
        return self.page.locator(f"{selector}:visible")

    def point(self, canvas: Locator, places: Iterable[tuple[float, float]]) -> Iterator[None]:
        """Points at places of a canvas, in px from its left upper corner, one after the other."""
        canvas.scroll_into_view_if_needed()
        self.drawn()
        box = canvas.bounding_box()
        assert box is not None
        for x, y in places:
            self.page.mouse.move(box["x"] + x, box["y"] + y)
            self.drawn()
            yield

    def cells(self, view: Locator, cells: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Points at cells `(layer, column)` of a grid of layers."""
        scroll = view.locator(".lw-scroll")
        column, canvas = column_width(scroll), scroll.locator("canvas")
        height = (canvas.evaluate("node => node.clientHeight") - LABELS_HEIGHT) / (LAST - FIRST + 1)
        places = [(NUMBERS_WIDTH + (at + 0.5) * column, (LAST - layer + 0.5) * height) for layer, at in cells]
        yield from (cell for cell, _ in zip(cells, self.point(canvas, places), strict=True))


@pytest.fixture
def reader(opened: Page, request: pytest.FixtureRequest) -> Reader:
    return Reader(opened, request.param)


def same(said: str, value: float) -> bool:
    """Whether a number as it is written is this one, to three decimals or to as many more as are written."""
    exponent = Decimal(said).as_tuple().exponent
    assert isinstance(exponent, int)
    places = 10.0 ** min(-3, exponent)
    return abs(float(said) - value) <= places / 2 + 1e-6 * max(1.0, abs(value))


def agree(text: str, values: Iterable[float]) -> None:
    """The numbers of a text are these."""
    found = _NUMBER.findall(text)
    assert found, text
    told = list(values)
    assert len(found) == len(told), (text, told)
    assert all(same(one, value) for one, value in zip(found, told, strict=True)), (text, told)


CELLS = [(6, 0), (4, 3), (3, 1), (2, 2)]
BY_POSITION = [(6, 1), (5, 12), (3, 7), (2, 4)]


@pytest.mark.parametrize(
    ("reader", "cells"),
    [("residual", BY_POSITION), ("attention", CELLS), ("attribution", CELLS), ("compare", BY_POSITION)],
    indirect=["reader"], ids=lambda one: one if isinstance(one, str) else "",
)  # fmt: skip
def test_cells_of_every_heat_grid(reader: Reader, recorded: Recorded, cells: list[tuple[int, int]]) -> None:
    name = next(page for page in PAGES if reader.page.locator(f".lw-only-{page}").count())
    grids = [(recorded.sheets(name), cells)]
    grids += [(recorded.moved_heads(), CELLS)] if name == "compare" else []
    for place, (sheets, wanted) in enumerate(grids):
        view = reader.all(".lw-heat").nth(place)
        choice = view.locator("select.lw-choice").last
        offered = choice.locator("option").all_inner_texts() if choice.count() else [*sheets]
        in_words = [sheet for sheet in offered if sheet in recorded.WORDS]
        assert in_words == ([*recorded.WORDS] if name == "compare" and place == 0 else [])
        assert set(offered) <= {*sheets, *in_words}, (offered, [*sheets])
        for sheet in in_words:
            choice.select_option(sheet)
            _said_in_words(reader, recorded, view, sheet, wanted)
        for sheet in (one for one in offered if one not in in_words):
            values = sheets[sheet]
            if len(offered) > 1:
                choice.select_option(sheet)
            for layer, column in reader.cells(view, wanted):
                said = view.locator(".lw-heat-readout").inner_text()
                assert said.startswith(f"layer {layer} · "), said
                number = said.rsplit(": ", 1)[1]
                if np.isnan(values[layer, column]):
                    assert number == "no value", (sheet, said)
                else:
                    agree(number.split(" ")[0], [float(values[layer, column])])


def _said_in_words(
    reader: Reader, recorded: Recorded, view: Locator, sheet: str, cells: Sequence[tuple[int, int]]
) -> None:
    """Both words or layers of a cell, and a number where there is one."""
    for layer, column in reader.cells(view, cells):
        words, amount = recorded.words(sheet, layer, column)
        token = f"“{PROMPT[column]}” ({column})"
        start = f"layer {layer} · A {token}, B {token} · {sheet}: {words}"
        said = view.locator(".lw-heat-readout").inner_text()
        assert said.startswith(start), (said, start)
        if amount:
            agree(said.removeprefix(start), [amount])
        else:
            assert said == start


@pytest.mark.parametrize("reader", ["lens", "tuned"], indirect=True)
def test_cells_of_every_lens(reader: Reader, recorded: Recorded) -> None:
    lenses = recorded.lenses[:1] if reader.all(".lw-lens").count() == 1 else recorded.lenses[1:]
    assert reader.all(".lw-lens").count() == len(lenses)
    for place, lens in enumerate(lenses):
        view = reader.all(".lw-lens").nth(place)
        for layer, column in reader.cells(view, BY_POSITION):
            title = view.locator(".lw-top .lw-panel-title").first
            assert (
                " ".join(title.inner_text().split()) == f"layer {layer} · after “{PROMPT[column]}” (position {column})"
            )
            numbers = view.locator(".lw-words .lw-number:visible").all_inner_texts()
            assert numbers == [f"{one:.3f}" for one in lens.top_probs[layer, column, : len(numbers)]]
            assert len(numbers) >= 5
            entropy, kl = view.locator(".lw-cell-facts .lw-number").all_inner_texts()[:2]
            agree(entropy, [lens.entropy_nats[layer, column]])
            agree(kl, [lens.kl_to_final_nats[layer, column]])


SOURCE, TARGET = PROMPT, "jumpsoverlazyd"


def test_cells_of_cross_attention(browser: Browser, tmp_path: Path) -> None:
    """Rows are the target, columns the source, which the other pages have no place for."""
    model = random_encoder_decoder()
    path, pages = tmp_path / "cross.html", ["lens", "cross"]
    place = lw.Selection(layer=2, head=1, position=5)
    explorer = lw.Explorer(model, SOURCE, target=TARGET, layers="0-2", selection=place, pages=pages)
    explorer.wait()
    explorer.to_html(path)
    explorer.close()
    weights = lw.CrossAttention().run(model.trace(SOURCE, target=TARGET)).pattern[2, 1]
    # The letter that the decoder starts with.
    written = model.tokenizer.decode([model.hf_model.config.decoder_start_token_id]) + TARGET
    with opened_file(browser, path, "light") as page:
        reader, places = Reader(page, "cross", pages), set()
        for _ in reader.point(reader.all(".lw-attention .lw-matrix canvas").first, SPOTS):
            text = reader.all(".lw-attention .lw-facts").first.inner_text()
            found = re.match(r"“(\w)” → “(\w)” (\S+)", text)
            assert found, text
            cell = written.index(found[1]), SOURCE.index(found[2])
            agree(found[3], [weights[cell]])
            places.add(cell)
        assert len(places) == len(SPOTS), places


@pytest.mark.parametrize("reader", ["map"], indirect=True)
def test_the_map_says_how_large_everything_is(reader: Reader, recorded: Recorded) -> None:
    llama = recorded.model.hf_model
    title, facts = reader.all(".lw-map-head-title"), reader.all(".lw-map-head-facts")
    # Last the one that other tests have chosen.
    for layer in (5, LAYER):
        reader.all(f".lw-map-layers [data-layer='{layer}']").click()
        expect(title).to_have_text(f"Layer {layer}")
        n_params = sum(one.numel() for one in llama.model.layers[layer].parameters())
        expect(facts).to_contain_text(f"{n_params:,} parameters")
    reader.all(".lw-map-close").click()
    expect(title).to_have_text("The whole model")
    expect(facts).to_contain_text(f"{sum(one.numel() for one in llama.parameters()):,} parameters")


#: Page -> a matrix, the text beside it, what the text says of a cell, and places in it, px.
MATRICES = {
    "lens": (".lw-attention .lw-matrix", ".lw-attention .lw-facts", r"“(\w)” → “(\w)” (\S+)"),
    "attention": (".lw-attention .lw-matrix", ".lw-attention .lw-facts", r"“(\w)” → “(\w)” (\S+)"),
    "rollout": (".lw-rollout .lw-matrix", ".lw-rollout .lw-facts", r"“(\w)” from “(\w)” (\S+)"),
    "compare": (
        ".lw-pair-matrices",
        ".lw-head-pair .lw-heat-readout",
        r"“(\w).*” .*→ “(\w).*” .* A (\S+) · B (\S+) .* (\S+)",
    ),
}
SPOTS = [(120.0, 75.0), (150.0, 100.0), (190.0, 160.0), (120.0, 200.0), (230.0, 240.0)]


@pytest.mark.parametrize(
    ("reader", "matrix"), [("attention" if name == "rollout" else name, name) for name in MATRICES],
    indirect=["reader"], ids=[*MATRICES],
)  # fmt: skip
def test_cells_of_every_matrix(reader: Reader, recorded: Recorded, matrix: str) -> None:
    where, beside, said = MATRICES[matrix]
    first, second = (pattern[LAYER, HEAD] for pattern in recorded.patterns)
    weighted = lw.ValueWeightedAttention().run(recorded.trace).norms[LAYER, HEAD]
    rollout = lw.AttentionRollout(f"{FIRST}-{LAST}", hide_first=True).run(recorded.trace).rollout
    values = {
        "lens": [first], "attention": [weighted], "rollout": [rollout], "compare": [first, second, second - first],
    }[matrix]  # fmt: skip
    places = set()
    for _ in reader.point(reader.all(f"{where} canvas").first, SPOTS):
        text = reader.all(beside).first.inner_text()
        found = re.match(said, text)
        assert found, text
        query, key = (PROMPT.index(letter) for letter in found.groups()[:2])
        for number, each in zip(found.groups()[2:], values, strict=True):
            agree(number, [each[query, key]])
        places.add((query, key))
    assert len(places) == len(SPOTS), places
    assert any(values[-1][place] >= 0.0005 for place in places)


@pytest.mark.parametrize("reader", ["lens", "tuned", "residual", "attribution", "depth"], indirect=True)
def test_values_of_every_figure_by_pointer_and_by_key(reader: Reader, recorded: Recorded) -> None:
    name = next(page for page in PAGES if reader.page.locator(f".lw-only-{page}").count())
    figures = recorded.figures(name)
    assert reader.all(".lw-figure-stage").count() == len(figures)
    for place, quantities in enumerate(figures):
        figure = reader.all(".lw-recorded-figure").nth(place)
        for quantity, curves in quantities.items():
            if len(quantities) > 1:
                figure.locator(f'[data-quantity="{quantity}"]').click()
            _pointed(reader, figure, curves)
            _walked(reader, figure, curves)


def _pointed(reader: Reader, figure: Locator, curves: list[np.ndarray]) -> None:
    """The pointer over a layer is told all of its values."""
    stage = figure.locator(".lw-figure-stage")
    stage.scroll_into_view_if_needed()
    box, frame = stage.bounding_box(), stage.locator("svg").first.evaluate(
        "({ dataset: { x0, step } }) => [Number(x0), Number(step)]"
    )  # fmt: skip
    scale = stage.locator("svg .lw-cursor").evaluate("node => { const { a, e } = node.getScreenCTM(); return [a, e]; }")
    assert box is not None
    for layer in (1, 3, 4):
        x = scale[1] + scale[0] * (frame[0] + layer * frame[1])
        reader.page.mouse.move(x, box["y"] + box["height"] / 2)
        reader.drawn()
        said = figure.locator(".lw-bar .lw-detail").inner_text().removeprefix(" · ").strip("· ")
        assert said.startswith(f"layer {layer}: "), said
        each = [one.rsplit(" ", 1)[-1] for one in said.split(": ", 1)[1].split(" · ")]
        agree(" ".join(each), [float(values[layer]) for values in curves])
    reader.page.mouse.move(0, 0)


def _walked(reader: Reader, figure: Locator, curves: list[np.ndarray]) -> None:
    """By keyboard every curve is gone along, from its first value on."""
    stage, keyboard = figure.locator(".lw-figure-stage"), reader.page.keyboard
    figure.locator(".lw-twin-button").focus()
    for _ in range(8):
        if stage.evaluate("node => node === document.activeElement"):
            break
        keyboard.press("Tab")
    expect(stage).to_be_focused()
    said = figure.locator(".lw-bar .lw-detail")
    expect(stage.locator(".lw-point")).to_have_count(1)
    for place, values in enumerate(curves):
        keyboard.press("Home")
        for _ in range(2):
            keyboard.press("ArrowRight")
        third = int(np.flatnonzero(np.isfinite(values))[2])
        expect(said).to_contain_text(f"layer {third}: ")
        agree(said.inner_text().rsplit(" ", 1)[-1], [float(values[third])])
        if place + 1 < len(curves):
            keyboard.press("ArrowDown")
    expect(reader.page.get_by_role("status")).to_contain_text(said.inner_text().removeprefix(" · ").strip("· "))


@pytest.mark.parametrize("reader", ["depth"], indirect=True)
def test_the_depth_profile_says_ranks_and_losses(reader: Reader, recorded: Recorded) -> None:
    lens = recorded.lenses[0]
    settled, emerged = lw.SettleDepth().run(recorded.trace).layer, lw.Emergence().run(recorded.trace).layer
    view = reader.all(".lw-settle")
    for layer, column in reader.cells(view, BY_POSITION):
        said = view.locator(".lw-heat-readout").inner_text().removesuffix(", the most probable")
        assert said.startswith(f"after “{PROMPT[column]}” (position {column})"), said
        told = (column, settled[column], 10, emerged[column], layer, lens.final_ranks[layer, column])
        agree(re.sub("“[^”]*”", "", said), map(float, told))
    losses, bars = lw.PositionLoss().run(recorded.trace).nats, reader.all(".lw-loss canvas")
    places = (1, 6, N_POS - 1)
    wide = column_width(reader.all(".lw-loss-stage"))
    pointed = reader.point(bars, [(38 + (place + 0.5) * wide, 80) for place in places])
    for place, _ in zip(places, pointed, strict=True):
        said = reader.all(".lw-loss .lw-heat-readout").inner_text()
        assert said.startswith(f"“{PROMPT[place]}” (position {place}): "), said
        agree(said.split(": ")[1].split(" nats")[0], [losses[place]])


@pytest.mark.parametrize("reader", ["attribution"], indirect=True)
def test_parts_and_sources_of_a_logit(reader: Reader, recorded: Recorded) -> None:
    grid = recorded.attribution
    values = {**dict(zip(grid.names, grid.values.tolist(), strict=True)), "logit": grid.logit}
    rows = reader.page.locator(".lw-attribution .lw-part:visible")
    names, numbers = (rows.locator(f"> {part}").all_inner_texts() for part in (":first-child", ".lw-number"))
    told = {name: number for name, number in zip(names, numbers, strict=True) if name in values}
    assert len(told) >= 10
    for name, number in told.items():
        agree(number, [values[name]])
    sources = lw.HeadSources(LAYER, HEAD, position=POSITION).run(recorded.trace).sources
    places = set()
    for _ in reader.point(reader.all(".lw-sources canvas"), [(60.0, 100.0), (150.0, 100.0), (250.0, 100.0)]):
        said = reader.all(".lw-sources .lw-heat-readout").inner_text()
        found = re.fullmatch(r"“(\w)” \(position (\d+)\): (\S+) logits", said)
        assert found, said
        place = int(found[2])
        assert PROMPT[place] == found[1]
        agree(found[3], [sources[place]])
        places.add(place)
    assert len(places) == 3


@pytest.mark.parametrize("reader", ["neurons"], indirect=True)
def test_neurons_and_one_of_them_over_the_prompt(reader: Reader, recorded: Recorded) -> None:
    grid = lw.Neurons(LAYER, POSITION, k=24, neuron=NEURON).run(recorded.trace)
    assert grid.gates is not None
    assert grid.ups is not None
    assert grid.by_position is not None
    rows = reader.all(".lw-neuron-rows .lw-neuron")
    for row in (0, 1, 7):
        cells = [rows.nth(row).locator(f".lw-neuron-{name}").inner_text() for name in ("name", *_OF_A_NEURON)]
        values = (grid.contributions, grid.activations, grid.gates, grid.ups)
        agree(" ".join(cells), [float(grid.neurons[row]), *(float(one[row]) for one in values)])
    for place in (0, 8, 14):
        reader.all(".lw-neuron-chip").nth(place).hover()
        said = reader.all(".lw-neurons .lw-heat-readout").inner_text()
        assert said.startswith(f"“{PROMPT[place]}” (position {place})"), said
        agree(said.rsplit(" ", 1)[1], [float(grid.by_position[place])])


_OF_A_NEURON = ("value", "activation", "gate", "up")

#: Whether these are the first and last layer that are shaded in each of the figures that are seen.
_SHADED = """(figures) => figures.map((figure) => {
    const [{ x0, step }, band] = [figure.querySelector("svg").dataset, figure.querySelector(".lw-band")];
    const [x, width] = ["x", "width"].map((name) => Number(band.getAttribute(name)));
    return [(x - x0) / step + 0.5, (x + width - x0) / step - 0.5].map(Math.round);
})"""


#: Page -> what of it shows a range of layers, and says which; figures shade them.
RANGED = {
    "lens": [".lw-lens", ".lw-attention"], "tuned": [".lw-lens >> nth=0", ".lw-lens >> nth=1"],
    "residual": [".lw-heat"], "attention": [".lw-heat", ".lw-attention"], "attribution": [".lw-heat"],
    "depth": [".lw-settle"], "compare": [".lw-heat:visible:not(.lw-blank)"],
}  # fmt: skip


@pytest.mark.parametrize("reader", RANGED, indirect=True)
def test_the_slider_moves_every_view(reader: Reader) -> None:
    """While it is dragged, and once it is released; afterwards it is where it was."""
    name = next(page for page in PAGES if reader.page.locator(f".lw-only-{page}").count())
    mouse, stage = reader.page.mouse, reader.all(".lw-rail-stage").bounding_box()
    thumb = reader.all(".lw-thumb-first")
    thumb.scroll_into_view_if_needed()
    box = thumb.bounding_box()
    assert stage is not None
    assert box is not None
    x, y, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, stage["height"] / N_LAYERS
    mouse.move(x, y)
    mouse.down()
    for first in (4, 1, FIRST):
        mouse.move(x, y - (first - FIRST) * height, steps=3)
        if first == FIRST:
            mouse.up()
        for view in RANGED[name]:
            grids = reader.page.locator(f".lw-only-{name} {view}")
            assert grids.count()
            for grid in grids.all():
                # Of two runs' attention there is what was on screen when the page was made.
                recorded = name == "compare" and "Heads" in grid.inner_text()
                held = max(first, FIRST) if recorded else first
                expect(grid).to_contain_text(f"layers {held}–{LAST}")
        reader.drawn()
        shaded = reader.all(".lw-recorded-figure .lw-figure-stage").evaluate_all(_SHADED)
        assert shaded == [[first, LAST]] * len(shaded)
        if name == "attention":
            # It would have to be computed for other layers.
            note = reader.page.locator(".lw-rollout .lw-panel-title")
            (expect(note).not_to_contain_text if first == FIRST else expect(note).to_contain_text)(
                "Recorded for layers 2–6"
            )
