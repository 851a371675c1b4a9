"""What every page publishes is what its questions answer: the right sheet, layer, head, position and unit.

Sizes differ (3 layers, 4 heads, 7 tokens), and no two rows are alike: a transposition, a dropped layer, a layer number
that is off by one or two sheets that changed places cannot pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.widgets.attention_page import AttentionPage
from tests.test_views import sent
from tests.tiny import N_HEADS, N_LAYERS, letters, tiny

PROMPT, OTHER = "abcdabe", "abxdabe"
N_POS = len(PROMPT)


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


@pytest.fixture(scope="module")
def explorer(model: lw.HookedModel) -> Iterator[lw.Explorer]:
    """All pages open, at a place that is no first or last one."""
    pages = ["lens", "tuned", "residual", "attention", "attribution", "neurons", "depth", "compare"]
    selection = lw.Selection(layer=1, head=2, position=5)
    explorer = lw.Explorer(model, PROMPT, layers="1-2", selection=selection, pages=pages)
    page: Any = explorer.page("compare")
    page.prompt = OTHER
    page_of(explorer, "neurons").table.neuron = 7
    explorer.wait()
    assert not explorer.refusals
    yield explorer
    explorer.close()


def sheets(view: Any) -> dict[str, tuple[np.ndarray, str]]:
    """Name -> values as they are drawn, and their unit."""
    meta, arrays = sent(view)
    assert len(arrays["values"]) == len(meta["sheets"])
    return {
        sheet["name"]: (values, sheet["unit"]) for sheet, values in zip(meta["sheets"], arrays["values"], strict=True)
    }


def page_of(explorer: lw.Explorer, name: str) -> Any:
    return explorer.page(name)


def lens_is(view: Any, lens: lw.LensGrid) -> None:
    meta, arrays = sent(view)
    assert (meta["layers"], meta["n_pos"]) == (list(lens.layers), N_POS)
    for name in ("entropy_nats", "kl_to_final_nats", "final_probs"):
        assert getattr(lens, name).shape == (N_LAYERS, N_POS)
        np.testing.assert_array_equal(arrays[name], getattr(lens, name))
    shown = np.array([piece["id"] for piece in meta["pieces"]])[arrays["top_ids"]]
    np.testing.assert_array_equal(shown, lens.top_ids)
    np.testing.assert_allclose(arrays["top_probs"] / 65535, lens.top_probs, atol=1e-5)


def test_the_lenses(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    trace = model.trace(PROMPT)
    lens_is(explorer.lens_view, explorer.results["lens"])
    lens_is(page_of(explorer, "tuned").plain_view, explorer.results["resid_pre_lens"])
    for name, component in (("lens", "resid_post"), ("resid_pre_lens", "resid_pre")):
        expected = lw.LogitLens(component=component).run(trace)
        np.testing.assert_allclose(explorer.results[name].entropy_nats, expected.entropy_nats, atol=1e-5)


@pytest.mark.parametrize("layers", ["all", "1-2"])
def test_the_residual_stream(model: lw.HookedModel, layers: str) -> None:
    grid = lw.ResidualStream(layers).run(model.trace(PROMPT))
    view = lw.ResidualView(grid).grid_view
    meta, found = sent(view)[0], sheets(view)
    assert meta["layers"] == list(grid.layers)
    assert (meta["columns"]["picks"], len(meta["columns"]["labels"])) == ("position", N_POS)
    words = {
        "resid_pre": "stream before the layer", "attn_out": "what attention adds", "mlp_out": "what the FFN adds",
        "resid_post": "stream after the layer",
    }  # fmt: skip
    for component, word in words.items():
        values, unit = found[f"norm: {word}"]
        np.testing.assert_allclose(values, grid.norm(component))
        assert unit == ""
    np.testing.assert_allclose(found["cosine with the layer before"][0], grid.cos_previous)
    np.testing.assert_allclose(found["cosine with the final stream"][0], grid.cos_final)
    np.testing.assert_allclose(found["error"][0], grid.error)


def test_the_head_map(explorer: lw.Explorer) -> None:
    page = page_of(explorer, "attention")
    assert isinstance(page, AttentionPage)
    meta, ((_, (values, unit)),) = sent(page.head_map)[0], sheets(page.head_map).items()
    sink = explorer.results["sink"]
    assert (meta["layers"], values.shape, unit) == ([0, 1, 2], (N_LAYERS, N_HEADS), "")
    assert "token 0" in meta["sheets"][0]["detail"]
    np.testing.assert_allclose(values, sink.share, atol=1e-6)
    rollout = explorer.results["rollout"].rollout
    np.testing.assert_array_equal(sent(page.rollout_view)[1]["rollout"], rollout[np.tri(N_POS, dtype=bool)])
    assert sent(page.rollout_view)[0]["layers"] == [1, 2]


def test_attribution(explorer: lw.Explorer) -> None:
    page, grid = page_of(explorer, "attribution"), explorer.results["attribution"]
    meta, ((_, (values, unit)),) = sent(page.heads)[0], sheets(page.heads).items()
    assert (meta["layers"], values.shape, unit) == ([0, 1, 2], (N_LAYERS, N_HEADS), "logits")
    np.testing.assert_array_equal(values, grid.heads)
    np.testing.assert_array_equal(sent(page.sources)[1]["sources"], explorer.results["head_sources"].sources)
    assert explorer.results["head_sources"].head == (1, 2)


def test_neurons(explorer: lw.Explorer) -> None:
    grid = explorer.results["neurons"]
    view = page_of(explorer, "neurons")
    meta, arrays = sent(view.table)
    assert meta["followed"] == 7
    assert (meta["layers"], meta["position"], meta["neurons"]) == ([1], 5, grid.neurons.tolist())
    for name in ("activations", "contributions", "gates", "ups", "by_position"):
        np.testing.assert_array_equal(arrays[name], getattr(grid, name))
    for name, ids in (("promotes", grid.promoted_ids), ("demotes", grid.demoted_ids)):
        assert meta[name] == [[grid.pieces[int(token)].visible for token in row] for row in ids]


def test_compare(explorer: lw.Explorer) -> None:
    view = page_of(explorer, "compare")
    quantities = [one for found in view.found for one in found.quantities.values()]
    assert len(quantities) > 3
    for mode, drawn in (("change", view.grid_view), ("a", view.grid_view), ("b", view.grid_view), ("both", None)):
        view.mode = mode
        for grid, which in ((drawn, mode),) if drawn else ((view.grid_view, "a"), (view.second_view, "b")):
            assert sent(grid)[0]["layers"] == [0, 1, 2]
            found = sheets(grid)
            for one in quantities:
                expected = one.change if which == "change" or one.a is None else getattr(one, which)
                if one.name in found:
                    np.testing.assert_array_equal(found[one.name][0], expected)
                    assert found[one.name][1] == (one.change_unit if which == "change" or one.a is None else one.unit)
            assert len(found) > 2
    view.mode = "change"
    moved = view.heads_found
    np.testing.assert_array_equal(sheets(view.heads_view)["moved attention"][0], moved.moved)
    assert sent(view.heads_view)[0]["layers"] == list(moved.layers) == [1, 2]


def test_depth(explorer: lw.Explorer) -> None:
    page, found = page_of(explorer, "depth"), explorer.results
    meta, arrays = sent(page.strip)
    assert (meta["layers"], arrays["ranks"].shape) == ([0, 1, 2], (N_LAYERS, N_POS))
    np.testing.assert_array_equal(arrays["ranks"], found["settle_depth"].final_ranks)
    np.testing.assert_array_equal(arrays["settled"], found["settle_depth"].layer)
    np.testing.assert_array_equal(arrays["emerged"], found["emergence"].layer)
    np.testing.assert_array_equal(sent(page.loss)[1]["nats"], found["position_loss"].nats)
    np.testing.assert_array_equal(page.influence.lines.y, found["block_influence"].values)
    np.testing.assert_array_equal(
        page.angles.lines.x[: len(found["angular_distance"].layers)], found["angular_distance"].layers
    )
