"""What an edit costs, and what can be seen and stopped meanwhile, on a real page."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.explorer_page import PROMPT, ExplorerPage

#: A pass stands still before layer 5, and the lens before more than one position, until `gate` is opened.
CLOSED = """
import threading
gate = threading.Event()
hook = model.hf_model.model.layers[5].register_forward_pre_hook(lambda *_: (gate.wait(60), None)[1])
"""
CLOSED_LENS = """
import threading
from layerwidget.analysis import logit_lens
gate, fill = threading.Event(), logit_lens._Board.fill
def waiting_fill(board, layers, start, stop, *before):
    stop - start == 1 or gate.wait(60)
    fill(board, layers, start, stop, *before)
logit_lens._Board.fill = waiting_fill
"""
#: Lets the lens compute until all layers of the first position are there.
CLOSED_LATER = """
def until_first(board, layers, start, stop, *before):
    board.done[:, 0].all() and gate.wait(60)
    fill(board, layers, start, stop, *before)
logit_lens._Board.fill = until_first
"""


def test_an_appended_word_costs_one_position(explorer: ExplorerPage) -> None:
    explorer.expect_checked()
    explorer.prompt.press_sequentially(" Oslo")
    explorer.settle()
    # Whatever was held before, this prompt is held now.
    explorer.prompt.press_sequentially("!")
    explorer.settle()
    expect(explorer.prompt).to_have_value(f"{PROMPT} Oslo!")
    expect(explorer.root.locator(".lw-work")).to_contain_text("1 recomputed")
    n_pos = explorer.notebook.value("ex.results['lens'].top_ids.shape[1]")
    assert explorer.notebook.value("ex._answering.live.reused") == n_pos - 1
    expected = explorer.notebook.value("lw.LogitLens(k=1).run(model.trace(ex.prompt)).top_ids[:, -1, 0].tolist()")
    assert explorer.notebook.value("ex.results['lens'].top_ids[:, -1, 0].tolist()") == expected
    explorer.prompt.fill(PROMPT)
    explorer.settle()
    expect(explorer.root.locator(".lw-work")).to_contain_text("nothing recomputed")


def test_the_grade_is_shown_and_opens_its_figures(explorer: ExplorerPage) -> None:
    explorer.expect_checked()
    chip = explorer.root.locator(".lw-checked")
    expect(chip).to_have_text("✓ checked: lens, residual, attention, skip, clean")
    report = explorer.root.locator(".lw-report")
    expect(report).to_be_hidden()
    chip.press("Enter")
    expect(report).to_be_visible()
    expect(report).to_contain_text("cache cropped at the first changed token")
    chip.press("Enter")
    expect(report).to_be_hidden()


def test_a_long_computation_can_be_stopped(explorer: ExplorerPage) -> None:
    stop = explorer.root.get_by_role("button", name="stop")
    expect(stop).not_to_be_visible()
    explorer.notebook.run(CLOSED)
    try:
        explorer.prompt.fill("Something else that takes long")
        expect(stop).to_be_visible()
        stop.click()
        # The kernel has heard it when what runs goes on to its next layer.
        explorer.notebook.rest()
        explorer.notebook.run("gate.set()")
        expect(explorer.state).to_have_text("stopped")
    finally:
        explorer.notebook.run("hook.remove(); gate.set()")
    expect(stop).not_to_be_visible()
    explorer.prompt.fill("Something else that takes no time")
    explorer.settle()


#: Notes in `window.lensTexts` what a canvas writes from the last time on that it was begun anew; and ends that.
NOTE_TEXTS = """(canvas) => {
    const context = canvas.getContext("2d");
    const { clearRect, fillText } = context;
    window.lensTexts = [];
    context.clearRect = (...box) => { window.lensTexts = []; clearRect.apply(context, box); };
    context.fillText = (text, ...place) => { window.lensTexts.push(text); fillText.call(context, text, ...place); };
}"""
NOTE_NO_TEXTS = """(canvas) => {
    const context = canvas.getContext("2d");
    delete context.clearRect;
    delete context.fillText;
}"""
DOTS = "window.lensTexts.filter((text) => text === '·').length"


def test_parts_are_marked_until_the_picture_is_complete(explorer: ExplorerPage) -> None:
    notebook, page, lens = explorer.notebook, explorer.notebook.page, explorer.lens
    rows, words = lens.locator(".lw-twin tbody tr"), explorer.words.first
    explorer.grid.evaluate(NOTE_TEXTS)
    notebook.run(CLOSED_LENS)
    try:
        explorer.prompt.fill("A dozen new words that nobody has ever typed before today")
        expect(lens).to_have_class(re.compile(r"\blw-partial\b"))
        expect(explorer.state).to_have_text("computing")
        n_pos = explorer.chips.count()
        assert n_pos > 8
        # Of the last position, all layers in view are there; in the place of the others, readers see and hear so.
        page.wait_for_function(f"{DOTS} === {12 * (n_pos - 1)}")
        lens.locator(".lw-scroll").focus()
        expect(rows).to_have_count(12)
        for row in (0, 11):
            *others, last = rows.nth(row).locator("td").all_inner_texts()
            assert others == ["not computed"] * (n_pos - 1)
            assert re.search(r" [01]\.\d{3}$", last)
        expect(words).to_be_visible()
        explorer.grid.hover(position=explorer.cell(3, 2, 12))
        expect(words).to_be_hidden()
    finally:
        notebook.run("logit_lens._Board.fill = fill; gate.set()")
    explorer.settle()
    expect(lens).not_to_have_class(re.compile(r"\blw-partial\b"))
    expect(words).to_be_visible()
    expect(lens.locator(".lw-twin")).not_to_contain_text("not computed")
    assert page.evaluate(DOTS) == 0
    explorer.grid.evaluate(NOTE_NO_TEXTS)


def test_what_a_reader_scrolls_to_is_computed_first(explorer: ExplorerPage) -> None:
    page = explorer.notebook.page
    # What is done in idle moments is done.
    explorer.expect_checked()
    explorer.notebook.run(CLOSED_LENS)
    try:
        explorer.prompt.fill("one two three four five six seven eight nine ten " * 14)
        page.wait_for_selector(".lw-explorer .lw-lens.lw-partial")
        scroll = explorer.lens.locator(".lw-scroll")
        page.wait_for_function("node => node.scrollLeft > 1000", arg=scroll.element_handle())
        # Else the reader is back before the kernel has heard that he was away.
        explorer.notebook.expect_value("ex.lens_view.in_sight[0] > 0", True)
        scroll.evaluate("node => { node.scrollLeft = 0; }")
        explorer.notebook.expect_value("ex.lens_view.in_sight[0]", 0)
        explorer.notebook.run("released = gate; gate = threading.Event()\n" + CLOSED_LATER + "released.set()")
        answers = "(one.value for one in ex._answering.live._answers.values())"
        held = f"[one.done for one in {answers} if getattr(one, 'done', None) is not None]"
        explorer.notebook.expect_value(f"[bool(done[:, 0].all()) for done in {held}]", [True])
        assert not explorer.notebook.value(f"any(done.all() for done in {held})")
        assert scroll.evaluate("node => node.scrollLeft") == 0
    finally:
        explorer.notebook.run("logit_lens._Board.fill = fill; gate.set()")
    explorer.prompt.fill(PROMPT)
    explorer.settle()
