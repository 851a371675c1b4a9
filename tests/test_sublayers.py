"""What layers, FFNs and heads are made of, against what transformers' own configurations say."""

from __future__ import annotations

import pytest
import torch

from layerwidget.model.hooked_model import HookedModel
from layerwidget.model_map import ModelMap
from tests import tiny

_NORMS = {
    "llama": "pre", "gpt2": "pre", "gpt_neox": "pre", "gpt_neox_sequential": "pre", "gemma2": "sandwich",
    "gemma3": "sandwich", "granite": "pre", "falcon": "pre", "opt": "pre", "mixtral": "pre", "gpt_oss": "pre",
    "mamba": "pre", "jamba": "pre", "bert": "post", "bart": "post", "t5": "pre",
}  # fmt: skip
_FFN = {
    "llama": ("gated", 52), "gpt2": ("plain", 176), "gpt_neox": ("plain", 56), "gpt_neox_sequential": ("plain", 56),
    "gemma2": ("gated", 52), "gemma3": ("gated", 52), "granite": ("gated", 52), "falcon": ("plain", 160),
    "opt": ("plain", 52), "mixtral": ("experts", 52), "gpt_oss": ("experts", 52), "jamba": ("experts", 52),
    "bert": ("plain", 52), "bart": ("plain", 52), "t5": ("gated", 52),
}  # fmt: skip


@pytest.mark.parametrize("kind", _NORMS)
def test_norm_placement(kind: str) -> None:
    assert {layer.norms for layer in tiny.hooked(kind).anatomy.layers} == {_NORMS[kind]}


@pytest.mark.parametrize("kind", _FFN)
def test_kind_of_ffn_and_number_of_neurons(kind: str) -> None:
    layer = tiny.hooked(kind).anatomy.layers[1]
    assert layer.mlp is not None
    ffn = layer.mlp.feed_forward
    assert ffn is not None
    assert (ffn.kind, ffn.n_neurons) == _FFN[kind]
    down = dict(tiny.hooked(kind).hf_model.named_parameters())[ffn.down]
    assert ffn.n_neurons in down.shape


@pytest.mark.parametrize(
    ("kind", "expected"), [("mixtral", (5, 2, "gate")), ("gpt_oss", (5, 2, "router")), ("jamba", (3, 2, "router"))]
)
def test_experts_and_their_router(kind: str, expected: tuple[int, int, str]) -> None:
    layer = tiny.hooked(kind).anatomy.layers[1]
    assert layer.mlp is not None
    ffn = layer.mlp.feed_forward
    assert ffn is not None
    assert ffn.gated
    assert (ffn.n_experts, ffn.n_active, ffn.router.rpartition(".")[2]) == expected


def test_the_sublayer_behind_a_norm_is_named() -> None:
    attention, mlp = tiny.hooked("gemma2").anatomy.layers[2].parts
    assert (attention.sublayer, mlp.sublayer) == ("model.layers.2.self_attn", "model.layers.2.mlp")
    assert attention.norm_after == "model.layers.2.post_attention_layernorm"
    assert attention.norm_before == "model.layers.2.input_layernorm"


def test_windows_are_those_of_the_layers_that_have_one() -> None:
    windows = [layer.attention and layer.attention.window for layer in tiny.hooked("gemma3").anatomy.layers]
    assert windows == [5, None, 5]


@pytest.mark.parametrize(
    ("kind", "transform", "tied"),
    [
        ("llama", (), False),
        ("gpt2", (), True),
        ("gemma2", ("soft-cap 0.7",), True),
        ("granite", ("× 0.434783",), False),
        ("bert", ("+ bias",), True),
    ],
)
def test_what_is_done_to_the_logits(kind: str, transform: tuple[str, ...], tied: bool) -> None:
    anatomy = tiny.hooked(kind).anatomy
    hf_model = tiny.hooked(kind).hf_model
    assert anatomy.transform == transform
    assert anatomy.tied == (hf_model.get_output_embeddings().weight is hf_model.get_input_embeddings().weight) == tied


def test_parameters_and_devices_of_layers() -> None:
    model = tiny.hooked("llama")
    layer = model.anatomy.layers[0]
    shapes = {
        f"model.layers.0.{name}": weight.shape for name, weight in model.hf_model.model.layers[0].named_parameters()
    }
    assert dict(layer.weights) == shapes
    assert layer.n_params == sum(torch.Size(shape).numel() for _, shape in layer.weights)
    assert layer.device == "cpu"


@pytest.mark.parametrize("kind", [*tiny.ALL, *tiny.TWO_STACKS])
def test_every_model_has_a_map(kind: str) -> None:
    found = tiny.hooked(kind).anatomy.map
    assert isinstance(found, ModelMap)
    assert len(found.layers) == tiny.hooked(kind).anatomy.n_layers
    paths = set(dict(tiny.hooked(kind).hf_model.named_modules()))
    for layer in found.layers:
        assert [step.kind for step in layer.steps].count("branch") == len(tiny.hooked(kind).anatomy.layers[0].parts)
        assert {element.module for step in layer.steps for element in step.elements} <= paths | {""}
        branch = next(step for step in layer.steps if step.kind == "branch")
        assert branch.main.kind in ("attention", "mixer", "mlp")
        assert branch.main.n_params > 0
    assert (found.encoder is not None) == (kind in tiny.TWO_STACKS)


def test_post_norms_are_steps_of_the_trunk() -> None:
    steps = tiny.hooked("bert").anatomy.map.layers[0].steps
    assert [(step.kind, step.main.kind) for step in steps] == [
        ("branch", "attention"), ("trunk", "norm"), ("branch", "mlp"), ("trunk", "norm"),
    ]  # fmt: skip
    assert steps[1].main.title == "LayerNorm"


def test_parallel_branches() -> None:
    steps = tiny.hooked("gpt_neox").anatomy.map.layers[0].steps
    assert [step.parallel for step in steps] == [False, True]


def test_factors_are_elements_of_a_branch() -> None:
    elements = tiny.hooked("granite").anatomy.map.layers[0].steps[0].elements
    assert [element.kind for element in elements] == ["norm", "attention", "scale"]
    assert elements[-1].title == "× 0.6"


def test_a_new_model_is_not_touched() -> None:
    hf_model = tiny.tiny("mixtral")
    before = {name: weight.clone() for name, weight in hf_model.named_parameters()}
    HookedModel(hf_model)
    assert all(torch.equal(weight, before[name]) for name, weight in hf_model.named_parameters())
