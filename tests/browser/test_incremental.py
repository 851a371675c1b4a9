"""What an edit costs, and what can be seen and stopped meanwhile, on a real page."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.explorer_page import PROMPT, ExplorerPage

SLOW = """
import time
slow_hook = model.hf_model.model.layers[5].register_forward_pre_hook(lambda *_: time.sleep({seconds}))
"""


SLOW_LENS = """
import time
from layerwidget.analysis import logit_lens
fill = logit_lens._Board.fill
def slow_fill(board, layers, start, stop):
    time.sleep(1.5 if stop - start > 1 else 0)
    fill(board, layers, start, stop)
logit_lens._Board.fill = slow_fill
"""


def test_an_appended_word_costs_one_position(explorer: ExplorerPage) -> None:
    explorer.notebook.expect_value("ex.report is not None", True, timeout_s=60)
    explorer.prompt.press_sequentially(" Rome")
    explorer.settle()
    expect(explorer.root.locator(".lw-work")).to_contain_text("22 tokens")
    assert explorer.notebook.value("ex._live.reused") >= 20
    expected = explorer.notebook.value("lw.LogitLens(k=1).run(model.trace(ex.prompt)).top_ids[:, -1, 0].tolist()")
    assert explorer.notebook.value("ex.results['lens'].top_ids[:, -1, 0].tolist()") == expected
    explorer.prompt.fill(PROMPT)
    explorer.settle()
    expect(explorer.root.locator(".lw-work")).to_contain_text("nothing recomputed")


def test_the_grade_is_shown_and_opens_its_figures(explorer: ExplorerPage) -> None:
    explorer.notebook.expect_value("ex.report is not None", True, timeout_s=60)
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
    explorer.notebook.run(SLOW.format(seconds=3))
    try:
        explorer.prompt.fill("Something else that takes long")
        expect(stop).to_be_visible()
        stop.click()
        expect(explorer.state).to_have_text("stopped", timeout=20_000)
    finally:
        explorer.notebook.run("slow_hook.remove()")
    expect(stop).not_to_be_visible()
    explorer.prompt.fill("Something else that takes no time")
    explorer.settle()


def test_parts_are_marked_until_the_picture_is_complete(explorer: ExplorerPage) -> None:
    explorer.notebook.run(SLOW_LENS)
    try:
        explorer.prompt.fill("A prompt of a dozen new words that nobody has ever typed before today")
        explorer.notebook.page.wait_for_selector(".lw-explorer .lw-lens.lw-partial", timeout=20_000)
    finally:
        explorer.notebook.run("logit_lens._Board.fill = fill")
    explorer.settle()
    assert explorer.root.locator(".lw-lens.lw-partial").count() == 0


def test_what_a_reader_scrolls_to_is_computed_first(explorer: ExplorerPage) -> None:
    page = explorer.notebook.page
    explorer.notebook.run(SLOW_LENS)
    try:
        explorer.prompt.fill("one two three four five six seven eight nine ten " * 14)
        page.wait_for_selector(".lw-explorer .lw-lens.lw-partial", timeout=60_000)
        scroll = explorer.lens.locator(".lw-scroll")
        assert scroll.evaluate("node => node.scrollLeft") > 1000
        scroll.evaluate("node => { node.scrollLeft = 0; }")
        explorer.notebook.expect_value("ex.lens_view.in_sight[0]", 0, timeout_s=20)
        held = "[one.value.done for one in ex._live._answers.values() if getattr(one.value, 'done', None) is not None]"
        explorer.notebook.expect_value(f"[bool(done[:, 0].all()) for done in {held}]", [True], timeout_s=40)
        assert not explorer.notebook.value(f"any(done.all() for done in {held})")
        assert scroll.evaluate("node => node.scrollLeft") == 0
    finally:
        explorer.notebook.run("logit_lens._Board.fill = fill")
        explorer.prompt.fill(PROMPT)
    explorer.settle()
