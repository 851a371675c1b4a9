"""The exported page in Chromium, from a file, with every network blocked: everything moves, and nothing is violated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import layerwidget as lw
from tests.browser.axe import found_by_axe
from tests.browser.explorer_page import PROMPT, column_width
from tests.browser.test_scenes import SPY, TOO_WIDE, TYPE

OTHER = "When Mary and John went to the store, John gave a drink to"
VIEWPORT = {"width": 1280, "height": 1300}
PAGES = ["lens", "tuned", "residual", "attention", "attribution", "neurons", "depth", "compare", "map"]
N_LAYERS, NUMBERS_WIDTH, LABEL_WIDTH = 30, 26, 66
MATRIX_LABELS = 52
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, lineNumber }) => {
    window.violations.push(`${violatedDirective}: ${blockedURI}, line ${lineNumber}`);
});
"""


@dataclass(frozen=True)
class Exported:
    """A page, and what Python says of its prompts."""

    path: Path
    all_pages: Path
    scenes: Path
    talk: Path
    lenses: dict[str, lw.LensGrid]
    attention: lw.AttentionGrid
    neurons: lw.NeuronGrid
    trace: lw.Trace


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = lw.load("demo")
    place = lw.Selection(layer=29, head=6, position=20)
    explorer = lw.Explorer(model, PROMPT, layers="18-29", selection=place, pages=("lens", "neurons"))
    path = tmp_path_factory.mktemp("export") / "talk.html"
    explorer.wait()
    neurons = explorer.results["neurons"]
    explorer.to_html(path, prompts=[OTHER], title="Where Rome comes from")
    explorer.page("compare").prompt = OTHER
    explorer.pages = PAGES
    explorer.wait()
    everything = explorer.to_html(path.with_name("all.html"))
    explorer.pages = ["lens"]
    explorer.scenes = [
        lw.Scene("A fact", "Where Rome appears.", prompt=PROMPT, layers="all", selection={"layer": 29, "position": 20}),
        lw.Scene("A name", "Who gets the drink?", prompt=OTHER, layers="20-29", selection={"layer": 24, "position": 3}),
        lw.Scene("The stream", "What is added.", layers="10-12", pages=["residual"], selection={"layer": 11}),
    ]
    before = explorer.state
    scenes = explorer.to_html(path.with_name("scenes.html"))
    assert explorer.state == before
    explorer.preset, explorer.pages = "talk", PAGES
    explorer.scenes = [lw.Scene("A fact", "Where Rome appears.", prompt=PROMPT, layers="all", pages=["lens"])]
    talk = explorer.to_html(path.with_name("talk_pages.html"), title="Where Rome comes from")
    explorer.close()
    traces = {text: model.trace(text) for text in (PROMPT, OTHER)}
    lenses = {text: lw.LogitLens(k=10).run(trace) for text, trace in traces.items()}
    return Exported(path, everything, scenes, talk, lenses, lw.Attention().run(traces[PROMPT]), neurons, traces[PROMPT])


#: For what does not look at colours, and whose values are read in both themes in `test_html_values.py`.
IN_ONE_THEME = pytest.mark.parametrize("scheme", ["dark"], indirect=True)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(browser: Browser, exported: Exported, scheme: str) -> Iterator[Page]:
    """The page as a double click opens it; nothing but the file is read, and nothing is left in the console."""
    context = browser.new_context(viewport=VIEWPORT, color_scheme=scheme, offline=True)
    asked: list[str] = []
    context.route(re.compile("^(?!file:)"), lambda route: route.abort())
    opened = context.new_page()
    said: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.add_init_script(_WATCH)
    opened.goto(exported.path.as_uri())
    expect(opened.locator("#lw-page")).to_have_class(re.compile("lw-ready"), timeout=60_000)
    expect(opened.locator(".lw-lens")).to_have_class(re.compile("lw-ready"))
    yield opened
    violations = opened.evaluate("window.violations")
    context.close()
    assert set(asked) <= {file.as_uri() for file in (exported.path, exported.all_pages, exported.scenes)}
    assert not said, said
    assert not violations, violations


def cell(page: Page, layer: int, position: int, rows: int) -> dict[str, float]:
    """Where a cell of the lens grid is, within its canvas; 22 px of tokens stand below it."""
    box = page.locator(".lw-lens .lw-scroll canvas").bounding_box()
    assert box is not None
    width = column_width(page.locator(".lw-lens .lw-scroll"))
    return {"x": NUMBERS_WIDTH + (position + 0.5) * width, "y": (29 - layer + 0.5) * (box["height"] - 22) / rows}


