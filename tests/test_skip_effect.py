"""Skipping layers one by one against models that are built without them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

import layerwidget as lw
from layerwidget.analysis import position, skip_effect
from layerwidget.cancellation import cancelled_by
from layerwidget.errors import Cancelled
from tests import tiny
from tests.test_interventions import without_layer

KINDS = ["llama", "gpt2", "gpt_neox", "gemma3", "mamba", "mixtral"]


def kl_by_hand(full: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
    """KL(full || skipped) of logits as torch computes it, shape [pos]."""
    p, q = full.log_softmax(-1), skipped.log_softmax(-1)
    return kl_div(q, p, log_target=True, reduction="none").sum(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_against_the_model_without_it(kind: str) -> None:
    _check_every_layer(lw.HookedModel(tiny.tiny(kind)))


def _check_every_layer(model: lw.HookedModel) -> None:
    hf_model, token_ids = model.hf_model, tiny.ids(9)
    grid = lw.SkipEffect(tuple(token_ids)).run(model)
    full, after = tiny.plain_output(hf_model, token_ids).logits[0], torch.tensor(token_ids[1:])
    for layer in range(tiny.N_LAYERS):
        shorter = without_layer(hf_model, model.anatomy.layers[layer].module)
        skipped = tiny.plain_output(shorter, token_ids).logits[0]
        kl = kl_by_hand(full, skipped)
        np.testing.assert_allclose(grid.kl_nats[layer], kl, atol=1e-4)
        assert grid.mean_kl_nats[layer] == pytest.approx(float(kl.mean()), abs=1e-4)
        assert grid.last_kl_nats[layer] == pytest.approx(float(kl[-1]), abs=1e-4)
        change = float(cross_entropy(skipped[:-1], after) - cross_entropy(full[:-1], after))
        assert grid.cross_entropy_change_nats[layer] == pytest.approx(change, abs=1e-4)
    assert grid.cross_entropy_nats == pytest.approx(float(cross_entropy(full[:-1], after)), abs=1e-5)
    influence = lw.BlockInfluence().run(model.trace(token_ids)).values
    np.testing.assert_allclose(grid.block_influence, influence, atol=1e-6)
    # All layers differ, and so would KL the other way round: a mix-up cannot pass.
    assert np.abs(np.diff(grid.mean_kl_nats)).min() > 1e-3
    assert np.abs(kl_by_hand(skipped, full).numpy() - grid.kl_nats[-1]).max() > 1e-3


#: What is taken instead of what it should be, by its name in `analysis/skip_effect.py`.
MISTAKES: dict[str, tuple[str, Callable[..., Any]]] = {
    "the other way round": ("kl_nats", lambda own, full, skipped: own(skipped, full)),
    "other positions": ("kl_nats", lambda own, *traces: np.roll(own(*traces), 1)),
    "another layer": ("SkipLayers", lambda own, layer: own((layer + 1) % tiny.N_LAYERS)),
    "two layers": ("SkipLayers", lambda own, layer: own((layer, (layer + 1) % tiny.N_LAYERS))),
    "a scale of the logits": ("log_probs", lambda own, logits: own(1.1 * logits)),
    "the loss of other tokens": ("_nats", lambda own, trace: np.append(own(trace)[:1], own(trace)[:0:-1].cumsum())),
    "the influence of another layer": ("influence", lambda own, trace, layer: own(trace, (layer + 1) % tiny.N_LAYERS)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (name, wrong) = tiny.hooked("llama"), MISTAKES[mistake]
    _check_every_layer(model)
    monkeypatch.setattr(skip_effect, name, partial(wrong, getattr(skip_effect, name)))
    with pytest.raises(AssertionError):
        _check_every_layer(model)


@pytest.mark.parametrize("kind", tiny.TWO_STACKS)
def test_every_layer_of_a_decoder_against_the_model_without_it(kind: str) -> None:
    """Of an encoder-decoder, which reads two texts: the losses are those of the target."""
    hf_model, source, target = tiny.tiny(kind), tiny.ids(11), tiny.ids(6, seed=8)
    model = lw.HookedModel(hf_model)
    grid = lw.SkipEffect(tuple(source), target=tuple(target)).run(model)
    read = {"decoder_input_ids": torch.tensor([target])}
    full, after = tiny.plain_output(hf_model, source, **read).logits[0], torch.tensor(target[1:])
    assert grid.token_ids.tolist() == target
    # The first layer of T5 makes the position bias of all: a model built without it has none.
    for layer in range(kind == "t5", tiny.N_LAYERS):
        shorter = without_layer(hf_model, model.anatomy.layers[layer].module)
        skipped = tiny.plain_output(shorter, source, **read).logits[0]
        np.testing.assert_allclose(grid.kl_nats[layer], kl_by_hand(full, skipped), atol=1e-4)
        change = float(cross_entropy(skipped[:-1], after) - cross_entropy(full[:-1], after))
        assert grid.cross_entropy_change_nats[layer] == pytest.approx(change, abs=1e-4)
    assert np.abs(np.diff(grid.mean_kl_nats)).min() > 1e-3
    other = lw.SkipEffect(tuple(source[::-1]), target=tuple(target)).run(model)
    assert np.abs(other.kl_nats - grid.kl_nats).max() > 1e-3
    influence = lw.BlockInfluence().run(model.trace(source, target=target)).values
    np.testing.assert_allclose(grid.block_influence, influence, atol=1e-6)


def test_what_is_on_screen_is_read_as_it_was_there() -> None:
    model, both = tiny.hooked("llama"), tiny.hooked("bart")
    tokens = both.with_target(both.tokenize([5, 7, 9]), [3, 4])
    assert lw.SkipEffect.of_tokens(tokens) == lw.SkipEffect((5, 7, 9), target=(3, 4))
    long = tiny.ids(tiny.N_CTX + 3)
    question = lw.SkipEffect.of_tokens(model.tokenize(long, extrapolate=True), (lw.SkipLayers("0"),))
    assert question == lw.SkipEffect(tuple(long), "all", (lw.SkipLayers("0"),), extrapolate=True)
    assert question.run(model).kl_nats.shape == (tiny.N_LAYERS, tiny.N_CTX + 3)
    with pytest.raises(lw.PromptError, match="extrapolate=True"):
        lw.SkipEffect(tuple(long)).run(model)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "jamba", "bert"])
def test_going_on_from_the_skipped_layer_equals_plain_passes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position, "_BYTES", 4 * tiny.D_VOCAB * 2)
    model, token_ids = tiny.hooked(kind), tiny.ids(7)
    grid = lw.SkipEffect(tuple(token_ids), "0,-1").run(model)
    full = model.trace(token_ids).logits
    assert grid.layers == (0, model.anatomy.n_layers - 1)
    for row, layer in enumerate(grid.layers):
        skipped = model.trace(token_ids, interventions=(lw.SkipLayers(layer),)).logits
        np.testing.assert_allclose(grid.kl_nats[row], kl_by_hand(full, skipped), atol=1e-5)
    assert np.isnan(grid.cross_entropy_change_nats).all() == (kind == "bert")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mamba"])
def test_both_runs_are_those_with_the_interventions(kind: str) -> None:
    model, token_ids = tiny.hooked(kind), tiny.ids(7)
    grid = lw.SkipEffect(tuple(token_ids), interventions=[lw.SkipLayers("1")]).run(model)
    full = model.trace(token_ids, interventions=(lw.SkipLayers("1"),))
    for layer in (0, 2):
        skipped = model.trace(token_ids, interventions=(lw.SkipLayers((layer, 1)),)).logits
        np.testing.assert_allclose(grid.kl_nats[layer], kl_by_hand(full.logits, skipped), atol=1e-5)
        change = cross_entropy(skipped[:-1], torch.tensor(token_ids[1:])) - grid.cross_entropy_nats
        assert grid.cross_entropy_change_nats[layer] == pytest.approx(float(change), abs=1e-5)
    np.testing.assert_allclose(grid.block_influence, lw.BlockInfluence().run(full).values, atol=1e-6)
    expected = cross_entropy(full.logits[:-1], torch.tensor(token_ids[1:]))
    assert grid.cross_entropy_nats == pytest.approx(float(expected), abs=1e-5)
    # Nothing more is lost without what is skipped anyway.
    assert not grid.kl_nats[1].any()
    assert grid.cross_entropy_change_nats[1] == 0
    assert grid.changed == "skipping 1"
    plain = lw.SkipEffect(tuple(token_ids)).run(model)
    assert plain.changed == ""
    assert np.abs(plain.kl_nats[[0, 2]] - grid.kl_nats[[0, 2]]).max() > 1e-3


def test_a_skip_that_does_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: where nothing is skipped, there is no effect at all."""
    monkeypatch.setattr("layerwidget.model.capture.Capture._skip", lambda self, layer, output: output)
    grid = lw.SkipEffect(tuple(tiny.ids(7))).run(lw.HookedModel(tiny.tiny("llama")))
    assert grid.kl_nats.max() < 1e-6
    assert np.abs(grid.cross_entropy_change_nats).max() < 1e-6


