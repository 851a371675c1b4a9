"""Attention weights of the chosen layers and heads. Source: science.md, "Attention"."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError, SelectionError
from layerwidget.layers import parse_layers
from layerwidget.questions import Attention, answers, steps
from layerwidget.results import AttentionGrid
from layerwidget.trace import Trace


@answers(Attention)
def attention(question: Attention, trace: Trace) -> AttentionGrid:
    """The pattern of every chosen head; layers without softmax attention are left out.

    Raises:
        SelectionError: when layers or heads are out of range.
        MissingComponentError: when none of the chosen layers has attention.
    """
    return next(attention_steps(question, trace, None, 0, ()))


@steps(Attention)
@torch.no_grad()
def attention_steps(
    question: Attention, trace: Trace, before: AttentionGrid | None, n_same: int, on_screen: tuple[int, ...]
) -> Iterator[AttentionGrid]:
    """The same, with the rows of the first positions from an earlier answer: they see nothing of the rest."""
    layers, heads = _chosen(question, trace)
    n_pos = len(trace.tokens)
    pattern = np.zeros((len(layers), len(heads), n_pos, n_pos), dtype=np.float32)
    if before is not None:
        pattern[:, :, :n_same, :n_same] = before.pattern[:, :, :n_same, :n_same]
    for index, layer in enumerate(layers if n_same < n_pos else ()):
        checkpoint(f"the attention of layer {layer}")
        pattern[index, :, n_same:] = trace.pattern_from(layer, n_same).float().cpu().numpy()[list(heads)]
    yield _grid(trace, layers, heads, pattern)


def _chosen(question: Attention, trace: Trace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers that have attention, and the heads, of a question."""
    wanted = parse_layers(question.layers, trace.anatomy.n_layers)
    layers = tuple(layer for layer in wanted if layer in trace.attention_layers)
    if not layers:
        raise MissingComponentError(
            f"None of the layers {wanted} of {trace.model.name} has attention weights; "
            f"layers with attention: {trace.attention_layers}."
        )
    n_heads = {trace.anatomy.layers[layer].n_heads for layer in layers}
    if len(n_heads) > 1:
        raise SelectionError(
            f"The layers {layers} have different numbers of heads ({sorted(n_heads)}). Ask for them apart."
        )
    return layers, parse_layers(question.heads, n_heads.pop(), "head")


def _grid(trace: Trace, layers: tuple[int, ...], heads: tuple[int, ...], pattern: np.ndarray) -> AttentionGrid:
    anatomy = trace.anatomy
    return AttentionGrid(
        layers=layers,
        n_layers=anatomy.n_layers,
        token_ids=trace.tokens.ids,
        pieces=trace.model.pieces(trace.tokens.ids.tolist()),
        model_name=trace.model.name,
        heads=heads,
        kv_heads=tuple(head // max(1, anatomy.n_heads // anatomy.n_kv_heads) for head in heads),
        pattern=pattern,
        causal=bool(anatomy.causal),
        attention_layers=trace.attention_layers,
    )
