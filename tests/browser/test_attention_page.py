"""The attention page in a real JupyterLab: it says what Python has, and a click opens the same head everywhere."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage
from tests.browser.notebook import Notebook

ROWS, LABELS, SIDE, GRID_HEIGHT = 12, 66, 336 - 52, 420


@pytest.fixture
def notebook(explorer: ExplorerPage) -> Notebook:
    explorer.open("attention", height=1300)
    explorer.notebook.run("page = ex.page('attention'); ex.selection = lw.Selection(layer=18, head=6, position=20)")
    title = part(explorer.notebook, ".lw-attention .lw-matrix-side .lw-panel-title")
    expect(title).to_contain_text("layer 18 · head 6")
    explorer.notebook.run("ex.wait()")
    explorer.notebook.rest()
    return explorer.notebook


def part(notebook: Notebook, css: str) -> Locator:
    return notebook.page.locator(f".lw-explorer {css}").first


def cell(query: int, key: int, n_pos: int = 21) -> dict[str, float]:
    """Where a cell of a matrix of so many tokens is."""
    return {"x": LABELS + (key + 0.5) * SIDE / n_pos, "y": (query + 0.5) * SIDE / n_pos}


def test_the_switch_shows_norms_and_says_them(notebook: Notebook) -> None:
    readout, matrix = part(notebook, ".lw-attention .lw-facts"), part(notebook, ".lw-attention .lw-matrix canvas")
    expect(part(notebook, ".lw-attention .lw-legend")).to_be_hidden()
    matrix.hover(position=cell(20, 9))
    weight = notebook.value("float(ex.results['heads'].pattern[0, 6, 20, 9])")
    expect(readout).to_contain_text(f"” {weight:.3f}")
    part(notebook, ".lw-attention").get_by_label("What the colours are").select_option("value-weighted")
    expect(part(notebook, ".lw-attention .lw-detail")).to_contain_text("value-weighted")
    expect(part(notebook, ".lw-attention .lw-legend")).to_contain_text("units")
    notebook.expect_value("type(ex.results['heads']).__name__", "ValueWeightedGrid")
    for query, key in ((20, 9), (12, 3), (20, 20)):
        matrix.hover(position=cell(query, key))
        norm = notebook.value(f"float(ex.results['heads'].norms[0, 6, {query}, {key}])")
        # Small ones are said to three places.
        expect(readout).to_contain_text(f"” {norm:.3f} units" if norm >= 0.1 else f"” {norm:.3g}"[:6])
    notebook.run("norms = ex.results['heads'].norms[:, :, 1:]\nhidden = float((norms[..., 0] / norms.sum(-1)).mean())")
    share = f"first token hidden ({100 * notebook.value('hidden'):.0f} % of a row)"
    expect(part(notebook, ".lw-attention .lw-detail")).to_contain_text(share)


def test_scores_come_on_request_and_a_click_opens_the_head(notebook: Notebook) -> None:
    bar = part(notebook, ".lw-request")
    expect(bar).to_contain_text("1 forward pass")
    bar.get_by_role("button", name="Score the heads").click()
    expect(part(notebook, ".lw-heat").get_by_label("What is shown")).to_have_value("induction", timeout=30_000)
    title = part(notebook, ".lw-attention .lw-matrix-side .lw-panel-title")
    score = notebook.value("float(lw.HeadScores('induction').run(model).values[18, 6])")
    expect(title).to_contain_text(f"induction head ({score:.2f})")
    expect(part(notebook, ".lw-heat-readout")).to_have_text(f"layer 18 · head 6 · induction: {score:.3f}")
    part(notebook, ".lw-heat .lw-scroll").click(
        position={"x": 26 + 3.5 * 68, "y": (29 - 20 + 0.5) * GRID_HEIGHT / ROWS}
    )
    notebook.expect_value("[ex.layer, ex.head, page.attention_view.head_note[:2]]", [20, 3, [20, 3]])
    expect(title).to_contain_text("layer 20 · head 3")
    expect(title).not_to_contain_text("induction")
    part(notebook, ".lw-heat").get_by_label("What is shown").select_option("sink share")
    share = notebook.value("float(ex.results['sink'].share[20, 3])")
    expect(part(notebook, ".lw-heat-readout")).to_have_text(f"layer 20 · head 3 · sink share: {share:.3f}")


def test_rollout_says_pythons_numbers_with_and_without_the_first_token(notebook: Notebook) -> None:
    rollout = part(notebook, ".lw-rollout")
    for hides in (True, False):
        rollout.get_by_role("checkbox").set_checked(hides)
        notebook.expect_value("ex.results['rollout'].hides_first", hides)
        note = notebook.value("ex.results['rollout'].note")
        expect(rollout.locator(".lw-panel-title")).to_have_text(note or "Each row sums to 1.")
        for query, key in ((20, 9), (13, 4), (20, 0)):
            rollout.locator(".lw-matrix canvas").hover(position=cell(query, key))
            value = notebook.value(f"float(ex.results['rollout'].rollout[{query}, {key}])")
            expect(rollout.locator(".lw-facts")).to_contain_text(f"” {value:.3f}")
    rollout.locator(".lw-matrix canvas").click(position=cell(9, 3))
    notebook.expect_value("ex.position", 9)


def test_lines_follow_the_query_and_a_word_selects_it(notebook: Notebook) -> None:
    lines = part(notebook, ".lw-arc-side")
    expect(lines.locator(".lw-panel-title")).to_contain_text("from “␣of”")
    lines.locator("canvas").click(position={"x": 30, "y": 13.5 * 336 / 21})
    notebook.expect_value("ex.position", 13)
    expect(lines.locator(".lw-panel-title")).to_contain_text("from “␣Col”")
    expect(part(notebook, ".lw-chip.lw-here")).to_contain_text("␣Col")
    notebook.run("ex.prompt = 'word ' * 60; ex.wait()")
    expect(lines).to_contain_text("up to 40 tokens")
    expect(lines.locator("canvas")).to_be_hidden()


def test_dragging_the_range_asks_the_kernel_nothing_until_release(notebook: Notebook) -> None:
    page = notebook.page
    x, y, height = ExplorerPage(notebook).grab_thumb("first")
    notebook.count_messages()
    for step in range(1, 11):
        page.mouse.move(x, y - 4 * height / 30 * step / 10)
    expect(part(notebook, ".lw-heat .lw-detail")).to_contain_text("layers 22–29")
    expect(part(notebook, ".lw-attention .lw-detail")).to_contain_text("layers 22–29")
    assert page.evaluate("window.sentToKernel") == 0
    page.mouse.up()
    notebook.run("ex.wait()")
    notebook.expect_value("list(ex.results['rollout'].layers)", list(range(22, 30)))
    expect(part(notebook, ".lw-rollout .lw-detail")).to_contain_text("layers 22–29")


def test_nothing_overflows_in_either_theme(notebook: Notebook) -> None:
    for theme in ("light", "dark"):
        notebook.use_theme(theme)  # type: ignore[arg-type]
        notebook.screenshot(f"attention-{theme}", ".lw-explorer")
        root = notebook.page.locator(".lw-explorer").first
        assert root.evaluate("root => root.scrollWidth - root.clientWidth") <= 0
