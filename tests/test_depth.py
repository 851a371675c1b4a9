"""Where predictions are made, and what layers do: against plain transformers, on tiny models and the demo model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.analysis import depth
from tests import tiny

FRANCE = "The capital of France is"
EIFFEL = "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of"
HOLD_OUT = ["def add(a, b):\n    return", "In 1969, the first man on the", "x"]

#: Kind -> the layers, the final norm and the head, to be called by hand.
PATHS = {
    "llama": ("model.layers", "model.norm", "lm_head"),
    "gpt2": ("transformer.h", "transformer.ln_f", "lm_head"),
    "gpt_neox": ("gpt_neox.layers", "gpt_neox.final_layer_norm", "lm_head"),
    "mamba": ("backbone.layers", "backbone.norm_f", "lm_head"),
}


def states(hf_model: Any, layers: str, token_ids: list[int]) -> torch.Tensor:
    """x_0 to x_L, heard by plain hooks, shape [1 + layer, pos, d_model]."""
    heard: list[torch.Tensor] = []

    def hear(_module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if not heard:
            heard.append((args[0] if args else kwargs["hidden_states"])[0].clone())
        heard.append((output[0] if isinstance(output, tuple) else output).reshape(heard[0].shape).clone())

    handles = [layer.register_forward_hook(hear, with_kwargs=True) for layer in hf_model.get_submodule(layers)]
    tiny.plain_output(hf_model, token_ids)
    for handle in handles:
        handle.remove()
    return torch.stack(heard)


def logits_by_hand(kind: str, hf_model: torch.nn.Module, token_ids: list[int]) -> torch.Tensor:
    """What every layer would predict, shape [layer, pos, d_vocab]: the last row is the model's own."""
    norm, head = (hf_model.get_submodule(path) for path in PATHS[kind][1:])
    with torch.no_grad():
        inner = head(norm(states(hf_model, PATHS[kind][0], token_ids)[1:-1]))
    return torch.cat([inner, tiny.plain_output(hf_model, token_ids).logits])


def first_for_good(logits: torch.Tensor) -> list[int]:
    """The definition, spelled out: the first layer from which the top token is the final one in all layers."""
    top = logits.argmax(-1)
    found = []
    for pos in range(top.shape[1]):
        layer = len(top) - 1
        while layer and top[layer - 1, pos] == top[-1, pos]:
            layer -= 1
        found.append(layer)
    return found


def first_among(logits: torch.Tensor, k: int) -> list[int]:
    """The definition, spelled out: the first layer that has the final token among its k most probable."""
    final = logits[-1].argmax(-1)
    return [
        next(layer for layer in range(len(logits)) if final[pos] in logits[layer, pos].topk(k).indices)
        for pos in range(logits.shape[1])
    ]


@pytest.mark.parametrize("kind", PATHS)
def test_depth_of_every_position_by_hand(kind: str) -> None:
    trace = lw.HookedModel(tiny.tiny(kind)).trace(tiny.ids(24))
    logits = logits_by_hand(kind, trace.model.hf_model, tiny.ids(24))
    settled = lw.SettleDepth().run(trace)
    assert settled.layer.tolist() == first_for_good(logits)
    assert len(set(settled.layer.tolist())) > 1, "too easy to be right about"
    np.testing.assert_array_equal(settled.final_ids, logits[-1].argmax(-1))
    _check_emergence(trace, logits)


def _check_emergence(trace: lw.Trace, logits: torch.Tensor) -> None:
    for k in (1, 4, 10, tiny.D_VOCAB):
        assert lw.Emergence(k).run(trace).layer.tolist() == first_among(logits, k), k


#: How ranks in the layers, shape [layer, pos], could be read wrongly; and the k that is asked for.
OTHER_RANKS: dict[str, Callable[[np.ndarray, int], tuple[np.ndarray, int]]] = {
    "one more": lambda ranks, k: (ranks, k + 1),
    "one less": lambda ranks, k: (ranks + 1, k),
    "a layer": lambda ranks, k: (np.concatenate([ranks[1:], ranks[-1:]]), k),
    "other positions": lambda ranks, k: (np.roll(ranks, 1, 1), k),
    "the last layer from which": lambda ranks, k: (ranks[::-1].copy(), k),
}


