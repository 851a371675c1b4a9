"""The residual page in a real JupyterLab: its numbers, its selection, and a range that moves without the kernel."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage


@pytest.fixture
def heat(explorer: ExplorerPage) -> Locator:
    explorer.open("residual")
    grid = explorer.root.locator(".lw-heat")
    expect(grid).to_be_visible()
    expect(grid).to_have_class(re.compile(r"\blw-ready\b"))
    return grid


def test_a_cell_says_its_number_and_is_selected_everywhere(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.notebook.run("ex.selection = lw.Selection(layer=24, head=6, position=9)")
    norm = explorer.notebook.value("float(ex.results['residual'].norm('resid_post')[24, 9])")
    expect(heat).to_contain_text(f"{norm:.3f}")
    expect(explorer.chips.nth(9)).to_have_class("lw-chip lw-here")
    explorer.notebook.rest()
    column = heat.locator(".lw-scroll").evaluate("(node) => Math.floor((node.scrollLeft + 18) / node.dataset.column)")
    heat.locator(".lw-scroll").click(position={"x": 26 + 18, "y": 10})
    explorer.notebook.expect_value("[ex.layer, ex.position]", [29, column])
    norm = explorer.notebook.value(f"float(ex.results['residual'].norm('resid_post')[29, {column}])")
    expect(heat).to_contain_text(f"{norm:.3f}")


def test_the_range_moves_the_grid_without_the_kernel_and_its_ledger_follows(
    explorer: ExplorerPage, heat: Locator
) -> None:
    expect(explorer.root.get_by_text("Layers 18-29: what enters")).to_be_visible()
    page = explorer.notebook.page
    explorer.notebook.count_messages()
    x, y, height = explorer.grab_thumb("first")
    page.mouse.move(x, y - 0.2 * height, steps=10)
    assert page.evaluate("window.sentToKernel") == 0
    expect(heat.locator(".lw-detail")).to_contain_text("layers 24–29")
    page.mouse.up()
    expect(explorer.root.get_by_text("Layers 24-29: what enters")).to_be_visible()


def test_typing_moves_it_on(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.prompt.fill("One")
    expect(heat).to_have_attribute("data-prompt", "One", timeout=30_000)
    explorer.prompt.fill("")
    expect(heat.locator(".lw-placeholder")).to_be_visible()
