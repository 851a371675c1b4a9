"""The same widgets in Notebook 7, Voila and marimo: they work there, and look like what is around them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Route, expect

from layerwidget.figures.map_figure import short_amount
from tests.browser.explorer_page import ExplorerPage
from tests.browser.front_ends import MarimoServer, NotebookServer, VoilaServer, write_app
from tests.browser.jupyter import running_server
from tests.browser.notebook import OUTPUT, Notebook, rest

PROMPT = "The Eiffel Tower is in the city of"
OTHER = "The Louvre Museum is in the city of"
#: Every page, where a value is said on it, and a part of what is said.
PAGES = [
    ("residual", ".lw-heat .lw-heat-readout", r"layer 29 · .* · .*: \d+\.\d{3}"),
    ("attention", ".lw-rollout .lw-facts", r"from “.*” \d\.\d{3}"),
    ("attribution", ".lw-part[data-kind=total] .lw-number", r"^-?\d+\.\d{3}$"),
    ("neurons", ".lw-neuron-rows .lw-neuron-value >> nth=0", r"^\d+\.\d{3}$"),
    ("depth", ".lw-loss .lw-heat-readout", r": \d+\.\d{3} nats"),
    ("tuned", ".lw-lens .lw-placeholder", r"\w+"),
    ("compare", ".lw-head-pair .lw-heat-readout", r"A \d\.\d{3} · B \d\.\d{3}"),
    ("map", ".lw-map-head-facts", r"[\d,]+ parameters"),
    ("lens", ".lw-attention .lw-facts", r"→ “.*” \d\.\d{3}"),
]
EXPLORER = f"""
import layerwidget as lw
model = lw.load("demo")
ex = lw.Explorer(model, prompt={PROMPT!r}, layers="18-29")
ex
"""
#: Writes what Python hears into a file: in an app there is nobody to ask.
HEARD = """
import json, pathlib
def heard(name, owner, traits):
    def write(change):
        said = json.dumps({trait: getattr(owner, trait) for trait in traits})
        pathlib.Path({folder!r}, name + ".json").write_text(said)
    owner.observe(write, list(traits))
"""
#: Writes down what Python says on every page.
SAID = f"""
ex.pages = {[page for page, *_ in PAGES]!r}
ex.page("compare").prompt = {OTHER!r}
ex.wait()
texts = {{page: ex.page(page).to_text() for page in ex.pages}}
pathlib.Path({{folder!r}}, "said.json").write_text(json.dumps(texts))
ex.pages = ["lens"]
"""
READY_MS = 90_000
#: Notebook 7 says so of its own settings when a theme is changed.
NOTEBOOK_ITSELF = "Cannot read properties of undefined (reading 'schema')"
#: What the page of Voila asks the network for, though nothing in it needs that.
FROM_ELSEWHERE = re.compile(r"^(?!https?://127\.0\.0\.1[:/]|data:|blob:)")


class AppPage:
    """A page of a front end that has no notebook to ask.

    Attributes:
        page: Playwright's page.
        console_errors: what the browser's console reported as an error, and uncaught exceptions.
    """

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.console_errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.console_errors.append(f"uncaught: {error}"))
        # Voila answers when the notebook has run.
        self.page.goto(address, timeout=READY_MS)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(f"{message.text} ({message.location.get('url', '')})")


@contextmanager
def opened(browser: Browser, height: int = 1000) -> Iterator[BrowserContext]:
    """A window without a network: what is asked for elsewhere comes empty."""
    context = browser.new_context(viewport={"width": 1280, "height": height})
    context.route(FROM_ELSEWHERE, lambda route: _nothing(route))
    yield context
    context.close()


def _nothing(route: Route) -> None:
    route.fulfill(status=200, content_type="text/css", body="")


def heard(folder: Path, name: str, expected: dict[str, Any], timeout_s: float = 60.0) -> None:
    """Wait until Python has heard of it."""
    path = folder / f"{name}.json"
    deadline = time.monotonic() + timeout_s
    said = None
    while said != expected and time.monotonic() < deadline:
        time.sleep(0.05)
        # It may be half written.
        said = json.loads(path.read_text() or "null") if path.exists() else None
    assert said == expected


def luminance_of(element: Locator, property_: str) -> float:
    """How light an element's ground or text is, from 0 to 255."""
    colour = element.evaluate(f"node => getComputedStyle(node).{property_}")
    channels = [float(number) for number in re.findall(r"[\d.]+", colour)[:3]]
    assert len(channels) == 3, colour
    return sum(channels) / 3


