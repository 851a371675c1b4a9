"""Attention weights of the chosen layers and heads. Source: science.md, "Attention"."""

from __future__ import annotations

import torch

from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError, SelectionError
from layerwidget.layers import parse_layers
from layerwidget.questions import Attention, answers
from layerwidget.results import AttentionGrid
from layerwidget.trace import Trace


@answers(Attention)
@torch.no_grad()
def attention(question: Attention, trace: Trace) -> AttentionGrid:
    """The pattern of every chosen head; layers without softmax attention are left out.

    Raises:
        SelectionError: when layers or heads are out of range.
        MissingComponentError: when none of the chosen layers has attention.
    """
    anatomy = trace.anatomy
    wanted = parse_layers(question.layers, anatomy.n_layers)
    layers = tuple(layer for layer in wanted if layer in trace.attention_layers)
    if not layers:
        raise MissingComponentError(
            f"None of the layers {wanted} of {trace.model.name} has attention weights; "
            f"layers with attention: {trace.attention_layers}."
        )
    patterns = []
    for layer in layers:
        checkpoint(f"the attention of layer {layer}")
        patterns.append(trace.pattern(layer).float().cpu())
    n_heads = {len(pattern) for pattern in patterns}
    if len(n_heads) > 1:
        raise SelectionError(
            f"The layers {layers} have different numbers of heads ({sorted(n_heads)}). Ask for them apart."
        )
    heads = parse_layers(question.heads, n_heads.pop(), "head")
    pattern = torch.stack([layer_pattern[list(heads)] for layer_pattern in patterns])
    return AttentionGrid(
        layers=layers,
        n_layers=anatomy.n_layers,
        token_ids=trace.tokens.ids,
        pieces=trace.model.pieces(trace.tokens.ids.tolist()),
        model_name=trace.model.name,
        heads=heads,
        kv_heads=tuple(head // max(1, anatomy.n_heads // anatomy.n_kv_heads) for head in heads),
        pattern=pattern.numpy(),
        causal=bool(anatomy.causal),
        attention_layers=trace.attention_layers,
    )
