"""The attribution page in a real JupyterLab: its numbers, its selection, its choice of tokens, and a free range."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage


@pytest.fixture
def panel(explorer: ExplorerPage) -> Locator:
    explorer.open("attribution")
    found = explorer.root.locator(".lw-attribution")
    expect(found).to_have_class(re.compile(r"\blw-ready\b"))
    return found


def rows(panel: Locator) -> list[str]:
    return panel.locator(".lw-part:visible").all_inner_texts()


def test_the_parts_are_pythons_and_a_click_chooses_the_layer(explorer: ExplorerPage, panel: Locator) -> None:
    largest = explorer.notebook.value("ex.results['attribution'].largest(12)")
    assert len(largest) == 12
    for place, (name, value) in enumerate(largest):
        row = panel.locator(".lw-part").nth(place)
        expect(row.locator(".lw-word")).to_have_text(name)
        expect(row.locator(".lw-number")).to_have_text(f"{value:.3f}")
    logit = explorer.notebook.value("ex.results['attribution'].logit")
    expect(panel.locator("[data-kind=total] .lw-number")).to_have_text(f"{logit:.3f}")
    expect(panel.locator("[data-kind=error]")).to_be_visible()
    panel.get_by_role("button", name="attn23").click()
    explorer.notebook.expect_value("ex.layer", 23)
    expect(panel.locator(".lw-here .lw-word")).to_have_text(["attn23", "mlp23"])


def test_a_head_is_opened_with_its_sources(explorer: ExplorerPage, panel: Locator) -> None:
    heat, sources = explorer.root.locator(".lw-heat"), explorer.root.locator(".lw-sources")
    explorer.notebook.run("ex.layers = 'all'; ex.wait()")
    expect(heat.locator(".lw-detail")).to_contain_text("layers 0–29")
    explorer.notebook.rest()
    heat.locator(".lw-scroll").click(position={"x": 26 + 5.5 * 52, "y": (29 - 23 + 0.5) * 14})
    explorer.notebook.expect_value("ex.layer", 23)
    # Layer and head come in one message; it was heard when the page is at rest.
    explorer.notebook.rest()
    head = explorer.notebook.value("ex.head")
    explorer.notebook.run("ex.wait()")
    value = explorer.notebook.value(f"float(ex.results['attribution'].heads[23, {head}])")
    expect(heat.locator(".lw-heat-readout")).to_contain_text(f"layer 23 · head {head} · head: {value:.3f}")
    expect(sources.locator(".lw-detail")).to_contain_text(f"layer 23 head {head}")
    expect(sources.locator(".lw-detail")).to_contain_text(f"{value:.3f} logits")
    place = explorer.notebook.value("int(abs(ex.results['head_sources'].sources).argmax())")
    most = explorer.notebook.value(f"float(ex.results['head_sources'].sources[{place}])")
    expect(sources.locator(".lw-heat-readout")).to_contain_text(f"(position {place}): {most:.3f} logits")


def test_the_difference_of_two_tokens(explorer: ExplorerPage, panel: Locator) -> None:
    second = explorer.notebook.value("int(ex.results['attribution'].top_ids[1])")
    panel.get_by_label("Minus the logit of").select_option(str(second))
    explorer.notebook.expect_value("ex.page('attribution').parts.minus", second)
    explorer.notebook.run("ex.wait()")
    logit = explorer.notebook.value("ex.results['attribution'].logit")
    expect(panel.locator("[data-kind=total] .lw-number")).to_have_text(f"{logit:.3f}")
    panel.get_by_label("Whose logit").select_option(str(second))
    explorer.notebook.expect_value("ex.token", second)


def test_the_range_moves_without_the_kernel_and_typing_moves_it_on(explorer: ExplorerPage, panel: Locator) -> None:
    page = explorer.notebook.page
    explorer.notebook.count_messages()
    x, y, height = explorer.grab_thumb("first")
    page.mouse.move(x, y - 0.2 * height, steps=10)
    assert page.evaluate("window.sentToKernel") == 0
    expect(explorer.root.locator(".lw-heat .lw-detail")).to_contain_text("layers 24–29")
    page.mouse.up()
    explorer.prompt.fill("One")
    expect(panel).to_have_attribute("data-prompt", "One", timeout=30_000)
    explorer.prompt.fill("")
    expect(panel.locator(".lw-placeholder")).to_be_visible()
