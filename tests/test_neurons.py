"""Neurons against hooks on plain transformers, and by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import layerwidget as lw
import layerwidget.analysis  # registers the answers
from layerwidget.model import neuron_memory, neuron_writing
from layerwidget.model.continuation import Continuation
from layerwidget.model.ffn_again import FfnAgain
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.neuron_writing import NeuronWriting, neuron_reading
from layerwidget.model.products import Products
from tests import tiny
from tests.conformance.build import build, entry
from tests.test_devices import Quantised, _offloaded

#: The module that reads the neurons, as its authors call it; `{}` is the layer.
DOWN = {
    "gpt2": "transformer.h.{}.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.{}.mlp.dense_4h_to_h",
    "gpt_neox_sequential": "gpt_neox.layers.{}.mlp.dense_4h_to_h",
    "falcon": "transformer.h.{}.mlp.dense_4h_to_h",
    "opt": "model.decoder.layers.{}.fc2",
    "bert": "bert.encoder.layer.{}.output.dense",
    "causal/phi": "model.layers.{}.mlp.fc2",
    "causal/bloom": "transformer.h.{}.mlp.dense_4h_to_h",
    "llama": "model.layers.{}.mlp.down_proj",
    "gemma2": "model.layers.{}.mlp.down_proj",
    "gemma3": "model.layers.{}.mlp.down_proj",
    "granite": "model.layers.{}.mlp.down_proj",
    "causal/olmo2": "model.layers.{}.mlp.down_proj",
    "causal/phi3": "model.layers.{}.mlp.down_proj",
}
#: Gate and up are modules of their own.
GATED = ("llama", "gemma2", "gemma3", "granite", "causal/olmo2")
#: What a router chooses from.
EXPERTS = ("mixtral", "gpt_oss", "causal/qwen2_moe", "causal/deepseek_v3")


@cache
def hooked(kind: str) -> HookedModel:
    return HookedModel(build(entry(kind))) if "/" in kind else tiny.hooked(kind)


def fresh(kind: str) -> HookedModel:
    return HookedModel(tiny.tiny(kind))


def writing_of(trace: lw.Trace, layer: int, position: int) -> NeuronWriting:
    found = neuron_reading(trace, layer, position).writing
    assert found is not None
    return found


def seen_by_hand(model: Any, path: str, token_ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """What plain transformers gives to a module and gets from it, shapes [pos, d]."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = model.get_submodule(path).register_forward_hook(
        lambda module, args, out: seen.append((args[0].clone(), out.clone()))
    )
    tiny.plain_output(model, token_ids)
    handle.remove()
    read, made = seen[0]
    return read.reshape(-1, read.shape[-1]), made.reshape(-1, made.shape[-1])


def values_by_hand(model: Any, path: str) -> torch.Tensor:
    """Value vectors, shape [neuron, d_model]."""
    module = model.get_submodule(path)
    weight: torch.Tensor = module.weight.detach()
    return weight if type(module).__name__ == "Conv1D" else weight.T


