"""The notebook that many tests share comes back to its first state, whatever one of them leaves behind."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Quickstart
from tests.browser.explorer_page import PROMPT, VIEWPORT, ExplorerPage

PAGES = "pages, other = list(ex.stack.kinds), ex.page('compare')\n"
STATES = {
    "second prompt": PAGES + "ex.pages = ['compare', 'map']; other.prompt, other.mode = 'Rome', 'both'; ex.wait()",
    "every page": PAGES + "ex.pages = pages; ex.page('neurons').table.neuron = 7; ex.page('depth').n = 3; ex.wait()",
    "a talk": "ex.preset = 'talk'; ex.scenes = [lw.Scene('One', layers='all', pages=['residual'])]; ex.scene = 0",
    "a paper": "ex.preset, ex.pages, ex.tokens, ex.token = 'paper', ['tuned'], [7042], 7042",
    "other choices": "ex.lens_view.colour, ex.lens_view.component = 'kl', 'mlp_out'\n"
    "ex.attention_view.show_heads, ex.attention_view.hide_first, view.position = 'max', False, 0",
    "another run": "ex.interventions, ex.layers, ex.layer = (lw.SkipLayers('5'),), '3-4', 3",
    "no prompt": "ex.prompt = ''",
    "an error": "model.n_ctx, ex.prompt = 3, 'one two three four five'",
}


def unsettle(page: ExplorerPage) -> None:
    """What only the page knows: theme, window, a report, a text in the making, a thumb that is held."""
    browser_page = page.notebook.page
    page.notebook.use_theme("dark")
    browser_page.set_viewport_size({"width": 900, "height": 500})
    browser_page.emulate_media(forced_colors="active")
    page.root.locator(".lw-checked").click()
    page.root.locator(".lw-trust").first.click()
    page.prompt.press("End")
    page.prompt.type(" and")
    page.grab_thumb("first")
    browser_page.mouse.move(0, 200)


def check(page: ExplorerPage) -> None:
    assert page.notebook.value("ex.state") == page.notebook.value("first_state._state")
    assert page.notebook.value("[list(ex.pages), ex.preset, len(ex.scenes), ex.scene]") == [
        ["lens"],
        "explore",
        0,
        None,
    ]
    assert page.notebook.value("[view.position, len(ex.stack.made_pages), ex.results['lens'].n_layers]") == [4, 1, 30]
    assert page.notebook.page.viewport_size == VIEWPORT
    expect(page.prompt).to_have_value(PROMPT)
    expect(page.words.first).to_have_text("␣Rome")
    expect(page.lens.locator(".lw-detail")).to_contain_text("layers 18–29")
    for gone in (".lw-report", ".lw-error", ".lw-scene-bar", ".lw-stale", ".lw-second"):
        expect(page.root.locator(f"{gone}:visible")).to_have_count(0)
    expect(page.notebook.page.locator("body")).to_have_attribute("data-jp-theme-name", "JupyterLab Light")
    expect(page.lens.get_by_label("Colour of the cells")).to_have_value("faded")
    expect(page.root).not_to_have_class(re.compile("lw-talk|lw-paper"))


#: With these, all that only the page knows is in disorder, too: of that there is just one kind.
UNSETTLED = ("every page", "an error")


@pytest.mark.parametrize("state", STATES)
def test_the_first_state_is_reached_from_any_other(quickstart: Quickstart, state: str) -> None:
    page = quickstart.begin()
    opened = quickstart.times_opened
    if state in UNSETTLED:
        unsettle(page)
    page.notebook.run(STATES[state])
    assert quickstart.begin() is page
    check(page)
    assert quickstart.times_opened == opened
