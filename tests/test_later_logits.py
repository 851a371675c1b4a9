"""Logits that are left to who asks: the same numbers, and the head's weights are not read in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.analysis import lens_cells
from layerwidget.trace import LaterLogits
from tests import tiny
from tests.tiny import D_VOCAB, N_LAYERS

IDS = tiny.ids(12, seed=3)


@pytest.fixture
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny.tiny("llama"))


@pytest.fixture
def made(model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions got logits, each time."""
    counts: list[int] = []
    make = model.own_logits

    def counted(rows: torch.Tensor) -> torch.Tensor:
        counts.append(len(rows))
        return make(rows)

    monkeypatch.setattr(model, "own_logits", counted)
    return counts


def without_head(model: lw.HookedModel, ids: list[int] = IDS, **options: Any) -> lw.Trace:
    trace = model.pass_over(model.tokenize(ids), with_logits=False, **options)
    assert isinstance(trace.held_logits, LaterLogits)
    return trace


@pytest.mark.parametrize("changes", [(), (lw.SkipLayers("1"),), (lw.SkipLayers(str(N_LAYERS - 1)),)])
def test_they_are_those_of_a_whole_pass(model: lw.HookedModel, changes: tuple[Any, ...]) -> None:
    found, whole = without_head(model, interventions=changes), model.trace(IDS, interventions=changes)
    assert found.logits_device == whole.logits_device
    assert found.logits.shape == (12, D_VOCAB)
    torch.testing.assert_close(found.logits, whole.logits, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.logits_between(4, 7), whole.logits[4:7], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.resid_post, whole.resid_post, rtol=1e-6, atol=1e-6)


def test_several_questions_make_them_once(model: lw.HookedModel, made: list[int]) -> None:
    trace = without_head(model)
    trace.logits_between(4, 9)
    trace.logits_between(5, 9)
    trace.logits_between(4, 5)
    assert made == [5]
    trace.logits_between(3, 5)
    assert made == [5, 2]


def test_the_lens_of_a_few_positions_reads_the_head_once(model: lw.HookedModel, made: list[int]) -> None:
    question = lw.LogitLens(k=4, jsd=True)
    found, expected = question.run(without_head(model)), question.run(model.trace(IDS))
    assert not made
    np.testing.assert_array_equal(found.top_ids, expected.top_ids)
    np.testing.assert_array_equal(found.final_ids, expected.final_ids)
    np.testing.assert_array_equal(found.final_ranks, expected.final_ranks)
    for name in ("top_probs", "entropy_nats", "kl_to_final_nats", "final_probs", "jsd_nats"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5)


def test_what_the_lens_has_made_is_there_for_others(model: lw.HookedModel, made: list[int]) -> None:
    trace = without_head(model)
    lw.LogitLens(k=4).run(trace)
    torch.testing.assert_close(trace.logits, model.trace(IDS).logits, rtol=1e-5, atol=1e-6)
    assert not made


@pytest.mark.parametrize("question", [lw.LogitLens(layers="0"), lw.LogitLens(component="attn_out")])
def test_a_lens_without_the_last_layer_compares_with_it(
    model: lw.HookedModel, made: list[int], question: lw.LogitLens
) -> None:
    found, expected = question.run(without_head(model)), question.run(model.trace(IDS))
    assert made == [12]
    np.testing.assert_array_equal(found.final_ids, expected.final_ids)
    np.testing.assert_allclose(found.kl_to_final_nats, expected.kl_to_final_nats, rtol=1e-4, atol=1e-5)


def test_many_rows_are_decoded_in_groups(
    model: lw.HookedModel, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lens_cells, "BLOCK_BYTES", 4 * D_VOCAB * 2 * N_LAYERS)
    monkeypatch.setattr(lens_cells, "_FINAL_BYTES", 4 * D_VOCAB * 5)
    found, expected = lw.LogitLens(k=4).run(without_head(model)), lw.LogitLens(k=4).run(model.trace(IDS))
    assert made == [4, 4, 4]
    np.testing.assert_array_equal(found.top_ids, expected.top_ids)
    np.testing.assert_allclose(found.kl_to_final_nats, expected.kl_to_final_nats, rtol=1e-4, atol=1e-5)


def test_an_edit_holds_no_logits(model: lw.HookedModel) -> None:
    live = lw.Live(model)
    live.update(IDS, lw.LogitLens(k=4))
    live.prepare()
    found = live.update([*IDS, 7], lw.LogitLens(k=4))[0]
    assert live.reused == len(IDS)
    held = live._continuation._held
    assert held is not None
    assert isinstance(held.trace.held_logits, LaterLogits)
    expected = lw.LogitLens(k=4).run(model.trace([*IDS, 7]))
    np.testing.assert_array_equal(found.top_ids, expected.top_ids)
    np.testing.assert_allclose(found.kl_to_final_nats, expected.kl_to_final_nats, rtol=1e-4, atol=1e-5)


def _as_it_is(hf_model: Any) -> Any:
    return hf_model


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        pytest.param("gemma2", _as_it_is, id="soft-cap"),
        pytest.param("llama", lambda hf_model: hf_model.to(torch.bfloat16), id="half precision"),
        pytest.param("bert", _as_it_is, id="it takes no choice of positions"),
    ],
)
def test_other_models_keep_what_they_have_made(kind: str, changed: Callable[[Any], Any]) -> None:
    model = lw.HookedModel(changed(tiny.tiny(kind)))
    assert not model.makes_logits_later
    trace = model.pass_over(model.tokenize(IDS), with_logits=False)
    assert isinstance(trace.held_logits, torch.Tensor)


def test_who_listens_to_the_head_hears_all_of_it(model: lw.HookedModel) -> None:
    heard: list[int] = []
    handle = model.hf_model.lm_head.register_forward_hook(lambda _module, _args, out: heard.append(out.shape[1]))
    live = lw.Live(model)
    live.update(IDS, lw.LogitLens(k=4))
    assert len(IDS) in heard
    handle.remove()
