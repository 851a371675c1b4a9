"""Whether the streams of a trace are the hidden states that transformers returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from layerwidget.trace import Trace
from tests.conformance.compare import DisagreementError, error


def check_streams(trace: Trace, told: Sequence[Sequence[torch.Tensor]], n_layers: int | None) -> None:
    """The inputs of the layers are hidden states of transformers, in that order.

    Args:
        trace: of one stack.
        told: what transformers returned as hidden states; of some models several streams.
        n_layers: how many layers the configuration says, which counts where there are not as many hidden states.
    """
    found = trace.anatomy.n_layers
    lengths = [len(states) for states in told]
    if found + 1 not in lengths and found != n_layers:
        counts = f"the configuration says {n_layers}" if n_layers else f"there are {lengths} hidden states"
        raise DisagreementError(f"{found} layers found, {counts}")
    entering = [trace.activations["resid_pre"][layer] for layer in range(found)]
    leaving = [trace.activations["resid_post"][layer] for layer in range(found - 1)]
    off = [
        _farthest(streams, [_rows(trace, state) for state in states[first:]], len(states) == found + 1)
        for states in told
        for streams, first in ((entering, 0), (leaving, 1), (leaving, 0))  # architectures differ in what they return
        if any(_rows(trace, state) for state in states)
    ]
    if off and min(off)[0] > 1e-4:
        worst, layer = min(off)
        raise DisagreementError(
            f"the stream at layer {layer} is no hidden state of transformers, or in another order (off by {worst:.1e})"
        )


def _farthest(
    streams: Sequence[torch.Tensor], states: Sequence[Sequence[torch.Tensor]], one_each: bool
) -> tuple[float, int]:
    """The error, and the layer, of the first stream that is not the hidden state that it should be.

    Args:
        streams: of all layers.
        states: for each hidden state, what of it may be the stream.
        one_each: whether the states are those of these layers; else each comes after the one before.
    """
    start = 0
    for layer, stream in enumerate(streams):
        candidates = states[layer : layer + 1] if one_each else states[start:]
        errors = [min((error(stream, rows) for rows in held), default=math.inf) for held in candidates]
        match = next((index for index, off in enumerate(errors) if off <= 1e-4), None)
        if match is None:
            return min(errors, default=math.inf), layer
        start += match + 1
    return 0.0, 0


def _rows(trace: Trace, state: torch.Tensor) -> list[torch.Tensor]:
    """What of a hidden state may be the stream, each of shape [pos, d_model]: some hold more than the positions."""
    n_pos, layout = len(trace.tokens), replace(trace.anatomy.layout, place="all")
    if layout.axes == "batch d_model pos" and state.shape[-1] == layout.d_model:  # transformers turns what it returns
        layout = replace(layout, axes="batch pos d_model")
    if state.numel() % layout.d_model:
        return []
    rows = layout.rows(state)
    starts = {*range(0, len(rows) - n_pos + 1, n_pos), len(rows) - n_pos}
    return [rows[start : start + n_pos] for start in starts if start >= 0]
