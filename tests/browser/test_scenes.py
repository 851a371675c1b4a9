"""A talk in a browser: scenes by buttons and by keys from anywhere, and presets that can be read and that fit."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import Locator, TimeoutError as PlaywrightTimeout, expect

from tests.browser.explorer_page import PROMPT, ExplorerPage, column_width

SCENES = f"""
scenes = lw.Scenes([
    lw.Scene("The answer comes late", "Rome appears at layer 28.", prompt={PROMPT!r}, layers="18-29", pages=["lens"],
             selection=lw.Selection(layer=28, head=6, position=20)),
    lw.Scene("A short prompt", "One sentence.", prompt="Berlin is in", layers="5-9", pages=["residual"],
             selection=lw.Selection(layer=7, position=1)),
    lw.Scene("An induction head", "It looks at Paris.", prompt={PROMPT!r}, layers="all", pages=["attention"],
             selection=lw.Selection(layer=18, head=6, position=20)),
])
ex.scenes = scenes
"""
STATE = "[ex.scene, ex.prompt, ex.layers, ex.layer, ex.position, list(ex.pages)]"
FREE = [None, PROMPT, "18-29", 29, 20, ["lens"]]
STATES: list[list[Any]] = [
    [0, PROMPT, "18-29", 28, 20, ["lens"]],
    [1, "Berlin is in", "5-9", 7, 1, ["residual"]],
    [2, PROMPT, "0-29", 18, 20, ["attention"]],
]
#: Sizes in px of the screen of what is drawn on canvases in an explorer: every text, and with which font.
SPY = """() => {
    window.drawnSizes = [];
    window.fillTextAlone ??= CanvasRenderingContext2D.prototype.fillText;
    const fillText = window.fillTextAlone;
    CanvasRenderingContext2D.prototype.fillText = function (...words) {
        const size = parseFloat(this.font.match(/([0-9.]+)px/)[1]);
        const { a, b } = this.getTransform();
        // What is behind another tab is drawn, too, and not seen.
        if (this.canvas.checkVisibility()) window.drawnSizes.push(b ? NaN : size * a / devicePixelRatio);
        return fillText.apply(this, words);
    };
}"""
#: Text of the page that can be seen: its size on the screen, by what it stands in.
TYPE = """(root) => {
    const found = {};
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility({ visibilityProperty: true })) continue;
        const svg = node.closest("svg[viewBox]");
        const [box, whole] = [svg?.getBoundingClientRect(), svg?.viewBox.baseVal];
        const drawn = svg ? Math.min(box.width / whole.width, box.height / whole.height) : node.currentCSSZoom ?? 1;
        const size = parseFloat(getComputedStyle(node).fontSize) * drawn;
        const name = node.className.baseVal ?? node.className ?? "";
        found[name || node.tagName] = Math.min(size, found[name || node.tagName] ?? Infinity);
    }
    return found;
}"""
#: How far below the upper edge of an explorer the grid and the chosen head of its first page end, in px of the screen.
FOOT = """(root) => {
    const foot = (one) => root.querySelector(one).getBoundingClientRect().bottom;
    return Math.max(foot(".lw-lens .lw-scroll"), foot(".lw-attention")) - root.getBoundingClientRect().top;
}"""
#: What of an explorer stands out of it, or out of the page.
TOO_WIDE = """(root) => {
    const right = root.getBoundingClientRect().right + 1;
    const inside = ".lw-scroll, .lw-gallery, .lw-tabs, .lw-detail";
    const out = [...root.querySelectorAll("*")].filter((node) => {
        const box = node.getBoundingClientRect();
        const outside = box.width && box.right > right && !node.closest(inside);
        return outside && node.checkVisibility({ visibilityProperty: true });
    });
    const names = out.map((node) => String(node.className.baseVal ?? node.className));
    return [root.scrollWidth - root.clientWidth, ...new Set(names)];
}"""


@pytest.fixture
def talk(explorer: ExplorerPage) -> ExplorerPage:
    explorer.notebook.run(SCENES)
    expect(explorer.root.locator(".lw-scene-bar")).to_be_visible()
    explorer.notebook.rest()
    return explorer


def shows(talk: ExplorerPage, number: int) -> None:
    """A scene is there, in Python and on the screen."""
    state = STATES[number]
    talk.notebook.expect_value(STATE, state, timeout_s=30)
    bar = talk.root.locator(".lw-scene-bar")
    expect(bar.locator(".lw-scene-count")).to_have_text(f"{number + 1} / 3")
    titles = ["The answer comes late", "A short prompt", "An induction head"]
    expect(bar.locator(".lw-scene-title")).to_have_text(titles[number])
    # The one live region of the explorer says it.
    expect(talk.root.get_by_role("status")).to_contain_text(titles[number])
    expect(talk.prompt).to_have_value(state[1])
    view = {"lens": ".lw-lens", "residual": ".lw-heat", "attention": ".lw-attention"}[state[5][0]]
    expect(talk.root.locator(view).first).to_have_attribute("data-prompt", state[1], timeout=60_000)
    expect(talk.root.locator(".lw-chip.lw-here .lw-chip-index")).to_have_text(str(state[4]))
    numbers = talk.root.locator(".lw-rail-number:not(.lw-rail-end)").all_text_contents()
    first, last = state[2].split("-")
    assert numbers == [last, first]


def test_buttons_step_through_the_scenes(talk: ExplorerPage) -> None:
    talk.notebook.expect_value(STATE, FREE)
    back, on = (talk.root.get_by_role("button", name=name) for name in ("Previous scene", "Next scene"))
    expect(talk.root.locator(".lw-scene-count")).to_have_text("– / 3")
    expect(back).to_be_disabled()
    on.click()
    shows(talk, 0)
    on.click()
    shows(talk, 1)
    on.click()
    shows(talk, 2)
    expect(on).to_be_disabled()
    # The keys stay with the explorer, although the button that had them has no more to do.
    talk.notebook.page.keyboard.press("PageUp")
    shows(talk, 1)
    back.click()
    shows(talk, 0)


def test_keys_step_from_wherever_the_reader_is(talk: ExplorerPage) -> None:
    keyboard = talk.notebook.page.keyboard
    cells = talk.notebook.page.locator(".jp-Cell")
    before = cells.count()
    # A click on an empty place is enough for a remote.
    talk.root.locator(".lw-scene-words").click()
    keyboard.press("PageDown")
    shows(talk, 0)
    talk.root.locator(".lw-lens .lw-scroll").focus()
    keyboard.press("PageDown")
    shows(talk, 1)
    talk.root.locator(".lw-heat .lw-scroll").focus()
    keyboard.press("Alt+ArrowRight")
    shows(talk, 2)
    keyboard.press("PageDown")
    shows(talk, 2)
    talk.root.locator(".lw-thumb-first").focus()
    keyboard.press("Alt+ArrowLeft")
    shows(talk, 1)
    keyboard.press("b")
    assert cells.count() == before


def test_a_remote_leads_on_from_a_prompt_that_was_edited(talk: ExplorerPage) -> None:
    talk.root.get_by_role("button", name="Next scene").click()
    shows(talk, 0)
    talk.prompt.click()
    keyboard = talk.notebook.page.keyboard
    keyboard.press("End")
    keyboard.type(" Roma")
    # Its arrows move the caret, with Alt too.
    keyboard.press("Alt+ArrowLeft")
    keyboard.press("ArrowDown")
    talk.notebook.expect_value("[ex.scene, ex.prompt]", [0, f"{PROMPT} Roma"])
    keyboard.press("PageDown")
    shows(talk, 1)
    keyboard.press("PageUp")
    shows(talk, 0)


def test_alt_with_arrows_chooses_the_next_layer(talk: ExplorerPage) -> None:
    keyboard = talk.notebook.page.keyboard
    talk.root.get_by_role("button", name="Next scene").click()
    shows(talk, 0)
    keyboard.press("Alt+ArrowUp")
    keyboard.press("Alt+ArrowUp")
    talk.notebook.expect_value("ex.layer", 29)
    talk.prompt.click()
    for _ in range(3):
        keyboard.press("Alt+ArrowDown")
    talk.notebook.expect_value("[ex.layer, ex.prompt, ex.scene]", [26, PROMPT, 0])
    expect(talk.root.locator(".lw-top .lw-panel-title")).to_contain_text("layer 26")
    talk.notebook.run("ex.layers = '3,9,26'")
    keyboard.press("Alt+ArrowDown")
    talk.notebook.expect_value("ex.layer", 9)


def test_without_scenes_there_is_no_bar_and_page_keys_are_those_of_the_views(talk: ExplorerPage) -> None:
    notebook = talk.notebook
    notebook.run("ex.scenes = []")
    bar = talk.root.locator(".lw-scene-bar")
    expect(bar).to_be_hidden()
    talk.root.locator(".lw-lens .lw-scroll").focus()
    notebook.page.keyboard.press("PageDown")
    notebook.expect_value("ex.layer", 18)
    notebook.run("ex.scenes = scenes")
    expect(bar).to_be_visible()


def test_a_scene_that_cannot_be_shown_is_said(talk: ExplorerPage) -> None:
    talk.notebook.run("ex.scenes = [lw.Scene('Too deep', layers='99')]")
    talk.root.get_by_role("button", name="Next scene").click()
    expect(talk.root.locator(".lw-error")).to_contain_text("Scene 0 ('Too deep') cannot be shown")
    expect(talk.root.locator(".lw-scene-count")).to_have_text("– / 1")


def expect_inside(talk: ExplorerPage, name: str) -> None:
    """Nothing of a page stands out, as soon as its figures have measured their places."""
    inside = f"(root) => String(({TOO_WIDE})(root)) === '0'"
    with suppress(PlaywrightTimeout):  # what stands out is said below
        talk.notebook.page.wait_for_function(inside, arg=talk.root.element_handle(), timeout=15_000)
    assert talk.root.evaluate(TOO_WIDE) == [0], name


def expect_low(talk: ExplorerPage, name: str, most: int) -> None:
    """A page is at most so many px high, as soon as its figures have measured their places."""
    low = "([root, most]) => root.getBoundingClientRect().height <= most"
    with suppress(PlaywrightTimeout):  # how high it is is said below
        talk.notebook.page.wait_for_function(low, arg=[talk.root.element_handle(), most], timeout=15_000)
    assert box(talk.root)[1] <= most, name


@pytest.mark.parametrize(("width", "least", "most"), [(1280, 14, 830), (1920, 18, 1080)])
def test_a_talk_can_be_read_from_the_back_and_fits(talk: ExplorerPage, width: int, least: float, most: int) -> None:
    # Screens of both widths are as large on the wall: the type is measured by the screen.
    notebook = talk.notebook
    notebook.page.set_viewport_size({"width": width, "height": 1000})
    notebook.page.evaluate(SPY)
    pages = ["lens", "tuned", "residual", "attention", "attribution", "neurons", "depth", "map", "compare"]
    notebook.run("ex.preset = 'talk'; ex.layers = 'all'; ex.page('compare').prompt = ex.prompt + ' Rome'")
    for name in pages:
        notebook.run(f"ex.pages = [{name!r}]; ex.wait()")
        notebook.page.evaluate("window.drawnSizes = []")
        notebook.run("ex.layers = '18-29' if ex.layers == '0-29' else '0-29'; ex.wait()")
        notebook.page.wait_for_function(
            "window.drawnSizes.length || document.querySelector('.lw-neuron-rows *, .lw-map.lw-ready')"
        )
        notebook.rest()
        sizes = [size for size in notebook.page.evaluate("window.drawnSizes") if size]
        assert min(sizes, default=least) >= least, name
        small = {what: size for what, size in talk.root.evaluate(TYPE).items() if size < least}
        assert not small, (name, small)
        expect_inside(talk, name)
        if name == "lens":
            # Scene, words, grid and one head on one screen; where that is small, the curves are below.
            assert talk.root.evaluate(FOOT) <= most
        if width == 1920:
            expect_low(talk, name, most)


def test_presets_come_and_go(talk: ExplorerPage) -> None:
    notebook = talk.notebook
    legend, undo = talk.root.locator(".lw-lens .lw-legend"), talk.root.locator(".lw-undo")
    colours = talk.root.locator(".lw-lens .lw-choice").first
    first = size(legend), box(talk.grid), box(talk.root.locator(".lw-figure .bqplot svg").first)
    expect(undo).to_be_visible()
    notebook.run("ex.preset = 'talk'")
    expect(undo).to_be_hidden()
    expect(colours).to_be_hidden()
    assert size(legend) >= 13.5
    zoom = talk.root.evaluate("(node) => node.currentCSSZoom")
    assert zoom == pytest.approx(1.2)
    # A click in what is drawn larger chooses the cell under the pointer, beside 26 px of numbers.
    grid = talk.root.locator(".lw-lens .lw-scroll")
    for layer, position in ((29, 20), (26, 18)):
        x = 26 + (position + 0.5) * column_width(grid) - grid.evaluate("(node) => node.scrollLeft")
        grid.click(position={"x": zoom * x, "y": 10 + (29 - layer) * 35 * zoom})
        notebook.expect_value("[ex.layer, ex.position]", [layer, position])
    notebook.run("ex.preset = 'paper'")
    expect(talk.prompt).to_be_hidden()
    expect(talk.root.get_by_role("tablist")).to_be_hidden()
    assert talk.root.evaluate("(root) => getComputedStyle(root).backgroundColor") == "rgb(255, 255, 255)"
    notebook.use_theme("dark")
    lens = talk.lens.evaluate("(node) => [getComputedStyle(node).backgroundColor, getComputedStyle(node).color]")
    assert lens == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    notebook.page.wait_for_function(GROUND, arg="light")
    notebook.run("ex.preset = 'explore'")
    notebook.page.wait_for_function(GROUND, arg="dark")
    expect(undo).to_be_visible()
    expect(colours).to_be_visible()
    talk.settle()
    assert (size(legend), box(talk.grid), box(talk.root.locator(".lw-figure .bqplot svg").first)) == first


#: Whether the numbers beside the lens stand on a ground of that brightness: their canvas is clear, its words are not.
GROUND = """(wanted) => {
    const canvas = document.querySelector(".lw-lens .lw-scroll canvas");
    const width = Math.round(20 * canvas.width / canvas.clientWidth);
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, canvas.height);
    let [light, dark] = [0, 0];
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 200 && data[at + 1] > 128) light += 1;
        else if (data[at + 3] > 200) dark += 1;
    }
    return wanted === "light" ? dark > light : light > dark;
}"""


def size(node: Locator) -> float:
    """Of the type of a node, in px of the screen."""
    found = node.evaluate("(node) => parseFloat(getComputedStyle(node).fontSize) * (node.currentCSSZoom ?? 1)")
    return float(found)


def box(node: Locator) -> tuple[float, float]:
    """Width and height of a node in px of the screen."""
    found = node.bounding_box()
    assert found is not None
    return found["width"], found["height"]
