"""Anatomy facts against the counter of torch and the cache of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import layerwidget as lw
from layerwidget.model.paths import tensors_in
from layerwidget.model.weight_products import WeightFlops
from tests import tiny

CAUSAL = ["llama", "gpt2", "gpt_neox", "gemma2", "gemma3", "granite", "falcon", "opt", "mixtral", "gpt_oss"]
N_POS = 13


def counted(model: lw.HookedModel, n_pos: int) -> dict[str, int]:
    """What torch counts in a pass without fused operations, which it does not know on a CPU: operation -> FLOPs."""
    twin = tiny.eager_twin(model.hf_model)
    twin.set_experts_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        tiny.plain_output(twin, tiny.ids(n_pos))
    return {str(op).rpartition(".")[2]: flops for op, flops in counter.get_flop_counts()["Global"].items()}


@pytest.mark.parametrize("kind", [*CAUSAL, "bert"])
def test_flops_are_those_that_torch_counts(kind: str) -> None:
    model = tiny.hooked(kind)
    facts = model.anatomy.facts
    told = counted(model, N_POS)
    weights = sum(flops for op, flops in told.items() if op not in ("bmm", "baddbmm"))
    assert facts.flops_per_token is not None
    assert facts.flops_per_token * N_POS == weights
    # Torch counts the products of all pairs of positions, whether a mask forbids them or not.
    assert facts.flops_per_key is not None
    assert facts.flops_per_key * N_POS**2 == sum(told.values()) - weights


def test_of_a_recurrent_layer_the_weights_are_counted() -> None:
    model = tiny.hooked("mamba")
    facts = model.anatomy.facts
    told = counted(model, N_POS)
    convolutions = [weight for path, weight in model.hf_model.named_parameters() if path.endswith("conv1d.weight")]
    assert facts.flops_per_token == told["mm"] // N_POS + 2 * sum(weight.numel() for weight in convolutions)
    assert facts.flops_per_key == 0
    assert "state" in facts.layers[0].reasons[0]


def test_of_experts_only_those_count_that_a_token_is_sent_to() -> None:
    model = tiny.hooked("mixtral")
    block = model.hf_model.model.layers[0]
    experts = sum(weight.numel() for weight in block.mlp.experts.parameters())
    others = sum(weight.numel() for weight in block.parameters() if weight.dim() > 1) - experts
    assert model.anatomy.facts.layers[0].flops_per_token == 2 * (others + experts * 2 // 5)


def test_a_window_bounds_what_is_looked_at() -> None:
    model = tiny.hooked("gemma3")
    looked_at = [int((model.trace(tiny.ids(N_POS)).pattern(layer)[0, -1] > 0).sum()) for layer in range(2)]
    assert looked_at == [5, N_POS]
    windowed, whole = model.anatomy.facts.layers[:2]
    assert windowed.window == 5
    assert windowed.flops_per_key == whole.flops_per_key == 2 * tiny.N_HEADS * 2 * 12
    assert windowed.attention_flops(N_POS) == windowed.flops_per_key * 5
    assert whole.attention_flops(N_POS) == whole.flops_per_key * N_POS
    total = model.anatomy.facts.attention_flops(N_POS)
    assert total == windowed.flops_per_key * (5 + N_POS + 5)


def cache_bytes(cache: Any) -> Iterator[int]:
    """Bytes of each layer's entry."""
    for layer in cache.layers:
        held = (tensor for _, tensor in tensors_in(vars(layer)) if tensor.is_floating_point())
        yield sum(tensor.nbytes for tensor in held)


@pytest.mark.parametrize("kind", [*CAUSAL, "mamba", "jamba"])
@pytest.mark.parametrize("n_pos", [3, 11])
def test_bytes_are_those_of_the_cache_after_a_pass(kind: str, n_pos: int) -> None:
    model = tiny.hooked(kind)
    with torch.no_grad():
        output = model.hf_model(input_ids=torch.tensor([tiny.ids(n_pos)]), use_cache=True)
    cache = output.cache_params if kind == "mamba" else output.past_key_values
    measured = list(cache_bytes(cache))
    facts = model.anatomy.facts
    assert [layer.cache_bytes(n_pos) for layer in facts.layers] == measured
    assert facts.cache_bytes(n_pos) == sum(measured)


def test_bytes_are_those_of_keys_and_values_in_the_dtype_of_the_weights() -> None:
    model = lw.HookedModel(tiny.tiny("llama").to(torch.bfloat16))
    layer = model.anatomy.facts.layers[0]
    assert layer.cache_bytes_per_token == 2 * 2 * 10 * 2
    assert (layer.cache_limit, layer.state_bytes) == (None, 0)
    assert tiny.hooked("llama").anatomy.facts.layers[0].cache_bytes_per_token == 2 * 80
    windowed = tiny.hooked("gpt_oss").anatomy.facts.layers
    assert [one.cache_limit for one in windowed] == [4, None, 4]


