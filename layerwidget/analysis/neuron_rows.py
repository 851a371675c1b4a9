"""What single neurons add to the stream, computed when somebody decodes it, and kept while they do."""

from __future__ import annotations

import numpy as np
import torch

from layerwidget.errors import MissingComponentError, SelectionError
from layerwidget.model.interventions import skipped_layers
from layerwidget.model.strongest_neuron import neuron_writes
from layerwidget.tokens import IntArray
from layerwidget.trace import Trace


class NeuronRows:
    """What one neuron adds in each cell, after a post-norm, a multiplier and the router's weight.

    Args:
        trace: a trace.
        neuron: layer and number of a neuron that is decoded in its layer; in the others, and everywhere without one,
            it is the neuron that contributes most at the position.
        first: nobody asks for positions before this one.
    """

    def __init__(self, trace: Trace, neuron: tuple[int, int] | None, first: int) -> None:
        self._trace = trace
        self._neuron = neuron
        self._first = first
        self._held: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._last: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """At some positions, shape [stop - start, d_model], fp32.

        Raises:
            MissingComponentError: when the neurons of the layer cannot be told apart.
        """
        return self._read(layer, start, stop)[1]

    def numbers(self, layers: tuple[int, ...], start: int, stop: int) -> IntArray:
        """Which neurons they are, shape [layer, stop - start]."""
        return np.stack([self._read(layer, start, stop)[0].cpu().numpy() for layer in layers])

    def _read(self, layer: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        if layer not in self._held and stop - start == 1:
            # The last position is wanted first, and at once: the others can wait.
            place = (layer, start)
            if place not in self._last:
                self._last[place] = self._writes(layer, start, stop)
            return self._last[place]
        if layer not in self._held:
            self._held[layer] = self._writes(layer, self._first, len(self._trace.tokens))
        here = slice(start - self._first, stop - self._first)
        numbers, added = self._held[layer]
        return numbers[here], added[here]

    def _writes(self, layer: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        named = self._neuron[1] if self._neuron is not None and self._neuron[0] == layer else None
        return neuron_writes(self._trace, layer, start, stop, named)


def layers_with_neurons(trace: Trace, neuron: tuple[int, int] | None) -> tuple[int, ...]:
    """Layers that have an FFN of known neurons; those that were skipped have none.

    Raises:
        MissingComponentError: when there are none.
        SelectionError: when there is no neuron of that number in its layer.
    """
    anatomy = trace.anatomy
    skipped = skipped_layers(trace.interventions, anatomy.n_layers)
    ffns = {
        number: layer.mlp.feed_forward
        for number, layer in enumerate(anatomy.layers)
        if layer.mlp is not None and layer.mlp.feed_forward is not None and number not in skipped
    }
    if not ffns:
        raise MissingComponentError(f"{anatomy.name} has no FFN of known neurons, so no neuron's output.")
    if neuron is not None:
        layer, number = neuron
        ffn = ffns.get(layer)
        n_neurons = ffn.n_neurons * max(1, ffn.n_experts) if ffn else 0
        if not 0 <= number < n_neurons:
            have = f"{n_neurons} neurons, 0 to {n_neurons - 1}" if n_neurons else "no known neurons"
            raise SelectionError(f"Neuron {number} is out of range: layer {layer} has {have}.")
    return tuple(ffns)
