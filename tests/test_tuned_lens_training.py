"""Training a tuned lens: held-out KL falls in every layer, the model stays as it was, a seed gives one lens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.analysis import final_divergence
from layerwidget.analysis.final_divergence import FinalPrediction, check_differentiable
from layerwidget.cancellation import cancelled_by
from layerwidget.errors import Cancelled
from layerwidget.questions.passages import Framed, cut_up, framed, spread
from tests import tiny

KINDS = ["llama", "gpt2", "gpt_neox", "gemma3", "granite", "opt"]
N_TOKENS = 300
TEXT = (tuple(tiny.ids(N_TOKENS, seed=8)),)


def kl_by_hand(model: lw.HookedModel, passage: tuple[int, ...], translators: lw.Translators | None) -> torch.Tensor:
    """KL(final || layer), shape [layer, pos], of whole distributions."""
    trace = model.trace(list(passage))
    stream = trace.resid_pre.float()
    if translators is not None:
        weights, biases = torch.tensor(translators.weights), torch.tensor(translators.biases)
        stream = stream + torch.einsum("lij,lpj->lpi", weights, stream) + biases[:, None]
    layer = model.tail(stream.flatten(0, 1)).log_softmax(-1).unflatten(0, stream.shape[:2])
    final = trace.logits.float().log_softmax(-1)
    return (final.exp() * (final - layer)).sum(-1)


@pytest.mark.parametrize(("kind", "n_tokens", "epochs"), [*((kind, N_TOKENS, 3) for kind in KINDS), ("mamba", 900, 4)])
def test_training_lowers_held_out_kl_in_every_layer(kind: str, n_tokens: int, epochs: int) -> None:
    text = (tuple(tiny.ids(n_tokens, seed=8)),)
    model = lw.HookedModel(tiny.tiny(kind))
    before = {name: weight.clone() for name, weight in model.hf_model.state_dict().items()}
    found = lw.TrainTunedLens(text, epochs=epochs).run(model)
    assert (found.kl_nats < found.untrained_kl_nats).all()
    assert found.n_train + found.n_held_out == n_tokens
    # What it says of itself is what whole distributions say.
    for figures, translators in ((found.untrained_kl_nats, None), (found.kl_nats, found.translators)):
        expected = torch.cat([kl_by_hand(model, passage, translators) for passage in found.held_out], 1).mean(1)
        np.testing.assert_allclose(figures, expected, atol=1e-4)
    lenses = [lw.TunedLens(found.translators).run(model.trace(list(passage))) for passage in found.held_out]
    kl = np.concatenate([lens.kl_to_final_nats for lens in lenses], axis=1).mean(axis=1)
    np.testing.assert_allclose(found.kl_nats, kl, atol=1e-4)
    for name, weight in model.hf_model.state_dict().items():
        assert torch.equal(weight, before[name])
    assert all(weight.grad is None for weight in model.hf_model.parameters())
    assert all(weight.requires_grad for weight in model.hf_model.parameters())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3", "mamba", "bert"])
def test_divergence_and_gradient_in_chunks_of_any_size(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_divergence, "_ROWS", 4)
    monkeypatch.setattr(final_divergence, "_WIDTH", 40)
    monkeypatch.setattr(final_divergence, "_BYTES", 4 * tiny.D_VOCAB * 3)
    model = tiny.hooked(kind)
    trace = model.trace(tiny.ids(9))
    told: list[int] = []
    final = FinalPrediction.of(model, trace.resid_post[-1], lambda: told.append(0))
    assert len(told) == 3
    at = torch.tensor([8, 1, 0, 5, 3, 7, 2])
    vectors = trace.resid_pre[1][at]
    target = trace.logits[at].log_softmax(-1)
    leaf = vectors.clone().requires_grad_()
    with torch.enable_grad():
        kl = (target.exp() * (target - model.tail(leaf, differentiable=True).log_softmax(-1))).sum(-1)
        (gradient,) = torch.autograd.grad(kl.sum(), leaf)
    np.testing.assert_allclose(final.kl_nats(vectors, at), kl.detach(), atol=1e-4)
    np.testing.assert_allclose(final.gradient(vectors, at), gradient, atol=1e-4 * float(gradient.abs().max()))
    assert float(gradient.abs().max()) > 1e-3


def test_a_gradient_that_forgets_the_final_prediction_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushed the wrong way, every layer keeps its untrained state: what is shown never gets worse."""
    right = FinalPrediction.gradient
    monkeypatch.setattr(FinalPrediction, "gradient", lambda self, vectors, at: -right(self, vectors, at))
    found = lw.TrainTunedLens(TEXT, epochs=5).run(tiny.hooked("llama"))
    assert not found.translators.weights.any()
    assert not found.translators.biases.any()
    np.testing.assert_array_equal(found.kl_nats, found.untrained_kl_nats)
    # Each time it goes less far; three worse epochs are enough.
    assert np.isnan(found.curves[:, 4:]).all()
    assert (np.diff(found.curves[:, 1:4]) < 0).all()
    assert (found.curves[:, 3] > found.curves[:, 0]).all()


