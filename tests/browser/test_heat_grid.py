"""The heat grid in a real JupyterLab: click, hover, keys, sheets, and a slider that moves it without the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import watched
from tests.browser.explorer_page import column_width
from tests.browser.notebook import Notebook

CELLS = (
    "import numpy as np\nimport layerwidget as lw\nrng = np.random.default_rng(0)\n"
    "norms = rng.gamma(2.0, 8.0, (12, 5)).astype(np.float32)\nnorms[3, 1] = np.nan\n"
    "scores = rng.normal(size=(12, 9)).astype(np.float32)",
    "tokens = lw.HeatGrid(title='Norms', group='g')\n"
    "columns = lw.HeatColumns(('The', '␣cat', '␣sat', '␣on', '␣a'), 'position')\n"
    "slider = lw.LayerSlider(max=11, group='g')\n"
    "import ipywidgets\nipywidgets.HBox([slider, tokens])",
    "heads = lw.HeatGrid(title='Scores')\nheads",
    "other = lw.HeatGrid()\nother",
)
FIRST_STATE = """
tokens.show([lw.Sheet('norm', norms, 'units'), lw.Sheet('change', norms - 16, kind='signed')], columns,
            layers=range(12), prompt=None)
tokens.layers, tokens.layer, tokens.position, tokens.sheet = 'all', 11, 4, 'norm'
heads.show([lw.Sheet('score', scores, kind='signed')], lw.HeatColumns.heads(range(9)), layers=range(12))
heads.layer, heads.head = 11, 0
"""
ROWS, GRID_HEIGHT, NUMBERS_WIDTH = 12, 420, 26


@pytest.fixture(scope="module")
def opened(scratch: Notebook) -> Notebook:
    scratch.begin_anew(*CELLS)
    return scratch


@pytest.fixture
def notebook(request: pytest.FixtureRequest, opened: Notebook) -> Iterator[Notebook]:
    opened.run(FIRST_STATE)
    expect(readout(opened, 0)).to_contain_text("layer 11 · “␣a” (position 4) · norm")
    with watched(request, opened):
        yield opened


def view(notebook: Notebook, place: int) -> Locator:
    return notebook.page.locator(".lw-heat").nth(place)


def readout(notebook: Notebook, place: int) -> Locator:
    return view(notebook, place).locator(".lw-heat-readout")


def cell(notebook: Notebook, place: int, layer: int, column: int, rows: int = ROWS) -> dict[str, float]:
    """Where a cell of a grid of all layers is, from the upper left corner of the grid."""
    height, width = GRID_HEIGHT / rows, column_width(view(notebook, place).locator(".lw-scroll"))
    return {"x": NUMBERS_WIDTH + (column + 0.5) * width, "y": (rows - layer - 0.5) * height}


def test_a_click_chooses_layer_and_position_or_head(notebook: Notebook) -> None:
    view(notebook, 0).locator(".lw-scroll").click(position=cell(notebook, 0, 7, 2))
    notebook.expect_value("[tokens.layer, tokens.position]", [7, 2])
    view(notebook, 1).locator(".lw-scroll").click(position=cell(notebook, 1, 4, 8))
    notebook.expect_value("[heads.layer, heads.head, heads.position]", [4, 8, 0])
    view(notebook, 1).locator(".lw-scroll").press("ArrowUp")
    view(notebook, 1).locator(".lw-scroll").press("ArrowLeft")
    notebook.expect_value("[heads.layer, heads.head]", [5, 7])


def in_full(notebook: Notebook, value: str) -> str:
    """Three decimals; of a small value three significant places."""
    return str(notebook.value(f"format(float({value}), '.3f' if abs({value}) >= 0.1 else '#.3g')"))


def test_the_line_below_says_the_value_to_three_decimals(notebook: Notebook) -> None:
    for layer, column in ((0, 0), (5, 3), (11, 1)):
        view(notebook, 0).locator(".lw-scroll").hover(position=cell(notebook, 0, layer, column))
        value = in_full(notebook, f"norms[{layer}, {column}]")
        expect(readout(notebook, 0)).to_have_text(
            f"layer {layer} · “{['The', '␣cat', '␣sat', '␣on'][column]}” (position {column}) · norm: {value} units"
        )
        view(notebook, 1).locator(".lw-scroll").hover(position=cell(notebook, 1, layer, column))
        value = in_full(notebook, f"scores[{layer}, {column}]")
        expect(readout(notebook, 1)).to_have_text(f"layer {layer} · head {column} · score: {value}")
    view(notebook, 0).locator(".lw-scroll").hover(position=cell(notebook, 0, 3, 1))
    expect(readout(notebook, 0)).to_contain_text("no value")
    expect(view(notebook, 0).locator(".lw-legend")).to_contain_text("no value")


def test_the_sheet_is_switched_in_the_browser(notebook: Notebook) -> None:
    notebook.page.mouse.move(0, 0)
    view(notebook, 0).get_by_label("What is shown").select_option("change")
    value = in_full(notebook, "(norms[11, 4] - 16)")
    expect(readout(notebook, 0)).to_contain_text(f"change: {value}")
    notebook.expect_value("tokens.sheet", "change")
    expect(view(notebook, 1).get_by_label("What is shown")).to_be_hidden()


def test_dragging_the_range_asks_the_kernel_nothing(notebook: Notebook) -> None:
    page = notebook.page
    thumb = page.locator(".lw-thumb-first").first.bounding_box()
    assert thumb is not None
    x, y = thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    notebook.count_messages()
    for step in range(8):
        page.mouse.move(x, y - (step + 1) * 35, steps=3)
    expect(view(notebook, 0).locator(".lw-detail")).to_contain_text("layers 8–11")
    assert page.evaluate("window.sentToKernel") == 0
    page.mouse.up()
    notebook.expect_value("slider.layers", "8-11")


@pytest.mark.parametrize(("layers", "columns"), [(1, 1), (30, 1), (1, 5), (30, 300), (120, 40)])
def test_grids_of_any_size(notebook: Notebook, layers: int, columns: int) -> None:
    notebook.run(
        f"big = rng.gamma(2.0, 8.0, ({layers}, {columns})).astype(np.float32)\n"
        f"other.show([lw.Sheet('big', big)], lw.HeatColumns(tuple(map(str, range({columns})))), "
        f"layers=range({layers}))\nother.layers, other.layer, other.column = 'all', {layers - 1}, {columns - 1}"
    )
    said = f"layer {layers - 1} · {columns - 1} · big: "
    expect(readout(notebook, 2)).to_contain_text(said)
    value = in_full(notebook, "big[-1, -1]")
    expect(readout(notebook, 2)).to_have_text(said + value)
    scroll = view(notebook, 2).locator(".lw-scroll")
    scroll.press("Home")
    scroll.press("PageDown")
    notebook.expect_value("[other.layer, other.column]", [0, 0])
    expect(readout(notebook, 2)).to_contain_text("layer 0 · 0 · big")


def test_without_numbers_it_says_what_to_do(notebook: Notebook) -> None:
    notebook.run("other.show(None)")
    expect(view(notebook, 2).locator(".lw-placeholder")).to_be_visible()
    expect(view(notebook, 2).locator(".lw-scroll")).to_be_hidden()
