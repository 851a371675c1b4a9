"""What takes the streams of both traces: how far they point apart."""

from __future__ import annotations

import numpy as np
import torch

from layerwidget.analysis.cosine import cosine
from layerwidget.errors import QuestionError
from layerwidget.layers import LayerSelection, parse_layers
from layerwidget.questions.alignment import aligned
from layerwidget.results import FloatArray
from layerwidget.trace import Trace


@torch.no_grad()
def stream_cosine(a: Trace, b: Trace, layers: LayerSelection = "all") -> FloatArray:
    """Cosine of what leaves each layer in two traces (`resid_post`), shape [layer, column], fp32, -1 to 1.

    The columns are those of `aligned`; NaN where a token is in one of the prompts only. Of two models, those can be
    compared that are checkpoints of one: otherwise each has a basis of its own.

    Raises:
        QuestionError: when the models differ in the number of layers or in the width of the stream.
        SelectionError: when layers are out of range.
    """
    shapes = [(trace.anatomy.n_layers, trace.anatomy.d_model) for trace in (a, b)]
    if shapes[0] != shapes[1]:
        raise QuestionError(f"Streams of one shape have a cosine; got (layers, width) = {shapes[0]} and {shapes[1]}.")
    columns = aligned(a.tokens.ids, b.tokens.ids)
    rows = list(parse_layers(layers, a.anatomy.n_layers))
    streams = [
        trace.resid_post[rows][:, np.maximum(positions, 0)] for trace, positions in ((a, columns.a), (b, columns.b))
    ]
    cosines: FloatArray = cosine(*streams).cpu().numpy().astype(np.float32)
    cosines[:, (columns.a < 0) | (columns.b < 0)] = np.nan
    return cosines
