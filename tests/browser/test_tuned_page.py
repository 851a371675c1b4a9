"""The tuned lens page in a real JupyterLab: it is trained with its button, and says how far to trust the lens."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage

TEXT = "One two three four five six seven eight nine ten. " * 4


@pytest.fixture
def lenses(explorer: ExplorerPage) -> Locator:
    """The tuned lens and the logit lens beside it, before any training."""
    explorer.open("tuned")
    explorer.notebook.run("page = ex.page('tuned')")
    found = explorer.root.locator(".lw-lens")
    expect(found).to_have_count(2)
    expect(found.nth(1)).to_have_class(re.compile(r"\blw-ready\b"))
    return found


def test_it_is_trained_with_its_button(explorer: ExplorerPage, lenses: Locator) -> None:
    tuned, plain = lenses.nth(0), lenses.nth(1)
    expect(tuned.locator(".lw-placeholder")).to_contain_text("has to be trained first")
    explorer.notebook.run("page.epochs, page.max_positions = 1, 24")
    bar = explorer.root.locator(".lw-request")
    explorer.root.get_by_placeholder("A text to train on").fill(TEXT)
    explorer.notebook.expect_value("page.text", TEXT)
    expect(bar).to_contain_text("then 1 epoch over 24 tokens for each of 30 layers")
    bar.get_by_role("button", name="Train").click()
    expect(bar).to_have_attribute("data-state", "done", timeout=60_000)
    explorer.notebook.run("ex.wait()")
    expect(tuned).to_have_class(re.compile(r"\blw-ready\b"))
    expect(explorer.root.get_by_text("Held-out text")).to_be_visible()
    for lens, name in ((tuned, "tuned_lens"), (plain, "resid_pre_lens")):
        kl = explorer.notebook.value(f"float(ex.results[{name!r}].kl_to_final_nats[29, 20])")
        expect(lens.locator(".lw-cell-facts")).to_contain_text(f"{kl:.3f} nats")
        top = explorer.notebook.value(f"float(ex.results[{name!r}].max_prob[29, 20])")
        expect(lens.locator(".lw-word-row .lw-number").first).to_have_text(f"{top:.3f}")
    curves = explorer.notebook.value("[float(curve[29]) for curve in page.trust.lines.y]")
    lens_kl = "[float(ex.results[n].kl_to_final_nats[29, 20]) for n in ('resid_pre_lens', 'tuned_lens')]"
    assert curves == pytest.approx(explorer.notebook.value(lens_kl), abs=1e-3)


def test_before_training_the_other_lens_has_the_room(explorer: ExplorerPage, lenses: Locator) -> None:
    tuned, plain = lenses.nth(0), lenses.nth(1)
    words, grid, button = (one.bounding_box() for one in (tuned, plain, explorer.root.locator(".lw-request")))
    assert words is not None
    assert grid is not None
    assert button is not None
    assert words["height"] < 120
    assert words["width"] == pytest.approx(grid["width"], abs=1)
    # Under the grid, whose rows stay beside the layer slider, and above what trains it.
    assert grid["y"] + grid["height"] <= words["y"] < words["y"] + words["height"] <= button["y"]
    explorer.notebook.run("page.translators = lw.Translators.untrained(30, 576); ex.wait()")
    expect(tuned).to_have_class(re.compile(r"\blw-ready\b"))
    explorer.notebook.rest()
    left, right = (one.bounding_box() for one in (tuned, plain))
    assert left is not None
    assert right is not None
    assert (left["y"], left["width"]) == pytest.approx((right["y"], right["width"]), abs=1)


def test_both_lenses_have_one_place_and_one_scale(explorer: ExplorerPage, lenses: Locator) -> None:
    explorer.notebook.run("page.translators = lw.Translators.untrained(30, 576); ex.wait()")
    tuned, plain = lenses.nth(0), lenses.nth(1)
    expect(tuned).to_have_class(re.compile(r"\blw-ready\b"))
    # As good as untrained: the one says what the other says.
    words = plain.locator(".lw-words").inner_text()
    expect(tuned.locator(".lw-words")).to_have_text(words, use_inner_text=True)
    plain.locator(".lw-scroll").evaluate("(node) => { node.scrollLeft = 40; }")
    explorer.notebook.page.wait_for_function(
        "[...document.querySelectorAll('.lw-lens-below .lw-scroll')].every((node) => node.scrollLeft === 40)"
    )
    plain.locator(".lw-scroll canvas").click(position={"x": 26 + 50, "y": 20})
    explorer.notebook.expect_value("[ex.layer, ex.position]", [29, 2])
    for lens in (tuned, plain):
        expect(lens.locator(".lw-panel-title")).to_contain_text("layer 29")
        expect(lens.locator(".lw-panel-title")).to_contain_text("(position 2)")
    tuned.get_by_role("button", name="How far to trust").click()
    expect(plain.get_by_label("Colour of the cells")).to_have_value("kl")
    expect(plain.get_by_role("button", name="How far to trust")).to_have_attribute("aria-pressed", "true")
    explorer.notebook.expect_value("ex.lens_view.colour", "faded")
    page = explorer.notebook.page
    explorer.notebook.count_messages()
    x, y, height = explorer.grab_thumb("first")
    page.mouse.move(x, y - 0.2 * height, steps=10)
    assert page.evaluate("window.sentToKernel") == 0
    expect(tuned.locator(".lw-detail")).to_contain_text("layers 24–29")
    page.mouse.up()
    tuned.get_by_role("button", name="How far to trust").click()
    expect(plain.get_by_label("Colour of the cells")).to_have_value("faded")


def test_trust_is_one_click_away_on_the_lens_page(explorer: ExplorerPage) -> None:
    # A click scrolls the page to where it goes: what stays is the place in the explorer.
    place = """node => {
        const [box, root] = [node, node.closest(".lw-explorer")].map((one) => one.getBoundingClientRect());
        return [box.x - root.x, box.y - root.y, box.width, box.height];
    }"""
    before = explorer.lens.evaluate(place)
    button = explorer.lens.get_by_role("button", name="How far to trust the lens here?")
    button.click()
    expect(explorer.lens.get_by_label("Colour of the cells")).to_have_value("kl")
    explorer.notebook.expect_value("[ex.lens_view.colour, ex.curves.quantity]", ["kl", "kl"])
    explorer.notebook.rest()
    assert explorer.lens.evaluate(place) == before
    button.click()
    explorer.notebook.expect_value("[ex.lens_view.colour, ex.curves.quantity]", ["faded", "probability"])
