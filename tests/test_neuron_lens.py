"""The logit lens of one neuron's output, against hooks on plain transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import layerwidget as lw
import layerwidget.analysis  # registers the answers
from layerwidget.model.continuation import Continuation
from layerwidget.questions import OnScreen
from tests import tiny
from tests.test_neurons import DOWN, hooked, seen_by_hand, values_by_hand

#: What an FFN's output is multiplied by before it is added.
FACTOR = {"granite": 0.6}


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "falcon", "granite"])
@pytest.mark.parametrize("n_pos", [1, 9])
def test_it_is_that_of_what_the_strongest_neuron_writes(kind: str, n_pos: int) -> None:
    model = hooked(kind)
    lens = lw.LogitLens(component="neuron_out", tokens=(5, 60)).run(model.trace(tiny.ids(n_pos)))
    assert (lens.component, lens.layers) == ("neuron_out", tuple(range(model.anatomy.n_layers)))
    assert lens.neurons is not None
    for layer in lens.layers:
        path = DOWN[kind].format(layer)
        read, _ = seen_by_hand(model.hf_model, path, tiny.ids(n_pos))
        values = values_by_hand(model.hf_model, path)
        strongest = (read.abs() * values.norm(dim=-1)).argmax(-1)
        np.testing.assert_array_equal(lens.neurons[layer], strongest)
        written = read.gather(-1, strongest[:, None]) * values[strongest] * FACTOR.get(kind, 1.0)
        log_probs = model.tail(written).log_softmax(-1)
        np.testing.assert_allclose(lens.token_log_probs[layer], log_probs[:, [5, 60]], atol=1e-4)


@pytest.mark.parametrize("kind", ["gemma3", "causal/olmo2", "mixtral", "gpt_oss", "causal/deepseek_v3"])
def test_it_is_that_of_the_neuron_after_post_norm_and_router(kind: str) -> None:
    model = hooked(kind)
    trace = model.trace(tiny.ids(7))
    lens = lw.LogitLens(component="neuron_out", k=4).run(trace)
    assert lens.neurons is not None
    for row, layer in enumerate(lens.layers):
        for position in (0, 4, 6):
            one = lw.Neurons(layer, position, k=1, n_tokens=4).run(trace)
            assert lens.neurons[row, position] == one.neurons[0]
            assert one.lens_probs is not None
            np.testing.assert_allclose(lens.top_probs[row, position], one.lens_probs[0], atol=1e-5)


def test_one_neuron_is_followed_in_its_layer() -> None:
    model = hooked("gpt2")
    trace = model.trace(tiny.ids(9))
    lens = lw.LogitLens(component="neuron_out", neuron=(1, 7), tokens=(5, 60)).run(trace)
    strongest = lw.LogitLens(component="neuron_out").run(trace)
    assert lens.neurons is not None
    assert strongest.neurons is not None
    assert lens.neurons[1].tolist() == [7] * 9
    np.testing.assert_array_equal(lens.neurons[[0, 2]], strongest.neurons[[0, 2]])
    read, _ = seen_by_hand(model.hf_model, DOWN["gpt2"].format(1), tiny.ids(9))
    written = read[:, 7, None] * values_by_hand(model.hf_model, DOWN["gpt2"].format(1))[7]
    np.testing.assert_allclose(lens.token_log_probs[1], model.tail(written).log_softmax(-1)[:, [5, 60]], atol=1e-4)


def test_a_neuron_whose_expert_was_not_chosen_adds_nothing() -> None:
    model = hooked("mixtral")
    trace = model.trace(tiny.ids(9))
    experts = lw.Neurons(1).run(trace).experts
    assert experts is not None
    here = (experts == 0).any(-1)
    assert 0 < here.sum() < 9
    lens = lw.LogitLens("1", component="neuron_out", neuron=(1, 2), k=1).run(trace)
    assert lens.neurons is not None
    np.testing.assert_array_equal(lens.neurons[0], np.where(here, 2, -1))
    alone = model.tail(torch.zeros(1, model.anatomy.d_model)).softmax(-1).max()
    np.testing.assert_allclose(lens.top_probs[0, ~here, 0], float(alone), atol=1e-6)


def test_an_edit_decodes_what_is_new() -> None:
    model = tiny.hooked("llama")
    question = lw.LogitLens(component="neuron_out", k=2)
    going = Continuation(model)
    before = question.run(going.trace(model.tokenize(tiny.ids(12))))
    going.prepare()
    prompt = [*tiny.ids(5), *tiny.ids(8, seed=6)]
    *parts, found = question.answers(going.trace(model.tokenize(prompt)), before, 5, OnScreen((1, 2), 7, 9))
    assert not parts[0].complete
    expected = question.run(model.trace(prompt))
    np.testing.assert_array_equal(found.neurons, expected.neurons)
    np.testing.assert_allclose(found.top_probs, expected.top_probs, atol=1e-4)


def test_what_cannot_be_decoded_is_said() -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(4))
    with pytest.raises(lw.QuestionError, match="A neuron goes with component='neuron_out'; got 'mlp_out'"):
        lw.LogitLens(component="mlp_out", neuron=(1, 2))
    with pytest.raises(lw.SelectionError, match=r"Neuron 9999 is out of range: layer 1 has .* neurons, 0 to"):
        lw.LogitLens(component="neuron_out", neuron=(1, 9999)).run(trace)
    skipped = tiny.hooked("llama").trace(tiny.ids(4), interventions=(lw.SkipLayers("1"),))
    assert 1 not in lw.LogitLens(component="neuron_out").run(skipped).layers
    with pytest.raises(lw.SelectionError, match=r"None of the layers \(1,\) has 'neuron_out'"):
        lw.LogitLens("1", component="neuron_out").run(skipped)


@pytest.mark.parametrize("neuron", [None, (1, 5)])
def test_an_answer_that_was_given_up_half_way_is_finished(neuron: tuple[int, int] | None) -> None:
    model = hooked("llama")
    trace = model.trace(tiny.ids(12))
    question = lw.LogitLens(component="neuron_out", neuron=neuron)
    part = next(iter(question.answers(trace, None, 0, OnScreen((1, 2), 8, 12))))
    assert not part.complete
    *_, found = question.answers(trace, part, 12, OnScreen((1, 2), 8, 12))
    expected = question.run(trace)
    np.testing.assert_array_equal(found.neurons, expected.neurons)
    np.testing.assert_array_equal(found.top_ids, expected.top_ids)
    np.testing.assert_allclose(found.top_probs, expected.top_probs, atol=1e-6)
