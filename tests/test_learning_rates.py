"""Layer-wise learning rates: every parameter once, at the depth where it works, and no other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

import layerwidget as lw
from tests import tiny

N_TOP = tiny.N_LAYERS + 1


def paths(model: lw.HookedModel, group: dict[str, Any]) -> set[str]:
    names = {id(weight): path for path, weight in model.hf_model.named_parameters()}
    return {names[id(weight)] for weight in group["params"]}


@pytest.mark.parametrize("kind", [*tiny.ALL, *tiny.TWO_STACKS])
def test_every_parameter_is_in_exactly_one_group(kind: str) -> None:
    model = tiny.hooked(kind)
    groups = lw.layerwise_lr(model, 1e-3, 0.8)
    held = [id(weight) for group in groups for weight in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(weight) for weight in model.hf_model.parameters()}
    assert all(group["params"] for group in groups)


@pytest.mark.parametrize("kind", tiny.CORE)
def test_the_rate_is_that_of_the_formula(kind: str) -> None:
    groups = lw.layerwise_lr(tiny.hooked(kind), lr=0.02, decay=0.7)
    assert [group["depth"] for group in groups] == list(range(N_TOP + 1))
    assert [group["name"] for group in groups] == ["embeddings", "layer 0", "layer 1", "layer 2", "head"]
    assert [group["lr"] for group in groups] == pytest.approx([0.02 * 0.7 ** (N_TOP - depth) for depth in range(5)])


def test_each_side_of_the_layers_is_told_by_what_is_used_where() -> None:
    model = tiny.hooked("bert")
    before, *layers, after = lw.layerwise_lr(model, 1.0, 0.5)
    assert all(path.startswith("bert.embeddings.") for path in paths(model, before))
    assert "bert.embeddings.LayerNorm.bias" in paths(model, before)
    assert all(path.startswith("cls.") for path in paths(model, after))
    for number, group in enumerate(layers):
        assert all(path.startswith(f"bert.encoder.layer.{number}.") for path in paths(model, group))


def test_a_tied_head_is_with_the_embedding_and_an_untied_one_with_the_final_norm() -> None:
    tied, untied = tiny.hooked("gpt2"), tiny.hooked("llama")
    (first, *_, last), (_, *_, alone) = lw.layerwise_lr(tied, 1.0, 0.5), lw.layerwise_lr(untied, 1.0, 0.5)
    assert paths(tied, first) == {"transformer.wte.weight", "transformer.wpe.weight"}
    assert paths(tied, last) == {"transformer.ln_f.weight", "transformer.ln_f.bias"}
    assert paths(untied, alone) == {"model.norm.weight", "lm_head.weight"}


def test_a_module_that_is_all_layers_is_at_the_depth_of_the_first() -> None:
    torch.manual_seed(0)
    config = transformers.AlbertConfig(
        vocab_size=tiny.D_VOCAB, embedding_size=28, hidden_size=44, intermediate_size=52,
        num_hidden_layers=tiny.N_LAYERS, num_attention_heads=tiny.N_HEADS,
    )  # fmt: skip
    model = lw.HookedModel(transformers.AlbertForMaskedLM(config).eval())
    groups = lw.layerwise_lr(model, 1.0, 0.5)
    assert [(group["name"], group["lr"]) for group in groups] == [
        ("embeddings", 0.5**4), ("layer 0", 0.5**3), ("head", 1.0)
    ]  # fmt: skip
    assert all("albert_layer_groups.0" in path for path in paths(model, groups[1]))
    # What brings the narrow embeddings to the width of the stream is before the layers too.
    assert "albert.encoder.embedding_hidden_mapping_in.weight" in paths(model, groups[0])


def test_each_stack_of_an_encoder_decoder_counts_its_own_depth() -> None:
    model = tiny.hooked("bart")
    groups = {group["name"]: group for group in lw.layerwise_lr(model, 1.0, 0.5)}
    rates = {name: group["lr"] for name, group in groups.items()}
    assert (rates["encoder layer 1"], rates["decoder layer 2"]) == (0.5, 0.5)
    assert (rates["encoder embeddings"], rates["decoder embeddings"]) == (0.5**3, 0.5**4)
    # The table is read by both stacks and by the head: the smallest rate.
    assert "model.shared.weight" in paths(model, groups["decoder embeddings"])
    assert "model.encoder.embed_positions.weight" in paths(model, groups["encoder embeddings"])
    assert "model.decoder.embed_positions.weight" in paths(model, groups["decoder embeddings"])
    t5 = tiny.hooked("t5")
    named = {group["name"]: group for group in lw.layerwise_lr(t5, 1.0, 0.5)}
    assert paths(t5, named["encoder final norm"]) == {"encoder.final_layer_norm.weight"}
    assert paths(t5, named["decoder head"]) == {"decoder.final_layer_norm.weight"}


def test_an_optimizer_takes_the_groups_and_keeps_their_names() -> None:
    model = lw.HookedModel(tiny.tiny("llama"))
    before = [weight.detach().clone() for weight in model.hf_model.parameters()]
    optimizer = torch.optim.AdamW(lw.layerwise_lr(model, 1e-2, 0.5), weight_decay=0.0)
    model.hf_model(input_ids=torch.tensor([tiny.ids(6)])).logits.square().mean().backward()
    optimizer.step()
    assert [group["name"] for group in optimizer.param_groups][1] == "layer 0"
    # The first step of Adam is as large as the rate.
    moved = {
        path: float((weight.detach() - old).abs().max())
        for (path, weight), old in zip(model.hf_model.named_parameters(), before, strict=True)
    }
    assert moved["model.norm.weight"] == pytest.approx(1e-2, rel=1e-2)
    assert moved["model.layers.0.mlp.up_proj.weight"] == pytest.approx(1e-2 * 0.5**3, rel=1e-2)


def test_without_decay_all_rates_are_one() -> None:
    assert {group["lr"] for group in lw.layerwise_lr(tiny.hooked("gpt2"), 3e-4, 1)} == {3e-4}


def test_what_is_not_hooked_is_refused() -> None:
    with pytest.raises(lw.LayerWidgetError, match=r"GPT2LMHeadModel.*HookedModel\(model\)"):
        lw.layerwise_lr(tiny.tiny("gpt2"), 1e-3, 0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize("lr", [0.0, -1e-3, float("nan"), float("inf")])
def test_a_rate_out_of_range(lr: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        lw.layerwise_lr(tiny.hooked("gpt2"), lr, 0.9)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.01, float("nan")])
def test_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match="at most 1"):
        lw.layerwise_lr(tiny.hooked("gpt2"), 1e-3, decay)
