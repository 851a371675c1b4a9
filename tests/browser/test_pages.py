"""Tabs of the explorer, with mouse and keyboard; what is hidden is not there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage


@pytest.fixture
def tabs(explorer: ExplorerPage) -> Locator:
    return explorer.root.locator(".lw-tabs")


def test_a_tab_shows_one_page_alone_and_the_map_follows(explorer: ExplorerPage, tabs: Locator) -> None:
    tabs.get_by_role("tab", name="Model map").click()
    chart = explorer.root.locator(".lw-map")
    expect(chart).to_be_visible()
    expect(explorer.lens).to_have_count(0)
    explorer.notebook.expect_value("ex.pages", ["map"])
    explorer.notebook.run("ex.layer = 25")
    expect(chart).to_contain_text("model.layers.25")
    tabs.get_by_role("tab", name="Lens + attention").click()
    explorer.settle()
    expect(explorer.lens).to_be_visible()
    expect(chart).to_have_count(0)


def test_pages_stand_under_each_other_and_can_be_moved(explorer: ExplorerPage, tabs: Locator) -> None:
    tabs.get_by_role("tab", name="Model map").hover()
    tabs.get_by_title("Show Model map under what is open").click()
    chart = explorer.root.locator(".lw-map")
    expect(chart).to_be_visible()
    explorer.settle()
    lens_box, map_box = explorer.lens.bounding_box(), chart.bounding_box()
    assert lens_box is not None
    assert map_box is not None
    assert map_box["y"] > lens_box["y"] + lens_box["height"]
    tab = tabs.get_by_role("tab", name="Model map")
    tab.focus()
    tab.press("Alt+ArrowLeft")
    explorer.notebook.expect_value("ex.pages", ["map", "lens"])
    tabs.get_by_title("Close Model map").click()
    explorer.notebook.expect_value("ex.pages", ["lens"])
    expect(tabs.get_by_title("Close Lens + attention")).to_be_disabled()
    explorer.settle()


def test_tabs_are_reached_by_keyboard(explorer: ExplorerPage, tabs: Locator) -> None:
    first = tabs.get_by_role("tab", name="Lens + attention")
    first.focus()
    first.press("ArrowLeft")
    expect(tabs.get_by_role("tab").last).to_be_focused()
    tabs.get_by_role("tab").last.press("Shift+Enter")
    explorer.notebook.expect_value("ex.pages", ["lens", "map"])
    expect(tabs.get_by_role("tab").last).to_be_focused()
    tabs.get_by_role("tab").last.press("Shift+Enter")
    explorer.notebook.expect_value("ex.pages", ["lens"])


def test_a_drag_sends_nothing_with_two_pages_open(explorer: ExplorerPage, tabs: Locator) -> None:
    explorer.notebook.run("ex.pages = ['lens', 'map']; ex.wait()")
    explorer.settle()
    page = explorer.notebook.page
    explorer.notebook.count_messages()
    x, y, height = explorer.grab_thumb("first")
    page.mouse.move(x, y - 0.3 * height, steps=10)
    assert page.evaluate("window.sentToKernel") == 0
    page.mouse.up()


#: Titles that are cut, and how much wider than their place the explorer and the tabs are.
CUT = """(root) => {
    const cut = (node) => node.checkVisibility({ visibilityProperty: true }) && node.scrollWidth > node.clientWidth + 1;
    const titles = [...root.querySelectorAll(".lw-bar > .lw-title, .lw-bar > .lw-detail, .lw-facts-line > *")];
    // A fact without room stands in a line that is not seen.
    const bottom = (node) => node.parentElement.getBoundingClientRect().bottom;
    const seen = titles.filter((node) => node.getBoundingClientRect().top < bottom(node));
    const [tabs, tab] = [root.querySelector(".lw-tabs"), root.querySelector(".lw-tab-box:last-child")];
    const [most, last] = [tabs, tab].map((node) => node.getBoundingClientRect());
    return {
        titles: seen.filter((node) => !node.matches(".lw-facts-line") && cut(node)).map((node) => node.textContent),
        wider: [root, tabs].map((node) => node.scrollWidth - node.clientWidth),
        tabs: last.right <= most.right && last.bottom <= most.bottom,
    };
}"""
#: How much lower the first row of the layer slider stands than that of what is beside it.
RAIL = """(root) => {
    const rows = ".lw-stack-first :is(.lw-scroll, .lw-neuron-body)";
    const seen = (css) => [...root.querySelectorAll(css)].find((node) => node.getBoundingClientRect().height);
    const [rail, row] = [".lw-rail-stage", rows].map((css) => seen(css)?.getBoundingClientRect().top);
    return rail && row ? Math.round(rail - row) : 0;
}"""


def test_no_title_is_cut_where_there_is_little_room(explorer: ExplorerPage) -> None:
    explorer.notebook.page.set_viewport_size({"width": 700, "height": 900})
    explorer.notebook.run("ex.page('compare').prompt = ex.prompt.replace('Paris', 'London')")
    for name in explorer.notebook.value("list(ex.stack.kinds)"):
        explorer.notebook.run(f"ex.pages = [{name!r}]; ex.wait()")
        expect(explorer.state).to_have_text("fresh")
        explorer.notebook.rest()
        assert explorer.root.evaluate(CUT) == {"titles": [], "wider": [0, 0], "tabs": True}, name
        # The rows of the slider stand beside those of the page.
        assert abs(explorer.root.evaluate(RAIL)) <= 1, name
