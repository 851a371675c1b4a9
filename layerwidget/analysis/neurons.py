"""The FFN as key-value memory: the strongest neurons of a layer, and what their value vectors promote.

Source: science.md, "FFN as key-value memory".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.errors import MissingComponentError, SelectionError
from layerwidget.model.neuron_writing import NeuronReading, NeuronWriting, neuron_reading
from layerwidget.model.unembedding import promotion
from layerwidget.questions import OnScreen, answers, steps
from layerwidget.questions.neurons import ActivationGrid, NeuronActivations, NeuronGrid, Neurons
from layerwidget.trace import Trace

_NO_WORDS = ("promoted_ids", "promoted_logits", "demoted_ids", "demoted_logits")


@steps(Neurons)
@torch.no_grad()
def neuron_steps(
    question: Neurons, trace: Trace, before: NeuronGrid | None, n_same: int, on_screen: OnScreen
) -> Iterator[NeuronGrid]:
    """The neurons that contribute most at one position, and one neuron over the whole prompt.

    The layer's own FFN is called again on the stream that the trace holds; the model does not run. What is known of
    every position is taken from an earlier answer at the first ones: they see nothing of the rest.

    Raises:
        SelectionError: when layer, position or neuron are out of range.
        MissingComponentError: when the layer's FFN is not known to be a sum over neurons.
    """
    layer, position = _place(question, trace)
    # Something is always read: of a prompt that was shortened, its last position.
    kept = 0 if before is None else min(n_same, len(trace.tokens) - 1)
    reading = neuron_reading(trace, layer, position, question.neuron, kept)
    chosen, strongest = _strongest(reading.writing, question.k)
    words, why = _promoted(trace, reading.writing, chosen, position, question.n_tokens)
    lens = _lens(trace, reading.writing, chosen, position, question.n_tokens)
    shown = {int(token) for name, found in (words | lens).items() if "ids" in name and found is not None
             for token in found.flat}  # fmt: skip
    yield NeuronGrid(
        **about(trace, (layer,), shown),
        position=position,
        kind="experts" if reading.n_experts else "gated" if reading.gated else "plain",
        n_neurons=reading.n_neurons,
        n_experts=reading.n_experts,
        **strongest,
        **words,
        **lens,
        neuron=question.neuron,
        by_position=_joined(before, "by_position", kept, reading.by_position),
        experts=_joined(before, "experts", kept, reading.experts),
        router_weights=_joined(before, "router_weights", kept, reading.shares),
        note=" ".join([*_notes(reading), *([why] if why else [])]),
    )


@answers(NeuronActivations)
@torch.no_grad()
def neuron_activations(question: NeuronActivations, trace: Trace) -> ActivationGrid:
    """The activations of all neurons at one position.

    Raises:
        SelectionError: when layer or position are out of range.
        MissingComponentError: when the layer's FFN is not known to be a sum over neurons.
    """
    layer, position = _place(Neurons(question.layer, question.position), trace)
    reading = neuron_reading(trace, layer, position)
    if reading.writing is None:
        raise MissingComponentError(f"The neurons of layer {layer} cannot be told apart: {reading.why}")
    return ActivationGrid(
        **about(trace, (layer,)),
        position=position,
        neurons=_array(reading.writing.numbers),
        activations=_array(reading.writing.activations),
        contributions=_array(reading.writing.contributions),
    )


def _place(question: Neurons, trace: Trace) -> tuple[int, int]:
    """Layer and position, counted from the start."""
    anatomy = trace.anatomy
    for what, asked, n in (
        ("Layer", question.layer, anatomy.n_layers),
        ("Position", question.position, len(trace.tokens)),
    ):
        if not -n <= asked < n:
            raise SelectionError(f"{what} {asked} is out of range: there are {n}, 0 to {n - 1}.")
    layer = question.layer % anatomy.n_layers
    mlp = anatomy.layers[layer].mlp
    ffn = mlp.feed_forward if mlp else None
    n_neurons = ffn.n_neurons * max(1, ffn.n_experts) if ffn else 0
    if question.neuron is not None and ffn is not None and not 0 <= question.neuron < n_neurons:
        raise SelectionError(
            f"Neuron {question.neuron} is out of range: layer {layer} has {n_neurons} neurons, 0 to {n_neurons - 1}."
        )
    return layer, question.position % len(trace.tokens)


def _strongest(writing: NeuronWriting | None, k: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """Which neurons contribute most, and their numbers; none where they are not told apart."""
    if writing is None:
        nothing = np.zeros(0, dtype=np.float32)
        empty = {"neurons": nothing.astype(np.int64), "activations": nothing, "contributions": nothing}
        halves = {"gates": None, "ups": None}
        return torch.zeros(0, dtype=torch.long), empty | halves | {"total": 0.0, "n_half": 0, "error": float("nan")}
    contributions = writing.contributions
    ordered, order = contributions.sort(descending=True, stable=True)
    chosen = order[:k]
    total = float(ordered.double().sum())
    gates, ups = (None, None) if writing.halves is None else writing.halves
    return chosen, {
        "neurons": _array(writing.numbers.to(chosen.device)[chosen]),
        "activations": _array(writing.activations[chosen]),
        "gates": None if gates is None else _array(gates[chosen]),
        "ups": None if ups is None else _array(ups[chosen]),
        "contributions": _array(ordered[:k]),
        "total": total,
        "n_half": int((ordered.double().cumsum(0) < total / 2).sum()) + 1 if total else 0,
        "error": writing.error,
    }


def _promoted(
    trace: Trace, writing: NeuronWriting | None, chosen: torch.Tensor, position: int, n_tokens: int
) -> tuple[dict[str, Any], str]:
    """What value vectors promote and demote, or why that is not known."""
    if writing is None:
        return dict.fromkeys(_NO_WORDS), ""
    try:
        found = promotion(trace, writing.values[chosen], position, n_tokens)
    except MissingComponentError as error:
        return dict.fromkeys(_NO_WORDS), f"What neurons promote is not known: {error}"
    arrays = (found.top_ids, found.top_logits, found.bottom_ids, found.bottom_logits)
    return {name: _array(array) for name, array in zip(_NO_WORDS, arrays, strict=True)}, ""


def _lens(
    trace: Trace, writing: NeuronWriting | None, chosen: torch.Tensor, position: int, n_tokens: int
) -> dict[str, Any]:
    """The logit lens of what each neuron adds."""
    if writing is None or trace.held_logits is None:
        return {"lens_ids": None, "lens_probs": None}
    device = trace.logits_device
    probs = trace.model.tail(writing.added(chosen).to(device)).softmax(-1)
    top, ids = probs.topk(min(n_tokens, probs.shape[-1]))
    return {"lens_ids": _array(ids), "lens_probs": _array(top)}


def _notes(reading: NeuronReading) -> list[str]:
    if reading.writing is None:
        return [reading.why]
    notes = []
    if not reading.writing.whole:
        notes.append("Experts that every token goes through add to what this FFN makes; their neurons are not listed.")
    if reading.gated and reading.writing.halves is None:
        notes.append("Gate and up are not told apart.")
    return notes


def _joined(before: NeuronGrid | None, name: str, kept: int, rows: torch.Tensor | None) -> Any:
    """The first rows of an array of an earlier answer, and those that were read."""
    read = _array(rows)
    return read if before is None or read is None else np.concatenate([getattr(before, name)[:kept], read])


def _array(values: torch.Tensor | None) -> Any:
    """As numpy, in fp32 or whole numbers."""
    if values is None:
        return None
    return (values.float() if values.is_floating_point() else values.long()).cpu().numpy()
