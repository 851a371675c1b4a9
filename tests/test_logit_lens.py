"""The logit lens against plain transformers, by log-probabilities, on tiny models and on the demo model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.analysis import decoding, lens_cells, logit_lens
from layerwidget.questions import OnScreen
from tests.tiny import D_VOCAB, N_LAYERS, ids, jensen_shannon, plain_output, tiny

KINDS = ["llama", "gpt2", "gpt_neox", "gemma3"]
EIFFEL = "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of"


def reference(trace: lw.Trace, component: str = "resid_post") -> torch.Tensor:
    """The whole distribution of every cell in one piece, [layer, pos, d_vocab]: what the analysis never builds."""
    rows = trace.component(component)
    return trace.model.tail(rows.flatten(0, 1)).log_softmax(-1).unflatten(0, rows.shape[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_row_is_the_models_own_prediction(kind: str) -> None:
    hf_model = tiny(kind)
    token_ids = ids(5)
    expected = plain_output(hf_model, token_ids).logits[0].log_softmax(-1)
    lens = lw.LogitLens(k=D_VOCAB, tokens=tuple(range(D_VOCAB))).run(lw.HookedModel(hf_model).trace(token_ids))
    np.testing.assert_allclose(lens.token_log_probs[-1], expected, atol=1e-4)
    np.testing.assert_array_equal(lens.top_ids[-1, :, 0], expected.argmax(-1))
    np.testing.assert_allclose(lens.kl_to_final_nats[-1], 0, atol=1e-5)
    assert lens.layers == tuple(range(N_LAYERS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("block_bytes", "block_width"), [(4 * 40, 40), (4 * D_VOCAB * 4, D_VOCAB - 1), (2**20, 8192)])
def test_every_statistic_in_chunks_of_any_size(
    kind: str, block_bytes: int, block_width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lens_cells, "BLOCK_BYTES", block_bytes)
    for module in (lens_cells, decoding):
        monkeypatch.setattr(module, "BLOCK_WIDTH", block_width)
    trace = lw.HookedModel(tiny(kind)).trace(ids(7))
    tokens = (0, 17, D_VOCAB - 1)
    lens = lw.LogitLens(k=4, tokens=tokens, jsd=True).run(trace)
    log_probs = reference(trace)
    final = log_probs[-1]
    np.testing.assert_allclose(lens.entropy_nats, torch.special.entr(log_probs.exp()).sum(-1), atol=1e-4)
    assert (lens.entropy_nats >= 0).all()
    assert (lens.entropy_nats <= math.log(D_VOCAB) + 1e-5).all()
    kl = (final.exp() * (final - log_probs)).sum(-1)
    np.testing.assert_allclose(lens.kl_to_final_nats, kl, atol=1e-4)
    assert lens.jsd_nats is not None
    np.testing.assert_allclose(lens.jsd_nats, jensen_shannon(log_probs.double()), atol=2e-5)
    assert (lens.jsd_nats >= 0).all()
    assert (lens.jsd_nats <= math.log(2)).all()
    assert lens.jsd_nats[0].min() > 1e-3
    assert lw.LogitLens().run(trace).jsd_nats is None
    top = log_probs.topk(4)
    np.testing.assert_allclose(np.log(lens.top_probs), top.values, atol=1e-4)
    # Compared by value: soft-capped logits tie within rounding, and then either id is right.
    of_top = log_probs.gather(-1, torch.tensor(lens.top_ids))
    np.testing.assert_allclose(of_top, top.values, atol=1e-4)
    np.testing.assert_allclose(lens.token_log_probs, log_probs[..., list(tokens)], atol=1e-4)
    ranks = torch.stack([(log_probs > log_probs[..., token, None]).sum(-1) for token in tokens], -1)
    # A rank may move by the number of logits that tie within rounding.
    tied = torch.stack([((log_probs - log_probs[..., token, None]).abs() < 1e-5).sum(-1) for token in tokens], -1)
    assert (np.abs(lens.token_ranks - ranks.numpy()) < tied.numpy()).all()
    chosen = torch.tensor(lens.final_ids)
    np.testing.assert_allclose(final.gather(-1, chosen[:, None])[:, 0], final.max(-1).values, atol=1e-4)
    of_final = log_probs.gather(-1, chosen.expand(N_LAYERS, -1)[..., None])[..., 0]
    np.testing.assert_allclose(np.log(lens.final_probs), of_final, atol=1e-4)
    tied = ((log_probs - of_final[..., None]).abs() < 1e-5).sum(-1)
    assert (np.abs(lens.final_ranks - (log_probs > of_final[..., None]).sum(-1).numpy()) < tied.numpy()).all()


@pytest.mark.parametrize("component", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"])
def test_any_component_and_any_layers(component: str) -> None:
    trace = lw.HookedModel(tiny("llama")).trace(ids(5))
    lens = lw.LogitLens(layers="0,-1", component=component, k=3, tokens=(9,)).run(trace)
    assert (lens.layers, lens.component) == ((0, N_LAYERS - 1), component)
    log_probs = reference(trace, component)[[0, N_LAYERS - 1]]
    np.testing.assert_allclose(lens.token_log_probs[..., 0], log_probs[..., 9], atol=1e-4)


def test_one_token_and_one_layer() -> None:
    lens = lw.LogitLens(layers=0).run(lw.HookedModel(tiny("gpt2")).trace([3]))
    assert lens.top_ids.shape == (1, 1, 5)


def test_what_cannot_be_asked() -> None:
    trace = lw.HookedModel(tiny("gpt_neox")).trace(ids(5))
    with pytest.raises(lw.SelectionError, match="7 is out of range"):
        lw.LogitLens(layers="7").run(trace)
    with pytest.raises(lw.SelectionError, match="Token id 5000"):
        lw.LogitLens(tokens=(5000,)).run(trace)
    with pytest.raises(lw.QuestionError, match="k >= 1"):
        lw.LogitLens(k=0)
    with pytest.raises(lw.QuestionError, match="component='resid'"):
        lw.LogitLens(component="resid").run(trace)
    with pytest.raises(lw.MissingComponentError, match="parallel"):
        lw.LogitLens(component="resid_mid").run(trace)


def test_dropping_the_norm_gain_is_seen() -> None:
    """A lens that forgot the final norm's gain must not pass for the model's own prediction."""
    hf_model = tiny("llama")
    token_ids = ids(5)
    trace = lw.HookedModel(hf_model).trace(token_ids)
    expected = plain_output(hf_model, token_ids).logits[0].log_softmax(-1)
    with torch.no_grad():
        hf_model.get_submodule("model.norm").weight.fill_(1.0)
    lens = lw.LogitLens(layers=-1, tokens=tuple(range(D_VOCAB))).run(trace)
    assert np.abs(lens.token_log_probs[0] - expected.numpy()).max() > 1e-2


def test_capital_of_france(demo_model: lw.HookedModel) -> None:
    trace = demo_model.trace("The capital of France is")
    lens = lw.LogitLens().run(trace)
    assert lens.pieces[int(lens.top_ids[-1, -1, 0])].text == " Paris"
    assert lens.top_probs[-1, -1, 0] == pytest.approx(0.7725, abs=0.001)
    with torch.no_grad():
        # In fp64: on some processors the fp32 softmax of a long row is off by 2e-5 itself.
        plain = demo_model.hf_model(torch.tensor(trace.tokens.ids)[None]).logits[0].double().softmax(-1)
    np.testing.assert_allclose(lens.top_probs[-1], plain.topk(5).values, atol=1e-5)
    np.testing.assert_array_equal(lens.top_ids[-1], plain.topk(5).indices)


def test_rome_appears_late(demo_model: lw.HookedModel) -> None:
    rome = int(demo_model.tokenize(" Rome").ids[0])
    lens = lw.LogitLens(tokens=(rome,)).run(demo_model.trace(EIFFEL))
    probs = np.exp(lens.token_log_probs[:, -1, 0])
    assert probs[28] == pytest.approx(0.125, abs=0.002)
    assert probs[29] == pytest.approx(0.971, abs=0.002)
    kl = lens.kl_to_final_nats[:, -1]
    assert (kl[:24] > 20).all()
    assert round(float(kl[:24].max())) == 43
    np.testing.assert_allclose(kl[24:], [12.7, 11.9, 10.6, 4.9, 2.0, 0], atol=0.06)


@pytest.mark.parametrize("prompt", ["def add(a, b):\n    return", "In 1969, the first man on the", "x"])
def test_hold_out_prompts_equal_plain_transformers(demo_model: lw.HookedModel, prompt: str) -> None:
    """Layers by `output_hidden_states` and the model's own norm and head: another way to the same numbers."""
    trace = demo_model.trace(prompt)
    lens = lw.LogitLens(k=1, tokens=(42, 7042), jsd=True).run(trace)
    hf_model = demo_model.hf_model
    with torch.no_grad():
        output = hf_model(torch.tensor(trace.tokens.ids)[None], output_hidden_states=True)
        # The last hidden state is normed already, so it is left out.
        states = torch.stack(output.hidden_states[1:-1])[:, 0]
        log_probs = hf_model.lm_head(hf_model.model.norm(states)).log_softmax(-1)
        every = torch.cat([log_probs, output.logits.log_softmax(-1)])
    # In fp64, a layer after the other: all of it at once would take half a gigabyte.
    expected = [jensen_shannon(torch.stack([row, every[-1]]).double())[0] for row in every]
    np.testing.assert_allclose(lens.jsd_nats, torch.stack(expected), atol=3e-5)
    np.testing.assert_allclose(lens.token_log_probs[:-1], log_probs[..., [42, 7042]], atol=1e-4)
    np.testing.assert_allclose(lens.token_log_probs[-1], output.logits[0].log_softmax(-1)[..., [42, 7042]], atol=1e-4)


