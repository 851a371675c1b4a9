"""The compare page in a real JupyterLab: a second prompt is typed, its differences are Python's, the range moves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import KERNEL_MESSAGES, PROMPT, ExplorerPage

SECOND = PROMPT.replace("Paris", "London")


@pytest.fixture
def heat(explorer: ExplorerPage) -> Iterator[Locator]:
    explorer.notebook.run("ex.pages = ['compare']; ex.wait()")
    explorer.root.locator(".lw-second textarea").fill(SECOND)
    grid = explorer.root.locator(".lw-heat").first
    expect(grid).to_have_class(re.compile(r"\blw-ready\b"), timeout=30_000)
    explorer.notebook.expect_value("ex.page('compare').prompt", SECOND)
    explorer.notebook.run("ex.wait()")
    yield grid
    explorer.notebook.run("ex.page('compare').prompt, ex.page('compare').mode = '', 'change'; ex.wait()")
    expect(grid.locator(".lw-placeholder")).to_be_visible()
    explorer.notebook.run("ex.pages = ['lens']; ex.wait()")


def in_full(value: float) -> str:
    """As the line below the grid writes it."""
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:#.3g}"


def test_a_cell_says_the_difference_and_is_selected_everywhere(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.notebook.run("ex.selection = lw.Selection(layer=24, head=6, position=9)")
    change = "float(ex.page('compare').found[0]['entropy'].change[{}, {}])"
    expect(heat).to_contain_text("A “␣Paris” (9), B “␣London” (9) · entropy: ")
    expect(heat).to_contain_text(f"{in_full(explorer.notebook.value(change.format(24, 9)))} nats")
    heat.locator("canvas").click(position={"x": 26 + 9.5 * 36, "y": 10})
    explorer.notebook.expect_value("ex.layer", 29)
    explorer.notebook.expect_value("ex.position", 9)
    expect(heat).to_contain_text(f"{in_full(explorer.notebook.value(change.format(29, 9)))} nats")
    expect(explorer.chips.nth(9)).to_have_class("lw-chip lw-here")


def test_the_range_moves_both_grids_without_the_kernel(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.root.get_by_role("button", name="A beside B").click()
    second = explorer.root.locator(".lw-heat").nth(1)
    expect(second).to_be_visible()
    explorer.notebook.run("ex.wait()")
    page = explorer.notebook.page
    page.evaluate(KERNEL_MESSAGES)
    x, y, height = explorer.grab_thumb("first")
    page.mouse.move(x, y - 0.2 * height, steps=10)
    assert page.evaluate("window.sentToKernel") == 0
    for grid in (heat, second):
        expect(grid.locator(".lw-detail")).to_contain_text("layers 24–29")
    page.mouse.up()
    explorer.notebook.expect_value("ex.layers", "24-29")