def test_what_it_costs_is_told() -> None:
    told: list[tuple[int, int]] = []
    question = lw.SkipEffect(tuple(tiny.ids(5)), "1-2")
    question.run(tiny.hooked("llama"), lambda done, of: told.append((done, of)))
    assert question.n_passes(tiny.hooked("llama")) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_it_can_be_stopped() -> None:
    told: list[int] = []
    question = lw.SkipEffect(tuple(tiny.ids(5)))
    with pytest.raises(Cancelled), cancelled_by(lambda: len(told) >= 2):
        question.run(tiny.hooked("gpt2"), lambda done, of: told.append(done))
    assert told == [1, 2]


def test_it_is_a_value() -> None:
    prompt: Any = torch.tensor([5, 7])
    assert lw.SkipEffect(prompt, [1, 0]) == lw.SkipEffect((5, 7), (1, 0))
    assert lw.SkipEffect("a", interventions=(lw.SkipLayers(1),)) != lw.SkipEffect("a")
    assert hash(lw.SkipEffect("a", "late")) == hash(lw.SkipEffect("a", "late"))


@pytest.mark.parametrize("prompt", [None, 3.5, [[1, 2], [3, 4]]])
def test_what_is_no_prompt(prompt: Any) -> None:
    with pytest.raises(lw.PromptError, match="text or a row of token ids"):
        lw.SkipEffect(prompt)