def test_data_out() -> None:
    lens = lw.LogitLens(tokens=(4,), jsd=True).run(lw.HookedModel(tiny("llama")).trace(ids(5)))
    assert lens.jsd_nats is not None
    frame = lens.to_pandas()
    assert len(frame) == N_LAYERS * 5
    cell = frame[(frame.layer == 2) & (frame.pos == 3)].iloc[0]
    assert cell.top_prob == pytest.approx(lens.max_prob[2, 3])
    assert cell.jsd_nats == pytest.approx(lens.jsd_nats[2, 3])
    assert cell.log_prob_4 == pytest.approx(lens.token_log_probs[2, 3, 0])
    data = lens.to_xarray()
    assert float(data.kl_to_final_nats.sel(layer=1, pos=2)) == pytest.approx(lens.kl_to_final_nats[1, 2])
    with pytest.raises(lw.SelectionError, match="layer 9"):
        lens.row_of(9)
    with pytest.raises(ValueError, match="read-only"):
        lens.top_probs[0, 0, 0] = 1


def test_the_models_own_next_words_are_followed_through_all_layers() -> None:
    trace = lw.HookedModel(tiny("llama")).trace(ids(7))
    lens = lw.LogitLens(k=2, tokens=(5,), follow=4).run(trace)
    log_probs = reference(trace)
    expected = log_probs[-1].topk(4).indices
    assert lens.followed_ids is not None
    assert lens.followed_log_probs is not None
    np.testing.assert_array_equal(lens.followed_ids, expected)
    np.testing.assert_array_equal(lens.followed_ids[:, 0], lens.final_ids)
    there = log_probs.gather(-1, expected.expand(N_LAYERS, -1, -1))
    np.testing.assert_allclose(lens.followed_log_probs, there, atol=1e-4)
    larger = (log_probs[:, :, None] > there[..., None]).sum(-1)
    np.testing.assert_array_equal(lens.followed_ranks, larger)
    np.testing.assert_array_equal(lens.token_ranks[..., 0], lw.LogitLens(tokens=(5,)).run(trace).token_ranks[..., 0])
    assert all(int(token) in lens.pieces for token in lens.followed_ids.flat)
    assert lw.LogitLens().run(trace).followed_ids is None
    # What an edit leaves as it was is taken over.
    live = lw.Live(trace.model)
    question = lw.LogitLens(k=2, follow=4)
    live.update(ids(6), question)
    (after,) = live.update(ids(7), question)
    np.testing.assert_array_equal(after.followed_ids, lens.followed_ids)
    np.testing.assert_array_equal(after.followed_ranks, lens.followed_ranks)
    with pytest.raises(lw.QuestionError, match="follow >= 0, got -1"):
        lw.LogitLens(follow=-1)


def test_equal_words_are_followed_in_the_order_of_the_prediction() -> None:
    first = torch.tensor([[4], [9]])
    top = torch.tensor([[2, 4, 7], [3, 2, 1]])
    assert decoding._first_first(first, top).tolist() == [[4, 2, 7], [9, 3, 2]]


@pytest.mark.parametrize(("n_pos", "n_ahead"), [(17, 16), (18, 0)])
def test_the_first_part_reads_ahead_for_few_columns_only(
    n_pos: int, n_ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill, ahead = logit_lens._Board.fill, []

    def filled(board: object, layers: tuple[int, ...], start: int, stop: int, n_before: int = 0) -> None:
        ahead.append((start, stop, n_before))
        fill(board, layers, start, stop, n_before)

    monkeypatch.setattr(logit_lens._Board, "fill", filled)
    trace = lw.HookedModel(tiny("llama")).trace(ids(n_pos))
    first, *_, whole = lw.LogitLens().answers(trace, None, 0, OnScreen((N_LAYERS - 1,), 0, n_pos))
    assert ahead[0] == (n_pos - 1, n_pos, n_ahead)
    assert not first.complete
    assert whole.complete
