"""A logit is the sum of what the parts give to it, by hand and as the model has it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import layerwidget as lw
from layerwidget.analysis import attribution
from layerwidget.ledger import Added
from layerwidget.model import head_writing as head_writing_module, unembedding
from layerwidget.model.continuation import Continuation
from tests import tiny
from tests.test_head_outputs import NOT_FUSED

SUMS = [kind for kind in tiny.ALL if kind != "bert"]
#: Its output transform, and what of it is undone by hand.
SCALED = {"granite": 2.3}
CAPPED = ("gemma2", "gemma3")


@pytest.mark.parametrize("kind", SUMS)
def test_the_parts_sum_to_the_models_logit(kind: str) -> None:
    model = tiny.hooked(kind)
    token_ids = tiny.ids(9)
    own = tiny.plain_output(model.hf_model, token_ids).logits[0].double()
    if kind in CAPPED:
        own = 0.7 * torch.atanh(own / 0.7)
    own = own * SCALED.get(kind, 1.0)
    trace = model.trace(token_ids)
    for position, token, minus in ((-1, 17, None), (3, 60, 5)):
        found = lw.DirectLogitAttribution(token, minus, position).run(trace)
        expected = own[position, token] - (own[position, minus] if minus is not None else 0)
        # A capped logit near the cap cannot be undone exactly.
        assert found.logit == pytest.approx(float(expected), abs=0.1 if kind in CAPPED else 1e-4)
        assert abs(found.error) <= 1e-4 * max(1.0, abs(found.logit))
        assert found.logit == pytest.approx(float(found.values.sum()) + found.error, abs=1e-4)
        assert bool(found.note) == (kind in (*CAPPED, *SCALED, *NOT_FUSED))
        assert found.names[0] == "embed"
        assert len(set(found.names)) == len(found.names) == len(found.values)


def test_the_parts_are_those_of_plain_torch() -> None:
    """LayerNorm, by hand: GPT-2 with a norm bias."""
    model = tiny.hooked("gpt2")
    trace = model.trace(tiny.ids(7))
    found = lw.DirectLogitAttribution(23, position=4).run(trace)
    norm: Any = model.hf_model.transformer.ln_f
    row = model.hf_model.lm_head.weight[23].detach()
    final = trace.resid_post[-1, 4]
    sigma = (final.var(correction=0) + norm.eps).sqrt()

    def given(vector: torch.Tensor) -> float:
        return float((norm.weight.detach() * (vector - vector.mean()) / sigma) @ row)

    parts = dict(zip(found.names, found.values.tolist(), strict=True))
    assert parts["embed"] == pytest.approx(given(trace.resid_pre[0, 4]), abs=1e-4)
    for layer in range(tiny.N_LAYERS):
        assert parts[f"attn{layer}"] == pytest.approx(given(trace.attn_out[layer, 4]), abs=1e-4)
        assert parts[f"mlp{layer}"] == pytest.approx(given(trace.mlp_out[layer, 4]), abs=1e-4)
        block = model.hf_model.get_submodule(f"transformer.h.{layer}.attn.c_proj")
        heads = trace.head_outputs(layer)[:, 4]
        by_hand = [given(heads[head] @ block.weight.detach()[11 * head : 11 * head + 11]) for head in range(4)]
        np.testing.assert_allclose(found.heads[layer], by_hand, atol=1e-4)
        assert sum(by_hand) + given(block.bias.detach()) == pytest.approx(parts[f"attn{layer}"], abs=1e-4)
        assert found.projection_biases[layer] == pytest.approx(given(block.bias.detach()), abs=1e-5)
    assert parts["norm_bias"] == pytest.approx(float(norm.bias.detach() @ row), abs=1e-4)
    assert parts["head_bias"] == 0


def _phi() -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = transformers.PhiConfig(
        vocab_size=tiny.D_VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    hf_model = transformers.PhiForCausalLM(config).eval()
    torch.nn.init.normal_(hf_model.lm_head.bias)
    torch.nn.init.normal_(hf_model.model.final_layernorm.bias)
    return hf_model


def test_the_bias_of_the_unembedding_is_a_part() -> None:
    hf_model: Any = _phi()
    model = lw.HookedModel(hf_model)
    trace, own = model.trace(tiny.ids(7)), hf_model.lm_head.bias.detach()
    for minus, bias in ((None, own[23]), (5, own[23] - own[5])):
        found = lw.DirectLogitAttribution(23, minus).run(trace)
        assert dict(zip(found.names, found.values.tolist(), strict=True))["head_bias"] == pytest.approx(float(bias))
        assert abs(found.error) <= 1e-4 * max(1.0, abs(found.logit))


@pytest.mark.parametrize("kind", ["llama", "gemma3", "granite", "falcon", "jamba"])
def test_the_sources_of_a_head_sum_to_it(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(9))
    found = lw.DirectLogitAttribution(17, position=5, head=(1, 2)).run(trace)
    assert found.sources is not None
    assert found.sources.shape == (9,)
    assert not found.sources[6:].any()
    assert float(found.sources.sum()) == pytest.approx(float(found.heads[1, 2]), abs=1e-4)
    assert lw.DirectLogitAttribution(17).run(trace).sources is None


def test_a_skipped_layer_gives_nothing() -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(7), interventions=(lw.SkipLayers(1),))
    found = lw.DirectLogitAttribution(17, head=(1, 0)).run(trace)
    assert abs(found.error) <= 1e-4
    assert not found.heads[1].any()
    assert found.sources is not None
    assert not found.sources.any()


def test_an_edited_prompt_gives_what_a_fresh_one_gives() -> None:
    model = tiny.hooked("gemma3")
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(9)))
    going.prepare()
    prompt = [*tiny.ids(6), 44, 12]
    spliced, fresh = going.trace(model.tokenize(prompt)), model.trace(prompt)
    for position in (2, -1):
        question = lw.DirectLogitAttribution(17, 5, position, head=(2, 1))
        one, other = question.run(spliced), question.run(fresh)
        np.testing.assert_allclose(one.values, other.values, atol=1e-4)
        np.testing.assert_allclose(one.heads, other.heads, atol=1e-4)
        np.testing.assert_allclose(one.sources, other.sources, atol=1e-4)  # type: ignore[arg-type]


def _with_layer(trace: lw.Trace, layer: int, change: Callable[[Added], Added | None]) -> lw.Trace:
    """The same trace, but something is lost from what one layer says that it adds."""
    kept = (change(entry) if isinstance(entry, Added) else entry for entry in trace.ledger(layer))
    ledgers = {**trace.ledgers, layer: tuple(entry for entry in kept if entry is not None)}
    return lw.Trace(trace.model, trace.tokens, trace.logits, trace.activations, trace.patterns, ledgers=ledgers)


def _tilted(value: torch.Tensor) -> torch.Tensor:
    return value - torch.linspace(0, 0.2, value.shape[-1])


#: What is lost of a layer's parts.
LOST: dict[str, Callable[[Added], Added | None]] = {
    "its FFN": lambda part: None if part.kind == "mlp" else part,
    "a scale": lambda part: replace(part, value=part.value * 1.01) if part.kind == "attention" else part,
    "a bias": lambda part: replace(part, value=_tilted(part.value)) if part.kind == "mlp" else part,
}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "granite"])
def test_parts_that_do_not_sum_to_the_logit_are_refused_with_numbers(kind: str, lost: str) -> None:
    whole = tiny.hooked(kind).trace(tiny.ids(7))
    assert lw.DirectLogitAttribution(17, position=3).run(_with_layer(whole, 1, lambda part: part)).names
    with pytest.raises(lw.MissingComponentError, match=r"they sum to .*, the logit is .*allowed 1e-04.*lw\.check"):
        lw.DirectLogitAttribution(17, position=3).run(_with_layer(whole, 1, LOST[lost]))


def test_an_error_that_rounding_explains_is_allowed_in_half_precision_and_said() -> None:
    model = lw.HookedModel(tiny.tiny("llama").bfloat16())
    found = lw.DirectLogitAttribution(17).run(model.trace(tiny.ids(7)))
    assert abs(found.error) > 1e-4
    assert found.logit == pytest.approx(float(found.values.sum()) + found.error, abs=1e-4)


@pytest.mark.parametrize("lost", ["gain", "norm bias", "head bias", "scale"])
def test_what_is_lost_from_the_tail_is_refused(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a direction that misses something, the parts no longer sum to the logit."""
    model = lw.HookedModel(_phi())
    trace, whole = model.trace(tiny.ids(7)), unembedding.logit_direction
    assert abs(lw.DirectLogitAttribution(23).run(trace).error) <= 1e-5

    def changed(*given: Any) -> unembedding.LogitDirection:
        found = whole(*given)
        return replace(
            found,
            direction={"gain": found.direction.roll(1), "scale": found.direction * 1.01}.get(lost, found.direction),
            norm_bias=0.0 if lost == "norm bias" else found.norm_bias,
            head_bias=0.0 if lost == "head bias" else found.head_bias,
        )

    monkeypatch.setattr(attribution, "logit_direction", changed)
    with pytest.raises(lw.MissingComponentError, match="they sum to"):
        lw.DirectLogitAttribution(23).run(trace)


