"""Figures: what is written is what the results hold, whatever the prompt, and it is a file that others can read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget import HeatColumns, HeatGrid, Sheet
from layerwidget.errors import FigureError
from layerwidget.figures.svg import Picture, document, tag, text
from layerwidget.figures.themes import DARK, PAPER, ramp, theme_of
from layerwidget.tokens import Piece
from layerwidget.widgets.logit_lens_view import COLOURS
from tests.pictures import elements, embedded, pdf_characters, pixels, words
from tests.tiny import N_HEADS, N_LAYERS, ids, letters, tiny

HOSTILE = "<script>alert('&\"x\"')</script>\x00\x07\x1b\x85 東京 😀 \ud83d \ufffe ]]>"


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


@pytest.fixture(scope="module")
def trace(model: lw.HookedModel) -> lw.Trace:
    return model.trace(ids(5))


def test_text_is_never_markup() -> None:
    picture = Picture(90, 20, text(0, 10, HOSTILE, data_word=HOSTILE))
    svg = document(picture, PAPER, HOSTILE)
    assert "<script" not in svg
    expected = HOSTILE.replace("\x00", "␀").replace("\x07", "␇").replace("\x1b", "␛")
    for lost in ("\x85", "\ud83d", "\ufffe"):
        expected = expected.replace(lost, "\ufffd")
    assert words(svg) == [expected]
    assert elements(svg, "text", "")[0]["data-word"] == expected


def test_the_words_of_a_prompt_are_text_in_every_view(trace: lw.Trace) -> None:
    def hostile(grid: Any) -> Any:
        return replace(grid, pieces={token: Piece(token, HOSTILE, HOSTILE) for token in grid.pieces})

    lens, attention = hostile(lw.LogitLens(tokens=(7,)).run(trace)), hostile(lw.Attention().run(trace))
    heat = HeatGrid(title=HOSTILE, detail=HOSTILE)
    sheet = Sheet(HOSTILE, np.ones((1, 2), np.float32), HOSTILE, detail=HOSTILE)
    heat.show([sheet], HeatColumns((HOSTILE, HOSTILE), names=(HOSTILE, HOSTILE)), layers=(0,))
    views = [
        heat, lw.LogitLensView(lens, title=HOSTILE), lw.AttentionView(attention, arcs=True, show_heads="mean"),
        lw.DepthCurves(lens), lw.RolloutView(hostile(lw.AttentionRollout().run(trace))),
    ]  # fmt: skip
    for view in views:
        svg = view.to_svg()
        assert "<script" not in svg
        assert any("<scr" in word for word in words(svg)), view
        assert all(char >= " " or char == "\n" for char in view.to_text())
        assert view.to_pdf(theme="dark").startswith(b"%PDF-")
        assert view.to_png(scale=0.5).startswith(b"\x89PNG")


def test_numbers_are_short_and_what_is_none_is_left_out() -> None:
    assert tag("rect", {"x": 1.0, "y": -0.001, "width": 2.456, "rx": None}) == '<rect x="1" y="0" width="2.46"/>'


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("theme", ["paper", "dark"])
def test_the_cells_of_the_lens_are_those_of_the_result(trace: lw.Trace, colour: str, theme: str) -> None:
    lens = lw.LogitLens(tokens=(7, 3), k=4, jsd=True).run(trace)
    assert lens.jsd_nats is not None
    view = lw.LogitLensView(lens, layers="1-2", layer=1, position=3, token=3, colour=colour)
    cells = elements(view.to_svg(theme=theme), "rect", "lw-cell")
    assert [(int(cell["data-layer"]), int(cell["data-position"])) for cell in cells] == [
        (layer, position) for layer in (2, 1) for position in range(5)
    ]
    nats = lens.kl_to_final_nats
    shares = {
        "faded": lens.max_prob * np.exp(-nats), "agreement": lens.final_probs, "probability": lens.max_prob,
        "entropy": lens.entropy_nats / np.log(lens.d_vocab), "kl": nats / 20,
        "jsd": lens.jsd_nats / np.log(2),
        "token_probability": np.exp(lens.token_log_probs[..., 1]),
        "token_rank": 1 - np.log1p(lens.token_ranks[..., 1]) / np.log(lens.d_vocab),
    }[colour]  # fmt: skip
    fills = ramp(theme_of(theme)).fills
    for cell in cells:
        share = float(shares[int(cell["data-layer"]), int(cell["data-position"])])
        # Probabilities are sent with 16 bits.
        near = {fills[int(np.clip(share + off, 0, 1) * 255 + 0.5)] for off in (-1e-5, 0, 1e-5)}
        assert cell["fill"] in near, cell


def test_a_divergence_that_was_not_asked_for_is_said_to_be_none(trace: lw.Trace) -> None:
    view = lw.LogitLensView(lw.LogitLens().run(trace), colour="jsd", layer=1, position=3)
    assert "not asked for" in words(view.to_svg())
    lens = lw.LogitLens(jsd=True).run(trace)
    assert lens.jsd_nats is not None
    said = words(lw.LogitLensView(lens, colour="jsd", layer=1, position=3).to_svg())
    assert "not asked for" not in said
    assert f"{lens.jsd_nats[1, 3]:.3f} nats" in said


def test_the_lens_says_its_words(trace: lw.Trace) -> None:
    lens = lw.LogitLens(tokens=(7,), k=4).run(trace)
    view = lw.LogitLensView(lens, layers="0-1", layer=1, position=3, title="My lens")
    said = words(view.to_svg())
    top = [lens.pieces[int(token)].visible for token in lens.top_ids[1, 3]]
    assert all(word in said for word in [*top, "My lens", "Pinned words"])
    assert f"{lens.top_probs[1, 3, 0]:.3f}" in said
    assert f"{lens.entropy_nats[1, 3]:.3f} nats" in said
    grid = [lens.pieces[int(token)].visible for token in lens.top_ids[:2, :, 0].ravel()]
    assert all(said.count(word) >= grid.count(word) for word in grid)
    table = view.to_text().splitlines()
    assert table[2].split() == ["1", *(lens.pieces[int(token)].visible for token in lens.top_ids[1, :, 0])]


def test_what_is_not_computed_has_no_colour(trace: lw.Trace) -> None:
    lens = lw.LogitLens().run(trace)
    done = np.ones((N_LAYERS, 5), bool)
    done[1, 2] = False
    view = lw.LogitLensView()
    view.show(type(lens)(**{**lens.__dict__, "done": done}))
    cells = elements(view.to_svg(), "rect", "lw-cell")
    assert len(cells) == N_LAYERS * 5 - 1
    assert ("1", "2") not in {(cell["data-layer"], cell["data-position"]) for cell in cells}


def test_a_heat_grid_has_the_colours_and_numbers_of_its_sheet() -> None:
    values = np.array([[0.5, -2, np.nan, 4], [1, 0, -4, 0.25]], np.float32)
    view = HeatGrid(title="Signed", layer=3, column=1)
    view.show([Sheet("x", values, "nats", "signed", limits=2.0)], HeatColumns(("a", "b", "c", "d")), layers=(1, 3))
    svg = view.to_svg()
    above, below = ramp(PAPER, "above").fills, ramp(PAPER, "below").fills
    cells = elements(svg, "rect", "lw-cell")
    assert [(cell["data-layer"], cell["data-column"], float(cell["data-value"]), cell["fill"]) for cell in cells] == [
        ("3", "0", 1.0, above[128]), ("3", "1", 0.0, above[0]), ("3", "2", -4.0, below[255]),
        ("3", "3", 0.25, above[32]),
        ("1", "0", 0.5, above[64]), ("1", "1", -2.0, below[255]), ("1", "3", 4.0, above[255]),
    ]  # fmt: skip
    said = words(svg)
    assert {"≤-2", "≥2 nats", "no value", ".25", "-4", "layer 3 · b · x: 0.000 nats"} <= set(said)
    assert view.to_text().splitlines()[1:4] == [
        "layer   a   b   c    d", "    3   1   0  -4  .25", "    1  .5  -2   –    4"
    ]  # fmt: skip


def test_a_sheet_of_words_says_words() -> None:
    texts = np.array([["uno", "dos"], ["tres", "cuatro"]])
    view = HeatGrid(layer=1, column=0)
    numbers = np.array([[1, 2], [3, 4]], np.float32)
    sheet = Sheet("x", numbers, "nats", words=texts, in_full=np.char.add(texts, "!"))
    view.show([Sheet("y", numbers), sheet], HeatColumns(("a", "b")), layers=(0, 1))
    view.sheet = "x"
    said = words(view.to_svg())
    assert {"uno", "dos", "tres", "cuatro", "layer 1 · a · x: tres! 3.000 nats"} <= set(said)
    assert view.to_text().splitlines()[2].split() == ["1", "tres", "cuatro"]


def test_the_chosen_cell_is_outlined_where_it_is() -> None:
    view = HeatGrid(layer=1, column=2)
    view.show([Sheet("x", np.ones((2, 4), np.float32))], HeatColumns(("a", "b", "c", "d")), layers=(1, 3))
    svg = view.to_svg()
    (here,) = elements(svg, "rect", "lw-here")
    cell = next(
        one for one in elements(svg, "rect", "lw-cell") if (one["data-layer"], one["data-column"]) == ("1", "2")
    )
    assert abs(float(here["x"]) - float(cell["x"])) < 1
    assert abs(float(here["y"]) - float(cell["y"])) < 1
    assert here["stroke"] == PAPER.accent


def test_long_prompts_are_cut_around_the_selection_and_say_so() -> None:
    labels = tuple(f"w{place}" for place in range(200))
    view = HeatGrid(column=120)
    view.show([Sheet("x", np.ones((2, 200), np.float32))], HeatColumns(labels), layers=(0, 1))
    svg = view.to_svg(width=500)
    drawn = [int(cell["data-column"]) for cell in elements(svg, "rect", "lw-cell") if cell["data-layer"] == "0"]
    assert drawn == list(range(drawn[0], drawn[-1] + 1))
    assert drawn[0] < 120 < drawn[-1]
    assert len(drawn) == 13
    assert f"columns {drawn[0]} to {drawn[-1]} of 200 drawn, 187 cut" in " ".join(words(svg))
    assert "of 200; the others are cut." in view.to_text()


@pytest.mark.parametrize("hide_first", [False, True])
def test_the_matrix_and_the_gallery_are_those_of_the_heads(trace: lw.Trace, hide_first: bool) -> None:
    attention = lw.Attention().run(trace)
    view = lw.AttentionView(attention, layer=1, head=2, position=4, hide_first=hide_first)
    svg = view.to_svg()
    weights = attention.pattern[1, 2]
    drawn = np.zeros_like(weights)
    for cell in elements(svg, "rect", "lw-cell"):
        drawn[int(cell["data-query"]), int(cell["data-key"])] = float(cell["data-value"])
    np.testing.assert_allclose(drawn[:, int(hide_first) :], weights[:, int(hide_first) :], atol=1e-5)
    tiles = elements(svg, "image", "lw-tile")
    assert len(tiles) == N_LAYERS * N_HEADS
    tile = next(one for one in tiles if (one["data-layer"], one["data-head"]) == ("1", "2"))
    shown = weights.astype(np.float64)
    if hide_first:
        shown[:, 0] = 0
        shown = np.divide(shown, shown.sum(-1, keepdims=True), out=shown, where=shown.sum(-1, keepdims=True) > 0)
    # Packed as 8-bit roots before they are scaled.
    np.testing.assert_allclose(embedded(tile), np.sqrt(shown) * 255, atol=3)
    assert f"hidden on the first token: {weights[4, 0]:.3f}" in " ".join(words(svg)) or not hide_first


def test_another_head_is_drawn_after_another_choice(trace: lw.Trace) -> None:
    view = lw.AttentionView(lw.Attention().run(trace), layer=1, head=2)
    before = view.to_svg()
    view.head = 3
    after = view.to_svg()
    assert elements(before, "rect", "lw-cell") != elements(after, "rect", "lw-cell")
    assert "layer 1 · head 3" in words(after)
    view.show_heads = "mean"
    assert f"mean of layers 0–{N_LAYERS - 1}, all heads" in words(view.to_svg())


def test_curves_have_their_values_band_and_cursor(trace: lw.Trace) -> None:
    lens = lw.LogitLens().run(trace)
    figure = lw.DepthCurves(lens, quantity="entropy", layers="1-2", layer=1, position=2)
    svg = figure.to_svg()
    dots = elements(svg, "circle", "")
    np.testing.assert_allclose(
        [float(dot["data-value"]) for dot in dots if "data-value" in dot], lens.entropy_nats[:, 2], rtol=1e-5
    )
    (band,), (cursor,) = elements(svg, "rect", "lw-band"), elements(svg, "line", "lw-cursor")
    assert (band["data-first"], band["data-last"], cursor["data-layer"]) == ("1", "2", "1")
    assert {"nats", "layer", "Over layers"} <= set(words(svg))
    rows = [line.split() for line in figure.to_text().splitlines()[2:]]
    assert [row[0] for row in rows] == ["2", "1"]
    np.testing.assert_allclose([float(row[1]) for row in rows], lens.entropy_nats[[2, 1], 2], rtol=1e-3)
    figure.close()


def test_png_and_pdf_are_files_that_others_read(trace: lw.Trace, tmp_path: Path) -> None:
    view = lw.LogitLensView(lw.LogitLens().run(trace), title="Quick zebra")
    box = elements(view.to_svg(), "svg", "")[0]
    png = view.to_png(tmp_path / "figure.png", scale=0.5)
    assert (tmp_path / "figure.png").read_bytes() == png
    image = pixels(png)
    assert image.shape[:2] == tuple(pytest.approx(float(box[side]) / 2, abs=1) for side in ("height", "width"))
    assert len(np.unique(image[..., :3].reshape(-1, 3), axis=0)) > 50
    assert tuple(image[0, 0, :3]) == (255, 255, 255)
    assert tuple(pixels(view.to_png(scale=0.2, theme="dark"))[0, 0, :3]) == (17, 17, 17)
    pdf = view.to_pdf(tmp_path / "figure.pdf")
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert set("Quickzebra") <= pdf_characters(pdf)


def test_files_are_whole_or_not_there(trace: lw.Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = lw.LogitLensView(lw.LogitLens().run(trace))
    goal = tmp_path / "figure.svg"
    goal.write_text("old")
    with pytest.raises(FigureError, match=r"ends in \.png; got .*figure\.svg.*to_svg"):
        view.to_png(goal)
    with pytest.raises(FigureError, match=r"no folder .*nowhere"):
        view.to_svg(tmp_path / "nowhere" / "figure.svg")
    with pytest.raises(FigureError, match="scale above 0"):
        view.to_png(scale=0)
    with pytest.raises(FigureError, match="at most"):
        view.to_png(scale=1000)
    with pytest.raises(ValueError, match="'paper'"):
        view.to_svg(theme="sepia")

    def full(_self: Path, _goal: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="disk full"):
            view.to_svg(goal)
    assert (goal.read_text(), [file.name for file in tmp_path.iterdir()]) == ("old", ["figure.svg"])
    assert view.to_svg(goal) == goal.read_text(encoding="utf-8")


def test_nobody_pays_who_makes_no_figure() -> None:
    code = "import sys, layerwidget as lw; lw.HeatGrid; assert not {'resvg_py', 'typst'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_dark_theme_has_a_dark_ground() -> None:
    assert ramp(DARK).fills[0] == DARK.ground
    assert ramp(PAPER).fills[0] == PAPER.ground


def test_with_few_tokens_a_cell_of_the_lens_says_its_first_words(model: lw.HookedModel) -> None:
    lens = lw.LogitLens(k=5).run(model.trace(ids(2)))
    said = words(lw.LogitLensView(lens, layer=0).to_svg(width=900))
    beside_it = [lens.pieces[int(token)].visible for token in lens.top_ids[0, 0]]
    for layer in range(N_LAYERS):
        for place in range(3):
            assert f"{lens.top_probs[layer, 1, place]:.3f}"[1:] in said
    assert all(word in said for word in beside_it[:4])
    wide = [float(cell["width"]) for cell in elements(lw.LogitLensView(lens).to_svg(width=900), "rect", "lw-cell")]
    assert set(wide) == {271.0}


def test_cells_of_a_small_matrix_say_their_numbers(model: lw.HookedModel) -> None:
    attention = lw.Attention().run(model.trace(ids(3)))
    svg = lw.AttentionView(attention, layer=1, head=2, position=2, hide_first=False).to_svg()
    weights = attention.pattern[1, 2]
    said = words(svg)
    for query, key in ((1, 0), (1, 1), (2, 0), (2, 1), (2, 2)):
        assert f"{weights[query, key]:.2g}".removeprefix("0") in said
    sides = {round(float(cell["width"]), 1) for cell in elements(svg, "rect", "lw-cell")}
    assert sides == {64.2}


def test_of_one_token_no_head_is_drawn_as_if_it_had_chosen_it(model: lw.HookedModel) -> None:
    one = lw.Attention().run(model.trace(ids(1)))
    svg = lw.AttentionView(one, layer=1, head=2).to_svg()
    assert not elements(svg, "image", "lw-tile")
    assert "one token: its weight is 1 in all heads" in " ".join(words(svg))
    two = lw.Attention().run(model.trace(ids(2)))
    assert len(elements(lw.AttentionView(two).to_svg(), "image", "lw-tile")) == N_LAYERS * N_HEADS
