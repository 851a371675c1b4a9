"""What every result says of the trace that it was read from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from layerwidget.trace import Trace


def about(trace: Trace, layers: tuple[int, ...], others: Iterable[int] = ()) -> dict[str, Any]:
    """The fields of `Grid`.

    Args:
        trace: the trace.
        layers: layer numbers of the result's rows.
        others: token ids that occur in the result beside the prompt's.
    """
    ids = trace.tokens.ids
    return {
        "layers": layers,
        "n_layers": trace.anatomy.n_layers,
        "token_ids": ids,
        "pieces": trace.model.pieces({*ids.tolist(), *others}),
        "model_name": trace.model.name,
    }
