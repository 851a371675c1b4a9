"""What each neuron of an FFN adds: its activation times its value vector, which is its row of the down projection.

Every time somebody asks, the FFN is called again on the stream of the trace and must give what the layer added, and
the sum over neurons must give what the FFN made. Source: science.md, "FFN as key-value memory".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError
from layerwidget.model.experts import ExpertsCall
from layerwidget.model.ffn_again import FfnAgain
from layerwidget.model.frozen_norm import FrozenNorm, frozen_norm
from layerwidget.model.neuron_memory import TOLERANCE, Memory, activations_of, memory_of, multiple, not_the_sum
from layerwidget.model.running import inference
from layerwidget.rounding import relative_error
from layerwidget.trace import Trace

#: Positions that go through an FFN at once: all that it computes of them is held.
_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class NeuronWriting:
    """How the neurons of one layer write at one position; with experts, those of the experts that are chosen there.

    Attributes:
        numbers: which neurons they are, shape [neuron]; with experts, expert * n_neurons + the number within it.
        activations: `m_i`, shape [neuron], fp32.
        halves: of a gated FFN, `act(g_i . x)` and `u_i . x`, each of that shape; None without, and where the two cannot
            be told apart.
        scales: what else each neuron is multiplied by: the router's weight of its expert, a factor that few FFNs have.
            Same shape.
        values: `v_i`, shape [neuron, d_model], fp32.
        bias: what is added to their sum, shape [d_model].
        raw: what they make together, as the FFN itself has it, before a norm after it and factors, shape [d_model].
        whole: whether that is all that it made; shared experts, which every token goes through, may add to it.
        norm: the norm through which the sum is added, frozen at it; None without.
        factor: what is multiplied last: a number, or shape [d_model].
    """

    numbers: torch.Tensor
    activations: torch.Tensor
    halves: tuple[torch.Tensor, torch.Tensor] | None
    scales: torch.Tensor
    values: torch.Tensor
    bias: torch.Tensor
    raw: torch.Tensor
    whole: bool
    norm: FrozenNorm | None
    factor: torch.Tensor | float

    @property
    def contributions(self) -> torch.Tensor:
        """`|m_i| ||v_i||`, times the router's weight, shape [neuron]."""
        lengths: torch.Tensor = torch.linalg.vector_norm(self.values, dim=-1)
        return (self.activations * self.scales).abs() * lengths

    @property
    def error(self) -> float:
        """How far the sum over neurons and the bias is from `raw`, as a share of its largest value."""
        return relative_error((self.activations * self.scales) @ self.values + self.bias, self.raw)

    def added(self, chosen: torch.Tensor) -> torch.Tensor:
        """What some of the neurons add to the stream, shape [n, d_model]."""
        written = (self.activations * self.scales)[chosen, None] * self.values[chosen]
        return (written if self.norm is None else self.norm.linear(written[:, None])[:, 0]) * self.factor


@dataclass(frozen=True, eq=False)
class NeuronReading:
    """What was read of a layer's FFN.

    Attributes:
        n_neurons: how many neurons it has; of one expert, where there are several.
        n_experts: how many experts it has; 0 without.
        gated: whether a product of two halves makes the neurons.
        writing: how they write at one position; None where the experts cannot be taken apart.
        why: the reason why not; or empty.
        experts: which experts each position goes through from the first one that was asked for on, shape
            [pos, n_active]; None without experts.
        shares: the router's weights of them, same shape.
        by_position: the activation of one neuron at these positions, shape [pos], NaN where its expert was not chosen;
            None where none was asked for.
    """

    n_neurons: int
    n_experts: int
    gated: bool
    writing: NeuronWriting | None
    why: str = ""
    experts: torch.Tensor | None = None
    shares: torch.Tensor | None = None
    by_position: torch.Tensor | None = None


@torch.no_grad()
def neuron_reading(trace: Trace, layer: int, position: int, neuron: int | None = None, first: int = 0) -> NeuronReading:
    """How the neurons of one layer write at one position.

    Args:
        trace: a trace.
        layer: which layer.
        position: which position, from 0.
        neuron: whose activation is wanted at every position; or None.
        first: the first position at which that, and experts, are read.

    Raises:
        MissingComponentError: when the FFN cannot be called by itself, does not give what the layer added, or is not
            the sum over its neurons.
    """
    with trace.model.lock, inference(trace.model.hf_model):
        again = FfnAgain.of(trace, layer, position)
        read = _of_experts if again.ffn.n_experts else _of_one
        return read(again, position, neuron, first)


