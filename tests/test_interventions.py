"""Interventions: exact, and gone when the pass is over."""

from __future__ import annotations

import copy

import pytest
import torch

import layerwidget as lw
from tests import tiny

KINDS = ["llama", "gpt2", "gpt_neox", "gemma3", "falcon", "mamba", "mixtral"]


def without_layer(hf_model: torch.nn.Module, path: str) -> torch.nn.Module:
    """The model built without one layer of its list."""
    shorter = copy.deepcopy(hf_model)
    container, _, place = path.rpartition(".")
    del shorter.get_submodule(container)[int(place)]
    # Kinds of layers are looked up by number, so theirs move up with them.
    if types := vars(shorter.config).get("layer_types"):
        shorter.config.layer_types = [kind for number, kind in enumerate(types) if number != int(place)]
    return shorter


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 2])
def test_skipping_equals_the_model_without_the_layer(kind: str, layer: int) -> None:
    hf_model = tiny.tiny(kind)
    model, token_ids = lw.HookedModel(hf_model), tiny.ids(9)
    expected = tiny.plain_output(without_layer(hf_model, model.anatomy.layers[layer].module), token_ids).logits[0]
    before = model.trace(token_ids).logits
    trace = model.trace(token_ids, interventions=(lw.SkipLayers(layer),))
    torch.testing.assert_close(trace.logits, expected, atol=1e-6, rtol=1e-5)
    assert (trace.logits - before).abs().max() > 1e-3
    assert torch.equal(model.trace(token_ids).logits, before)


def test_what_a_skipped_layer_leaves_behind() -> None:
    model = tiny.hooked("llama")
    trace = model.trace(tiny.ids(5), interventions=(lw.SkipLayers("1"),))
    assert torch.equal(trace.resid_post[1], trace.resid_pre[1])
    assert torch.equal(trace.resid_pre[2], trace.resid_post[1])
    assert not trace.attn_out[1].any()
    assert not trace.mlp_out[1].any()
    total = trace.resid_pre + trace.attn_out + trace.mlp_out
    torch.testing.assert_close(total, trace.resid_post, rtol=1e-5, atol=1e-6)
    assert trace.attention_layers == (0, 2)
    assert lw.Attention().run(trace).layers == (0, 2)
    assert trace.interventions == (lw.SkipLayers("1"),)


def test_skipping_every_layer_decodes_what_enters_the_first() -> None:
    model = tiny.hooked("gpt2")
    trace = model.trace(tiny.ids(5), interventions=(lw.SkipLayers("all"),))
    assert torch.equal(trace.resid_post[-1], trace.resid_pre[0])
    torch.testing.assert_close(model.tail(trace.resid_pre[0]), trace.logits)


def test_interventions_are_values() -> None:
    assert lw.SkipLayers([1, 2]) == lw.SkipLayers((1, 2))
    assert hash(lw.SkipLayers("late")) == hash(lw.SkipLayers("late"))
    assert lw.SkipLayers("late").describe(30) == "skipping 22-29"
    with pytest.raises(lw.SelectionError, match="9 is out of range"):
        tiny.hooked("llama").trace([1], interventions=(lw.SkipLayers("9"),))


def test_live_knows_that_an_intervention_changes_everything() -> None:
    live = lw.Live(tiny.hooked("llama"))
    (plain,) = live.update(tiny.ids(5), lw.LogitLens())
    (skipped,) = live.update(tiny.ids(5), lw.LogitLens(), interventions=[lw.SkipLayers(0)])
    assert (plain.top_probs != skipped.top_probs).any()
    (again,) = live.update(tiny.ids(5), lw.LogitLens())
    assert again is plain
    assert live.passes == 2
