"""What the page does when text, focus, displays and kernel disagree for a while."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.explorer_page import PROMPT, ExplorerPage


def test_everything_that_belongs_to_an_older_text_is_dimmed(explorer: ExplorerPage) -> None:
    stale = explorer.root.locator(".lw-stale")
    expect(stale).to_have_count(0)
    # Nothing else may wait for the model.
    explorer.expect_checked()
    explorer.notebook.run("model.lock.acquire()")
    try:
        explorer.prompt.fill("Something else")
        expect(stale).to_have_count(3)
        expect(explorer.state).to_have_text("computing")
        expect(explorer.root.locator(".lw-top")).to_have_css("opacity", "0.45")
        expect(explorer.root.locator(".lw-depth .bqplot")).to_have_css("opacity", "0.45")
    finally:
        explorer.notebook.run("model.lock.release()")
    explorer.settle()
    expect(stale).to_have_count(0)


def test_nothing_is_drawn_again_for_a_token_that_has_no_answer_yet(explorer: ExplorerPage) -> None:
    """The model needs the cores meanwhile: the letter, its chip and a word of the status line change."""
    page = explorer.notebook.page
    explorer.expect_checked()
    chips = explorer.root.locator(".lw-chip")
    before = chips.count()
    page.evaluate("""() => {
        window.cleared = [];
        const clear = CanvasRenderingContext2D.prototype.clearRect;
        CanvasRenderingContext2D.prototype.clearRect = function (...box) {
            window.cleared.push(this.canvas.closest(".lw-lens, .lw-attention")?.className ?? "");
            return clear.apply(this, box);
        };
        window.putBack = () => { CanvasRenderingContext2D.prototype.clearRect = clear; };
    }""")
    explorer.notebook.run("model.lock.acquire()")
    try:
        explorer.prompt.press("End")
        page.keyboard.press(",")
        expect(chips).to_have_count(before + 1)
        explorer.notebook.expect_value(f"ex.position == {before}", True)
        expect(chips.nth(before)).to_have_class("lw-chip lw-here")
        expect(explorer.state).to_have_text("computing")
        page.evaluate("() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
        assert page.evaluate("window.cleared") == []
    finally:
        explorer.notebook.run("model.lock.release()")
    explorer.settle()
    assert any("lw-lens" in name for name in page.evaluate("window.cleared"))
    page.evaluate("window.putBack()")


def test_a_word_is_appended_once_when_the_explorer_is_shown_twice(explorer: ExplorerPage) -> None:
    with explorer.notebook.one_more_cell("ex") as cell:
        again = cell.locator(".lw-explorer")
        expect(again.locator("textarea")).to_have_value(PROMPT)
        expect(again.locator(".lw-lens")).to_have_attribute("data-prompt", PROMPT)
        explorer.words.first.click()
        expect(again.locator("textarea")).to_have_value(PROMPT + " Rome")
        explorer.notebook.expect_value("ex.prompt", PROMPT + " Rome")
    expect(explorer.notebook.page.locator(".lw-explorer")).to_have_count(1)
    explorer.settle()
    expect(explorer.words.first).to_be_enabled()


def test_line_ends_from_python_are_not_stale(explorer: ExplorerPage) -> None:
    explorer.notebook.run("ex.prompt = 'a\\r\\nb'; ex.wait()")
    expect(explorer.prompt).to_have_value("a\nb")
    expect(explorer.state).to_have_text("fresh")
    expect(explorer.root.locator(".lw-stale")).to_have_count(0)
    explorer.notebook.expect_value("ex.prompt", "a\r\nb")


def test_a_prompt_from_python_waits_until_the_box_is_left(explorer: ExplorerPage) -> None:
    explorer.prompt.press("End")
    explorer.prompt.type("!")
    explorer.settle()
    explorer.notebook.run("ex.prompt = 'From Python'; ex.wait()")
    expect(explorer.prompt).to_have_value(PROMPT + "!")
    explorer.prompt.evaluate("area => area.blur()")
    expect(explorer.prompt).to_have_value("From Python")
    explorer.settle()


def test_focus_stays_in_the_list_of_pinned_words(explorer: ExplorerPage) -> None:
    explorer.root.locator(".lw-words .lw-pin").nth(0).click()
    explorer.root.locator(".lw-words .lw-pin").nth(1).click()
    first = explorer.root.locator(".lw-pinned .lw-word").first
    expect(first).to_have_text("␣Rome", timeout=60_000)
    first.focus()
    explorer.notebook.page.keyboard.press("Enter")
    expect(first).to_be_focused()
    explorer.notebook.expect_value("ex.token == ex.tokens[0]", True)
    remove = explorer.root.locator(".lw-pinned .lw-pin")
    remove.nth(1).focus()
    explorer.notebook.page.keyboard.press("Enter")
    expect(remove).to_have_count(1)
    expect(remove.first).to_be_focused()
    explorer.notebook.page.keyboard.press("Enter")
    expect(remove).to_have_count(0)
    expect(explorer.root.locator(".lw-words .lw-pin").first).to_be_focused()


def test_views_alone_offer_no_prompt_and_name_what_they_hold(explorer: ExplorerPage) -> None:
    alone = explorer.notebook.page.locator(".lw-lens").nth(1)
    expect(alone.locator(".lw-words .lw-word").first).to_be_disabled()
    expect(alone.locator(".lw-pinned .lw-word")).to_have_text(["␣Paris", "␣Rome"])


def test_rows_of_a_list_with_gaps(explorer: ExplorerPage) -> None:
    explorer.notebook.run("ex.layers = '::3'; ex.wait()")
    expect(explorer.lens.locator(".lw-detail")).to_contain_text("10 of the layers 0–27")
    expect(explorer.root.locator(".lw-rail-layer.lw-in")).to_have_count(10)
    expect(explorer.attention.locator(".lw-bar .lw-detail")).to_contain_text("10 of the layers 0–27")


TALL_GALLERY = """
import numpy as np
import layerwidget as lw
from layerwidget.tokens import Piece
n_layers, n_heads, n_pos = 60, 12, 9
pattern = np.tril(np.random.default_rng(0).random((n_layers, n_heads, n_pos, n_pos), dtype=np.float32))
grid = lw.AttentionGrid(
    layers=tuple(range(n_layers)), n_layers=n_layers, token_ids=np.arange(n_pos), model_name="tall",
    pieces={number: Piece(number, f"{number}", f"{number}") for number in range(n_pos)},
    heads=tuple(range(n_heads)), kv_heads=tuple(range(n_heads)), causal=True,
    pattern=pattern / pattern.sum(-1, keepdims=True), attention_layers=tuple(range(n_layers)),
)
lw.AttentionView(grid)
"""
#: Which rows of the gallery have a tile.
PAINTED_ROWS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(40, 0, 1, canvas.height);
    const row = (canvas.height - 30) / 60;
    return Array.from({ length: 60 }, (_, place) => data[4 * Math.round((place + 0.4) * row) + 3] > 0);
}"""


def test_of_a_tall_gallery_only_what_is_in_sight_is_drawn(explorer: ExplorerPage) -> None:
    page = explorer.notebook.page
    painted = f"([canvas, rows]) => JSON.stringify(({PAINTED_ROWS})(canvas)) === JSON.stringify(rows)"
    with explorer.notebook.one_more_cell(TALL_GALLERY) as cell:
        expect(cell.locator(".lw-attention")).to_have_class(re.compile("lw-ready"))
        gallery = cell.locator(".lw-gallery")
        canvas = gallery.locator("canvas").element_handle()
        page.wait_for_function(painted, arg=[canvas, [True] * 37 + [False] * 23])
        gallery.evaluate("box => { box.scrollTop = box.scrollHeight; }")
        page.wait_for_function(painted, arg=[canvas, [False] * 26 + [True] * 34])