def close(got: Any, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(got, expected, atol=1e-5 * float(expected.abs().max()) + 1e-7)


@pytest.mark.parametrize("kind", DOWN)
@pytest.mark.parametrize(("n_pos", "position"), [(1, 0), (11, 6)])
def test_neurons_are_those_of_plain_transformers(kind: str, n_pos: int, position: int) -> None:
    model = hooked(kind)
    trace = model.trace(tiny.ids(n_pos))
    for layer in range(model.anatomy.n_layers):
        path = DOWN[kind].format(layer)
        read, made = seen_by_hand(model.hf_model, path, tiny.ids(n_pos))
        values = values_by_hand(model.hf_model, path)
        found = lw.Neurons(layer, position, k=10_000, neuron=7).run(trace)
        assert found.kind == ("gated" if kind in GATED or kind == "causal/phi3" else "plain")
        assert found.n_neurons == len(values)
        assert found.layers == (layer,)
        assert sorted(found.neurons) == list(range(found.n_neurons))
        close(found.activations, read[position][found.neurons.tolist()])
        assert found.by_position is not None
        close(found.by_position, read[:, 7])
        contributions = read[position].abs() * values.norm(dim=-1)
        close(found.contributions, contributions.sort(descending=True).values)
        assert found.total == pytest.approx(float(contributions.sum()), rel=1e-4)
        assert found.share == pytest.approx(1.0, abs=1e-5)
        assert found.error <= 1e-5
        writing = writing_of(trace, layer, position)
        close(writing.raw, made[position])
        close(writing.values, values)
        assert not found.note or "promote" in found.note


@pytest.mark.parametrize("kind", [*DOWN, *EXPERTS, "jamba"])
def test_they_sum_to_the_output_and_to_what_is_added(kind: str) -> None:
    model = hooked(kind)
    trace = model.trace(tiny.ids(9))
    for layer in trace.layers_with("mlp_out"):
        one = writing_of(trace, layer, 4)
        total = (one.activations * one.scales) @ one.values + one.bias
        assert (total - one.raw).abs().max() <= 1e-5 * one.raw.abs().max()
        if one.whole:
            everyone = one.added(torch.arange(len(one.numbers))).sum(0)
            bias = one.bias if one.norm is None else one.norm.linear(one.bias[None])[0] + one.norm.bias
            close(everyone + bias * one.factor, trace.activations["mlp_out"][layer][4])


@pytest.mark.parametrize("kind", GATED)
def test_gate_and_up_are_those_of_plain_transformers(kind: str) -> None:
    model = hooked(kind)
    trace = model.trace(tiny.ids(9))
    mlp = DOWN[kind].format(1).rpartition(".")[0]
    gates = seen_by_hand(model.hf_model, f"{mlp}.act_fn", tiny.ids(9))[1][5]
    ups = seen_by_hand(model.hf_model, f"{mlp}.up_proj", tiny.ids(9))[1][5]
    found = lw.Neurons(1, 5, k=12).run(trace)
    assert found.gates is not None
    assert found.ups is not None
    close(found.gates, gates[found.neurons.tolist()])
    close(found.ups, ups[found.neurons.tolist()])
    np.testing.assert_allclose(found.gates * found.ups, found.activations, atol=1e-6)


def test_gate_and_up_of_one_fused_matrix() -> None:
    model = hooked("causal/phi3")
    gate_up = seen_by_hand(model.hf_model, "model.layers.1.mlp.gate_up_proj", tiny.ids(9))[1][5]
    gates, ups = gate_up.chunk(2)
    found = lw.Neurons(1, 5).run(model.trace(tiny.ids(9)))
    act: Any = model.hf_model.model.layers[1].mlp.activation_fn
    assert found.gates is not None
    assert found.ups is not None
    close(found.gates, act(gates)[found.neurons.tolist()])
    close(found.ups, ups[found.neurons.tolist()])


def test_gate_and_up_that_are_swapped_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above would see."""
    right = Products.gate_and_up
    monkeypatch.setattr(Products, "gate_and_up", lambda self, node: (right(self, node) or (0, 0))[::-1])
    with pytest.raises(AssertionError):
        test_gate_and_up_are_those_of_plain_transformers("llama")


def test_plain_ffns_have_no_gate() -> None:
    found = lw.Neurons(1).run(hooked("gpt2").trace(tiny.ids(5)))
    assert found.gates is None
    assert found.ups is None


def test_half_of_the_contribution_and_the_share_of_those_shown() -> None:
    trace = hooked("llama").trace(tiny.ids(7))
    everyone = lw.Neurons(2, k=52).run(trace)
    few = lw.Neurons(2, k=3).run(trace)
    assert len(few.neurons) == 3
    np.testing.assert_array_equal(few.neurons, everyone.neurons[:3])
    assert few.share == pytest.approx(everyone.contributions[:3].sum() / everyone.contributions.sum(), rel=1e-5)
    sums = np.cumsum(everyone.contributions.astype(np.float64))
    assert sums[everyone.n_half - 1] >= sums[-1] / 2 > sums[everyone.n_half - 2]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3"])
def test_what_they_promote_is_w_u_times_the_value(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerwidget.model.unembedding._BLOCK", 30)
    model = hooked(kind)
    trace = model.trace(tiny.ids(7))
    found = lw.Neurons(1, 3, k=5, n_tokens=4).run(trace)
    W_U: torch.Tensor = model.hf_model.get_output_embeddings().weight.detach()
    products = values_by_hand(model.hf_model, DOWN[kind].format(1))[found.neurons.tolist()] @ W_U.T
    close(found.promoted_logits, products.topk(4).values)
    close(found.demoted_logits, products.topk(4, largest=False).values)
    np.testing.assert_array_equal(found.promoted_ids, products.topk(4).indices)
    np.testing.assert_array_equal(found.demoted_ids, products.topk(4, largest=False).indices)
    assert {int(token) for token in products.topk(4).indices.flatten()} <= set(found.pieces)
    read, _ = seen_by_hand(model.hf_model, DOWN[kind].format(1), tiny.ids(7))
    if kind != "gemma3":
        written = (
            read[3][found.neurons.tolist(), None]
            * values_by_hand(model.hf_model, DOWN[kind].format(1))[found.neurons.tolist()]
        )
        probs = model.tail(written).softmax(-1).topk(4)
        np.testing.assert_allclose(found.lens_probs, probs.values, atol=1e-5)
        np.testing.assert_array_equal(found.lens_ids, probs.indices)


def test_mixtral_by_hand() -> None:
    model = hooked("mixtral")
    token_ids = tiny.ids(9)
    trace = model.trace(token_ids)
    block: Any = model.hf_model.model.layers[1].mlp
    with torch.no_grad():
        rows = model.hf_model.model.layers[1].post_attention_layernorm(trace.resid_mid[1])
        shares, chosen = (rows @ block.gate.weight.T).softmax(-1).topk(2)
        shares = shares / shares.sum(-1, keepdim=True)
        rare = int(min(chosen.unique(), key=lambda expert: (chosen == expert).sum()))
        found = lw.Neurons(1, 5, k=104, neuron=52 * rare + 9).run(trace)
        assert found.n_experts == 5
        np.testing.assert_array_equal(found.experts, chosen)
        np.testing.assert_allclose(found.router_weights, shares, atol=1e-5)
        for expert, share in zip(chosen[5].tolist(), shares[5], strict=True):
            gates, ups = functional.linear(rows, block.experts.gate_up_proj[expert]).chunk(2, -1)
            activations = functional.silu(gates) * ups
            values = block.experts.down_proj[expert].T
            mine = found.neurons // 52 == expert
            assert mine.sum() == 52
            numbers = (found.neurons[mine] % 52).tolist()
            close(found.activations[mine], activations[5][numbers])
            close(found.contributions[mine], (share * activations[5].abs() * values.norm(dim=-1))[numbers])
            assert found.gates is not None
            close(found.gates[mine], functional.silu(gates)[5][numbers])
        gates, ups = functional.linear(rows, block.experts.gate_up_proj[rare]).chunk(2, -1)
        here = (chosen == rare).any(-1).numpy()
        assert found.by_position is not None
        close(found.by_position[here], (functional.silu(gates) * ups)[here.tolist(), 9])
        assert np.isnan(found.by_position[~here]).all()
        assert not here.all()


@pytest.mark.parametrize("kind", EXPERTS)
def test_experts_and_their_neurons(kind: str) -> None:
    model = hooked(kind)
    trace = model.trace(tiny.ids(9))
    layer = model.anatomy.n_layers - 1
    found = lw.Neurons(layer, 5, neuron=3).run(trace)
    assert found.kind == "experts"
    assert found.experts is not None
    assert found.router_weights is not None
    assert (
        found.experts.shape == found.router_weights.shape == (9, model.anatomy.layers[layer].mlp.feed_forward.n_active)
    )  # type: ignore[union-attr]
    assert set(found.neurons // found.n_neurons) <= set(found.experts[5])
    assert found.error <= 1e-5
    assert found.gates is not None
    assert ("every token goes through" in found.note) == (kind in ("causal/qwen2_moe", "causal/deepseek_v3"))
    frame = found.to_pandas()
    assert list(frame["expert"]) == list(found.neurons // found.n_neurons)


def test_experts_of_another_form_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = hooked("mixtral").trace(tiny.ids(5))
    monkeypatch.setattr("layerwidget.model.experts._places", lambda *_: None)
    with pytest.raises(lw.MissingComponentError, match="called with the experts of every token"):
        lw.Neurons(1).run(trace)


def test_experts_that_do_not_add_up_leave_the_routing(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = hooked("mixtral").trace(tiny.ids(5))
    right = neuron_memory.activations_of
    monkeypatch.setattr(neuron_memory, "activations_of", lambda again, seen: _without_one(right(again, seen)))
    found = lw.Neurons(1).run(trace)
    assert "sum to something else" in found.note
    assert found.experts is not None
    assert len(found.neurons) == len(found.to_pandas()) == 0
    assert found.promoted_ids is None
    assert found.lens_ids is None
    assert found.share == 0.0


def _without_one(activations: torch.Tensor) -> torch.Tensor:
    lacking = activations.clone()
    lacking[:, 5] = 0
    return lacking


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3"])
def test_a_missing_neuron_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = hooked(kind).trace(tiny.ids(7))
    right = neuron_memory.activations_of
    monkeypatch.setattr(neuron_memory, "activations_of", lambda again, seen: _without_one(right(again, seen)))
    with pytest.raises(lw.MissingComponentError, match="sum to something else"):
        lw.Neurons(1).run(trace)


def test_a_missing_bias_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = hooked("gpt2").trace(tiny.ids(7))
    right = neuron_memory.biases_of
    monkeypatch.setattr(neuron_memory, "biases_of", lambda *args: right(*args)[:1])
    with pytest.raises(lw.MissingComponentError, match="sum to something else"):
        lw.Neurons(1).run(trace)


def _no_bias(model: HookedModel) -> None:
    model.hf_model.get_submodule("transformer.h.1.mlp.c_proj").bias.data.zero_()  # type: ignore[union-attr]


def _other_factor(model: HookedModel) -> None:
    layers = list(model.anatomy.layers)
    parts = tuple(replace(part, factors=()) if part.kind == "mlp" else part for part in layers[1].parts)
    layers[1] = replace(layers[1], parts=parts)
    model.anatomy = replace(model.anatomy, layers=tuple(layers))


def _no_norm_after(model: HookedModel) -> None:
    layers = list(model.anatomy.layers)
    parts = tuple(replace(part, norm_after="") if part.kind == "mlp" else part for part in layers[1].parts)
    layers[1] = replace(layers[1], parts=parts)
    model.anatomy = replace(model.anatomy, layers=tuple(layers))


@pytest.mark.parametrize(
    ("kind", "damage"), [("gpt2", _no_bias), ("granite", _other_factor), ("gemma2", _no_norm_after)]
)
def test_what_is_not_what_the_layer_added_is_refused(kind: str, damage: Any) -> None:
    model = fresh(kind)
    whole = model.trace(tiny.ids(7))
    damage(model)
    trace = lw.Trace(model, whole.tokens, whole.logits, whole.activations, whole.patterns, ledgers=whole.ledgers)
    with pytest.raises(lw.MissingComponentError, match="something else than the layer added"):
        lw.Neurons(1).run(trace)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "falcon", "mixtral"])
def test_an_edited_prompt_gives_what_a_fresh_one_gives(kind: str) -> None:
    model = hooked(kind)
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(9)))
    going.prepare()
    prompt = [*tiny.ids(6), 44, 12]
    spliced, whole = going.trace(model.tokenize(prompt)), model.trace(prompt)
    for position in (2, 7):
        one, other = (lw.Neurons(2, position, neuron=4).run(trace) for trace in (spliced, whole))
        np.testing.assert_array_equal(one.neurons, other.neurons)
        np.testing.assert_allclose(one.activations, other.activations, atol=1e-4)
        np.testing.assert_allclose(one.by_position, other.by_position, atol=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_an_edit_reads_what_is_new_and_gives_what_a_fresh_prompt_gives(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, question, read = lw.Live(hooked(kind)), lw.Neurons(2, neuron=4), []
    stream = FfnAgain.stream
    monkeypatch.setattr(FfnAgain, "stream", lambda self, *span: read.append(span) or stream(self, *span))
    start = tiny.ids(9)
    live.update(start, question)
    for prompt, first in (([*start, 44], 9), ([*start, 44, 12], 10), ([*start[:6], 3], 6), (start[:5], 4)):
        read.clear()
        (found,) = live.update(prompt, question)
        assert min(begin for begin, _ in read) == first
        expected = question.run(live.model.trace(prompt))
        np.testing.assert_array_equal(found.neurons, expected.neurons)
        for name in ("activations", "by_position", "router_weights"):
            one, other = getattr(found, name), getattr(expected, name)
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, atol=1e-4)
        assert (found.experts is None and expected.experts is None) or (found.experts == expected.experts).all()


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_a_few_positions_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = hooked(kind).trace(tiny.ids(9))
    whole = lw.Neurons(1, neuron=4).run(trace)
    monkeypatch.setattr(neuron_writing, "_AT_ONCE", 4)
    parts = lw.Neurons(1, neuron=4).run(trace)
    np.testing.assert_allclose(parts.by_position, whole.by_position, atol=1e-6)  # type: ignore[arg-type]
    if whole.experts is not None:
        np.testing.assert_array_equal(parts.experts, whole.experts)


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_the_model_does_not_run_and_is_not_touched(kind: str) -> None:
    model = fresh(kind)
    trace = model.trace(tiny.ids(7))
    model.hf_model.train()
    hooks = [len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.hf_model.modules()]
    calls: list[object] = []
    watched = [model.hf_model, *model.hf_model.model.layers, model.hf_model.model.layers[1].self_attn]
    handles = [one.register_forward_hook(lambda *_: calls.append(1)) for one in watched]
    lw.Neurons(1, neuron=2).run(trace)
    for handle in handles:
        handle.remove()
    assert not calls
    assert all(one.training for one in model.hf_model.modules())
    assert [len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.hf_model.modules()] == hooks


@pytest.mark.parametrize("kind", ["llama", "gemma3", "gpt2"])
def test_half_precision_is_held_to_its_own_rounding(kind: str) -> None:
    model = HookedModel(tiny.tiny(kind).bfloat16())
    found = lw.Neurons(1, neuron=3).run(model.trace(tiny.ids(7)))
    whole = lw.Neurons(1, k=1000).run(HookedModel(tiny.tiny(kind).bfloat16().float()).trace(tiny.ids(7)))
    assert found.error <= 1e-5
    assert found.activations.dtype == np.float32
    of = dict(zip(whole.neurons.tolist(), whole.activations.tolist(), strict=True))
    expected = [of[number] for number in found.neurons.tolist()]
    np.testing.assert_allclose(found.activations, expected, atol=0.1 * float(np.abs(whole.activations).max()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral"])
def test_layers_on_disk(kind: str, tmp_path: Path) -> None:
    expected = lw.Neurons(1, neuron=3).run(hooked(kind).trace(tiny.ids(7)))
    hf_model = _offloaded(kind, tmp_path, torch.float32, ".1 .2")
    found = lw.Neurons(1, neuron=3).run(HookedModel(hf_model).trace(tiny.ids(7)))
    np.testing.assert_array_equal(found.neurons, expected.neurons)
    np.testing.assert_allclose(found.activations, expected.activations, atol=1e-5)
    assert {weight.device.type for weight in hf_model.parameters()} == {"cpu", "meta"}


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_both_stacks_of_an_encoder_decoder(kind: str) -> None:
    trace = hooked(kind).trace(tiny.ids(7), target=tiny.ids(5))
    for stack in ("decoder", "encoder"):
        found = lw.Neurons(1, 3, neuron=2).run(trace.stack(stack))
        assert found.error <= 1e-5
        assert (found.lens_ids is None) == (stack == "encoder")
        assert found.promoted_ids is None or stack == "decoder"
    assert "promote" in found.note


def test_what_is_refused() -> None:
    llama = hooked("llama")
    trace = llama.trace(tiny.ids(5))
    for question, words in (
        (lw.Neurons(3), "Layer 3"),
        (lw.Neurons(-4), "Layer -4"),
        (lw.Neurons(1, 5), "Position 5"),
        (lw.Neurons(1, neuron=52), "Neuron 52"),
        (lw.Neurons(1, neuron=-1), "Neuron -1"),
    ):
        with pytest.raises(lw.SelectionError, match=words):
            question.run(trace)
    for options in ({"k": 0}, {"n_tokens": 0}):
        with pytest.raises(lw.QuestionError, match="1 or more"):
            lw.Neurons(1, **options)
    with pytest.raises(lw.MissingComponentError, match="it has no FFN"):
        lw.Neurons(1).run(hooked("mamba").trace(tiny.ids(5)))
    with pytest.raises(lw.MissingComponentError, match="it was skipped"):
        lw.Neurons(1).run(llama.trace(tiny.ids(5), interventions=(lw.SkipLayers(1),)))
    np.testing.assert_array_equal(lw.Neurons(-1, -1).run(trace).neurons, lw.Neurons(2, 4).run(trace).neurons)


def test_a_quantised_down_projection_is_refused() -> None:
    hf_model = tiny.tiny("llama")
    for layer in hf_model.model.layers:
        layer.mlp.down_proj = Quantised(layer.mlp.down_proj)
    with pytest.raises(lw.MissingComponentError, match="are not known"):
        lw.Neurons(1).run(HookedModel(hf_model).trace(tiny.ids(5)))


def test_after_a_skipped_layer_they_are_what_they_are_there() -> None:
    trace = hooked("llama").trace(tiny.ids(7), interventions=(lw.SkipLayers(1),))
    assert lw.Neurons(2).run(trace).error <= 1e-5


def test_the_table() -> None:
    found = lw.Neurons(1, k=6).run(hooked("llama").trace(tiny.ids(5)))
    frame = found.to_pandas()
    assert list(frame.columns) == ["layer", "neuron", "activation", "gate", "up", "contribution", "promotes", "demotes"]
    assert len(frame) == 6
    assert len(frame["promotes"][0]) == 8
    with pytest.raises(ValueError, match="read-only"):
        found.activations[0] = 0


@pytest.mark.parametrize(
    ("prompt", "layer"), [("The capital of France is", 15), ("Water boils at one hundred degrees", 0), ("2, 4, 6,", 29)]
)
def test_the_demo_model(demo_model: lw.HookedModel, prompt: str, layer: int) -> None:
    trace = demo_model.trace(prompt)
    path = f"model.layers.{layer}.mlp.down_proj"
    token_ids = trace.tokens.ids.tolist()
    read, made = seen_by_hand(demo_model.hf_model, path, token_ids)
    found = lw.Neurons(layer, k=1536, neuron=100).run(trace)
    close(found.activations, read[-1][found.neurons.tolist()])
    close(found.by_position, read[:, 100])
    close(writing_of(trace, layer, len(token_ids) - 1).raw, made[-1])
    assert found.error <= 1e-5
    assert found.n_neurons == 1536
    if layer == 15:
        assert 100 <= found.n_half <= 400
