"""Surprise by position against plain transformers; trained length and windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.analysis import position
from tests import tiny

KINDS = ["llama", "gpt2", "gpt_neox", "gemma3", "granite", "mamba"]


def nats_by_hand(hf_model: torch.nn.Module, token_ids: list[int]) -> torch.Tensor:
    """Cross-entropy of every token after the first, shape [pos - 1], as torch computes it."""
    logits = tiny.plain_output(hf_model, token_ids).logits[0]
    return torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(token_ids[1:]), reduction="none")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_bytes", [1, 4 * tiny.D_VOCAB * 4, 2**24])
def test_every_token_by_hand(kind: str, n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position, "_BYTES", n_bytes)
    hf_model, token_ids = tiny.tiny(kind), tiny.ids(11)
    loss = lw.PositionLoss().run(lw.HookedModel(hf_model).trace(token_ids))
    expected = nats_by_hand(hf_model, token_ids)
    assert np.isnan(loss.nats[0])
    np.testing.assert_allclose(loss.nats[1:], expected, atol=1e-5)
    assert loss.nats[1:].mean() == pytest.approx(_loss_of_transformers(hf_model, token_ids), abs=1e-5)


def _loss_of_transformers(hf_model: torch.nn.Module, token_ids: list[int]) -> float:
    """What transformers itself reports for these labels."""
    read = torch.tensor([token_ids])
    with torch.no_grad():
        return float(hf_model(input_ids=read, labels=read).loss)


def test_a_shift_and_a_forgotten_scale_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    hf_model, token_ids = tiny.tiny("granite"), tiny.ids(11)
    trace, expected = lw.HookedModel(hf_model).trace(token_ids), nats_by_hand(hf_model, token_ids)
    right = lw.Trace.logits_between
    monkeypatch.setattr(lw.Trace, "logits_between", lambda self, start, stop: right(self, start, stop) * 2.3)
    assert np.abs(lw.PositionLoss().run(trace).nats[1:] - expected.numpy()).max() > 1e-3
    monkeypatch.setattr(lw.Trace, "logits_between", lambda self, start, stop: right(self, start + 1, stop + 1))
    assert np.abs(lw.PositionLoss().run(trace).nats[1:] - expected.numpy()).max() > 1e-2


def test_one_token_is_predicted_by_nothing() -> None:
    loss = lw.PositionLoss().run(tiny.hooked("llama").trace([3]))
    assert loss.nats.shape == (1,)
    assert np.isnan(loss.nats[0])


def test_windows_and_trained_length() -> None:
    gemma, llama, mamba = (
        lw.PositionLoss().run(tiny.hooked(kind).trace(tiny.ids(9))) for kind in ("gemma3", "llama", "mamba")
    )
    assert gemma.windows == (5, None, 5)
    assert llama.windows == mamba.windows == (None, None, None)
    assert (llama.n_ctx, llama.n_extrapolated) == (tiny.N_CTX, 0)
    assert (mamba.n_ctx, mamba.n_extrapolated) == (None, 0)
    assert (llama.causal, mamba.causal) == (True, None)
    assert not llama.extrapolated.any()


def test_what_lies_past_the_trained_length() -> None:
    model = lw.HookedModel(tiny.tiny("llama"))
    trace = model.trace(tiny.ids(9))
    model.n_ctx = 6
    loss = lw.PositionLoss().run(trace)
    assert loss.n_extrapolated == 3
    assert loss.extrapolated.tolist() == [False] * 6 + [True] * 3
    assert loss.to_pandas().extrapolated.sum() == 3


def test_what_cannot_be_asked() -> None:
    with pytest.raises(lw.QuestionError, match="also see what comes after"):
        lw.PositionLoss().run(tiny.hooked("bert").trace(tiny.ids(5)))
    both = tiny.hooked("bart").trace(tiny.ids(5), target=tiny.ids(4))
    assert lw.PositionLoss().run(both).nats.shape == (4,)
    with pytest.raises(lw.QuestionError, match="also see what comes after"):
        lw.PositionLoss().run(both.stack("encoder"))


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_live_goes_on_from_the_first_changed_token(kind: str) -> None:
    model, prompt = tiny.hooked(kind), tiny.ids(12)
    live, question = lw.Live(model), lw.PositionLoss()
    live.update(prompt, question)
    for edited in ([*prompt[:8], 9, 11], prompt[:5], [*prompt, 17], [4, *prompt], [4]):
        (found,) = live.update(edited, question)
        np.testing.assert_allclose(found.nats, question.run(model.trace(edited)).nats, atol=1e-5)


def test_the_demo_model_on_a_hold_out_prompt(demo_model: lw.HookedModel) -> None:
    trace = demo_model.trace("In 1969, the first man on the moon was Neil Armstrong.")
    loss = lw.PositionLoss().run(trace)
    expected = nats_by_hand(demo_model.hf_model, trace.tokens.ids.tolist())
    np.testing.assert_allclose(loss.nats[1:], expected, atol=1e-4)
    assert (loss.n_ctx, loss.windows) == (8192, (None,) * 30)