def grab(page: Page, part: str) -> tuple[float, float, float]:
    """Press the pointer on an end of the slider; where that is, and how high a layer is there."""
    stage = page.locator(".lw-rail-stage").bounding_box()
    thumb = page.locator(f".lw-thumb-{part}").bounding_box()
    assert stage is not None
    assert thumb is not None
    x, y = thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    return x, y, stage["height"] / N_LAYERS


#: Whether these are the first and the last layer that the curves shade.
SHADED = """(wanted) => {
    const box = (name) => document.querySelector(`.lw-depth svg ${name}`).getBoundingClientRect();
    const [zero, one] = [0, 1].map((layer) => box(`circle[data-layer="${layer}"]`));
    const layerAt = (x) => (x - zero.left - zero.width / 2) / (one.left - zero.left);
    const ends = [layerAt(box(".lw-band").left) + 0.5, layerAt(box(".lw-band").right) - 0.5];
    return ends.every((end, place) => Math.abs(end - wanted[place]) < 0.05);
}"""


def shaded(page: Page, first: int, last: int) -> None:
    """Wait until the curves shade these layers."""
    page.wait_for_function(SHADED, arg=[first, last])


def test_what_is_said_of_a_cell_is_what_python_says(page: Page, exported: Exported) -> None:
    lens = exported.lenses[PROMPT]
    for layer, position in ((29, 20), (25, 14), (18, 3)):
        page.locator(".lw-lens .lw-scroll canvas").hover(position=cell(page, layer, position, 12))
        expect(page.locator(".lw-top .lw-panel-title").first).to_contain_text(f"(position {position})")
        expect(page.locator(".lw-words .lw-number")).to_have_text(
            [f"{value:.3f}" for value in lens.top_probs[layer, position]]
        )
        fact = page.locator(".lw-cell-facts .lw-number").first
        expect(fact).to_have_text(f"{lens.entropy_nats[layer, position]:.3f} nats")
        other = page.locator(".lw-cell-facts .lw-number").nth(1)
        expect(other).to_have_text(f"{lens.kl_to_final_nats[layer, position]:.3f} nats")


@IN_ONE_THEME
def test_every_head_says_its_weights_to_three_decimals(page: Page, exported: Exported) -> None:
    gallery, matrix = page.locator(".lw-gallery canvas"), page.locator(".lw-matrix canvas")
    box, room = gallery.bounding_box(), matrix.bounding_box()
    assert box is not None
    assert room is not None
    row, side = 336 / 12, min(30, (room["width"] - LABEL_WIDTH) / 21, (336 - MATRIX_LABELS) / 21)
    width = min(max(40.0, row * 2.1), (box["width"] - NUMBERS_WIDTH) / 9)
    for layer, head in ((18, 6), (23, 3), (29, 0)):
        gallery.click(position={"x": NUMBERS_WIDTH + (head + 0.4) * width, "y": (29 - layer + 0.4) * row})
        expect(page.locator(".lw-matrix-side .lw-panel-title")).to_contain_text(f"layer {layer} · head {head}")
        pattern = exported.attention.pattern[layer, head]
        for query, key in ((20, int(np.argmax(pattern[20, 1:])) + 1), (12, 5), (7, 0)):
            matrix.hover(position={"x": LABEL_WIDTH + (key + 0.5) * side, "y": (query + 0.5) * side})
            expect(page.locator(".lw-matrix-side .lw-facts")).to_contain_text(f"” {pattern[query, key]:.3f}")


def test_the_slider_moves_everything(page: Page) -> None:
    shaded(page, 18, 29)
    x, y, height = grab(page, "first")
    page.mouse.move(x, y - 6 * height, steps=6)
    for view in (".lw-lens", ".lw-attention"):
        expect(page.locator(f"{view} .lw-bar .lw-detail").first).to_contain_text("layers 24–29")
    shaded(page, 24, 29)
    page.mouse.move(x, y + 4 * height, steps=6)
    page.mouse.up()
    expect(page.locator(".lw-attention .lw-bar .lw-detail").first).to_contain_text("layers 14–29")
    assert "not computed" not in (page.locator(".lw-attention .lw-bar .lw-detail").first.text_content() or "")
    # The chosen layer stays among those in view.
    page.locator('[data-preset="early"]').click()
    expect(page.locator(".lw-top .lw-panel-title").first).to_contain_text("layer 7 ")
    shaded(page, 0, 7)


