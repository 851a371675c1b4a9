"""The residual page: its numbers are the result's, its ledger says whether the range adds up."""

from __future__ import annotations

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.widgets.heat_grid import HeatGrid
from layerwidget.widgets.residual_view import NAMES
from tests.tiny import N_LAYERS, letters, tiny

PROMPT = "abcde"


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


def drawn(grid: HeatGrid) -> dict[str, np.ndarray]:
    """Name of each sheet -> the values that the browser has got."""
    meta, buffers = grid._message
    names = [sheet["name"] for sheet in meta["meta"]["sheets"]]
    values = np.frombuffer(buffers[0], np.float32).reshape(meta["arrays"][0]["shape"])
    return dict(zip(names, values, strict=True))


def test_what_is_drawn_is_the_result(model: lw.HookedModel) -> None:
    grid = lw.ResidualStream().run(model.trace(PROMPT))
    view = lw.ResidualView(grid, position=3)
    sheets = drawn(view.grid_view)
    for name in grid.components:
        np.testing.assert_array_equal(sheets[f"norm: {NAMES[name]}"], grid.norm(name))
    np.testing.assert_array_equal(sheets["cosine with the layer before"], grid.cos_previous)
    np.testing.assert_array_equal(sheets["cosine with the final stream"], grid.cos_final)
    np.testing.assert_array_equal(sheets["error"], grid.error)
    assert view.grid_view.sheet == f"norm: {NAMES['resid_post']}"


def test_curves_follow_the_position(model: lw.HookedModel) -> None:
    grid = lw.ResidualStream().run(model.trace(PROMPT))
    view = lw.ResidualView(grid, position=1)
    for position in (1, 4):
        view.curves.driver.position = position
        norms = [grid.norm(name)[:, position] for name in ("resid_post", "mlp_out", "attn_out")]
        np.testing.assert_array_equal(view.curves.lines.y, np.stack(norms))
    view.curves.quantity = "cosines"
    np.testing.assert_array_equal(view.curves.lines.y, [grid.cos_previous[:, 4], grid.cos_final[:, 4]])
    view.curves.quantity = "error"
    np.testing.assert_array_equal(np.atleast_2d(view.curves.lines.y), grid.error[None, :, 4])


def test_the_ledger_is_about_the_range_in_view(model: lw.HookedModel) -> None:
    explorer = lw.Explorer(model, PROMPT, layers="1-2", pages=["residual"])
    explorer.wait()
    assert set(explorer.results) == {"residual", "ledger"}
    assert explorer.results["residual"].layers == tuple(range(N_LAYERS))
    expected = lw.ResidualStream("1-2").run(model.trace(PROMPT)).range_error
    np.testing.assert_allclose(explorer.results["ledger"].range_error, expected, atol=1e-6)
    page = explorer.page("residual")
    assert page.ledger.value.startswith("Layers 1-2: what enters, plus everything that is added, is what leaves.")
    explorer.layers = "0,2"
    explorer.wait()
    assert "No sum over layers 0,2" in page.ledger.value
    assert "do not follow each other" in page.ledger.value
    passes = explorer._answering.live.passes
    explorer.layers = "all"
    explorer.wait()
    assert explorer._answering.live.passes == passes
    explorer.prompt = ""
    explorer.wait()
    assert page.ledger.value == ""
    assert page.grid_view._message[0]["meta"]["layers"] == []
    assert not page.curves.lines.visible
    explorer.close()


def test_a_layer_that_adds_nothing_of_a_kind_has_no_norm_of_it() -> None:
    model = lw.HookedModel(tiny("jamba"), name="hybrid")
    grid = lw.ResidualStream().run(model.trace([3, 1, 4, 1]))
    sheets = drawn(lw.ResidualView(grid).grid_view)
    lacking = np.isnan(grid.norm("attn_out")).all(axis=1)
    assert lacking.any()
    assert not lacking.all()
    np.testing.assert_array_equal(np.isnan(sheets[f"norm: {NAMES['attn_out']}"]).all(axis=1), lacking)


def test_a_post_norm_model_says_why_there_is_no_sum() -> None:
    model = lw.HookedModel(tiny("bert"), name="post-norm")
    view = lw.ResidualView(lw.ResidualStream().run(model.trace([3, 1, 4])))
    assert "the stream itself passes through a norm" in view.ledger.value


def test_one_token_and_zeros_can_be_drawn(model: lw.HookedModel) -> None:
    trace = model.trace("a", interventions=(lw.SkipLayers("1"),))
    view = lw.ResidualView(lw.ResidualStream().run(trace))
    sheets = drawn(view.grid_view)
    assert np.isnan(sheets[f"norm: {NAMES['mlp_out']}"][1]).all()
    assert sheets[f"norm: {NAMES['resid_post']}"].shape == (N_LAYERS, 1)
