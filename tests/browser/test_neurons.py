"""The neurons page in a real JupyterLab: a row follows its neuron, a token chooses a position."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage


@pytest.fixture
def table(explorer: ExplorerPage) -> Locator:
    explorer.open("neurons")
    found = explorer.root.locator(".lw-neurons")
    expect(found).to_have_class(re.compile(r"\blw-ready\b"))
    expect(found).to_contain_text("layer 29 · at “␣of” (position 20)")
    return found


def test_a_row_says_its_numbers_and_follows_its_neuron(explorer: ExplorerPage, table: Locator) -> None:
    first = table.locator(".lw-neuron-rows .lw-neuron").first
    value = explorer.notebook.value("float(ex.results['neurons'].activations[0])")
    expect(first).to_contain_text(f"{value:.3f}")
    first.click()
    explorer.notebook.expect_value("ex.results['neurons'].neuron == int(ex.results['neurons'].neurons[0])", True)
    expect(first).to_have_class(re.compile("lw-here"))
    chip = table.locator(".lw-neuron-chip").nth(9)
    value = explorer.notebook.value("float(ex.results['neurons'].by_position[9])")
    chip.hover()
    expect(table.locator(".lw-heat-readout")).to_contain_text(f"activation {value:.3f}")
    chip.click()
    explorer.notebook.expect_value("ex.position", 9)
    expect(table).to_contain_text("at “␣Paris” (position 9)")


def test_it_is_reached_by_keyboard(explorer: ExplorerPage, table: Locator) -> None:
    rows = table.locator(".lw-neuron-rows .lw-neuron")
    rows.first.focus()
    rows.first.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    rows.nth(1).press("Enter")
    explorer.notebook.expect_value("ex.page('neurons').table.neuron == int(ex.results['neurons'].neurons[1])", True)
    strip = table.locator(".lw-neuron-strip")
    strip.focus()
    strip.press("ArrowLeft")
    explorer.notebook.expect_value("ex.position", 19)


def test_the_chosen_token_of_a_long_prompt_is_in_sight(explorer: ExplorerPage, table: Locator) -> None:
    explorer.notebook.run(
        "ex.prompt = 'one two three four five six seven eight ' * 16; ex.wait(); ex.position = 127; ex.wait()"
    )
    last = table.locator(".lw-neuron-chip").nth(127)
    expect(last).to_have_attribute("aria-selected", "true")
    seen = """(chip) => {
        const [strip, own] = [chip.parentElement.getBoundingClientRect(), chip.getBoundingClientRect()];
        return own.top >= strip.top && own.bottom <= strip.bottom;
    }"""
    # It is scrolled to in the frame after it was marked.
    explorer.notebook.page.wait_for_function(seen, arg=last.element_handle())
    assert not table.locator(".lw-neuron-chip").first.evaluate(seen)
    explorer.notebook.run("ex.position = 0; ex.wait()")
    expect(table.locator(".lw-neuron-chip").first).to_have_attribute("aria-selected", "true")
    explorer.notebook.page.wait_for_function(seen, arg=table.locator(".lw-neuron-chip").first.element_handle())
