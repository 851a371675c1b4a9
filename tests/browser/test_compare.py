"""The compare page in a real JupyterLab: a second prompt is typed, its differences are Python's, the range moves."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import PROMPT, ExplorerPage, column_width

SECOND = PROMPT.replace("Paris", "London")


@pytest.fixture
def heat(explorer: ExplorerPage) -> Locator:
    explorer.open("compare")
    explorer.root.locator(".lw-second textarea").fill(SECOND)
    grid = explorer.root.locator(".lw-heat").first
    expect(grid).to_have_class(re.compile(r"\blw-ready\b"), timeout=30_000)
    explorer.notebook.expect_value("ex.page('compare').prompt", SECOND)
    explorer.notebook.run("ex.wait()")
    explorer.notebook.rest()
    return grid


def in_full(value: float) -> str:
    """As the line below the grid writes it."""
    return f"{value:.3f}" if abs(value) >= 0.1 else f"{value:#.3g}"


def pair(explorer: ExplorerPage) -> Locator:
    """The chosen head in both."""
    return explorer.root.locator(".lw-head-pair")


def spot(explorer: ExplorerPage, matrix: int, query: int, key: int) -> dict[str, float]:
    """Where a cell of one of the three matrices is: words to their left, a title above them."""
    room = pair(explorer).locator(".lw-pair-matrices").evaluate("node => node.clientWidth")
    side = min(340, (room - 92 - 2 * 16 - 2) // 3)
    size = explorer.notebook.value("len(ex.page('compare').heads_found.alignment)")
    cell = min(44, side / size)
    return {"x": 92 + matrix * (side + 16) + (key + 0.5) * cell, "y": 18 + (query + 0.5) * cell}


def say(explorer: ExplorerPage, second: str) -> None:
    """Type another second prompt and wait for what is drawn of it."""
    explorer.root.locator(".lw-second textarea").fill(second)
    explorer.notebook.expect_value("ex.page('compare').prompt", second)
    explorer.notebook.run("ex.wait()")
    explorer.notebook.rest()


def test_a_cell_says_the_difference_and_is_selected_everywhere(explorer: ExplorerPage, heat: Locator) -> None:
    heat.get_by_label("What is shown").select_option("entropy")
    explorer.notebook.run("ex.selection = lw.Selection(layer=24, head=6, position=9)")
    change = "float(ex.page('compare').found[0]['entropy'].change[{}, {}])"
    expect(heat).to_contain_text("A “␣Paris” (9), B “␣London” (9) · entropy: ")
    expect(heat).to_contain_text(f"{in_full(explorer.notebook.value(change.format(24, 9)))} nats")
    heat.locator("canvas").click(position={"x": 26 + 9.5 * column_width(heat.locator(".lw-scroll")), "y": 10})
    explorer.notebook.expect_value("[ex.layer, ex.position]", [29, 9])
    expect(heat).to_contain_text(f"{in_full(explorer.notebook.value(change.format(29, 9)))} nats")
    expect(explorer.chips.nth(9)).to_have_class("lw-chip lw-here")


def test_the_range_moves_both_grids_without_the_kernel(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.root.get_by_role("button", name="A beside B").click()
    second = explorer.root.locator(".lw-heat").nth(1)
    expect(second).to_be_visible()
    explorer.notebook.run("ex.wait()")
    page = explorer.notebook.page
    explorer.notebook.count_messages()
    x, y, height = explorer.grab_thumb("first")
    page.mouse.move(x, y - 0.2 * height, steps=10)
    assert page.evaluate("window.sentToKernel") == 0
    for grid in (heat, second):
        expect(grid.locator(".lw-detail")).to_contain_text("layers 24–29")
    page.mouse.up()
    explorer.notebook.expect_value("ex.layers", "24-29")


def test_the_lens_says_what_both_predict(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.notebook.run(
        "a, b = ex.results['compare_lens'], ex.page('compare').found[0].b\n"
        "other = (a.top_ids[18:, :, 0] != b.top_ids[18:, :, 0]).nonzero()\n"
        "layer, position = int(other[0][0]) + 18, int(other[1][0])\n"
        "ex.selection = lw.Selection(layer=layer, head=6, position=position)"
    )
    for grid in ("a", "b"):
        explorer.notebook.run(f"word_{grid} = {grid}.pieces[int({grid}.top_ids[layer, position, 0])].visible")
    said = explorer.notebook.value("f'A “{word_a}”, B “{word_b}”, probability in B '")
    value = explorer.notebook.value("float(b.max_prob[layer, position])")
    expect(heat.locator(".lw-heat-readout")).to_contain_text(f"top-1 token: {said}{in_full(value)}")
    explorer.root.get_by_role("button", name="A", exact=True).click()
    value, word = explorer.notebook.value("float(a.max_prob[layer, position])"), explorer.notebook.value("word_a")
    expect(heat.locator(".lw-heat-readout")).to_contain_text(f"top-1 token: “{word}” {in_full(value)}")


def test_the_matrices_say_pythons_weights(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.notebook.run("ex.selection = lw.Selection(layer=18, head=6, position=20)")
    canvas, readout = pair(explorer).locator("canvas"), pair(explorer).locator(".lw-heat-readout")
    expect(readout).to_contain_text("largest change: “␣of” (20) → ")
    for matrix, query, key in ((0, 20, 9), (1, 13, 0), (2, 19, 18)):
        canvas.hover(position=spot(explorer, matrix, query, key))
        one = f"[float(one[{query}, {key}]) for one in (head.a, head.b, head.change)]"
        explorer.notebook.run("head = ex.page('compare').heads_found.head(18, 6)")
        a, b, change = explorer.notebook.value(one)
        # Halves of a thousandth may be rounded either way.
        expect(readout).to_contain_text(re.compile(rf"\({query}\) → .*\({key}\) · A {a:.3f} · B {b:.3f} · B − A "))
        expect(readout).to_contain_text(re.compile(rf"B − A {change:+.3f}|0\.000".replace("+", "[+]")))
    canvas.click(position=spot(explorer, 1, 13, 2))
    explorer.notebook.expect_value("ex.position", 13)
    pair(explorer).locator(".lw-pair-matrices").press("ArrowDown")
    explorer.notebook.expect_value("ex.position", 14)
    explorer.notebook.page.mouse.move(0, 0)
    expect(pair(explorer).locator(".lw-panel-title")).to_contain_text("From “osse”")
    pair(explorer).locator(".lw-word").first.click()
    explorer.notebook.run("weights = abs(ex.page('compare').heads_found.head(18, 6).change[14])")
    explorer.notebook.expect_value("ex.position", explorer.notebook.value("int(weights.argmax())"))


def test_a_head_of_the_map_is_drawn_in_both(explorer: ExplorerPage, heat: Locator) -> None:
    heads = explorer.root.locator(".lw-heat").nth(2)
    scroll = heads.locator(".lw-scroll")
    scroll.click(position={"x": 26 + 3.5 * column_width(scroll), "y": (29 - 20 + 0.5) * 420 / 12})
    explorer.notebook.expect_value("[ex.layer, ex.head]", [20, 3])
    expect(pair(explorer).locator(".lw-detail")).to_contain_text("layer 20 · head 3")
    moved = explorer.notebook.value("float(ex.page('compare').heads_found.moved[2, 3])")
    expect(heads).to_contain_text(f"moved attention: {in_full(moved)}")
    heads.get_by_label("What is shown").select_option("sink share")
    change = explorer.notebook.value("float(ex.page('compare').heads_found.sink.change[2, 3])")
    sign = "-" if change < 0 else ""
    expect(heads).to_contain_text(f"sink share: {sign}{in_full(abs(change))}")


def test_a_second_prompt_that_is_typed_dims_what_is_older(explorer: ExplorerPage, heat: Locator) -> None:
    views = [heat, explorer.root.locator(".lw-heat").nth(2), pair(explorer)]
    for view in views:
        expect(view).not_to_have_class(re.compile("lw-stale"))
    # Nothing else may wait for the model, which is busy elsewhere: nothing new can come.
    explorer.expect_checked()
    explorer.notebook.run("model.lock.acquire()")
    try:
        explorer.root.locator(".lw-second textarea").fill(f"{SECOND} old")
        for view in views:
            expect(view).to_have_class(re.compile("lw-stale"))
        explorer.root.locator(".lw-second textarea").fill(SECOND)
        for view in views:
            expect(view).not_to_have_class(re.compile("lw-stale"))
        explorer.root.locator(".lw-second textarea").fill(f"{SECOND} old")
    finally:
        explorer.notebook.run("model.lock.release()")
    for view in views:
        expect(view).not_to_have_class(re.compile("lw-stale"), timeout=30_000)
    # A view that is not dimmed yet says nothing: what was typed last may still be on its way to the kernel.
    explorer.notebook.expect_value("ex.page('compare').grid_view.shown.meta['second']", f"{SECOND} old")


#: A model that shares all but one of the open one's parameters, so that it takes no memory.
LATER = """
import copy, torch
hf = model.hf_model
later = copy.deepcopy(hf, {id(one): one for one in (*hf.parameters(), *hf.buffers())})
later.model.norm.weight = torch.nn.Parameter(hf.model.norm.weight.detach() * 1.5)
page = ex.page('compare'); page.prompt = ''
page.compare_with({'same': model, 'later': lw.HookedModel(later, model.tokenizer, 'later')}); ex.wait()
"""


def test_checkpoints_are_compared_one_after_the_other(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.notebook.run(LATER)
    heat.get_by_label("What is shown").select_option("entropy")
    explorer.notebook.run("ex.selection = lw.Selection(layer=24, head=6, position=9); ex.wait()")
    expect(heat.locator(".lw-heat-readout")).to_contain_text("entropy: 0.000 nats")
    explorer.root.locator(".noUi-handle").press("ArrowRight")
    explorer.notebook.expect_value("page.model_name", "later")
    explorer.notebook.run("ex.wait()")
    change = explorer.notebook.value("float(page.found[0]['entropy'].change[24, 9])")
    sign = "-" if change < 0 else ""
    expect(heat.locator(".lw-heat-readout")).to_contain_text(f"entropy: {sign}{in_full(abs(change))} nats")
    expect(explorer.root).to_contain_text("B: later · the same prompt")
    explorer.root.get_by_role("button", name="Score the heads of A and B").click()
    heads = explorer.root.locator(".lw-heat").nth(2)
    heads.get_by_label("What is shown").select_option("induction")
    # What stands before the final norm is the same in both.
    expect(heads).to_contain_text("induction: 0.000")
    assert explorer.notebook.value("float(page.scores[0].quantities['induction'].a.max())") > 0.4


def test_an_attribution_is_of_one_token_in_both(explorer: ExplorerPage, heat: Locator) -> None:
    explorer.root.get_by_label("compare").select_option("Attribution")
    explorer.notebook.expect_value("ex.page('compare').about", "attribution")
    explorer.notebook.run("ex.selection = lw.Selection(layer=18, head=6, position=20); ex.wait()")
    expect(heat.locator(".lw-bar")).to_contain_text("logit of “␣Rome”: A ")
    change = explorer.notebook.value("float(ex.page('compare').found[0]['logits'].change[18, 3 + 6])")
    readout = heat.locator(".lw-heat-readout")
    expect(readout).to_contain_text(f"head 6 · logits: {'-' if change < 0 else ''}{in_full(abs(change))}")
    explorer.root.get_by_role("button", name="value-weighted").click()
    expect(pair(explorer).locator(".lw-detail")).to_contain_text("value-weighted")
    expect(pair(explorer).locator(".lw-legend")).not_to_contain_text("−1")


def test_second_prompts_of_any_length(explorer: ExplorerPage, heat: Locator) -> None:
    before = height(explorer)
    for second in ("Rome", "Where do we go now? " * 12, "The Eiffel Tower", f"{PROMPT} Rome, of all places"):
        say(explorer, second)
        explorer.notebook.run("found = ex.page('compare').heads_found; size = len(found.alignment)")
        at = explorer.notebook.value("int(found.alignment.b[found.alignment.a == 20][0])")
        explorer.notebook.run("ex.selection = lw.Selection(layer=29, head=6, position=20); ex.wait()")
        place = "A 20" if at < 0 else "20" if at == 20 else f"20, B {at}"
        expect(pair(explorer).locator(".lw-heat-readout")).to_contain_text(f"“␣of” ({place})")
        size = explorer.notebook.value("size")
        pair(explorer).locator("canvas").hover(position=spot(explorer, 2, size - 1, size - 1))
        weight = explorer.notebook.value("float(found.head(29, 6).b[-1, -1])")
        said = "no token" if weight != weight else f"{weight:.3f}"
        expect(pair(explorer).locator(".lw-heat-readout")).to_contain_text(f"B {said}")
        explorer.notebook.rest()
        # A second line of text is all that may be added.
        assert abs(height(explorer) - before) <= 24, second


def height(explorer: ExplorerPage) -> float:
    box = explorer.root.bounding_box()
    assert box is not None
    return box["height"]


#: Whether a column is in sight as a whole, and no column is cut on the left.
IN_SIGHT = """([box, column]) => {
    const [left, room] = [box.scrollLeft, box.clientWidth - 26];
    const width = Number(box.dataset.column);
    return left % width === 0 && left <= column * width && column * width <= left + room - width;
}"""


def test_the_chosen_column_is_in_sight_in_both_grids(explorer: ExplorerPage, heat: Locator) -> None:
    long = "one two three four five " * 12
    explorer.notebook.run(f"ex.prompt = {long!r}; ex.page('compare').prompt = {long!r}; ex.wait(); ex.position = 50")
    explorer.notebook.run("ex.page('compare').mode = 'both'")
    scrolls = explorer.root.locator(".lw-heat .lw-scroll:visible")
    for place in (0, 1):
        expect(scrolls.nth(place)).to_be_visible()
        explorer.notebook.page.wait_for_function(IN_SIGHT, arg=[scrolls.nth(place).element_handle(), 50])


def test_without_a_second_prompt_it_says_what_to_do(explorer: ExplorerPage, heat: Locator) -> None:
    say(explorer, "")
    expect(heat.locator(".lw-placeholder")).to_contain_text("Type a second prompt above")
    expect(pair(explorer)).to_be_hidden()


def test_nothing_overflows_in_either_theme(explorer: ExplorerPage, heat: Locator) -> None:
    for theme in ("light", "dark"):
        explorer.notebook.use_theme(theme)  # type: ignore[arg-type]
        for mode in ("change", "both"):
            explorer.notebook.run(f"ex.page('compare').mode = {mode!r}; ex.wait()")
            explorer.notebook.rest()
            explorer.notebook.screenshot(f"compare-{mode}-{theme}", ".lw-explorer")
            assert explorer.root.evaluate("root => root.scrollWidth - root.clientWidth") <= 0
