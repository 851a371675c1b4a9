"""Cells of the logit lens: rows of the residual stream through norm and head, some columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch

from layerwidget.analysis.decoding import (
    BLOCK_BYTES,
    BLOCK_WIDTH,
    Columns,
    Final,
    decode,
    decode_in_blocks,
    room_for_logits,
)
from layerwidget.cancellation import checkpoint
from layerwidget.model.crowding import leaving_a_core
from layerwidget.model.decoding import WholeLogits
from layerwidget.questions.lens import LogitLens
from layerwidget.trace import LaterLogits, Trace

#: Layer, first position and the one after the last -> what is decoded, shape [pos, d_model].
RowsOf: TypeAlias = Callable[[int, int, int], torch.Tensor]
#: Is told of layers, the first position and the one after the last, and all arrays of `LensGrid` there.
Put: TypeAlias = Callable[[tuple[int, ...], int, int, dict[str, np.ndarray]], None]
#: The first position and the one after the last.
_Span: TypeAlias = tuple[int, int]
_Cells: TypeAlias = dict[str, torch.Tensor]

#: What is the same in every layer.
OF_POSITION = ("final_ids", "followed_ids")
#: The model's own logits that are made at once, and held while their columns are decoded.
_FINAL_BYTES = 12 * 2**20
#: Probabilities of the model's own prediction that are held while a span is decoded.
_PROBS_BYTES = 8 * 2**20
#: Rows of the stream that are decoded at once; norms hold several copies of them.
_ROWS_BYTES = 6 * 2**20


def lens_cells(
    question: LogitLens,
    trace: Trace,
    layers: tuple[int, ...],
    first: int,
    end: int,
    put: Put,
    rows: RowsOf | None = None,
    n_before: int = 0,
) -> None:
    """All arrays of `LensGrid` of some layers, at the positions from `first` to before `end`.

    Args:
        question: the question.
        trace: the trace.
        layers: of which layers.
        first: the first position.
        end: the one after the last.
        put: told of cells as soon as they are there, in any thread and any order.
        rows: where to take what is decoded from; by default from the trace.
        n_before: at how many positions before `first` the model's own logits are wanted soon: the trace may remember
            them, where they cost next to nothing.
    """
    decoder, d_vocab = _Decoder(question, trace, layers, rows), trace.anatomy.d_vocab
    # Logits that are looked at twice are held meanwhile: to make them again takes longer than anything else.
    in_blocks = trace.model.decodes_in_blocks and not question.jsd
    rows_at_once = min(
        BLOCK_BYTES // (4 * (BLOCK_WIDTH if in_blocks else d_vocab)), _ROWS_BYTES // (4 * trace.anatomy.d_model)
    )
    width = max(1, min(rows_at_once // len(layers), _PROBS_BYTES // (4 * d_vocab)))
    # Few rows are decoded as a whole, the last layer's among them: the head's weights are read once.
    few = decoder.has_ends and 4 * (end - first) * len(layers) * d_vocab <= BLOCK_BYTES
    # Of equal width: a product of few rows takes as long as one of many.
    groups = [(group, list(_evenly(*group, width))) for group in _evenly(first, end, finals_at_once(trace))]
    if few:
        # All of them or none: what is wanted is looked for as a whole.
        fits = 4 * (n_before + (end - first) * len(layers)) * d_vocab <= BLOCK_BYTES
        for start, stop in (span for _, spans in groups for span in spans):
            decoder.with_ends(start, stop, n_before if fits else 0, put)
    else:
        decoder.columns(groups, max(1, rows_at_once // width), in_blocks, put)


def finals_at_once(trace: Trace) -> int:
    """At how many positions the model's own logits are made at once; an encoder makes none."""
    return max(1, _FINAL_BYTES // (4 * max(1, trace.anatomy.d_vocab)))


class _Decoder:
    """Decodes some layers of a trace.

    Args:
        question: the question.
        trace: the trace.
        layers: of which layers.
        rows: where to take what is decoded from; by default from the trace.

    Attributes:
        has_ends: whether the last of the layers decodes to the model's own prediction, which nobody has made yet.
    """

    def __init__(self, question: LogitLens, trace: Trace, layers: tuple[int, ...], rows: RowsOf | None) -> None:
        self._question, self._trace, self._layers = question, trace, layers
        self._rows = rows or partial(trace.rows, question.component)
        ends = rows is None and question.component == "resid_post" and layers[-1] == trace.anatomy.n_layers - 1
        self.has_ends = ends and isinstance(trace.held_logits, LaterLogits)
        d_vocab = trace.anatomy.d_vocab
        self._k, self._n_told = min(question.k, d_vocab), max(1, min(question.follow, d_vocab))
        self._tokens = torch.tensor(question.tokens, dtype=torch.long, device=trace.logits_device)

    def columns(
        self, groups: Sequence[tuple[_Span, Sequence[_Span]]], n_at_once: int, in_blocks: bool, put: Put
    ) -> None:
        """The cells of some positions.

        Args:
            groups: positions whose own logits are made at once, and in which spans they are decoded.
            n_at_once: how many layers are decoded at once.
            in_blocks: whether nobody needs all logits of one of them.
            put: told of them.
        """
        chunks = [self._layers[begin : begin + n_at_once] for begin in range(0, len(self._layers), n_at_once)]
        begun: list[tuple[tuple[int, ...], int, int, torch.Tensor]] = []

        def told(index: int, cells: _Cells) -> None:
            layers, start, stop, top_ids = begun[index]
            put(layers, start, stop, _arrays(cells, top_ids))

        several = self._several(groups, chunks, in_blocks, begun)
        if in_blocks:
            decode_in_blocks(several, self._tokens, self._k, told)
            return
        for columns in several:
            told(len(begun) - 1, decode(columns, self._tokens, self._k, self._question.jsd))
            # The next ones may be made whole, in several copies: these are let go of before.
            del columns

    def _several(
        self,
        groups: Sequence[tuple[_Span, Sequence[_Span]]],
        chunks: Sequence[tuple[int, ...]],
        in_blocks: bool,
        begun: list[tuple[tuple[int, ...], int, int, torch.Tensor]],
    ) -> Iterator[Columns]:
        """What is decoded, chunk by chunk in each span; `begun` hears which it is, and what the model predicts."""
        for (group, group_end), spans in groups:
            every = self._trace.logits_between(group, group_end)
            for start, stop in spans:
                own = every[start - group : stop - group]
                final = _final(own, self._n_told)
                for layers in chunks:
                    # What is there is not multiplied again.
                    held = in_blocks and self.has_ends and len(layers) > 1 and layers[-1] == self._layers[-1]
                    last = own if held and own.dtype == torch.float32 else None
                    some = layers if last is None else layers[:-1]
                    begun.append((layers, start, stop, final.top_ids))
                    yield Columns(self._trace.model.decoded(self._residuals(some, start, stop)), final, len(some), last)
                # Let go of before the next ones are made.
                del final, own, last
            del every

    def with_ends(self, start: int, stop: int, n_before: int, put: Put) -> None:
        """The cells of a span of few rows: the logits of the last layer are the model's own.

        So are those of what leaves the last layer at `n_before` earlier positions, which the trace may remember.
        """
        trace, layers = self._trace, self._layers
        residuals = self._residuals(layers, start, stop)
        if n_before:
            before = trace.rows("resid_post", layers[-1], start - n_before, start)
            residuals = torch.cat([before.to(residuals.device), residuals])
        # Whoever looks at all of them needs no room for blocks.
        every = trace.model.decoded(residuals).whole(room_for_logits(trace.logits_device)).logits
        ends = torch.cat([every[:n_before], every[start - stop :]])
        trace.remember_logits(start - n_before, ends)
        final = _final(ends[n_before:], self._n_told)
        columns = Columns(WholeLogits(every[n_before:]), final, len(layers))
        cells = decode(columns, self._tokens, self._k, self._question.jsd)
        put(layers, start, stop, _arrays(cells, final.top_ids))

    def _residuals(self, layers: tuple[int, ...], start: int, stop: int) -> torch.Tensor:
        """What is decoded, shape [layer * pos, d_model]."""
        checkpoint(f"the lens of layer {layers[0]}, position {start}")
        return torch.cat([self._rows(layer, start, stop).to(self._tokens.device) for layer in layers])


def _arrays(cells: _Cells, final_ids: torch.Tensor) -> dict[str, np.ndarray]:
    """The cells of some positions, and what is the same in every layer."""
    every = {**cells, "final_ids": final_ids[:, 0], "followed_ids": final_ids}
    return {name: numbers.cpu().numpy() for name, numbers in every.items()}


def _final(logits: torch.Tensor, n_told: int) -> Final:
    with leaving_a_core(len(logits)):
        return Final.of(logits, n_told)


def _evenly(first: int, end: int, longest: int) -> Iterator[_Span]:
    """Ranges of about the same length, none longer than `longest`."""
    n = max(1, -(-(end - first) // longest))
    bounds = [first + (end - first) * index // n for index in range(n + 1)]
    return pairwise(bounds)
