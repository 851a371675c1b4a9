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


#: Words of one token each: more of them than there is room for bars.
MANY_WORDS = "'one two three four five six seven eight nine ten ' * 13"
#: The chosen head becomes one that takes most from a token beyond the first hundred.
FIND_LATE_HEAD = """
late = None
for layer in range(29, -1, -1):
    for head in range(9):
        ex.layer, ex.head = layer, head
        ex.wait()
        if abs(ex.results['head_sources'].sources).argmax() > 105:
            late = layer, head
            break
    if late:
        break
else:
    raise LookupError('no head looks far')
"""
#: Whenever the bars are drawn: which result, and how far they are scrolled then.
NOTE_BARS = """() => {
    const view = document.querySelector(".lw-explorer .lw-sources");
    window.bars = [];
    const note = () => window.bars.push([view.dataset.revision, view.querySelector(".lw-scroll").scrollLeft]);
    const drawn = new MutationObserver((records) => records.forEach(note));
    drawn.observe(view, { attributes: true, attributeFilter: ["data-revision"] });
    window.noteNoBars = () => drawn.disconnect();
}"""


def test_the_largest_bar_is_brought_into_sight_before_it_is_drawn(explorer: ExplorerPage, panel: Locator) -> None:
    notebook, page = explorer.notebook, explorer.notebook.page
    scroll = explorer.root.locator(".lw-sources .lw-scroll")
    notebook.run(f"ex.prompt = {MANY_WORDS}; ex.wait()")
    notebook.run(FIND_LATE_HEAD)
    late = notebook.value("int(abs(ex.results['head_sources'].sources).argmax())")
    detail = explorer.root.locator(".lw-sources .lw-detail")
    expect(detail).to_contain_text("layer {} head {} ".format(*notebook.value("late")))
    left, width = scroll.evaluate("(box) => [box.scrollLeft, box.clientWidth]")
    assert left > 0
    assert left <= 12 * late <= left + width - 60 - 12
    # From where the reader has scrolled to, it is drawn once, scrolled already.
    notebook.run("other = (late[1] + 1) % 9; ex.head = other; ex.wait()")
    expect(detail).to_contain_text(f"head {notebook.value('other')} ")
    scroll.evaluate("(box) => { box.scrollLeft = 0; }")
    notebook.rest()
    page.evaluate(NOTE_BARS)
    try:
        notebook.run("ex.head = late[1]; ex.wait()")
        expect(detail).to_contain_text(f"head {notebook.value('late')[1]} ")
        notebook.rest()
        drawn = page.evaluate("window.bars")
        newest = [left for revision, left in drawn if revision == drawn[-1][0]]
        assert newest == [scroll.evaluate("(box) => box.scrollLeft")], drawn
        assert newest[0] > 0
    finally:
        page.evaluate("window.noteNoBars()")


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