@IN_ONE_THEME
def test_curves_follow_the_quantity_and_the_position(page: Page, exported: Exported) -> None:
    lens = exported.lenses[PROMPT]
    page.locator('.lw-depth [data-quantity="entropy"]').click()
    page.locator(".lw-editor .lw-chip").nth(12).click()
    dots = page.locator(".lw-depth svg [data-value]")
    expect(page.locator(".lw-depth .lw-detail")).to_contain_text("nats after “␣the”")
    values = [float(value) for value in dots.evaluate_all("nodes => nodes.map(({ dataset }) => dataset.value)")]
    np.testing.assert_allclose(values, lens.entropy_nats[:, 12], atol=5e-4)
    dots.nth(15).hover()
    expect(page.locator(".lw-depth .lw-detail")).to_contain_text(
        f"layer 15: entropy of each layer's prediction {lens.entropy_nats[15, 12]:.3f}"
    )
    colour = page.evaluate("getComputedStyle(document.querySelector('.lw-depth .lw-cursor')).stroke")
    assert colour not in ("none", "rgb(0, 0, 0)")
    button, twin = page.locator(".lw-depth .lw-twin-button"), page.locator(".lw-depth .lw-twin")
    expect(twin.locator("td")).to_have_count(0)
    button.focus()
    page.keyboard.press("Enter")
    expect(twin).to_be_focused()
    expect(twin.locator("caption")).to_contain_text("nats after “␣the” · rows 1 to 24 of 30")
    expect(twin.locator("tr", has=page.locator("[aria-current=true]")).locator("th")).to_have_text("29")
    expect(twin.locator("tbody th")).to_have_text([str(layer) for layer in range(29, 5, -1)])
    told = [float(value) for value in twin.locator("tbody td").all_inner_texts()]
    np.testing.assert_allclose(told, lens.entropy_nats[:5:-1, 12], atol=6e-4)
    page.locator('.lw-depth [data-quantity="kl"]').click()
    expect(twin.locator("tbody td").nth(3)).to_have_text(f"{lens.kl_to_final_nats[26, 12]:.3f}")
    button.click()
    expect(twin.locator("td")).to_have_count(0)


@IN_ONE_THEME
def test_words_are_pinned_and_followed_and_what_is_not_recorded_says_so(page: Page, exported: Exported) -> None:
    lens = exported.lenses[PROMPT]
    pins, colours = page.locator(".lw-pinned"), page.locator(".lw-lens select.lw-choice").last
    page.locator(".lw-words .lw-pin").nth(1).click()
    token = int(lens.top_ids[29, 20, 1])
    word = lens.pieces[token].visible
    expect(pins).to_have_count(1)
    expect(pins.locator(".lw-number")).to_have_text(f"{lens.top_probs[29, 20, 1]:.3f} · rank 1")
    # In its column, every layer is recorded: in the curves and on hover.
    at = lw.LogitLens(tokens=(token,)).run(exported.trace)
    probabilities = np.exp(at.token_log_probs[:, 20, 0])
    dots = page.locator(".lw-depth svg [data-value]")
    expect(page.locator(".lw-figure-legend").first).to_contain_text(word)
    values = [float(value) for value in dots.evaluate_all("nodes => nodes.map(({ dataset }) => dataset.value)")]
    assert [f"{value:.3f}" for value in values] == [f"{value:.3f}" for value in probabilities]
    page.locator(".lw-lens .lw-scroll canvas").hover(position=cell(page, 24, 20, 12))
    expect(pins.locator(".lw-number")).to_have_text(f"{probabilities[24]:.3f} · rank {at.token_ranks[24, 20, 0]}")
    page.locator('.lw-depth [data-quantity="rank"]').click()
    expect(page.locator('.lw-depth svg [data-layer="24"]')).to_have_attribute(
        "data-value", str(int(at.token_ranks[24, 20, 0]) + 1)
    )
    # Elsewhere, nobody knows.
    elsewhere = next(p for p in range(21) if token not in lens.top_ids[:, p])
    page.locator(".lw-editor .lw-chip").nth(elsewhere).click()
    page.mouse.move(0, 0)
    expect(pins.locator(".lw-number")).to_have_text("not recorded here")
    expect(page.locator(".lw-figure-legend").first).to_contain_text(f"{word}: not recorded here")
    expect(dots).to_have_count(0)
    colours.select_option("token_rank")
    expect(page.locator(".lw-lens .lw-hint")).to_have_text("· not recorded")
    page.get_by_role("button", name="Unpin").last.click()
    expect(pins).to_have_count(0)
    expect(dots).to_have_count(30)