def test_the_same_seed_gives_the_same_lens() -> None:
    model = tiny.hooked("gpt2")
    one, same, other = (lw.TrainTunedLens(TEXT, epochs=1, seed=seed).run(model) for seed in (4, 4, 5))
    assert one.translators == same.translators
    assert one.held_out == same.held_out
    assert one.translators != other.translators
    assert one.held_out != other.held_out


def test_half_precision_is_trained_in_fp32() -> None:
    model = lw.HookedModel(tiny.tiny("llama").to(torch.bfloat16))
    found = lw.TrainTunedLens(TEXT, epochs=2).run(model)
    assert (found.kl_nats < found.untrained_kl_nats).all()
    assert {weight.dtype for weight in model.hf_model.parameters()} == {torch.bfloat16}


def test_what_it_costs_is_told() -> None:
    told: list[tuple[int, int]] = []
    question, model = lw.TrainTunedLens(TEXT, epochs=2), tiny.hooked("llama")
    found = question.run(model, lambda done, of: told.append((done, of)))
    n = question.n_passes(model)
    assert n == 10
    # Between two steps it is told of the same number again.
    assert told == sorted(told)
    assert sorted(set(told)) == [(done, n + 2 * tiny.N_LAYERS) for done in range(1, n + 2 * tiny.N_LAYERS + 1)]
    assert len(told) > 2 * len(set(told))
    frame = found.to_pandas()
    assert frame.layer.tolist() == [0, 1, 2]
    assert (frame.kl_nats < frame.untrained_kl_nats).all()
    with pytest.raises(ValueError, match="read-only"):
        found.kl_nats[0] = 0


@pytest.mark.parametrize(("after", "counted"), [(3, 3), (12, 10), (23, 11)])
def test_it_can_be_stopped_in_a_pass_and_between_steps(after: int, counted: int) -> None:
    told: list[int] = []
    model = lw.HookedModel(tiny.tiny("gpt2"))
    with pytest.raises(Cancelled), cancelled_by(lambda: len(told) >= after):
        lw.TrainTunedLens(TEXT).run(model, lambda done, of: told.append(done))
    assert (len(told), told[-1]) == (after, counted)
    assert all(weight.grad is None for weight in model.hf_model.parameters())
    assert model.trace(tiny.ids(3)).logits.isfinite().all()


def test_a_tail_without_a_gradient_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lw.HookedModel(tiny.tiny("gemma3"))
    rows = model.trace(tiny.ids(4)).resid_pre[1]
    check_differentiable(model, rows)
    norm = model.hf_model.get_submodule("model.norm")
    forward = type(norm).forward
    monkeypatch.setattr(type(norm), "forward", lambda self, x: forward(self, x).detach())
    with pytest.raises(lw.QuestionError, match="has no gradient"):
        check_differentiable(model, rows)
    # A straight-through step, as in fake quantisation: there is a gradient, but it is not the slope.
    monkeypatch.setattr(type(norm), "forward", lambda self, x: (y := forward(self, x)) + y.detach())
    with pytest.raises(lw.QuestionError, match="its slopes are"):
        check_differentiable(model, rows)
    with pytest.raises(lw.QuestionError, match="its slopes are"):
        lw.TrainTunedLens(TEXT).run(model)


