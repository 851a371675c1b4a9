"""A logit is the sum of what the parts give to it, by hand and as the model has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

import layerwidget as lw
from layerwidget.ledger import Added
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
    assert parts["norm_bias"] == pytest.approx(float(norm.bias.detach() @ row), abs=1e-4)
    assert parts["head_bias"] == 0


def test_the_bias_of_the_unembedding_is_a_part() -> None:
    torch.manual_seed(0)
    config = transformers.PhiConfig(
        vocab_size=tiny.D_VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    hf_model = transformers.PhiForCausalLM(config).eval()
    torch.nn.init.normal_(hf_model.lm_head.bias)
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


def test_a_lost_part_shows_as_error() -> None:
    model = tiny.hooked("llama")
    whole = model.trace(tiny.ids(7))
    ledgers = dict(whole.ledgers)
    ledgers[1] = tuple(entry for entry in ledgers[1] if isinstance(entry, Added) and entry.kind != "mlp")
    trace = lw.Trace(model, whole.tokens, whole.logits, whole.activations, whole.patterns, ledgers=ledgers)
    assert abs(lw.DirectLogitAttribution(17).run(trace).error) > 1e-2


@pytest.mark.parametrize("kind", NOT_FUSED)
def test_heads_that_cannot_be_told_apart_are_missing_with_a_reason(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(5))
    found = lw.DirectLogitAttribution(17).run(trace)
    assert np.isnan(found.heads).all()
    assert "not one fused operation" in found.note
    with pytest.raises(lw.MissingComponentError, match="not one fused operation"):
        lw.DirectLogitAttribution(17, head=(0, 1)).run(trace)


def test_what_is_refused() -> None:
    with pytest.raises(lw.MissingComponentError, match="post-norm"):
        lw.DirectLogitAttribution(17).run(tiny.hooked("bert").trace(tiny.ids(5)))
    with pytest.raises(lw.MissingComponentError, match="post-norm"):
        lw.DirectLogitAttribution(17).run(tiny.hooked("bart").trace(tiny.ids(5), target=tiny.ids(4)))
    with pytest.raises(lw.MissingComponentError, match="do not give its logits"):
        lw.DirectLogitAttribution(17).run(tiny.hooked("t5").trace(tiny.ids(5), target=tiny.ids(4)))
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