@IN_ONE_THEME
def test_another_prompt_is_shown_by_click_and_by_key(page: Page, exported: Exported) -> None:
    area = page.locator("textarea.lw-prompt")
    page.get_by_role("radio", name=re.compile(OTHER)).click()
    expect(area).to_have_value(OTHER)
    expect(page.locator(".lw-lens")).to_have_attribute("data-prompt", OTHER)
    lens = exported.lenses[OTHER]
    expect(page.locator(".lw-words .lw-number").first).to_have_text(f"{lens.top_probs[29, -1, 0]:.3f}")
    expect(page.locator(".lw-editor .lw-chip")).to_have_count(len(lens.token_ids))
    page.keyboard.press("p")
    expect(area).to_have_value(PROMPT)
    expect(page.locator(".lw-words .lw-number").first).to_have_text(
        f"{exported.lenses[PROMPT].top_probs[29, 20, 0]:.3f}"
    )
    page.keyboard.press("2")
    expect(area).to_have_value(OTHER)
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name=re.compile(OTHER))).to_be_focused()
    expect(page.locator(".lw-lens")).to_have_attribute("data-prompt", OTHER)


@IN_ONE_THEME
def test_the_text_is_only_read_and_nothing_can_be_asked(page: Page) -> None:
    area = page.locator("textarea.lw-prompt")
    expect(area).not_to_be_editable()
    for dead in (".lw-undo", ".lw-stop", ".lw-request", ".lw-error"):
        assert page.locator(f"{dead}:visible").count() == 0, dead
    assert page.locator(".lw-words .lw-word:enabled").count() == 0
    expect(page.locator(".lw-state")).to_have_text("recorded")


@IN_ONE_THEME
def test_a_page_about_a_place_says_so_when_the_reader_is_elsewhere(page: Page, exported: Exported) -> None:
    page.get_by_role("tab", name="Neurons").click()
    line = page.locator(".lw-recorded-at:visible span")
    expect(line).to_have_text("Recorded at layer 29, position 20.")
    first = page.locator(".lw-neuron-rows .lw-neuron").first
    expect(first).to_contain_text(f"{float(exported.neurons.activations[0]):.3f}")
    page.locator(".lw-editor .lw-chip").nth(3).click()
    expect(line).to_contain_text("this page stays there, while you are elsewhere")
    # There is one live region, and it says so.
    said = page.get_by_role("status")
    expect(said).to_contain_text("this page stays there, while you are elsewhere")
    expect(page.locator(".lw-neurons")).to_have_class(re.compile("lw-faded"))
    page.get_by_role("button", name="go back there").click()
    expect(line).to_have_text("Recorded at layer 29, position 20.")
    expect(page.locator(".lw-editor .lw-chip.lw-here")).to_contain_text("20")
    page.get_by_role("tab", name="Lens").click()
    expect(page.locator(".lw-lens .lw-scroll canvas")).to_be_visible()
    expect(page.locator(".lw-recorded-at:visible")).to_have_count(0)
    # What has left the page is no longer in what is read.
    expect(said).not_to_contain_text("Recorded at")


def test_the_keyboard_reaches_grid_slider_heads_and_theme(page: Page, scheme: str) -> None:
    page.locator(".lw-lens .lw-scroll").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".lw-top .lw-panel-title").first).to_contain_text("layer 28 · after “␣city” (position 19)")
    expect(page.locator(".lw-editor .lw-chip.lw-here")).to_contain_text("19")
    page.locator(".lw-thumb-first").focus()
    page.keyboard.press("PageDown")
    expect(page.locator(".lw-lens .lw-bar .lw-detail").first).to_contain_text("layers 13–29")
    page.locator(".lw-gallery").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".lw-matrix-side .lw-panel-title")).to_contain_text("layer 28 · head 7")
    ground = "getComputedStyle(document.querySelector('.lw-lens')).backgroundColor"
    before = page.evaluate(ground)
    assert before == ("rgb(17, 19, 23)" if scheme == "dark" else "rgb(255, 255, 255)")
    page.keyboard.press("t")
    page.wait_for_function(f"(before) => {ground} !== before", arg=before)


def test_every_page_is_drawn_under_the_policy(page: Page, exported: Exported) -> None:
    """The fixture looks for what is violated; here, every page is opened once, alone and under another."""
    page.goto(exported.all_pages.as_uri())
    expect(page.locator("#lw-page")).to_have_class(re.compile("lw-ready"), timeout=60_000)
    tabs = page.get_by_role("tab")
    expect(tabs).to_have_count(len(PAGES))
    for index in range(len(PAGES)):
        tabs.nth(index).click()
        expect(tabs.nth(index)).to_have_attribute("aria-selected", "true")
        drawn = ".lw-body .lw-ready:visible, .lw-body .lw-map:visible"
        expect(page.locator(drawn).first).to_be_visible()
    tabs.first.click()
    page.locator('.lw-tab-box:has([data-page="residual"]) .lw-tab-more').click()
    expect(page.locator(".lw-lens.lw-ready")).to_be_visible()
    expect(page.locator(".lw-heat.lw-ready:visible")).to_have_count(1)
    for name in PAGES:
        if name not in ("lens", "residual"):
            page.locator(f'.lw-tab-box:has([data-page="{name}"]) .lw-tab-more').click()
    expect(page.locator(".lw-tab[aria-selected=true]")).to_have_count(len(PAGES))
    expect(page.locator(".lw-map:visible")).to_have_count(1)
    assert found_by_axe(page) == []
    expect(page.locator(".lw-page-foot")).to_contain_text("compare: Lens and stream")
    assert page.evaluate("window.violations") == []


