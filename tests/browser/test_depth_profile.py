"""The depth profile in a real JupyterLab: it says what Python holds, a click chooses, skipping runs on request."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Position, expect

from tests.browser.explorer_page import PROMPT, ExplorerPage, column_width
from tests.browser.notebook import Notebook

N_LAYERS, N_POS, NUMBERS_WIDTH = 30, 21, 26


@pytest.fixture
def notebook(explorer: ExplorerPage) -> Notebook:
    explorer.open("depth", height=1250)
    explorer.notebook.run("page, grids = ex.page('depth'), ex.results")
    expect(strip(explorer.notebook)).to_have_attribute("data-prompt", PROMPT)
    expect(readout(strip(explorer.notebook))).to_contain_text("(position 20)")
    return explorer.notebook


def strip(notebook: Notebook) -> Locator:
    return notebook.page.locator(".lw-settle")


def loss(notebook: Notebook) -> Locator:
    return notebook.page.locator(".lw-loss")


def readout(view: Locator) -> Locator:
    return view.locator(".lw-heat-readout")


def cell(notebook: Notebook, layer: int, column: int, rows: int = 12) -> Position:
    """Where a cell of the strip is, from its upper left corner; the last layer is on top."""
    scroll = strip(notebook).locator(".lw-scroll")
    scrolled, width = scroll.evaluate("(node) => node.scrollLeft"), column_width(scroll)
    return {"x": NUMBERS_WIDTH + (column + 0.5) * width - scrolled, "y": (N_LAYERS - layer - 0.5) * 420 / rows}


def test_what_is_said_is_what_python_holds(notebook: Notebook) -> None:
    shares = notebook.value("grids['settle_depth'].shares()")
    said = " · ".join(f"{name} {round(100 * share)} %" for name, share in shares.items())
    expect(strip(notebook).locator(".lw-detail")).to_contain_text(
        f"{said} of {N_POS} predictions settle · layers 18–29"
    )
    for layer, column in ((29, 20), (25, 20), (18, 3)):
        strip(notebook).locator(".lw-scroll").hover(position=cell(notebook, layer, column))
        settled = notebook.value(f"int(grids['settle_depth'].layer[{column}])")
        emerged = notebook.value(f"int(grids['emergence'].layer[{column}])")
        rank = notebook.value(f"int(grids['settle_depth'].final_ranks[{layer}, {column}])")
        expect(readout(strip(notebook))).to_contain_text(f"(position {column})")
        expect(readout(strip(notebook))).to_contain_text(f"is settled from layer {settled} on")
        expect(readout(strip(notebook))).to_contain_text(f"first at layer {emerged} · layer {layer}: rank {rank}")
    for column in (1, 20):
        bars = loss(notebook).locator(".lw-loss-stage")
        bars.hover(position={"x": 38 + (column + 0.5) * column_width(bars), "y": 80})
        nats = notebook.value(f"format(float(grids['position_loss'].nats[{column}]), '.3f')")
        expect(readout(loss(notebook))).to_contain_text(f"(position {column}): {nats} nats")
    mean = notebook.value("format(float(grids['position_loss'].nats[1:].mean()), '.3f')")
    expect(loss(notebook).locator(".lw-detail")).to_contain_text(f"mean {mean}")
    most = notebook.value("format(float(grids['block_influence'].values.max()), '.3f')")
    expect(notebook.page.locator(".lw-figure").nth(0).locator(".lw-detail")).to_contain_text(most)
    least = notebook.value("format(float(grids['angular_distance'].values.min()), '.3f')")
    expect(notebook.page.locator(".lw-figure").nth(1).locator(".lw-detail")).to_contain_text(least)


def test_a_layer_says_how_many_are_settled_by_then(notebook: Notebook) -> None:
    shares = strip(notebook).locator(".lw-settle-shares")
    box = shares.bounding_box()
    assert box is not None
    x = 38 + (28 + 0.5) * (box["width"] - 46) / N_LAYERS
    shares.hover(position={"x": x, "y": 200})
    notebook.run("layer = grids['settle_depth'].layer")
    here, by = notebook.value("[int((layer == 28).sum()), int((layer <= 28).sum())]")
    expect(readout(strip(notebook))).to_contain_text(f"layer 28: {here} of {N_POS} predictions settle here, {by} (")
    shares.click(position={"x": x, "y": 200})
    notebook.expect_value("ex.layer", 28)


def test_a_click_chooses_everywhere(notebook: Notebook) -> None:
    strip(notebook).locator(".lw-scroll").click(position=cell(notebook, 22, 5))
    notebook.expect_value("[ex.layer, ex.position]", [22, 5])
    notebook.page.mouse.move(0, 0)
    expect(readout(loss(notebook))).to_contain_text("(position 5)")
    expect(ExplorerPage(notebook).chips.nth(5)).to_have_class("lw-chip lw-here")
    bars = loss(notebook).locator(".lw-loss-stage")
    bars.click(position={"x": 38 + 8.5 * column_width(bars), "y": 80})
    notebook.expect_value("ex.position", 8)
    strip(notebook).locator(".lw-scroll").press("ArrowUp")
    loss(notebook).locator(".lw-loss-stage").press("ArrowRight")
    notebook.expect_value("[ex.layer, ex.position]", [23, 9])


def test_dragging_the_range_asks_the_kernel_nothing(notebook: Notebook) -> None:
    page, explorer = notebook.page, ExplorerPage(notebook)
    x, y, height = explorer.grab_thumb("first")
    notebook.count_messages()
    for step in range(4):
        page.mouse.move(x, y - (step + 1) * height / N_LAYERS, steps=3)
    expect(strip(notebook).locator(".lw-detail")).to_contain_text("layers 22–29")
    assert page.evaluate("window.sentToKernel") == 0
    page.mouse.up()
    notebook.expect_value("ex.layers", "22-29")


def test_blocks_of_another_length_are_answered(notebook: Notebook) -> None:
    notebook.page.locator(".lw-figure select").select_option("2 layers")
    notebook.expect_value("ex.results['angular_distance'].n", 2)
    least = notebook.value("format(float(ex.results['angular_distance'].values.min()), '.3f')")
    expect(notebook.page.locator(".lw-figure").nth(1).locator(".lw-detail")).to_contain_text(least)


#: The passes of a request stand still after so many, until `gate` is opened.
CLOSED = """
import itertools, threading
gate, passes = threading.Event(), itertools.count()
hook = model.hf_model.model.layers[0].register_forward_pre_hook(
    lambda *_: (next(passes) >= 6 and gate.wait(60), None)[1]
)
"""


def test_skipping_every_layer_runs_on_request(notebook: Notebook) -> None:
    bar = notebook.page.locator(".lw-request")
    skip = notebook.page.locator(".lw-figure").nth(2)
    expect(bar).to_contain_text("31 forward passes")
    notebook.run(CLOSED)
    try:
        bar.get_by_role("button", name="Skip each layer").click()
        expect(bar.locator(".lw-request-message")).to_contain_text("of 31")
        expect(bar.get_by_role("button", name="stop")).to_be_visible()
    finally:
        notebook.run("hook.remove(); gate.set()")
    expect(bar).to_have_attribute("data-state", "done", timeout=60_000)
    notebook.run("skipped = page.besides['skip_effect']")
    most = notebook.value("format(float(skipped.mean_kl_nats.max()), '.3f')")
    expect(skip.locator(".lw-detail")).to_contain_text(most)
    correlation = notebook.value("format(skipped.rank_correlation, '.3f')")
    expect(notebook.page.get_by_text("Rank correlation of skip effect")).to_contain_text(correlation)
    notebook.run("ex.prompt += ' Rome'\nex.wait()")
    expect(bar).to_contain_text("about an earlier prompt")
    expect(skip).to_have_class(re.compile("lw-stale"))


def test_without_a_prompt_it_says_what_to_do(notebook: Notebook) -> None:
    notebook.run("ex.prompt = ''\nex.wait()")
    expect(strip(notebook).locator(".lw-placeholder")).to_be_visible()
    expect(loss(notebook).locator(".lw-placeholder")).to_be_visible()
    notebook.run("ex.prompt = 'Paris'\nex.wait()")
    expect(loss(notebook).locator(".lw-placeholder")).to_contain_text("One token has no loss")
    expect(strip(notebook).locator(".lw-detail")).to_contain_text("of 1 prediction settles")
