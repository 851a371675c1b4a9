"""Encoder-decoders: two stacks in one pass, against plain transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import layerwidget as lw
from layerwidget.errors import MissingComponentError, PromptError
from tests import tiny

KINDS = list(tiny.TWO_STACKS)
SOURCE, TARGET = tiny.ids(11), tiny.ids(6, seed=8)


def _plain(kind: str, model: Any = None) -> Any:
    model = model or tiny.eager_twin(tiny.tiny(kind))
    with torch.no_grad():
        return model(
            input_ids=torch.tensor([SOURCE]),
            decoder_input_ids=torch.tensor([TARGET]),
            use_cache=False,
            output_hidden_states=True,
            output_attentions=True,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_both_stacks_are_found(kind: str) -> None:
    anatomy = tiny.hooked(kind).anatomy
    assert (anatomy.n_layers, anatomy.n_heads) == (tiny.N_LAYERS, tiny.N_HEADS)
    assert anatomy.encoder is not None
    assert (anatomy.encoder.n_layers, anatomy.encoder.n_heads) == (2, 2 if kind == "bart" else tiny.N_HEADS)
    assert (anatomy.causal, anatomy.encoder.causal) == (True, False)
    assert [part.kind for part in anatomy.layers[1].parts] == ["attention", "cross_attention", "mlp"]
    assert [part.kind for part in anatomy.encoder.layers[1].parts] == ["attention", "mlp"]
    assert "encoder of" in repr(anatomy)


@pytest.mark.parametrize("kind", KINDS)
def test_streams_patterns_and_logits_are_those_of_transformers(kind: str) -> None:
    plain = _plain(kind)
    trace = tiny.hooked(kind).trace(SOURCE, target=TARGET)
    encoder = trace.stack("encoder")
    assert trace.stack("decoder") is trace
    torch.testing.assert_close(trace.logits, plain.logits[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(trace.model.tail(trace.resid_post[-1]), trace.logits)
    for stack, states in ((trace, plain.decoder_hidden_states), (encoder, plain.encoder_hidden_states)):
        for layer, state in enumerate(states[: stack.anatomy.n_layers]):
            torch.testing.assert_close(stack.resid_pre[layer], state[0], rtol=1e-4, atol=1e-4)
    for layer in range(tiny.N_LAYERS):
        assert (trace.pattern(layer) - plain.decoder_attentions[layer][0]).abs().max() <= 1e-5
        assert (trace.cross_pattern(layer) - plain.cross_attentions[layer][0]).abs().max() <= 1e-5
        assert trace.cross_pattern(layer).shape == (tiny.N_HEADS, len(TARGET), len(SOURCE))
    for layer in range(2):
        assert (encoder.pattern(layer) - plain.encoder_attentions[layer][0]).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_check_passes(kind: str) -> None:
    report = lw.check(tiny.hooked(kind))
    assert {name: grade.status for name, grade in report.grades.items()} == dict.fromkeys(report.grades, "pass")


def test_what_attention_to_the_encoder_adds() -> None:
    trace = tiny.hooked("t5").trace(SOURCE, target=TARGET)
    total = trace.resid_pre + trace.attn_out + trace.cross_attn_out + trace.mlp_out
    torch.testing.assert_close(total, trace.resid_post)
    torch.testing.assert_close(trace.resid_mid + trace.mlp_out, trace.resid_post)
    with pytest.raises(MissingComponentError, match="reads no encoder"):
        _ = tiny.hooked("llama").trace(SOURCE).cross_attn_out


def test_a_skipped_layer_adds_nothing_and_looks_nowhere() -> None:
    trace = tiny.hooked("bart").trace(SOURCE, target=TARGET, interventions=(lw.SkipLayers(1),))
    assert torch.equal(trace.resid_post[1], trace.resid_pre[1])
    with pytest.raises(MissingComponentError, match=r"Layer 1 of .* does not attend to an encoder"):
        trace.cross_pattern(1)
    assert trace.cross_pattern(2).shape == (tiny.N_HEADS, len(TARGET), len(SOURCE))


def test_without_a_target_the_decoder_reads_its_start_token() -> None:
    trace = tiny.hooked("t5").trace(SOURCE)
    assert trace.tokens.ids.tolist() == [0]
    assert trace.stack("encoder").tokens.ids.tolist() == SOURCE
    with torch.no_grad():
        plain = tiny.tiny("t5")(input_ids=torch.tensor([SOURCE]), decoder_input_ids=torch.tensor([[0]])).logits
    torch.testing.assert_close(trace.logits, plain[0])


def test_what_cannot_be_asked() -> None:
    model = tiny.hooked("t5")
    trace = model.trace(SOURCE, target=TARGET)
    with pytest.raises(MissingComponentError, match="makes no logits"):
        _ = trace.stack("encoder").logits
    with pytest.raises(MissingComponentError, match="'decoder' and 'encoder'"):
        trace.stack("middle")
    with pytest.raises(MissingComponentError, match="'decoder' alone"):
        tiny.hooked("llama").trace(SOURCE).stack("encoder")
    with pytest.raises(PromptError, match="has no encoder"):
        tiny.hooked("llama").trace(SOURCE, target=TARGET)
    with pytest.raises(PromptError, match="Token id 101 does not exist"):
        model.trace(SOURCE, target=[101])


def test_the_lens_of_a_decoder() -> None:
    trace = tiny.hooked("bart").trace(SOURCE, target=TARGET)
    lens = lw.LogitLens(k=3).run(trace)
    assert lens.top_ids.shape == (tiny.N_LAYERS, len(TARGET), 3)
    best = trace.logits.softmax(-1).topk(3).values
    torch.testing.assert_close(torch.tensor(lens.top_probs[-1]), best, rtol=1e-4, atol=1e-5)
