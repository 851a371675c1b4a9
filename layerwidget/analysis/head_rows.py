"""What one attention head adds to the stream, computed when somebody decodes it, and kept while they do."""

from __future__ import annotations

import torch

from layerwidget.model.head_writing import head_writing
from layerwidget.trace import Trace


class HeadRows:
    """What the same head of each layer adds to the stream, after a post-norm and a multiplier; no biases.

    Args:
        trace: a trace.
        head: query-head number.
        first: nobody asks for positions before this one.
    """

    def __init__(self, trace: Trace, head: int, first: int) -> None:
        self._trace = trace
        self._head = head
        self._first = first
        self._held: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """At some positions, shape [stop - start, d_model], fp32.

        Raises:
            MissingComponentError: when the heads of the layer cannot be told apart.
        """
        if layer in self._held:
            return self._held[layer][start - self._first : stop - self._first]
        if stop - start == 1:
            # The last position is wanted first, and at once: the others can wait.
            weights, values = self._trace.head_row(layer, start)
            return self._added(layer, torch.einsum("hk,hkd->hd", weights, values)[:, None], start)
        values = self._trace.head_values(layer)
        pattern = self._trace.pattern_from(layer, self._first)[..., : values.shape[-2]]
        self._held[layer] = self._added(layer, pattern @ values, self._first)
        return self(layer, start, stop)

    def _added(self, layer: int, outputs: torch.Tensor, first: int) -> torch.Tensor:
        """Of what all heads have read from a position on, what this one adds."""
        writing = head_writing(self._trace, layer, outputs, first)
        return writing.added(outputs[self._head].to(writing.W_O.device) @ writing.W_O[self._head])
