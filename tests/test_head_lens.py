"""The logit lens of one head's output, against hooks on plain transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
import layerwidget.analysis  # registers the answers
from layerwidget.analysis import head_rows
from layerwidget.analysis.head_rows import HeadRows
from layerwidget.model.continuation import Continuation
from layerwidget.model.head_writing import head_writing
from layerwidget.questions import OnScreen
from tests import tiny
from tests.test_head_outputs import NOT_FUSED, PROJECTION, matrix_by_hand, seen_by_hand


def head_by_hand(model: Any, path: str, token_ids: list[int], head: int) -> torch.Tensor:
    """What a head writes, before a post-norm and a multiplier, shape [pos, d_model]."""
    read, _ = seen_by_hand(model, path, token_ids)
    d_head = read.shape[-1] // tiny.N_HEADS
    here = slice(head * d_head, (head + 1) * d_head)
    return read[:, here] @ matrix_by_hand(model, path)[here]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "falcon", "mixtral", "granite"])
@pytest.mark.parametrize("n_pos", [1, 9])
def test_the_lens_of_a_head_is_that_of_what_it_writes(kind: str, n_pos: int) -> None:
    model = tiny.hooked(kind)
    token_ids = tiny.ids(n_pos)
    lens = lw.LogitLens(component="head_out", head=2, tokens=(5, 60)).run(model.trace(token_ids))
    assert lens.layers == tuple(range(tiny.N_LAYERS))
    assert (lens.component, lens.head) == ("head_out", 2)
    factor = 0.6 if kind == "granite" else 1.0
    for layer in lens.layers:
        written = head_by_hand(model.hf_model, PROJECTION[kind].format(layer), token_ids, 2)
        log_probs = model.tail(written * factor).log_softmax(-1)
        np.testing.assert_allclose(lens.token_log_probs[layer], log_probs[:, [5, 60]], atol=1e-4)


@pytest.mark.parametrize("kind", [*PROJECTION])
def test_heads_and_biases_sum_to_what_attention_adds(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(9))
    for layer in trace.attention_layers:
        total = sum(HeadRows(trace, head)(layer, 2, 9) for head in range(tiny.N_HEADS))
        constant = head_writing(trace, layer, trace.head_outputs(layer)).constant
        added = trace.activations["attn_out"][layer][2:]
        bias = constant if len(constant) == 1 else constant[2:]
        assert (total + bias - added).abs().max() <= 1e-5 * added.abs().max()


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bert"])
def test_one_position_is_that_of_all(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(9))
    whole = HeadRows(trace, 1)
    for position in (0, 5, 8):
        one = HeadRows(trace, 1)(2, position, position + 1)
        torch.testing.assert_close(one, whole(2, 0, 9)[position : position + 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "bert"])
def test_positions_come_in_windows_and_in_any_order(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(23))
    whole = HeadRows(trace, 1)(2, 0, 23)
    monkeypatch.setattr(head_rows, "_WINDOW", 4)
    rows = HeadRows(trace, 1)
    for start, stop in ((22, 23), (20, 22), (17, 23), (9, 11), (11, 12), (3, 9), (0, 1), (1, 2), (0, 23)):
        torch.testing.assert_close(rows(2, start, stop), whole[start:stop], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "falcon"])
def test_an_edit_decodes_what_is_new(kind: str) -> None:
    model = tiny.hooked(kind)
    question = lw.LogitLens(component="head_out", head=3, k=2)
    going = Continuation(model)
    before = question.run(going.trace(model.tokenize(tiny.ids(12))))
    going.prepare()
    prompt = [*tiny.ids(5), *tiny.ids(8, seed=6)]
    trace = going.trace(model.tokenize(prompt))
    *parts, found = question.answers(trace, before, 5, OnScreen((1, 2), 7, 9))
    assert parts
    assert not parts[0].complete
    expected = question.run(model.trace(prompt))
    assert found.complete
    np.testing.assert_allclose(found.kl_to_final_nats, expected.kl_to_final_nats, atol=1e-3)
    np.testing.assert_allclose(found.top_probs, expected.top_probs, atol=1e-4)


def test_layers_that_were_skipped_or_have_no_attention_are_left_out() -> None:
    question = lw.LogitLens(component="head_out", head=0)
    trace = tiny.hooked("llama").trace(tiny.ids(5), interventions=(lw.SkipLayers(1),))
    assert question.run(trace).layers == (0, 2)
    jamba = tiny.hooked("jamba").trace(tiny.ids(5))
    assert question.run(jamba).layers == jamba.attention_layers == (1, 3)


def test_what_is_refused() -> None:
    for options in ({"component": "head_out"}, {"head": 1}, {"head": 1, "component": "attn_out"}):
        with pytest.raises(lw.QuestionError, match="A head goes with"):
            lw.LogitLens(**options)  # type: ignore[arg-type]
    trace = tiny.hooked("llama").trace(tiny.ids(5))
    for head in (4, -1):
        with pytest.raises(lw.SelectionError, match=f"Head {head} is out of range"):
            lw.LogitLens(component="head_out", head=head).run(trace)
    with pytest.raises(lw.SelectionError, match="None of the layers"):
        lw.LogitLens("0", component="head_out", head=0).run(tiny.hooked("jamba").trace(tiny.ids(5)))
    with pytest.raises(lw.MissingComponentError, match="no attention weights"):
        lw.LogitLens(component="head_out", head=0).run(tiny.hooked("mamba").trace(tiny.ids(5)))
    for kind in NOT_FUSED:
        with pytest.raises(lw.MissingComponentError, match="not one fused operation"):
            lw.LogitLens(component="head_out", head=0).run(tiny.hooked(kind).trace(tiny.ids(5)))


def test_the_demo_model(demo_model: lw.HookedModel) -> None:
    """Head 6 of layer 18, the one that looks at Paris."""
    prompt = "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of"
    trace = demo_model.trace(prompt)
    lens = lw.LogitLens("18", component="head_out", head=6).run(trace)
    path = "model.layers.18.self_attn.o_proj"
    read, _ = seen_by_hand(demo_model.hf_model, path, trace.tokens.ids.tolist())
    d_head = demo_model.anatomy.d_head
    here = slice(6 * d_head, 7 * d_head)
    written = read[:, here] @ matrix_by_hand(demo_model.hf_model, path)[here]
    probs = demo_model.tail(written).softmax(-1)
    np.testing.assert_allclose(lens.top_probs[0], probs.topk(5).values, atol=1e-4)