def test_a_hybrid_keeps_a_state_where_it_has_no_attention() -> None:
    layers = tiny.hooked("jamba").anatomy.facts.layers
    assert [bool(layer.cache_bytes_per_token) for layer in layers] == [False, True, False, True]
    assert [bool(layer.state_bytes) for layer in layers] == [True, False, True, False]
    assert "cache: a state of constant size, nothing for each token" in layers[0].reasons


@pytest.mark.parametrize("kind", tiny.TWO_STACKS)
def test_what_an_encoder_decoder_does_once_for_each_token_of_its_prompt(kind: str) -> None:
    model = tiny.hooked(kind)
    n_source, n_target = 9, 4
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = model.hf_model(
            input_ids=torch.tensor([tiny.ids(n_source)]), decoder_input_ids=torch.tensor([tiny.ids(n_target)])
        )
    told = {str(op): flops for op, flops in counter.get_flop_counts()["Global"].items()}
    products = sum(flops for op, flops in told.items() if op.endswith(("addmm", ".mm")))
    facts, encoder = model.anatomy.facts, model.anatomy.encoder
    assert encoder is not None
    assert facts.flops_per_token is not None
    of_source = [layer.flops_per_token for layer in encoder.facts.layers]
    of_source += [layer.flops_per_source_token for layer in facts.layers]
    assert facts.flops_per_token * n_target + sum(one or 0 for one in of_source) * n_source == products
    both = output.past_key_values.self_attention_cache, output.past_key_values.cross_attention_cache
    assert facts.cache_bytes(n_target, n_source) == sum(sum(cache_bytes(cache)) for cache in both)
    assert "keeps nothing" in encoder.facts.layers[0].reasons[0]


def test_what_is_not_known_is_absent_with_a_reason() -> None:
    bert = tiny.hooked("bert").anatomy
    assert bert.facts.layers[0].cache_bytes_per_token is None
    assert bert.facts.cache_bytes_per_token is None
    with pytest.raises(lw.MissingComponentError, match="layer 0: cache: the model is run without a cache"):
        bert.facts.cache_bytes(5)
    llama = tiny.hooked("llama").anatomy
    unproved = replace(llama.layers[1], attention_sites=(), flops=WeightFlops(trouble="odd"))
    facts = replace(llama, layers=(llama.layers[0], unproved, llama.layers[2])).facts
    assert facts.flops_per_token is None
    assert facts.layers[1].reasons == ("FLOPs: odd", "attention: its products could not be told")
    with pytest.raises(lw.MissingComponentError, match="layer 1"):
        facts.attention_flops(5)


def test_the_table_has_a_row_for_each_layer_and_says_what_is_missing() -> None:
    frame = tiny.hooked("jamba").anatomy.facts.to_pandas()
    assert list(frame["layer"]) == [0, 1, 2, 3]
    assert list(frame["cache_bytes_per_token"]) == [0, 144, 0, 144]
    assert frame["window"].isna().all()
    missing = tiny.hooked("bert").anatomy.facts.to_pandas()
    assert missing["cache_bytes_per_token"].isna().all()
    assert "without a cache" in missing["reasons"][0]


def test_they_are_printed_with_the_anatomy_and_go_to_the_map() -> None:
    text = repr(tiny.hooked("gemma3").anatomy)
    assert text.splitlines()[-1].split()[-5:] == ["13,400", "26,400", "192", "(last", "4)"]
    assert "  per token   88,088 FLOPs with weights, 576 for each position it looks at, 576 bytes of cache\n" in text
    assert "  cache: the model is run without a cache\n" in repr(tiny.hooked("bert").anatomy)
    assert "state of 2,880 B" in repr(tiny.hooked("jamba").anatomy)
    model_map = tiny.hooked("gemma3").anatomy.map
    layer = model_map.layers[0]
    assert (layer.flops_per_token, layer.cache_bytes_per_token, layer.cache_limit) == (26_400, 192, 4)
    assert (model_map.flops_per_token, model_map.cache_bytes_per_token) == (88_088, 576)


def test_the_demo_model(demo_model: lw.HookedModel) -> None:
    facts = demo_model.anatomy.facts
    layer = facts.layers[7]
    matrices = 576 * 576 * 2 + 2 * 192 * 576 + 3 * 576 * 1536
    assert (layer.n_params, layer.flops_per_token) == (matrices + 2 * 576, 2 * matrices)
    assert layer.flops_per_key == 2 * 9 * 2 * 64
    assert layer.cache_bytes_per_token == 2 * 3 * 64 * 4
    assert facts.flops_per_token == 30 * 2 * matrices + 2 * 576 * 49_152
