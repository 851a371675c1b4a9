"""The tuned lens against translators that are applied by hand, and against the logit lens where they change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.analysis import tuned_lens
from tests import tiny

KINDS = ["llama", "gpt2", "gpt_neox", "gemma3", "mamba", "bert"]


def random_translators(model: lw.HookedModel, seed: int = 1) -> lw.Translators:
    """Translators that change something, and differ in every layer."""
    generator = np.random.default_rng(seed)
    n_layers, d_model = model.anatomy.n_layers, model.anatomy.d_model
    weights = 0.05 * generator.standard_normal((n_layers, d_model, d_model)).astype(np.float32)
    return lw.Translators(weights, generator.standard_normal((n_layers, d_model)).astype(np.float32), model.name)


def assert_same_arrays(one: lw.LensGrid, other: lw.LensGrid) -> None:
    for name, value in vars(other).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(one, name), value, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_untrained_is_exactly_the_logit_lens_on_resid_pre(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(7))
    nothing = lw.Translators.untrained(trace.anatomy.n_layers, trace.anatomy.d_model)
    tuned = lw.TunedLens(nothing, "0,-1", k=4, tokens=(3, 17)).run(trace)
    plain = lw.LogitLens("0,-1", "resid_pre", k=4, tokens=(3, 17)).run(trace)
    assert_same_arrays(tuned, plain)
    assert (tuned.component, tuned.layers, tuned.tokens) == ("tuned resid_pre", plain.layers, (3, 17))


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_the_translated_stream_through_the_tail(kind: str) -> None:
    _check_every_row(tiny.hooked(kind))


def _check_every_row(model: lw.HookedModel) -> None:
    trace, translators = model.trace(tiny.ids(7)), random_translators(model)
    lens = lw.TunedLens(translators, k=2, tokens=tuple(range(tiny.D_VOCAB))).run(trace)
    final = trace.logits.log_softmax(-1)
    for layer in range(model.anatomy.n_layers):
        # As the published package does it: a linear layer beside the identity.
        linear = torch.nn.Linear(model.anatomy.d_model, model.anatomy.d_model)
        linear.load_state_dict(
            {"weight": torch.tensor(translators.weights[layer]), "bias": torch.tensor(translators.biases[layer])}
        )
        stream = trace.resid_pre[layer]
        with torch.no_grad():
            log_probs = model.tail(stream + linear(stream)).log_softmax(-1)
        np.testing.assert_allclose(lens.token_log_probs[layer], log_probs, atol=1e-4)
        kl = (final.exp() * (final - log_probs)).sum(-1)
        np.testing.assert_allclose(lens.kl_to_final_nats[layer], kl, atol=1e-4)
    assert lens.kl_to_final_nats.min() > 1e-3


#: Weight and bias of a layer, and those of the next one -> what is applied instead.
OTHER_TRANSLATORS: dict[str, Callable[..., tuple[torch.Tensor, torch.Tensor]]] = {
    "a transposed weight": lambda weight, bias, *_: (weight.T, bias),
    "no bias": lambda weight, bias, *_: (weight, 0 * bias),
    "no identity": lambda weight, bias, *_: (weight - torch.eye(len(weight)), bias),
    "a scale": lambda weight, bias, *_: (1.1 * weight, 1.1 * bias),
    "another layer": lambda _weight, _bias, *after: after,
}


@pytest.mark.parametrize("wrong", OTHER_TRANSLATORS)
def test_other_translators_are_noticed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, own = tiny.hooked("llama"), tuned_lens.placed
    _check_every_row(model)

    def changed(translators: lw.Translators, layer: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        after = own(translators, (layer + 1) % model.anatomy.n_layers, device)
        return OTHER_TRANSLATORS[wrong](*own(translators, layer, device), *after)

    monkeypatch.setattr(tuned_lens, "placed", changed)
    with pytest.raises(AssertionError, match="Mismatched"):
        _check_every_row(model)


def test_a_hold_out_prompt_equals_plain_transformers(demo_model: lw.HookedModel) -> None:
    """Hidden states, an affine map by numpy, the model's own norm and head."""
    trace, hf_model = demo_model.trace("def add(a, b):\n    return"), demo_model.hf_model
    generator = np.random.default_rng(2)
    weights = (0.02 * generator.standard_normal((30, 576, 576))).astype(np.float32)
    biases = generator.standard_normal((30, 576)).astype(np.float32)
    lens = lw.TunedLens(lw.Translators(weights, biases), "0,15,29", tokens=(42, 7042)).run(trace)
    with torch.no_grad():
        output = hf_model(torch.tensor(trace.tokens.ids)[None], output_hidden_states=True)
        final = output.logits[0].double().log_softmax(-1)
        for row, layer in enumerate((0, 15, 29)):
            state = output.hidden_states[layer][0]
            moved = state + torch.tensor(state.numpy() @ weights[layer].T + biases[layer])
            log_probs = hf_model.lm_head(hf_model.model.norm(moved)).double().log_softmax(-1)
            np.testing.assert_allclose(lens.token_log_probs[row], log_probs[:, [42, 7042]], atol=1e-3)
            kl = (final.exp() * (final - log_probs)).sum(-1)
            np.testing.assert_allclose(lens.kl_to_final_nats[row], kl, atol=1e-3)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "mamba"])