def test_it_is_a_value() -> None:
    rows: Any = ([5, 7], torch.tensor([1, 2]))
    assert lw.TrainTunedLens(rows) == lw.TrainTunedLens(((5, 7), (1, 2)))
    assert lw.TrainTunedLens("a") == lw.TrainTunedLens(("a",))
    assert hash(lw.TrainTunedLens("a")) == hash(lw.TrainTunedLens(("a",)))


def test_what_cannot_be_asked() -> None:
    nothing: Any = 3.5
    nested: Any = [[1, [2]]]
    for texts in (nothing, nested):
        with pytest.raises(lw.PromptError, match="texts and rows of token ids"):
            lw.TrainTunedLens(texts)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"epochs": 0}, "epochs >= 1; got 0"),
        ({"max_positions": 1}, "max_positions >= 2"),
        ({"held_out": 1.0}, "below 1; got 1.0"),
        ({"held_out": 0.0}, "above 0"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"weight_decay": -1.0}, "weight_decay >= 0"),
    ]
    for fields, words in bad:
        with pytest.raises(lw.QuestionError, match=words):
            lw.TrainTunedLens(TEXT, **fields)
    for question in (lw.TrainTunedLens((tuple(tiny.ids(15)),)), lw.TrainTunedLens(())):
        with pytest.raises(lw.QuestionError, match="16 tokens or more"):
            question.run(tiny.hooked("llama"))
    with pytest.raises(lw.QuestionError, match="encoder-decoder"):
        lw.TrainTunedLens(TEXT).n_passes(tiny.hooked("bart"))
    with pytest.raises(lw.PromptError):
        lw.TrainTunedLens("text without a tokenizer").run(tiny.hooked("llama"))
    with pytest.raises(lw.PromptError):
        lw.TrainTunedLens(((5000,) * 40,)).run(tiny.hooked("llama"))


def test_passages_cover_the_text_once() -> None:
    texts = [Framed(tuple(range(2000))), Framed(tuple(range(3000, 3005)))]
    cut = cut_up(texts, 64, 9000)
    assert sum(cut, ()) == tuple(range(2000))
    assert {len(passage) for passage in cut} == {64, 2000 % 64}
    assert max(len(passage) for passage in cut_up(texts, None, 9000)) == 128
    assert {len(passage) for passage in cut_up(texts, None, 300)} == {30, 2000 % 30}
    few = spread(cut, 200)
    assert [passage[0] // 64 for passage in few] == [0, 10, 21]
    assert spread(cut, 2000) == cut
    assert len(spread(cut, 2)) == 2


def test_special_tokens_frame_every_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.hooked("llama")

    def tokenize(text: str, add_special_tokens: bool | None = None) -> Any:
        own = [10 + int(letter) for letter in text]
        from layerwidget.tokens import Tokens

        return Tokens(np.array(own if add_special_tokens is False else [1, *own, 2]), {}, text)

    monkeypatch.setattr(model, "tokenize", tokenize)
    text = framed("123456789" * 4, model)
    assert (text.before, text.after, len(text.ids)) == ((1,), (2,), 36)
    cut = cut_up([text], 11, 9000)
    assert {(passage[0], passage[-1]) for passage in cut} == {(1, 2)}
    assert max(map(len, cut)) == 10
    assert sum((passage[1:-1] for passage in cut), ()) == text.ids[:32]


def test_the_demo_model_on_a_short_text(demo_model: lw.HookedModel) -> None:
    text = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8")
    found = lw.TrainTunedLens(text, max_positions=200, epochs=1).run(demo_model)
    assert found.n_train + found.n_held_out <= 200
    assert (found.kl_nats < found.untrained_kl_nats).all()
    assert found.kl_nats.mean() < 0.75 * found.untrained_kl_nats.mean()