@pytest.mark.parametrize("lost", ["a head", "a bias", "a factor"])
def test_what_is_lost_between_heads_and_their_layer_is_refused(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through what each head writes: the sum over heads is compared with what the layer adds."""
    model = lw.HookedModel(tiny.tiny("granite"))
    trace, projection = model.trace(tiny.ids(7)), head_writing_module._projection

    def changed(*given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        W_O, bias = projection(*given)
        if lost == "a head":
            W_O = torch.cat([W_O[:-1], torch.zeros_like(W_O[-1:])])
        return W_O * (1.01 if lost == "a factor" else 1), bias + (0.1 if lost == "a bias" else 0)

    assert np.isfinite(lw.DirectLogitAttribution(17).run(trace).heads).all()
    monkeypatch.setattr(head_writing_module, "_projection", changed)
    found = lw.DirectLogitAttribution(17).run(trace)
    assert np.isnan(found.heads).all()
    assert np.isnan(found.projection_biases).all()
    assert "sum to something else" in found.note
    with pytest.raises(lw.MissingComponentError, match="sum to something else"):
        lw.HeadSources(1, 2, 17).run(trace)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "opt", "falcon", "llama", "gemma3", "granite"])
def test_heads_and_the_bias_of_their_projection_are_the_attention(kind: str) -> None:
    found = lw.DirectLogitAttribution(17, 4, position=5).run(tiny.hooked(kind).trace(tiny.ids(9)))
    parts = dict(zip(found.names, found.values.tolist(), strict=True))
    attention = [parts[f"attn{layer}"] for layer in found.layers]
    np.testing.assert_allclose(found.heads.sum(1) + found.projection_biases, attention, atol=2e-4)
    assert bool(found.projection_biases.any()) == (kind not in ("gemma3", "granite"))


@pytest.mark.parametrize("kind", NOT_FUSED)
def test_heads_that_cannot_be_told_apart_are_missing_with_a_reason(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(5))
    found = lw.DirectLogitAttribution(17).run(trace)
    assert np.isnan(found.heads).all()
    assert "not one fused operation" in found.note
    with pytest.raises(lw.MissingComponentError, match="not one fused operation"):
        lw.DirectLogitAttribution(17, head=(0, 1)).run(trace)


@pytest.mark.parametrize("tied", [True, False])
def test_a_factor_between_norm_and_head_belongs_to_the_direction(tied: bool) -> None:
    """T5 scales what its head reads when the head is its embedding: by 44 ** -0.5."""
    model = tiny.hooked("t5")
    if not tied:
        model = lw.HookedModel(_t5_with_a_head())
    trace = model.trace(tiny.ids(6), target=tiny.ids(5))
    for token, minus, position in ((17, None, -1), (60, 5, 2)):
        found = lw.DirectLogitAttribution(token, minus, position).run(trace)
        own = trace.logits[position, token] - (0 if minus is None else trace.logits[position, minus])
        assert found.logit == pytest.approx(float(own), abs=1e-6)
        assert abs(found.error) <= 1e-5 * float(trace.logits[position].abs().max())
        assert {"attn1", "cross_attn1", "mlp1"} <= set(found.names)


def _t5_with_a_head() -> transformers.PreTrainedModel:
    config = copy.deepcopy(tiny.hooked("t5").hf_model.config)
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    return transformers.T5ForConditionalGeneration(config).eval()


def test_a_norm_with_which_the_first_layer_begins_belongs_to_the_embedding() -> None:
    torch.manual_seed(0)
    config = transformers.RwkvConfig(
        vocab_size=tiny.D_VOCAB, hidden_size=36, attention_hidden_size=36, num_hidden_layers=3, intermediate_size=52
    )
    hf_model: Any = transformers.RwkvForCausalLM(config).eval()
    torch.nn.init.normal_(hf_model.rwkv.blocks[0].pre_ln.bias)
    trace = lw.HookedModel(hf_model).trace(tiny.ids(6))
    found = lw.DirectLogitAttribution(17).run(trace)
    assert abs(found.error) <= 1e-5 * float(trace.logits[-1].abs().max())
    normed = hf_model.rwkv.blocks[0].pre_ln(trace.resid_pre[0, -1]).detach()
    norm, final = hf_model.rwkv.ln_out, trace.resid_post[-1, -1]
    given = norm.weight * (normed - normed.mean()) / (final.var(correction=0) + norm.eps).sqrt()
    assert found.values[0] == pytest.approx(float(given.detach() @ hf_model.head.weight[17].detach()), abs=1e-5)


class _ThroughAnother(torch.nn.Module):
    """A head that bends its input before the matrix."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(stream + 0.1 * stream.tanh())
        return logits


def test_a_head_that_is_no_plain_product_is_refused() -> None:
    hf_model: Any = tiny.tiny("llama")
    hf_model.lm_head = _ThroughAnother(hf_model.lm_head)
    with pytest.raises(lw.MissingComponentError, match="do not give its logits"):
        lw.DirectLogitAttribution(17).run(lw.HookedModel(hf_model).trace(tiny.ids(5)))


def test_what_is_refused() -> None:
    with pytest.raises(lw.MissingComponentError, match="post-norm"):
        lw.DirectLogitAttribution(17).run(tiny.hooked("bert").trace(tiny.ids(5)))
    with pytest.raises(lw.MissingComponentError, match="post-norm"):
        lw.DirectLogitAttribution(17).run(tiny.hooked("bart").trace(tiny.ids(5), target=tiny.ids(4)))
    with pytest.raises(lw.MissingComponentError, match="no attention heads"):
        lw.DirectLogitAttribution(17, head=(0, 0)).run(tiny.hooked("mamba").trace(tiny.ids(5)))
    trace = tiny.hooked("llama").trace(tiny.ids(5))
    for question, words in (
        (lw.DirectLogitAttribution(101), "Token id 101"),
        (lw.DirectLogitAttribution(1, minus=-1), "Token id -1"),
        (lw.DirectLogitAttribution(1, position=5), "Position 5"),
        (lw.DirectLogitAttribution(1, head=(3, 0)), "Layer 3"),
        (lw.DirectLogitAttribution(1, head=(0, 4)), "4 heads"),
    ):
        with pytest.raises(lw.SelectionError, match=words):
            question.run(trace)


def test_the_demo_model_on_france(demo_model: lw.HookedModel) -> None:
    (paris,) = demo_model.tokenize(" Paris").ids.tolist()
    found = lw.DirectLogitAttribution(paris).run(demo_model.trace("The capital of France is"))
    assert found.logit == pytest.approx(17.371, abs=2e-3)
    assert abs(found.error) <= 1e-5
    (first, most), (second, next_most), *_ = found.largest(3)
    assert (first, second) == ("mlp29", "attn23")
    assert most == pytest.approx(6.98, abs=0.01)
    assert next_most == pytest.approx(3.34, abs=0.01)
    assert int(found.heads[23].argmax()) == 4
    assert found.to_pandas()["logit"].sum() == pytest.approx(found.logit, abs=1e-4)
