"""Attention weights of the chosen layers and heads. Source: science.md, "Attention"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError, SelectionError
from layerwidget.layers import LayerSelection, parse_layers
from layerwidget.model.crowding import leaving_a_core
from layerwidget.model.patterns import weights_from
from layerwidget.questions import OnScreen, steps
from layerwidget.questions.attention import Attention, AttentionGrid
from layerwidget.results import FloatArray
from layerwidget.trace import Trace


@steps(Attention)
@torch.no_grad()
def attention_steps(
    question: Attention, trace: Trace, before: AttentionGrid | None, n_same: int, on_screen: OnScreen
) -> Iterator[AttentionGrid]:
    """The pattern of every chosen head; layers without softmax attention are left out.

    Rows of the first positions are taken from an earlier answer: they see nothing of the rest.

    Raises:
        SelectionError: when layers or heads are out of range.
        MissingComponentError: when none of the chosen layers has attention.
    """
    layers, heads = chosen_heads(question.layers, question.heads, trace)
    n_pos = len(trace.tokens)
    shape = (len(layers), len(heads), n_pos, n_pos)
    # A view of memory that can be written to, as those are that go on with it.
    pattern = np.zeros(shape, dtype=np.float32)[:] if before is None else continued(before.pattern, n_same, n_pos)
    with leaving_a_core(n_pos - n_same):
        each = weights_from([trace.patterns[layer] for layer in layers], n_same, n_pos)
        for index, layer in enumerate(layers if n_same < n_pos else ()):
            checkpoint(f"the attention of layer {layer}")
            rows = next(each).float().cpu().numpy()
            pattern[index, :, n_same:] = rows if len(heads) == len(rows) else rows[list(heads)]
    grid = AttentionGrid(**about_heads(trace, layers, heads), pattern=pattern)
    grid.goes_on_with(before, n_same)
    yield grid


def continued(before: FloatArray, n_same: int, n_pos: int) -> FloatArray:
    """Patterns [layer, head, query, key] with the first rows of others, and zeros in the rows that are to be filled.

    What is appended to goes on in the same memory, which has room for some more positions: nothing is copied. Where
    something is taken away, there is new room at once, for most of the time something else is typed in its place.
    """
    room = before.copy() if before.base is None else before.base
    # A row that is filled is not zero: it belongs to an earlier answer, which went on differently.
    if n_same == n_pos or room.shape[-1] < n_pos or room[:, :, n_same:n_pos].any():
        side = n_pos + max(16, n_pos // 16)
        # Of numpy, which gets large memory from the system in large pages: that takes half as long.
        larger = np.empty((*before.shape[:2], side, side), dtype=np.float32)
        # Every number is written once, by all cores: most of them are the old ones.
        new = torch.from_numpy(larger)
        new[:, :, :n_same, :n_same] = torch.from_numpy(room)[:, :, :n_same, :n_same]
        new[:, :, :n_same, n_same:] = 0
        new[:, :, n_same:] = 0
        room = larger
    return room[:, :, :n_pos, :n_pos]


def chosen_heads(
    layers_asked: LayerSelection, heads_asked: LayerSelection, trace: Trace
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers that have attention, and the heads, of a selection.

    Raises:
        SelectionError: when layers or heads are out of range, or the layers differ in their number of heads.
        MissingComponentError: when none of the layers has attention.
    """
    layers = layers_with_attention(layers_asked, trace)
    n_heads = {trace.anatomy.layers[layer].n_heads for layer in layers}
    if len(n_heads) > 1:
        raise SelectionError(
            f"The layers {layers} have different numbers of heads ({sorted(n_heads)}). Ask for them apart."
        )
    return layers, parse_layers(heads_asked, n_heads.pop(), "head")


def layers_with_attention(layers_asked: LayerSelection, trace: Trace) -> tuple[int, ...]:
    """The layers of a selection that have attention.

    Raises:
        SelectionError: when layers are out of range.
        MissingComponentError: when none of them has attention.
    """
    wanted = parse_layers(layers_asked, trace.anatomy.n_layers)
    layers = tuple(layer for layer in wanted if layer in trace.attention_layers)
    if not layers:
        raise MissingComponentError(
            f"None of the layers {wanted} of {trace.model.name} has attention weights; "
            f"layers with attention: {trace.attention_layers}."
        )
    return layers


def about_heads(trace: Trace, layers: tuple[int, ...], heads: tuple[int, ...]) -> dict[str, Any]:
    """The fields of `HeadGrid`."""
    anatomy = trace.anatomy
    return {
        **about(trace, layers),
        "heads": heads,
        "kv_heads": tuple(head // max(1, anatomy.n_heads // anatomy.n_kv_heads) for head in heads),
        "causal": bool(anatomy.causal),
        "attention_layers": trace.attention_layers,
    }