def _of_one(again: FfnAgain, position: int, neuron: int | None, first: int) -> NeuronReading:
    seen = again.watch(position, position + 1)
    memory = memory_of(again, seen, seen.output)
    n_neurons = memory.values.shape[0]
    writing = NeuronWriting(
        numbers=torch.arange(n_neurons),
        activations=memory.activations[0],
        halves=_first(memory.halves),
        scales=torch.full_like(memory.activations[0], memory.scale),
        values=memory.values,
        bias=memory.bias * memory.scale,
        raw=seen.output[0],
        whole=True,
        norm=norm_after(again, seen.output),
        factor=again.factor,
    )
    by_position = None
    if neuron is not None:
        watched = (again.watch(start, stop) for start, stop in _chunks(again, first))
        by_position = torch.cat([activations_of(again, seen)[:, neuron].clone() for seen in watched])
    return NeuronReading(n_neurons, 0, again.ffn.gated, writing, by_position=by_position)


def _of_experts(again: FfnAgain, position: int, neuron: int | None, first: int) -> NeuronReading:
    experts, shares, by_position = [], [], []
    width = again.ffn.n_neurons
    for start, stop in _chunks(again, first):
        call = ExpertsCall.of(again, again.stream(start, stop))
        again.check(call.output, start)
        experts.append(call.experts)
        shares.append(call.shares)
        if neuron is not None:
            by_position.append(_of_one_expert(again, call, *divmod(neuron, width)))
    writing, why = None, ""
    try:
        writing = written_by_experts(again, position)
    except MissingComponentError as error:
        why = str(error)
    return NeuronReading(
        width, again.ffn.n_experts, again.ffn.gated, writing, why,
        torch.cat(experts), torch.cat(shares), torch.cat(by_position) if by_position else None,
    )  # fmt: skip


def written_by_experts(again: FfnAgain, position: int) -> NeuronWriting:
    """The neurons of all experts that one position goes through, side by side."""
    call = ExpertsCall.of(again, again.stream(position, position + 1))
    here = torch.zeros(1, dtype=torch.long, device=call.raw.device)
    numbers = [int(expert) for expert in call.experts[0]]
    memories = [_expert(again, call, expert, here) for expert in numbers]
    # Few FFNs multiply the sum over experts by a number.
    scale = multiple(call.output, call.raw)
    whole = relative_error(scale * call.raw, call.output) <= TOLERANCE
    shares = call.shares[0] * call.shares.new_tensor([memory.scale for memory in memories]) * (scale if whole else 1.0)
    width = again.ffn.n_neurons
    halves = [memory.halves for memory in memories]
    gates, ups = [[one[half][0] for one in halves if one] for half in (0, 1)]
    writing = NeuronWriting(
        numbers=torch.cat([expert * width + torch.arange(width) for expert in numbers]),
        activations=torch.cat([memory.activations[0] for memory in memories]),
        halves=(torch.cat(gates), torch.cat(ups)) if all(halves) else None,
        scales=shares.repeat_interleave(width),
        values=torch.cat([memory.values for memory in memories]),
        bias=torch.stack([share * memory.bias for share, memory in zip(shares, memories, strict=True)]).sum(0),
        raw=(call.output if whole else call.raw)[0],
        whole=whole,
        norm=norm_after(again, call.output),
        factor=again.factor,
    )
    if not writing.error <= TOLERANCE:
        raise MissingComponentError(not_the_sum(again, writing.error))
    return writing


def _of_one_expert(again: FfnAgain, call: ExpertsCall, expert: int, neuron: int) -> torch.Tensor:
    """A neuron's activation at the call's positions, NaN where its expert was not chosen."""
    found = torch.full((len(call.raw),), torch.nan, device=call.raw.device)
    chosen = (call.experts == expert).any(-1).nonzero()[:, 0]
    if len(chosen):
        found[chosen] = _expert(again, call, expert, chosen).activations[:, neuron]
    return found


def _expert(again: FfnAgain, call: ExpertsCall, expert: int, positions: torch.Tensor) -> Memory:
    """The neurons of one expert at some of a call's positions."""
    seen = again.watched(lambda: call.alone(expert, positions))
    return memory_of(again, seen, seen.output, expert)


def norm_after(again: FfnAgain, raw: torch.Tensor) -> FrozenNorm | None:
    """The norm after the FFN, frozen at what it made."""
    norm = again.norm_after
    frozen = None if norm is None else frozen_norm(norm, raw)
    if norm is not None and frozen is None:
        raise MissingComponentError(f"{again.refusal}: the norm after its FFN is not linear for a fixed scale.")
    return frozen


def _first(halves: tuple[torch.Tensor, torch.Tensor] | None) -> tuple[torch.Tensor, torch.Tensor] | None:
    return None if halves is None else (halves[0][0], halves[1][0])


def _chunks(again: FfnAgain, first: int) -> Iterator[tuple[int, int]]:
    """All positions from one on, not too many at once."""
    n_pos = len(again.trace.tokens)
    for start in range(first, n_pos, _AT_ONCE):
        checkpoint(f"the neurons of layer {again.layer}, position {start}")
        yield start, min(start + _AT_ONCE, n_pos)