@pytest.mark.parametrize("wrong", OTHER_RANKS)
def test_emergence_from_other_ranks_fails(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, emerged = tiny.hooked("llama").trace(tiny.ids(24)), depth.emerged
    logits = logits_by_hand("llama", trace.model.hf_model, tiny.ids(24))
    _check_emergence(trace, logits)
    monkeypatch.setattr(depth, "emerged", lambda ranks, k: emerged(*OTHER_RANKS[wrong](ranks, k)))
    with pytest.raises(AssertionError):
        _check_emergence(trace, logits)


@pytest.mark.parametrize("wrong", [name for name in OTHER_RANKS if name != "one more"])
def test_settle_depth_from_other_ranks_fails(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, settled = tiny.hooked("llama").trace(tiny.ids(24)), depth.settled
    expected = first_for_good(logits_by_hand("llama", trace.model.hf_model, tiny.ids(24)))
    assert lw.SettleDepth().run(trace).layer.tolist() == expected
    monkeypatch.setattr(depth, "settled", lambda ranks: settled(OTHER_RANKS[wrong](ranks, 1)[0]))
    assert lw.SettleDepth().run(trace).layer.tolist() != expected


@pytest.mark.parametrize("kind", [*tiny.CORE, "granite", "jamba", "bert"])
def test_depth_agrees_with_the_logit_lens(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(9))
    lens, settled, emerged = (one.run(trace) for one in (lw.LogitLens(k=1), lw.SettleDepth(), lw.Emergence(5)))
    np.testing.assert_array_equal(settled.final_ranks, lens.final_ranks)
    assert (emerged.layer <= lw.Emergence(1).run(trace).layer).all()
    assert (lw.Emergence(1).run(trace).layer <= settled.layer).all()


def test_for_good_is_not_for_the_first_time() -> None:
    ranks = np.array([[0, 3, 0, 9], [2, 0, 0, 9], [0, 0, 0, 2], [0, 0, 0, 1]])
    assert depth.settled(ranks).tolist() == [2, 1, 0, 3]
    assert depth.emerged(ranks, 1).tolist() == [0, 1, 0, 3]
    assert depth.emerged(ranks, 3).tolist() == [0, 1, 0, 2]
    assert depth.settled(np.array([[4]])).tolist() == [0]
    assert depth.emerged(ranks, 10).dtype == depth.settled(ranks).dtype == np.int64


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_live_goes_on_from_the_first_changed_token(kind: str) -> None:
    model, prompt = tiny.hooked(kind), tiny.ids(12)
    live, questions = lw.Live(model), (lw.SettleDepth(), lw.Emergence(4))
    live.update(prompt, *questions)
    for edited in ([*prompt[:8], 9, 11], prompt[:5], [*prompt, 17]):
        for found, question in zip(live.update(edited, *questions), questions, strict=True):
            expected = question.run(model.trace(edited))
            np.testing.assert_array_equal(found.layer, expected.layer)
            np.testing.assert_array_equal(found.final_ranks, expected.final_ranks)


@pytest.mark.parametrize("kind", PATHS)
def test_influence_and_angles_by_hand(kind: str) -> None:
    hf_model, token_ids = tiny.tiny(kind), tiny.ids(7)
    trace = lw.HookedModel(hf_model).trace(token_ids)
    x = states(hf_model, PATHS[kind][0], token_ids).double()
    cosine = torch.nn.functional.cosine_similarity
    np.testing.assert_allclose(lw.BlockInfluence().run(trace).values, 1 - cosine(x[:-1], x[1:], -1).mean(-1), atol=1e-5)
    _check_angles(trace, x)


def _check_angles(trace: lw.Trace, x: torch.Tensor) -> None:
    cosine = torch.nn.functional.cosine_similarity
    for n in (1, 2, 3):
        grid = lw.AngularDistance(n).run(trace)
        by_hand = torch.stack([cosine(x[start, -1], x[start + n, -1], 0) for start in range(4 - n)]).arccos() / math.pi
        np.testing.assert_allclose(grid.values, by_hand, atol=1e-6)
        assert grid.layers == tuple(range(4 - n))
        assert grid.drop == int(by_hand.argmin())


@pytest.mark.parametrize("mutation", [lambda x: x[:-1], lambda x: x - x.mean(-1, keepdim=True)])
def test_another_state_has_another_angle(
    mutation: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over fewer positions, or of centred states, is not block influence."""
    trace, rows = tiny.hooked("llama").trace(tiny.ids(7)), lw.Trace.rows
    right = lw.BlockInfluence().run(trace).values
    monkeypatch.setattr(lw.Trace, "rows", lambda *args: mutation(rows(*args)))
    assert np.abs(lw.BlockInfluence().run(trace).values - right).max() > 1e-4


#: What is read of the stream instead: a trace, a component, a layer, from a position to another.
OTHER_ROWS: dict[str, Callable[[Any, str, int, int, int], torch.Tensor]] = {
    "another position": lambda own, name, layer, start, stop: own(name, layer, start - 1, stop - 1),
    "without its mean": lambda own, *place: own(*place) - own(*place).mean(-1, keepdim=True),
    "with a bias": lambda own, *place: own(*place) + 0.1,
    "the layer after": lambda own, name, layer, *place: own(name, min(layer + 1, 2), *place),
    "what leaves": lambda own, name, *place: own("resid_post", *place),
}


@pytest.mark.parametrize("wrong", OTHER_ROWS)
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_angles_of_other_states_fail(kind: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, rows = tiny.hooked(kind).trace(tiny.ids(7)), lw.Trace.rows
    x = states(trace.model.hf_model, PATHS[kind][0], tiny.ids(7)).double()
    _check_angles(trace, x)
    monkeypatch.setattr(
        lw.Trace, "rows", lambda self, *place: OTHER_ROWS[wrong](lambda *read: rows(self, *read), *place)
    )
    with pytest.raises(AssertionError, match="Mismatched"):
        _check_angles(trace, x)


def test_a_layer_that_does_nothing_has_no_influence() -> None:
    trace = tiny.hooked("gpt2").trace(tiny.ids(5), interventions=(lw.SkipLayers(1),))
    influence, angles = lw.BlockInfluence().run(trace), lw.AngularDistance().run(trace)
    assert influence.values[1] == pytest.approx(0, abs=1e-6)
    assert angles.values[1] == pytest.approx(0, abs=1e-6)
    assert angles.drop == 1


def test_what_cannot_be_asked() -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(5))
    with pytest.raises(lw.QuestionError, match="k >= 1"):
        lw.Emergence(0)
    with pytest.raises(lw.QuestionError, match="n >= 1"):
        lw.AngularDistance(0)
    with pytest.raises(lw.SelectionError, match="4 layers is too long"):
        lw.AngularDistance(4).run(trace)
    both = tiny.hooked("bart").trace(tiny.ids(5), target=tiny.ids(4))
    assert lw.SettleDepth().run(both).layer.shape == (4,)
    assert lw.BlockInfluence().run(both.stack("encoder")).values.shape == (2,)
    with pytest.raises(lw.MissingComponentError, match="makes no logits"):
        lw.SettleDepth().run(both.stack("encoder"))


def test_data_out() -> None:
    trace = tiny.hooked("llama").trace([3])
    settled = lw.SettleDepth().run(trace)
    assert settled.to_pandas().layer.tolist() == settled.layer.tolist()
    assert settled.to_pandas().final_token.tolist() == [f"#{settled.final_ids[0]}"]
    assert lw.BlockInfluence().run(trace).to_pandas().shape == (3, 2)
    assert lw.AngularDistance(2).run(trace).to_pandas().last_layer.tolist() == [1, 2]


@pytest.mark.parametrize(("prompt", "layer", "answer"), [(FRANCE, 29, " Paris"), (EIFFEL, 28, " Rome")])
def test_where_the_demo_model_settles(demo_model: lw.HookedModel, prompt: str, layer: int, answer: str) -> None:
    settled = lw.SettleDepth().run(demo_model.trace(prompt))
    assert settled.layer[-1] == layer
    assert settled.pieces[int(settled.final_ids[-1])].text == answer
    assert settled.layer.min() >= 0
    assert settled.layer.max() == 29


def test_the_first_and_the_last_layer_turn_the_stream_most(demo_model: lw.HookedModel) -> None:
    values = lw.BlockInfluence().run(demo_model.trace(EIFFEL)).values
    assert np.argsort(values)[::-1][:2].tolist() == [0, 29]


@pytest.mark.parametrize("prompt", HOLD_OUT)
def test_hold_out_prompts_equal_plain_transformers(demo_model: lw.HookedModel, prompt: str) -> None:
    trace, hf_model = demo_model.trace(prompt), demo_model.hf_model
    token_ids = trace.tokens.ids.tolist()
    x = states(hf_model, PATHS["llama"][0], token_ids)
    logits = logits_by_hand("llama", hf_model, token_ids)
    assert lw.SettleDepth().run(trace).layer.tolist() == first_for_good(logits)
    assert lw.Emergence().run(trace).layer.tolist() == first_among(logits, 10)
    cosines = torch.nn.functional.cosine_similarity(x[:-1], x[1:], dim=-1)
    np.testing.assert_allclose(lw.BlockInfluence().run(trace).values, 1 - cosines.mean(-1), atol=1e-5)
    angles = cosines[:, -1].double().clamp(-1, 1).arccos() / math.pi
    np.testing.assert_allclose(lw.AngularDistance().run(trace).values, angles, atol=1e-3)
