"""Layers that are no modules are found where the order of several lists of modules repeats."""

from __future__ import annotations

import pytest
import torch

import layerwidget as lw
from layerwidget.errors import StructureError
from layerwidget.model.hooked_model import HookedModel
from tests import toy

IDS = [1, 5, 2, 8, 3, 1]


def _braid(**options: object) -> toy.Braid:
    torch.manual_seed(0)
    return toy.Braid(**options).eval()  # type: ignore[arg-type]


def test_a_layer_begins_at_its_first_module_and_ends_at_its_last() -> None:
    hf_model = _braid()
    trace = HookedModel(hf_model).trace(IDS)
    assert [(layer.module, layer.last) for layer in trace.anatomy.layers] == [
        (f"red.{turn}", (f"grey.{turn}", 0)) for turn in range(3)
    ]
    assert torch.equal(trace.resid_pre[0], hf_model.book.weight[IDS])
    assert torch.equal(trace.resid_pre[1:], trace.resid_post[:-1])
    for turn in range(3):
        middle = hf_model.green[turn](trace.resid_pre[turn] + trace.attn_out[turn])
        torch.testing.assert_close(trace.resid_mid[turn], middle)
        torch.testing.assert_close(trace.resid_post[turn], hf_model.grey[turn](middle + trace.mlp_out[turn]))


def test_its_weights_are_those_of_all_its_modules() -> None:
    hf_model = _braid()
    anatomy = HookedModel(hf_model).anatomy
    held = [sum(weight.numel() for weight in strand[1].parameters()) for strand in _strands(hf_model)]
    assert anatomy.layers[1].n_params == sum(held)
    assert {path.partition(".")[0] for path, _ in anatomy.layers[1].weights} == {"red", "green", "blue", "grey"}
    assert {path for path, _ in anatomy.weights} == {
        "book.weight",
        "sky.weight",
        "sky.bias",
        "roof.weight",
        "roof.bias",
    }


def _strands(hf_model: toy.Braid) -> list[torch.nn.ModuleList]:
    return [hf_model.red, hf_model.green, hf_model.blue, hf_model.grey]


def test_the_table_and_the_map_say_where_it_is() -> None:
    anatomy = HookedModel(_braid()).anatomy
    assert repr(anatomy).splitlines()[-1].split()[:8] == "0-2 red.0 … grey.2 post-norm sequential red.* blue.*".split()
    layer = anatomy.map.layers[1]
    assert layer.module == "red.1 … grey.1"
    assert [step.main.module for step in layer.steps] == ["red.1", "green.1", "blue.1", "grey.1"]


def test_the_tail_runs_none_of_its_modules() -> None:
    hf_model = _braid()
    model = HookedModel(hf_model)
    rows = torch.randn(5, toy.D_MODEL, generator=torch.Generator().manual_seed(1))
    called: list[torch.nn.Module] = []
    handles = [
        part.register_forward_hook(lambda module, args, output: called.append(module))
        for strand in _strands(hf_model)
        for part in strand
    ]
    assert torch.equal(model.tail(rows), hf_model.sky(rows))
    for handle in handles:
        handle.remove()
    assert not called


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_skipping_it_equals_taking_a_module_out_of_every_list(layer: int) -> None:
    hf_model = _braid()
    trace = HookedModel(hf_model).trace(IDS, interventions=(lw.SkipLayers(layer),))
    assert torch.equal(trace.resid_post[layer], trace.resid_pre[layer])
    for strand in _strands(hf_model):
        del strand[layer]
    hf_model.rounds -= 1
    assert torch.equal(trace.logits, hf_model(torch.tensor([IDS]))["logits"][0])


def test_check_passes_and_leaves_the_model_as_it_was() -> None:
    hf_model = _braid()
    report = lw.check(HookedModel(hf_model))
    assert {name: grade.status for name, grade in report.grades.items()} == dict.fromkeys(report.grades, "pass")
    assert hf_model.rounds == len(hf_model.red) == 3


def test_mixing_without_attention_is_told_from_an_ffn() -> None:
    model = HookedModel(_braid(habit="shift"))
    assert [[part.kind for part in layer.parts] for layer in model.anatomy.layers] == [["mixer", "mlp"]] * 3


def test_layers_that_are_run_without_being_called() -> None:
    torch.manual_seed(0)
    hf_model = toy.Sideways().eval()
    model = HookedModel(hf_model)
    trace = model.trace(IDS)
    assert trace.anatomy.layout.axes == "batch d_model pos"
    assert [layer.modules for layer in trace.anatomy.layers] == [
        tuple(f"slabs.{number}.{name}" for name in "paqb") for number in range(3)
    ]
    assert [part.kind for part in trace.anatomy.layers[1].parts] == ["attention", "mlp"]
    assert trace.anatomy.layers[1].parts[1].feed_forward.n_neurons == 27  # type: ignore[union-attr]
    assert torch.equal(trace.resid_pre[1:], trace.resid_post[:-1])
    slab = hf_model.slabs[1]
    torch.testing.assert_close(slab(trace.resid_pre[1].T[None])[0].T, trace.resid_post[1])
    torch.testing.assert_close(slab.a((trace.resid_pre[1] + trace.attn_out[1]).T[None])[0].T, trace.resid_mid[1])
    report = lw.check(model)
    assert {name: grade.status for name, grade in report.grades.items()} == dict.fromkeys(report.grades, "pass")


def test_a_stream_that_no_module_returns_is_no_layer() -> None:
    with pytest.raises(StructureError, match="No layer stack found"):
        HookedModel(_braid(habit="outside"))