def is_dark(element: Locator) -> bool:
    """Whether light text stands on a dark ground; dark on dark is neither."""
    ground, ink = luminance_of(element, "backgroundColor"), luminance_of(element, "color")
    assert abs(ground - ink) > 150, (ground, ink)
    return ground < ink


#: Whether a canvas has drawn dark at a place; x and y are shares of its size.
DRAWN = """([node, x, y, dark]) => {
    const at = [Math.floor(node.width * x), Math.floor(node.height * y)];
    const [red, green, blue] = node.getContext("2d").getImageData(...at, 1, 1).data;
    return ((red + green + blue) / 3 < 128) === dark;
}"""


def colours_of(canvas: Locator) -> int:
    """How many different colours it has drawn."""
    count: int = canvas.evaluate(
        """node => {
            const { data } = node.getContext("2d").getImageData(0, 0, node.width, node.height);
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )
    return count


def type_another_prompt(explorer: ExplorerPage) -> None:
    """Type as a person would, and see the answer."""
    explorer.prompt.click()
    explorer.prompt.press("ControlOrMeta+a")
    explorer.prompt.type("The capital of France is")
    explorer.settle()
    expect(explorer.chips).to_have_count(5)
    expect(explorer.words.first).to_have_text("␣Paris")


def drag_down_by_six(explorer: ExplorerPage) -> None:
    """Drag the lower end of the slider; the rows of the grid follow before the pointer is released."""
    explorer.root.locator(".lw-rail-stage").scroll_into_view_if_needed()
    title = explorer.lens.locator(".lw-detail")
    expect(title).to_contain_text("layers 18–29")
    before = explorer.grid.evaluate("node => node.toDataURL()")
    x, y, height = explorer.grab_thumb("first")
    for step in range(1, 11):
        explorer.notebook.page.mouse.move(x, y + 6 * height / 30 * step / 10)
    expect(title).to_contain_text("layers 12–29")
    assert explorer.grid.evaluate("node => node.toDataURL()") != before
    explorer.notebook.page.mouse.up()
    expect(explorer.state).to_have_text("fresh", timeout=30_000)


def every_page_says_what_python_says(page: Page, texts: dict[str, str]) -> None:
    """Opens one page of an explorer after the other, and finds a value of each in what Python says of it."""
    assert set(texts) == {name for name, *_ in PAGES}
    tabs = page.locator(".lw-tabs .lw-tab")
    assert {tab.get_attribute("data-page") for tab in tabs.all()} == set(texts)
    for name, where, form in PAGES:
        page.locator(f".lw-tabs .lw-tab[data-page={name}]").click()
        value = page.locator(where).locator("visible=true").first
        expect(value).to_have_text(re.compile(form), timeout=READY_MS)
        expect(page.locator(".lw-state")).to_have_text("fresh", timeout=30_000)
        said = value.inner_text()
        if name == "map":
            # Whole on the screen, short in the table.
            said = short_amount(int(said.split(" ")[0].replace(",", "")))
        assert said in texts[name], (name, said, texts[name])


# Notebook 7


@pytest.fixture(scope="module")
def notebook_7(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    with running_server(tmp_path_factory.mktemp("notebook"), NotebookServer) as server, opened(browser) as context:
        notebook = Notebook(server, context, server.write_notebook("explorer", [EXPLORER]))
        notebook.run_all()
        notebook.page.wait_for_selector(".lw-depth .bqplot path.line", timeout=READY_MS, state="attached")
        yield notebook
        assert [error for error in notebook.console_errors if NOTEBOOK_ITSELF not in error] == []
        notebook.close()


def test_notebook_7_typing_and_dragging(notebook_7: Notebook) -> None:
    explorer = ExplorerPage(notebook_7)
    explorer.settle()
    type_another_prompt(explorer)
    notebook_7.expect_value("ex.prompt", "The capital of France is")
    drag_down_by_six(explorer)
    notebook_7.expect_value("ex.layers", "12-29")


def test_notebook_7_leaves_the_keys_to_the_widgets(notebook_7: Notebook) -> None:
    page, explorer = notebook_7.page, ExplorerPage(notebook_7)
    explorer.settle()
    cells = page.locator(".jp-Cell")
    expect(cells).to_have_count(1)
    notebook_7.run("ex.selection = lw.Selection(layer=29, position=3)")
    grid = explorer.lens.locator(".lw-scroll")
    grid.focus()
    expect(explorer.root.locator(".lw-top .lw-panel-title")).to_contain_text("layer 29 · after “␣France” (position 3)")
    # "b" would add a cell, "d d" remove one, and an arrow leave the output.
    for key in ("b", "d", "d", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    expect(explorer.root.locator(".lw-top .lw-panel-title")).to_contain_text("layer 28 · after “␣of” (position 2)")
    notebook_7.expect_value("[ex.layer, ex.position]", [28, 2])
    assert grid.evaluate("node => node === document.activeElement")
    expect(cells).to_have_count(1)


def test_notebook_7_has_one_look_with_its_page(notebook_7: Notebook) -> None:
    explorer = ExplorerPage(notebook_7)
    explorer.settle()
    corner = (0.12, 0.85)  # a word that is hardly probable: the ground, beside its letters
    for theme in ("dark", "light"):
        notebook_7.use_theme(theme)  # type: ignore[arg-type]
        dark = theme == "dark"
        assert [is_dark(explorer.lens), is_dark(notebook_7.page.locator(".jp-Notebook"))] == [dark, dark]
        expect(explorer.root).to_have_css(
            "background-color", explorer.lens.evaluate("n => getComputedStyle(n).backgroundColor")
        )
        # What a canvas has drawn follows, too.
        notebook_7.page.wait_for_function(DRAWN, arg=[explorer.grid.element_handle(), *corner, dark])
        notebook_7.screenshot(f"notebook-7-{theme}")


def test_notebook_7_shows_every_page_with_the_values_of_python(notebook_7: Notebook) -> None:
    explorer = ExplorerPage(notebook_7)
    names = [name for name, *_ in PAGES]
    notebook_7.run(f"ex.prompt, ex.pages, ex.page('compare').prompt = {PROMPT!r}, {names!r}, {OTHER!r}; ex.wait()")
    notebook_7.run("ex.layers, ex.selection = '18-29', lw.Selection(layer=29, position=8); ex.wait()")
    texts = notebook_7.value("{page: ex.page(page).to_text() for page in ex.pages}")
    notebook_7.run("ex.pages = ['lens']; ex.wait()")
    explorer.settle()
    every_page_says_what_python_says(notebook_7.page, texts)
    explorer.settle()


# Voila


@pytest.fixture(scope="module")
def voila(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VoilaServer]:
    home = tmp_path_factory.mktemp("voila")
    with running_server(home, VoilaServer) as server:
        shown = EXPLORER.replace("\nex\n", "\n") + SAID + 'heard("voila", ex, ("prompt", "layers"))\nex\n'
        cells = [code.replace("{folder!r}", repr(str(home))) for code in (HEARD, shown)]
        server.write_notebook("explorer", cells)
        yield server


def test_voila_shows_the_whole_explorer_with_the_values_of_python(voila: VoilaServer, browser: Browser) -> None:
    with opened(browser) as context:
        app = AppPage(context, voila.page_of("explorer.ipynb") + "?theme=dark")
        app.page.wait_for_selector(".lw-depth .bqplot path.line", timeout=READY_MS, state="attached")
        every_page_says_what_python_says(app.page, json.loads((voila.root.parent / "said.json").read_text()))
        explorer = ExplorerPage(app)  # type: ignore[arg-type]
        explorer.settle()
        type_another_prompt(explorer)
        heard(voila.root.parent, "voila", {"prompt": "The capital of France is", "layers": "18-29"})
        drag_down_by_six(explorer)
        heard(voila.root.parent, "voila", {"prompt": "The capital of France is", "layers": "12-29"})
        assert [is_dark(explorer.lens), is_dark(app.page.locator("body"))] == [True, True]
        app.page.screenshot(path=OUTPUT / "voila-dark.png", full_page=True)
        assert app.console_errors == []


# marimo

APP = [
    """# uses:
import layerwidget as lw
model = lw.load("demo")
trace = model.trace(PROMPT)
HEARD
return heard, lw, model, trace
""",
    """# uses: heard, lw, trace
lens = lw.LogitLensView(lw.LogitLens().run(trace), layers="18-29", layer=29, position=8)
heard("lens", lens, ("layer", "position"))
lens
""",
    """# uses: heard, lw, trace
attention = lw.AttentionView(lw.Attention("24-29").run(trace), layer=29)
heard("attention", attention, ("layer", "head"))
attention
""",
    """# uses: heard, lw, trace
grid = lw.ResidualStream().run(trace)
heat = lw.HeatGrid(title="Residual stream", layer=29)
heat.show([lw.Sheet("norm", grid.norm("resid_post"))], lw.HeatColumns.positions(grid), layers=grid.layers)
heard("heat", heat, ("layer", "position"))
heat
""",
    """# uses: heard, lw, trace
heads = lw.HeadMap(lw.AttentionSink().run(trace), layer=29)
heard("heads", heads, ("layer", "head"))
heads
""",
    """# uses: heard, lw, trace
rollout = lw.RolloutView(lw.AttentionRollout().run(trace), position=8)
heard("rollout", rollout, ("position",))
rollout
""",
    """# uses: heard, lw, model, trace
other = model.trace(OTHER)
moved = lw.difference(*(lw.Attention("28-29").run(one) for one in (trace, other)))
pair = lw.HeadCompareView(moved, layer=29, position=8)
heard("pair", pair, ("position",))
pair
""",
    """# uses: heard, lw, trace
from layerwidget.widgets.settle_strip import SettleStrip
strip = SettleStrip(lw.SettleDepth().run(trace), lw.Emergence(5).run(trace), layer=29, position=8)
heard("strip", strip, ("layer", "position"))
strip
""",
    """# uses: heard, lw, trace
from layerwidget.widgets.position_loss_view import PositionLossView
loss = PositionLossView(lw.PositionLoss().run(trace), position=8)
heard("loss", loss, ("position",))
loss
""",
    """# uses: lw, trace
from layerwidget.widgets.source_bars import SourceBars
import json as _json, pathlib as _pathlib
sources = SourceBars()
sources.show(lw.HeadSources(29, 2).run(trace))
_pathlib.Path(FOLDER, "sources.json").write_text(_json.dumps(sources.to_text()))
sources
""",
    """# uses: heard, lw, model
explorer = lw.Explorer(model, prompt=PROMPT, layers="18-29")
explorer.wait()
heard("explorer", explorer, ("layer", "prompt"))
explorer
""",
]


@pytest.fixture(scope="module")
def marimo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AppPage, Path]]:
    home = tmp_path_factory.mktemp("marimo")
    helper = HEARD.replace("{folder!r}", repr(str(home)))
    words = {"PROMPT": repr(PROMPT), "OTHER": repr(OTHER), "FOLDER": repr(str(home)), "HEARD": helper}
    write_app(home, [re.sub("|".join(words), lambda found: words[found[0]], cell) for cell in APP])
    with running_server(home, MarimoServer) as server, opened(browser, height=2000) as context:
        app = AppPage(context, server.page_of(""))
        app.page.wait_for_selector(".lw-heat.lw-ready", timeout=READY_MS)
        yield app, home
        assert app.console_errors == []


@pytest.mark.parametrize(
    ("name", "box", "key", "after"),
    [
        ("lens", ".lw-lens .lw-scroll", "ArrowLeft", {"layer": 29, "position": 7}),
        ("attention", ".lw-gallery", "ArrowRight", {"layer": 29, "head": 1}),
        ("heat", ".lw-heat .lw-scroll", "ArrowDown", {"layer": 28, "position": 0}),
        ("heads", ".lw-heat .lw-scroll >> nth=1", "ArrowRight", {"layer": 29, "head": 1}),
        ("rollout", ".lw-rollout .lw-matrix", "ArrowUp", {"position": 7}),
        ("pair", ".lw-pair-matrices", "ArrowUp", {"position": 7}),
        ("strip", ".lw-settle .lw-scroll", "ArrowDown", {"layer": 28, "position": 8}),
        ("loss", ".lw-loss-stage", "ArrowLeft", {"position": 7}),
    ],
)
def test_marimo_shows_each_canvas_view_alone(
    marimo: tuple[AppPage, Path], name: str, box: str, key: str, after: dict[str, int]
) -> None:
    app, home = marimo
    view = app.page.locator(box).first
    assert colours_of(view.locator("canvas").first) > 8
    app.page.screenshot(path=OUTPUT / "marimo.png", full_page=True)
    view.focus()
    app.page.keyboard.press(key)
    heard(home, name, after)


def test_marimo_shows_source_bars_with_the_values_of_python(marimo: tuple[AppPage, Path]) -> None:
    app, home = marimo
    bars = app.page.locator(".lw-sources")
    assert colours_of(bars.locator("canvas")) > 8
    rows = [line.split() for line in json.loads((home / "sources.json").read_text()).splitlines()]
    values = {row[0]: row[-1] for row in rows if row and row[0].isdigit()}
    assert len(values) >= 9
    bars.locator(".lw-scroll").focus()
    for key, position in (("Home", "0"), ("ArrowRight", "1")):
        app.page.keyboard.press(key)
        expect(bars.locator(".lw-heat-readout")).to_contain_text(f"(position {position}): {values[position]} logits")


def test_marimo_says_what_is_under_the_pointer(marimo: tuple[AppPage, Path]) -> None:
    lens = marimo[0].page.locator(".lw-lens").first
    lens.locator(".lw-scroll canvas").hover(position={"x": 200, "y": 50})
    # Of which cell differs with the width; the word that is chosen is the last one.
    expect(lens.locator(".lw-panel-title").first).to_contain_text("(position 2)")
    expect(lens.locator(".lw-words .lw-number").first).to_have_text(re.compile(r"0\.\d{3}"))


def test_marimo_shows_an_explorer_with_a_picture_of_its_curves(marimo: tuple[AppPage, Path]) -> None:
    app, home = marimo
    # What is told of the picture is all that it shows.
    curves = app.page.locator("img[alt^='Over layers']")
    expect(curves).to_be_visible(timeout=READY_MS)
    assert curves.evaluate("node => node.decode().then(() => node.naturalWidth)") >= 440
    assert "0.656" in (curves.get_attribute("alt") or "")
    expect(app.page.get_by_text("marimo cannot draw these curves alive")).to_be_visible()
    expect(app.page.get_by_text("not supported")).to_have_count(0)
    prompt = app.page.locator("textarea")
    prompt.press("ControlOrMeta+a")
    prompt.type("The capital of France is")
    heard(home, "explorer", {"layer": 29, "prompt": "The capital of France is"})
    expect(app.page.locator(".lw-lens").last.locator(".lw-panel-title").first).to_contain_text("(position 4)")
    app.page.screenshot(path=OUTPUT / "marimo-explorer.png", full_page=True)


def test_marimo_has_one_look_with_its_page(marimo: tuple[AppPage, Path]) -> None:
    app, _ = marimo
    lens = app.page.locator(".lw-lens").first
    canvas = lens.locator("canvas").first
    app.page.emulate_media(color_scheme="light")
    app.page.wait_for_selector("body.light", state="attached")
    rest(app.page)
    for theme in ("dark", "light"):
        before = canvas.evaluate("node => node.toDataURL()")
        app.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        dark = theme == "dark"
        expect(lens.locator(".lw-detail")).to_have_css("color", "rgb(152, 162, 181)" if dark else "rgb(97, 107, 125)")
        assert is_dark(lens) == dark
        # What a canvas has drawn follows.
        drawn = "([node, before]) => node.toDataURL() !== before"
        app.page.wait_for_function(drawn, arg=[canvas.element_handle(), before])
        app.page.screenshot(path=OUTPUT / f"marimo-{theme}.png", full_page=True)
