"""Where the heads of a decoder look in the text that the encoder has read. Source: science.md, "Attention"."""

from __future__ import annotations

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError, SelectionError
from layerwidget.layers import parse_layers
from layerwidget.questions import answers
from layerwidget.questions.attention import CrossAttention, CrossAttentionGrid
from layerwidget.trace import Trace


@answers(CrossAttention)
@torch.no_grad()
def cross_attention(question: CrossAttention, trace: Trace) -> CrossAttentionGrid:
    """The pattern of every chosen head; layers that do not attend to an encoder are left out.

    Raises:
        SelectionError: when layers or heads are out of range, or the layers differ in their number of heads.
        MissingComponentError: when none of the chosen layers attends to an encoder.
    """
    wanted = parse_layers(question.layers, trace.anatomy.n_layers)
    layers = tuple(layer for layer in wanted if layer in trace.cross_attention_layers)
    if not layers:
        raise MissingComponentError(
            f"None of the layers {wanted} of {trace.anatomy.name} attends to an encoder; "
            f"layers that do: {trace.cross_attention_layers}."
        )
    patterns = []
    for layer in layers:
        checkpoint(f"the attention of layer {layer} to the encoder")
        patterns.append(trace.cross_pattern(layer).cpu().numpy())
    n_heads = sorted({len(pattern) for pattern in patterns})
    if len(n_heads) > 1:
        raise SelectionError(f"The layers {layers} have different numbers of heads ({n_heads}). Ask for them apart.")
    heads = parse_layers(question.heads, n_heads[0], "head")
    source_ids = trace.stack("encoder").tokens.ids
    return CrossAttentionGrid(
        **about(trace, layers, source_ids.tolist()),
        heads=heads,
        kv_heads=heads,
        causal=False,
        attention_layers=trace.cross_attention_layers,
        source_ids=source_ids,
        pattern=np.stack([pattern[list(heads)] for pattern in patterns]),
    )