def test_what_cannot_be_asked() -> None:
    with pytest.raises(lw.EmptyPromptError):
        lw.SkipEffect(()).run(tiny.hooked("llama"))
    with pytest.raises(lw.SelectionError, match="9 is out of range"):
        lw.SkipEffect((5,), "9").run(tiny.hooked("llama"))
    with pytest.raises(lw.QuestionError, match="An intervention is a SkipLayers"):
        lw.SkipEffect((5,), interventions=("1",)).run(tiny.hooked("llama"))
    with pytest.raises(lw.PromptError, match="has no encoder, so it takes a prompt and no target"):
        lw.SkipEffect((5,), target=(6,)).run(tiny.hooked("llama"))
    with pytest.raises(lw.PromptError, match=r"text or a row of token ids; got 3\.5"):
        lw.SkipEffect((5,), target=3.5)  # type: ignore[arg-type]


def test_one_token() -> None:
    grid = lw.SkipEffect((5,), 1).run(tiny.hooked("llama"))
    assert grid.kl_nats.shape == (1, 1)
    assert np.isnan(grid.cross_entropy_nats)
    assert np.isnan(grid.cross_entropy_change_nats).all()
    assert grid.to_pandas().layer.tolist() == [1]


def test_the_demo_model_on_a_hold_out_prompt(demo_model: lw.HookedModel) -> None:
    """Against a plain hook that returns the layer's input."""
    text = "In 1969, the first man on the moon was Neil Armstrong."
    grid = lw.SkipEffect(text, "2,11").run(demo_model)
    token_ids = grid.token_ids.tolist()
    full = tiny.plain_output(demo_model.hf_model, token_ids).logits[0]
    for row, layer in enumerate((2, 11)):
        module = demo_model.hf_model.get_submodule(f"model.layers.{layer}")
        handle = module.register_forward_hook(lambda module, args, output: args[0])
        skipped = tiny.plain_output(demo_model.hf_model, token_ids).logits[0]
        handle.remove()
        np.testing.assert_allclose(grid.kl_nats[row], kl_by_hand(full, skipped), atol=1e-3)
    # They disagree: layer 11 turns the stream little, and much is lost without it.
    assert grid.block_influence[1] < 0.1
    assert grid.mean_kl_nats[1] > 1
