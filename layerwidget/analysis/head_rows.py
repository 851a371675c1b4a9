"""What one attention head adds to the stream, computed when somebody decodes it, and kept while they do."""

from __future__ import annotations

import torch

from layerwidget.model.head_writing import head_writing
from layerwidget.trace import Trace

#: So many positions of a layer are computed together, and kept until others are asked for.
_WINDOW = 32


class HeadRows:
    """What the same head of each layer adds to the stream, after a post-norm and a multiplier; no biases.

    Args:
        trace: a trace.
        head: query-head number.
    """

    def __init__(self, trace: Trace, head: int) -> None:
        self._trace = trace
        self._head = head
        # Layer -> the first position of the window that is held, and its rows.
        self._held: dict[int, tuple[int, torch.Tensor]] = {}

    def __call__(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """At some positions, shape [stop - start, d_model], fp32.

        Raises:
            MissingComponentError: when the heads of the layer cannot be told apart.
        """
        first, held = self._held.get(layer, (0, None))
        if held is not None and first <= start and stop <= first + len(held):
            return held[start - first : stop - first]
        begin, end = start, stop
        # The last position is wanted first, and at once: the others can wait.
        if held is not None or stop - start > 1:
            # Whoever goes forward has been told what is before.
            begin -= begin % _WINDOW if held is None or start < first else 0
            end = min(len(self._trace.tokens), max(stop, begin + _WINDOW))
        self._held[layer] = begin, self._rows(layer, begin, end)
        return self(layer, start, stop)

    def _rows(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """Of what all heads have read at some positions, what this one adds."""
        pattern, values = self._trace.pattern_between(layer, start, stop), self._trace.head_values(layer)
        n_keys = min(pattern.shape[-1], values.shape[-2])
        outputs = pattern[..., :n_keys] @ values[:, :n_keys]
        writing = head_writing(self._trace, layer, outputs, start)
        return writing.added(outputs[self._head].to(writing.W_O.device) @ writing.W_O[self._head])
