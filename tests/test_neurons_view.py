"""The neurons page: its numbers are the result's, it follows layer and position, and says why there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from tests.tiny import letters, tiny

PROMPT = "abcde"


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


def drawn(view: lw.NeuronsView) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the browser has got: words, and arrays."""
    message, buffers = view.table._message
    arrays = {
        spec["name"]: np.frombuffer(buffer, spec["dtype"]).reshape(spec["shape"])
        for spec, buffer in zip(message["arrays"], buffers, strict=True)
    }
    return message["meta"], arrays


def test_what_is_drawn_is_the_result(model: lw.HookedModel) -> None:
    grid = lw.Neurons(1, 3, k=7, neuron=2, n_tokens=4).run(model.trace(PROMPT))
    view = lw.NeuronsView(grid)
    meta, arrays = drawn(view)
    assert (view.table.layer, view.table.position, view.table.neuron) == (1, 3, 2)
    assert meta["neurons"] == grid.neurons.tolist()
    for name in ("activations", "contributions", "gates", "ups", "by_position"):
        np.testing.assert_array_equal(arrays[name], getattr(grid, name))
    assert meta["promotes"][0] == [grid.pieces[int(token)].visible for token in grid.promoted_ids[0]]
    assert (meta["n_half"], meta["error"], meta["followed"]) == (grid.n_half, grid.error, 2)


def test_experts_are_said_with_their_weights() -> None:
    model = lw.HookedModel(tiny("mixtral"), name="experts")
    grid = lw.Neurons(0, 2, k=3).run(model.trace([3, 1, 4, 1]))
    meta, arrays = drawn(lw.NeuronsView(grid))
    assert meta["experts"] == grid.experts.tolist()
    np.testing.assert_array_equal(arrays["router_weights"], grid.router_weights)
    assert "by_position" not in arrays


def test_it_follows_layer_position_and_neuron_without_another_pass(model: lw.HookedModel) -> None:
    explorer = lw.Explorer(model, PROMPT, pages=["neurons"])
    explorer.wait()
    page, passes = explorer.page("neurons"), explorer._answering.live.passes
    assert explorer.results["neurons"].layers == (2,)
    explorer.selection = lw.Selection(layer=1, position=2)
    explorer.wait()
    found = explorer.results["neurons"]
    assert (found.layers, found.position, found.neuron) == ((1,), 2, None)
    expected = lw.Neurons(1, 2, k=24, n_tokens=6).run(model.trace(PROMPT))
    np.testing.assert_array_equal(found.neurons, expected.neurons)
    np.testing.assert_allclose(found.activations, expected.activations, atol=1e-6)
    page.table.neuron = int(found.neurons[0])
    explorer.wait()
    assert explorer.results["neurons"].by_position.shape == (len(PROMPT),)
    explorer.layer = 0
    explorer.wait()
    assert page.table.neuron is None
    assert explorer._answering.live.passes == passes
    explorer.prompt = ""
    explorer.wait()
    assert drawn(page)[0]["layers"] == []
    explorer.close()


def test_a_layer_that_is_skipped_or_has_no_neurons_says_why() -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("mamba"), letters(), "no FFN"), PROMPT, pages=["neurons"])
    explorer.wait()
    assert "neurons" in explorer.refusals
    assert drawn(explorer.page("neurons"))[0]["note"] == str(explorer.refusals["neurons"])
    assert explorer.status.state == "fresh"
    explorer.close()


def test_one_token(model: lw.HookedModel) -> None:
    meta, _ = drawn(lw.NeuronsView(lw.Neurons(0, neuron=0).run(model.trace("a"))))
    assert meta["prompt_visible"] == ["a"]