#: Page -> what of it is drawn last.
LAST = {
    "lens": ".lw-recorded-figure svg", "tuned": ".lw-recorded-figure svg", "residual": ".lw-recorded-figure svg",
    "attention": ".lw-attention.lw-ready", "attribution": ".lw-sources.lw-ready", "neurons": ".lw-neurons.lw-ready",
    "depth": ".lw-loss.lw-ready", "compare": ".lw-head-pair.lw-ready", "map": ".lw-map.lw-ready",
}  # fmt: skip


@pytest.mark.parametrize(("width", "least"), [(1920, 18), (1280, 14)])
def test_every_page_of_a_talk_is_one_screen(browser: Browser, exported: Exported, width: int, least: float) -> None:
    # Whoever waits for a function asks the page to run a text, which its policy forbids.
    context = browser.new_context(viewport={"width": width, "height": width * 9 // 16}, offline=True, bypass_csp=True)
    page = context.new_page()
    page.goto(exported.talk.as_uri())
    expect(page.locator("#lw-page")).to_have_class(re.compile("lw-ready"), timeout=60_000)
    page.evaluate(SPY)
    for number, name in [*enumerate(PAGES)][::-1]:
        page.evaluate("window.drawnSizes = []")
        page.locator(".lw-tab").nth(number).click()
        root = page.locator(".lw-explorer")
        expect(page.locator(f".lw-only-{name} {LAST[name]}").first).to_be_attached()
        # Two pages have no canvas with words.
        page.wait_for_function("window.drawnSizes.length || document.querySelector('.lw-only-neurons, .lw-only-map')")
        page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        sizes = [size for size in page.evaluate("window.drawnSizes") if size]
        assert min(sizes, default=least) >= least, name
        small = {what: size for what, size in root.evaluate(TYPE).items() if size < least}
        assert not small, (name, small)
        assert root.evaluate(TOO_WIDE) == [0], name
        # On a smaller screen the last lines may be scrolled to.
        assert page.evaluate("document.documentElement.scrollHeight") <= (1080 if width == 1920 else 830), name
    # The first page, which is open now.
    assert found_by_axe(page) == []
    context.close()


def test_the_page_keeps_its_budget(exported: Exported) -> None:
    assert exported.path.stat().st_size < 1_500_000


@IN_ONE_THEME
def test_scenes_are_played_with_two_keys(page: Page, exported: Exported) -> None:
    page.goto(exported.scenes.as_uri())
    title, count = page.locator(".lw-scene-title"), page.locator(".lw-scene-count")
    panel = page.locator(".lw-top .lw-panel-title").first
    expect(title).to_have_text("A fact")
    expect(count).to_have_text("1 / 3")
    expect(panel).to_contain_text("layer 29")
    expect(page.locator(".lw-prompts")).to_be_hidden()
    page.keyboard.press("PageDown")
    expect(title).to_have_text("A name")
    expect(page.locator(".lw-scene-caption")).to_have_text("Who gets the drink?")
    expect(page.locator("textarea.lw-prompt")).to_have_value(OTHER)
    expect(page.locator(".lw-lens .lw-detail")).to_contain_text("layers 20–29")
    expect(panel).to_contain_text("(position 3)")
    expect(page.locator(".lw-words .lw-number")).to_have_text(
        [f"{value:.3f}" for value in exported.lenses[OTHER].top_probs[24, 3]]
    )
    page.get_by_role("button", name="Next scene").click()
    expect(title).to_have_text("The stream")
    expect(page.locator(".lw-lens")).to_have_count(0)
    expect(page.locator(".lw-heat .lw-detail").first).to_contain_text("layers 10–12")
    expect(page.get_by_role("button", name="Next scene")).to_be_disabled()
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    expect(title).to_have_text("A fact")
    expect(page.locator(".lw-lens .lw-detail")).to_contain_text("layers 0–29")
    expect(panel).to_contain_text("layer 29")
