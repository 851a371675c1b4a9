"""The layer map alone: what it takes, what it sends, and what it refuses."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

import layerwidget as lw
from tests.model_maps import HOSTILE, MAPS, encoder_decoder, hybrid, post_norm, pre_norm, with_trouble
from tests.test_views import sent


@pytest.mark.parametrize("name", MAPS)
def test_what_is_sent_is_the_whole_map_as_json(name: str) -> None:
    model_map = MAPS[name]()
    meta, arrays = sent(lw.LayerMap(model_map))
    assert arrays == {}
    heard = json.loads(json.dumps(meta))["map"]
    assert (heard["name"], heard["d_model"], heard["tied"]) == (model_map.name, model_map.d_model, model_map.tied)
    assert [layer["layer"] for layer in heard["layers"]] == list(range(len(model_map.layers)))
    for layer, told in zip(model_map.layers, heard["layers"], strict=True):
        assert [step["kind"] for step in told["steps"]] == [step.kind for step in layer.steps]
        assert (told["flops_per_token"], told["cache_bytes_per_token"]) == (
            layer.flops_per_token,
            layer.cache_bytes_per_token,
        )
        paths = [weight["path"] for step in told["steps"] for one in step["elements"] for weight in one["weights"]]
        assert paths == [weight.path for step in layer.steps for one in step.elements for weight in one.weights]


def test_an_encoder_comes_along() -> None:
    meta, _ = sent(lw.LayerMap(encoder_decoder()))
    assert len(meta["map"]["encoder"]["layers"]) == 6
    assert meta["map"]["encoder"]["encoder"] is None


def test_it_takes_whatever_has_a_map() -> None:
    model_map = post_norm()
    anatomy = SimpleNamespace(map=model_map)
    for source in (model_map, anatomy, SimpleNamespace(anatomy=anatomy)):
        assert lw.LayerMap(source).model_map is model_map


@pytest.mark.parametrize("wrong", ["gpt2", 3, SimpleNamespace(map=dict), [pre_norm]])
def test_anything_else_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match=f"got {type(wrong).__name__}.*HookedModel"):
        lw.LayerMap(wrong)
    view = lw.LayerMap(pre_norm())
    with pytest.raises(TypeError, match="ModelMap"):
        view.show(wrong)
    assert view.model_map == pre_norm()


def test_a_map_without_layers_is_refused() -> None:
    with pytest.raises(TypeError, match="no layer"):
        lw.LayerMap(pre_norm(0))


def test_layers_and_layer_are_those_of_the_map() -> None:
    view = lw.LayerMap(pre_norm(), layers="late", layer=24)
    assert (view.layers, view.layer, view.n_layers) == ("22-29", 24, 30)
    with pytest.raises(lw.SelectionError, match="0 to 29"):
        view.layer = 30
    with pytest.raises(lw.SelectionError, match="0 to 29"):
        view.layers = "10-30"


def test_another_map_brings_the_selection_into_range() -> None:
    view = lw.LayerMap(pre_norm(), layers="20-29", layer=24)
    view.show(encoder_decoder())
    assert (view.layers, view.layer) == ("0-5", 5)
    assert sent(view)[0]["map"]["name"] == "t5-small"


def test_without_a_map_it_is_empty() -> None:
    view = lw.LayerMap()
    assert view.model_map is None
    assert view._message is None
    assert repr(view) == "LayerMap()"


def test_it_says_what_it_shows() -> None:
    expected = "LayerMap('SmolLM2-135M-Instruct', 30 layers, layers='22-29', layer=24)"
    assert repr(lw.LayerMap(pre_norm(), layers="late", layer=24)) == expected


def test_the_map_is_not_in_the_saved_state() -> None:
    state = {name: one for name, one in lw.LayerMap(hybrid()).get_state().items() if name not in {"_esm", "_css"}}
    assert len(str(state)) < 3000


def test_hostile_names_travel_as_they_are() -> None:
    meta, _ = sent(lw.LayerMap(with_trouble()))
    assert meta["map"]["layers"][3]["module"] == HOSTILE
    assert meta["map"]["layers"][2]["steps"] == ()
    assert "0.37" in meta["map"]["layers"][2]["trouble"]


def test_a_wrong_keyword_raises() -> None:
    with pytest.raises(TypeError, match="no trait model"):
        lw.LayerMap(pre_norm(), model="gpt2")
