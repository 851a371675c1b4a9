"""An explorer with a prompt of two thousand tokens, on a real page: typed into, answered and scrolled as usual."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from string import ascii_lowercase

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import watched
from tests.browser.explorer_page import BOXES, VIEWPORT, ExplorerPage
from tests.browser.notebook import Notebook, rest

N_POS, N_LAYERS = 2048, 6
_DRAW = random.Random(7)
#: A token for each letter, and one less than there are in the end.
TYPED = "".join(_DRAW.choice(ascii_lowercase) for _ in range(N_POS - 1))
CELLS = (
    "import copy\nimport torch\nimport layerwidget as lw\nfrom tests.tiny import letters, tiny",
    "small = tiny('llama')\nconfig = copy.deepcopy(small.config)\n"
    f"config.max_position_embeddings, config.num_hidden_layers = {2 * N_POS}, {N_LAYERS}\n"
    "torch.manual_seed(0)\nmodel = lw.HookedModel(type(small)(config).eval(), letters(), 'tiny, long')\n"
    f"ex = lw.Explorer(model, {TYPED!r}, layers='all')\nex",
)
PARTS = ".lw-prompt, .lw-strip, .lw-rail-stage, .lw-scroll, .lw-top, .lw-gallery, .lw-matrix, .lw-depth"


@pytest.fixture
def explorer(request: pytest.FixtureRequest, scratch: Notebook) -> Iterator[ExplorerPage]:
    scratch.begin_anew(*CELLS)
    scratch.page.set_viewport_size({**VIEWPORT, "height": 1300})
    with watched(request, scratch):
        yield ExplorerPage(scratch)
    scratch.page.set_viewport_size(VIEWPORT)


def test_a_prompt_of_two_thousand_tokens_is_typed_answered_and_scrolled(explorer: ExplorerPage) -> None:
    notebook, page = explorer.notebook, explorer.notebook.page
    explorer.settle()
    # Before it is proved how edits go on, they are computed anew.
    explorer.expect_checked()
    expect(explorer.chips).to_have_count(N_POS - 1)
    parts, scroll = explorer.root.locator(PARTS), explorer.lens.locator(".lw-scroll")
    boxes, size = parts.evaluate_all(BOXES), explorer.root.bounding_box()

    explorer.prompt.press("ControlOrMeta+End")
    explorer.prompt.press_sequentially("q")
    explorer.settle()
    expect(explorer.prompt).to_have_value(TYPED + "q")
    expect(explorer.chips).to_have_count(N_POS)
    # The reader is where the prompt grows.
    title = explorer.root.locator(".lw-top .lw-panel-title")
    expect(title).to_contain_text(f"layer {N_LAYERS - 1} · after “q” (position {N_POS - 1})")
    top = "lw.LogitLens(layers=-1, k=1).run(model.trace(ex.prompt))"
    said = notebook.value(f"'%.3f' % {top}.top_probs[0, -1, 0]")
    expect(explorer.root.locator(".lw-words .lw-number").first).to_have_text(said)

    work = explorer.root.locator(".lw-work")
    expect(work).to_contain_text("1 recomputed")
    # One layer's heads fill a quarter of the room for attention.
    expect(work).to_contain_text("attention of layers 2-5 only")
    expect(explorer.attention.locator(".lw-bar .lw-detail").first).to_contain_text("2 not computed")

    window = page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollTop")
    scroll.hover()
    page.mouse.wheel(-200_000, 0)
    page.wait_for_function("(node) => node.scrollLeft === 0", arg=scroll.element_handle())
    rest(page)
    explorer.grid.hover(position=explorer.cell(0, 0, N_LAYERS))
    expect(title).to_have_text(re.compile(r"\(position 0\)$"))
    said = notebook.value(f"'%.3f' % {top}.top_probs[0, 0, 0]")
    expect(explorer.root.locator(".lw-words .lw-number").first).to_have_text(said)

    assert page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').scrollTop") == window
    assert (parts.evaluate_all(BOXES), explorer.root.bounding_box()) == (boxes, size)
    assert explorer.root.evaluate("(root) => root.scrollWidth - root.clientWidth") <= 0
