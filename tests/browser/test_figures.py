"""What is saved is what is on the screen: pixels of the live canvas against the cells of the SVG, in both themes."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Locator, expect

from layerwidget.figures.themes import colour_of
from tests.browser.explorer_page import column_width
from tests.browser.notebook import Notebook
from tests.pictures import elements, words

CELLS = (
    "import numpy as np\nimport layerwidget as lw\nfrom dataclasses import replace\n"
    "from layerwidget.questions.lens import LensGrid\nfrom layerwidget.tokens import Piece\n"
    "rng = np.random.default_rng(0)\n"
    "values = rng.normal(size=(12, 5)).astype(np.float32)\nvalues[3, 1] = np.nan\n"
    "kl = rng.gamma(1.0, 1.0, (12, 5)).astype(np.float32)\n"
    "texts = 'The', ' cat', ' sat', '東', '<b>'\n"
    "pieces = {number: Piece.from_text(number, word) for number, word in enumerate(texts)}\n"
    "ids = rng.integers(0, 5, (12, 5, 3))\nprobs = np.sort(rng.dirichlet(np.ones(4), (12, 5))[..., :3])[..., ::-1]\n"
    "lens = LensGrid(tuple(range(12)), 12, np.arange(5), pieces, 'none', 5, 'resid_post', ids,\n"
    "    probs.astype(np.float32), kl + 1, kl, ids[-1, :, 0], probs[..., 0].astype(np.float32), ids[..., 0], (2,),\n"
    "    ids[..., :1], np.log(probs[..., :1]).astype(np.float32))",
    "heat = lw.HeatGrid(title='Signed')\n"
    "columns = lw.HeatColumns(('a', 'b', 'c', 'd', 'e'))\n"
    "heat.show([lw.Sheet('x', values, 'units', 'signed')], columns, layers=range(12))\n"
    "heat.layers, heat.layer, heat.column = '2-9', 5, 3\nheat",
    "view = lw.LogitLensView(lens, layers='4-11', layer=7, position=2)\nview",
)
GRID_HEIGHT, NUMBERS_WIDTH, ROWS = 420, 26, 8


@pytest.fixture(scope="module")
def notebook(scratch: Notebook) -> Notebook:
    scratch.begin_anew(*CELLS)
    return scratch


def pixel(canvas: Locator, layer: int, last: int, column: int, width: float) -> tuple[int, int, int]:
    """The colour of a cell of the canvas near its lower left corner, where no word stands."""
    height = min(42.0, GRID_HEIGHT / ROWS)
    x, y = NUMBERS_WIDTH + column * width + 3, (last - layer + 1) * height - 5
    read = canvas.evaluate(
        "(canvas, [x, y]) => { const scale = canvas.width / canvas.clientWidth;"
        " return [...canvas.getContext('2d').getImageData(x * scale, y * scale, 1, 1).data]; }",
        [x, y],
    )
    return read[0], read[1], read[2]


def live_cells(
    notebook: Notebook, kind: str, svg: str, last: int, width: float, axis: str
) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Colours of every cell, on the screen and in the SVG."""
    canvas = notebook.page.locator(f".lw-{kind} .lw-scroll canvas")
    return [
        (pixel(canvas, int(cell["data-layer"]), last, int(cell[axis]), width), colour_of(cell["fill"]))
        for cell in elements(svg, "rect", "lw-cell")
    ]


def live_width(notebook: Notebook, kind: str) -> float:
    """Of a column on the screen."""
    return column_width(notebook.page.locator(f".lw-{kind} .lw-scroll"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_heat_grid_on_paper_is_the_one_on_the_screen(notebook: Notebook, theme: Literal["light", "dark"]) -> None:
    notebook.use_theme(theme)
    expect(notebook.page.locator(".lw-heat.lw-ready")).to_be_visible()
    svg = str(notebook.value(f"heat.to_svg(theme='{'paper' if theme == 'light' else theme}')"))
    width = live_width(notebook, "heat")
    cells = live_cells(notebook, "heat", svg, 9, width, "data-column")
    assert len(cells) == ROWS * 5 - 1
    assert [live for live, _ in cells] == [saved for _, saved in cells]
    readout = notebook.page.locator(".lw-heat .lw-heat-readout").inner_text()
    assert readout in words(svg)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", ["faded", "kl"])
def test_the_lens_on_paper_is_the_one_on_the_screen(
    notebook: Notebook, theme: Literal["light", "dark"], colour: str
) -> None:
    notebook.use_theme(theme)
    notebook.run(f"view.colour = '{colour}'")
    expect(notebook.page.locator(".lw-lens.lw-ready select[aria-label='Colour of the cells']")).to_have_value(colour)
    svg = str(notebook.value(f"view.to_svg(theme='{'paper' if theme == 'light' else theme}')"))
    width = live_width(notebook, "lens")
    cells = live_cells(notebook, "lens", svg, 11, width, "data-position")
    assert len(cells) == ROWS * 5
    assert [live for live, _ in cells] == [saved for _, saved in cells]
    # The words of the chosen cell, with their probabilities.
    panel = notebook.page.locator(".lw-lens .lw-word-row:visible")
    said = words(svg)
    for row in panel.all():
        word, share = row.locator(".lw-word").inner_text(), row.locator(".lw-number").inner_text()
        assert word in said
        assert share in said
    assert panel.count() == 3
