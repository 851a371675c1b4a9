"""What the neuron that contributes most adds to the stream, at each of some positions; or one that is named.

Source: science.md, "FFN as key-value memory".
"""

from __future__ import annotations

import torch

from layerwidget.cancellation import checkpoint
from layerwidget.model.ffn_again import FfnAgain
from layerwidget.model.neuron_memory import memory_of
from layerwidget.model.neuron_writing import norm_after, written_by_experts
from layerwidget.model.running import inference
from layerwidget.trace import Trace

#: Positions that go through an FFN at once: all that it computes of them is held.
_AT_ONCE = 128


@torch.no_grad()
def neuron_writes(
    trace: Trace, layer: int, start: int, stop: int, neuron: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """At the positions from `start` to before `stop`: which neuron it is, and what it adds to the stream.

    Args:
        trace: a trace.
        layer: which layer.
        start: the first position.
        stop: the one after the last.
        neuron: whose output is wanted at every position; the strongest at each where None.

    Returns:
        Numbers as `NeuronGrid` has them, shape [pos], and `m_i v_i` after a norm, multiplier and router's weight, shape
        [pos, d_model], fp32. A neuron whose expert was not chosen adds zero, and has the number -1 there.

    Raises:
        MissingComponentError: when the FFN cannot be called by itself, does not give what the layer added, or is not
            the sum over its neurons.
    """
    numbers, added = [], []
    with trace.model.lock, inference(trace.model.hf_model):
        again = FfnAgain.of(trace, layer, start)
        read = _of_experts if again.ffn.n_experts else _of_one
        for first in range(start, stop, _AT_ONCE):
            checkpoint(f"the neurons of layer {layer}, position {first}")
            found = read(again, first, min(first + _AT_ONCE, stop), neuron)
            numbers.append(found[0])
            added.append(found[1])
    return torch.cat(numbers), torch.cat(added)


def _of_one(again: FfnAgain, start: int, stop: int, neuron: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    seen = again.watch(start, stop)
    memory = memory_of(again, seen, seen.output)
    if neuron is None:
        lengths = torch.linalg.vector_norm(memory.values, dim=-1)
        numbers = (memory.activations.abs() * lengths).argmax(-1)
    else:
        numbers = torch.full((stop - start,), neuron, device=memory.activations.device)
    activations = memory.activations.gather(-1, numbers[:, None])
    written = activations * memory.scale * memory.values[numbers]
    norm = norm_after(again, seen.output)
    return numbers, (written if norm is None else norm.linear(written)) * again.factor


def _of_experts(again: FfnAgain, start: int, stop: int, neuron: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    numbers, added = [], []
    for position in range(start, stop):
        writing = written_by_experts(again, position)
        held = writing.numbers.to(writing.contributions.device)
        chosen = writing.contributions.argmax()[None] if neuron is None else (held == neuron).nonzero()[:, 0]
        numbers.append(held[chosen] if len(chosen) else held.new_full((1,), -1))
        added.append(writing.added(chosen) if len(chosen) else torch.zeros_like(writing.raw)[None])
    return torch.cat(numbers), torch.cat(added)