def test_an_appended_token_gives_what_a_full_pass_gives(kind: str) -> None:
    model = lw.HookedModel(tiny.tiny(kind))
    question = lw.TunedLens(random_translators(model), k=3, tokens=(7, 9))
    live, first = lw.Live(model), tiny.ids(9)
    live.update(first, question)
    for prompt in ([*first, 44], [*first[:5], 12, 80]):
        found = live.update(prompt, question)[0]
        expected = question.run(model.trace(prompt))
        assert found.component == expected.component
        assert found.token_ids.tolist() == prompt
        for name, value in vars(expected).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                np.testing.assert_allclose(getattr(found, name), value, rtol=1e-4, atol=1e-4)
    assert live.passes >= 3


def test_it_comes_in_parts_and_keeps_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwidget.analysis import logit_lens

    live = lw.Live(lw.HookedModel(tiny.tiny("llama")))
    question, prompt = lw.TunedLens(random_translators(live.model), k=2), tiny.ids(14)
    parts: list[Any] = []
    live.update(prompt, question, previewed=lambda _, part: parts.append(part), on_screen="1-2")
    assert [tuple(cell) for cell in np.argwhere(parts[0].done)] == [(1, 13), (2, 13)]
    assert parts[0].component == "tuned resid_pre"
    live.prepare()
    decoded: list[int] = []
    cells = logit_lens.lens_cells

    def counted(question: Any, trace: Any, layers: Any, first: int, end: int, *vectors: Any) -> Any:
        decoded.append(end - first)
        return cells(question, trace, layers, first, end, *vectors)

    monkeypatch.setattr(logit_lens, "lens_cells", counted)
    live.update([*prompt, 44], question)
    assert sum(decoded) == 1


def test_half_precision_is_translated_in_fp32() -> None:
    model = lw.HookedModel(tiny.tiny("llama").to(torch.bfloat16))
    trace, translators = model.trace(tiny.ids(5)), random_translators(model)
    lens = lw.TunedLens(translators, tokens=(8,)).run(trace)
    stream = trace.resid_pre[1].float()
    moved = stream + stream @ torch.tensor(translators.weights[1]).T + torch.tensor(translators.biases[1])
    np.testing.assert_allclose(lens.token_log_probs[1, :, 0], model.tail(moved).log_softmax(-1)[:, 8], atol=1e-4)


def test_translators_are_values() -> None:
    model = tiny.hooked("gpt2")
    one, same, other = (random_translators(model, seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert one != "one"
    assert lw.TunedLens(one, [1, 0]) == lw.TunedLens(same, (1, 0))
    assert len({lw.TunedLens(one), lw.TunedLens(same), lw.TunedLens(other)}) == 2
    assert one.fingerprint in repr(one)
    # Of another form, though the numbers are the same.
    zeros = lw.Translators(np.zeros((4, 1, 1), np.float32), np.zeros((4, 1), np.float32))
    assert zeros != lw.Translators(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2), np.float32))


def test_nobody_can_write_into_them() -> None:
    weights = np.zeros((2, 3, 3), np.float32)
    translators = lw.Translators(weights, np.zeros((2, 3), np.float32))
    fingerprint = translators.fingerprint
    weights[0, 0, 0] = 5
    assert translators.weights[0, 0, 0] == 0
    assert lw.Translators(translators.weights, translators.biases).fingerprint == fingerprint
    with pytest.raises(ValueError, match="read-only"):
        translators.weights[0, 0, 0] = 1


def test_what_cannot_be_asked() -> None:
    model = tiny.hooked("llama")
    trace, translators = model.trace(tiny.ids(5)), random_translators(model)
    with pytest.raises(lw.QuestionError, match="k >= 1"):
        lw.TunedLens(translators, k=0)
    wrong: Any = "a folder"
    with pytest.raises(lw.QuestionError, match="got str"):
        lw.TunedLens(wrong)
    with pytest.raises(lw.SelectionError, match="7 is out of range"):
        lw.TunedLens(translators, "7").run(trace)
    with pytest.raises(lw.SelectionError, match="Token id 5000"):
        lw.TunedLens(translators, tokens=(5000,)).run(trace)
    for shape, words in (((4, 36), "for 4 layers of width 36"), ((3, 35), "for 3 layers of width 35")):
        with pytest.raises(lw.QuestionError, match=words):
            lw.TunedLens(lw.Translators.untrained(*shape)).run(trace)
    with pytest.raises(lw.QuestionError, match=r"got \[2, 3, 4\] and \[2, 3\]"):
        lw.Translators(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), np.float32))
    with pytest.raises(lw.QuestionError, match="finite"):
        lw.Translators(np.full((1, 2, 2), np.nan, np.float32), np.zeros((1, 2), np.float32))
