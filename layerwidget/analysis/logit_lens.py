"""The logit lens: every layer's residual through the model's own final norm, head and output transform.

Rows are decoded in chunks and blocks of the vocabulary, so `[layer, pos, d_vocab]` never exists.
Source: science.md, "Logit lens".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.analysis.head_rows import HeadRows
from layerwidget.analysis.lens_cells import OF_POSITION, RowsOf, finals_at_once, lens_cells
from layerwidget.analysis.neuron_rows import NeuronRows, layers_with_neurons
from layerwidget.errors import Cancelled, MissingComponentError, QuestionError, SelectionError
from layerwidget.layers import parse_layers
from layerwidget.questions import OnScreen, steps
from layerwidget.questions.lens import HEAD, NEURON, LensGrid, LogitLens
from layerwidget.tokens import Piece
from layerwidget.trace import COMPONENTS, Trace

#: From so many columns on, the last one is shown before the others are computed.
_WORTH_A_PART = 6
#: So many columns more are multiplied with the head for the last one: a product with few rows reads its weights anyway.
_READ_AHEAD = 16
#: Rows between two parts of an answer.
_ROWS_PER_STEP = 2048

_CELLS = (
    "top_ids", "top_probs", "entropy_nats", "kl_to_final_nats", "final_probs", "final_ranks", "token_ranks",
    "token_log_probs",
)  # fmt: skip
_FOLLOWED = ("followed_ranks", "followed_log_probs")
_JSD = ("jsd_nats",)


def columns_per_step(n_layers: int) -> int:
    """How many positions are decoded between two parts of an answer about so many layers."""
    return max(1, _ROWS_PER_STEP // n_layers)


@steps(LogitLens)
def logit_lens_steps(
    question: LogitLens, trace: Trace, before: LensGrid | None, n_same: int, on_screen: OnScreen
) -> Iterator[LensGrid]:
    """Top tokens, entropy, KL to the final prediction and pinned tokens in every cell.

    The parts: the last position in the layers on screen, then the positions in sight, then the others. Cells of the
    first positions are taken from an earlier answer: they see nothing of the rest.

    Raises:
        SelectionError: when layers or tokens are out of range, or the chosen layers lack the component.
        MissingComponentError: when no layer has the component, or the heads of a layer cannot be told apart.
    """
    yield from lens_steps(question, trace, before, n_same, on_screen)


def lens_steps(
    question: LogitLens,
    trace: Trace,
    before: LensGrid | None,
    n_same: int,
    on_screen: OnScreen,
    rows: RowsOf | None = None,
) -> Iterator[LensGrid]:
    """What `logit_lens_steps` gives; of `rows` in the place of the component where there are some."""
    layers, n_pos = _layers(question, trace), len(trace.tokens)
    board = _Board.of(question, trace, layers, before, n_same, rows)
    missing = board.missing
    per_step = columns_per_step(len(layers)) if on_screen.layers else n_pos
    in_sight = (on_screen.first <= missing) & (missing < on_screen.stop)
    runs = [(run, n_pos) for run in _runs(missing[in_sight], n_pos)]
    runs += [(run, per_step) for run in _runs(missing[~in_sight], max(per_step, finals_at_once(trace)))]
    if on_screen.layers and len(missing) >= _WORTH_A_PART:
        seen = tuple(layer for layer in layers if layer in on_screen.layers)
        (first, end), _ = runs[0]
        # The columns that come next, where they are those just before it, and few.
        n_before = n_pos - 1 - first if end >= n_pos - 1 else 0
        board.fill(seen, n_pos - 1, n_pos, n_before if n_before <= min(_READ_AHEAD, finals_at_once(trace)) else 0)
        yield board.grid()
    for (first, end), longest in runs:
        if end - first > longest:
            # For all steps at once: each of them would read the whole head for a few positions.
            trace.logits_between(first, end)
        for start, stop in _runs(np.arange(first, end), longest):
            try:
                board.fill(layers, start, stop)
            except Cancelled:
                # What is there by now is kept.
                yield board.grid()
                raise
            if not board.done.all():
                yield board.grid()
    yield board.grid()


def _runs(columns: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Columns as ranges of limited length, the last first."""
    if not len(columns):
        return
    breaks = np.flatnonzero(np.diff(columns) > 1) + 1
    for run in reversed(np.split(columns, breaks)):
        for stop in range(len(run), 0, -longest):
            start = max(0, stop - longest)
            yield int(run[start]), int(run[stop - 1]) + 1


@dataclass
class _Board:
    """A grid that is being filled.

    Attributes:
        cells: the arrays of the grid.
        done: which cells are, shape [layer, pos].
        rows: what is decoded, where it is not just the component.
        known: of an earlier answer all of whose cells are among these, how many positions it has and its pieces.
    """

    question: LogitLens
    trace: Trace
    layers: tuple[int, ...]
    cells: dict[str, np.ndarray]
    done: np.ndarray
    rows: RowsOf | None
    known: tuple[int, Mapping[int, Piece]] = (0, MappingProxyType({}))

    @classmethod
    def of(
        cls,
        question: LogitLens,
        trace: Trace,
        layers: tuple[int, ...],
        before: LensGrid | None,
        n_same: int,
        rows: RowsOf | None = None,
    ) -> _Board:
        """An empty board, or one that begins with the cells of an earlier answer."""
        n_pos, d_vocab = len(trace.tokens), trace.anatomy.d_vocab
        _valid_tokens(question.tokens, d_vocab)
        shapes = {"top_ids": (min(question.k, d_vocab),), "top_probs": (min(question.k, d_vocab),)}
        shapes |= {"token_ranks": (len(question.tokens),), "token_log_probs": (len(question.tokens),)}
        shapes |= {name: (min(question.follow, d_vocab),) for name in _FOLLOWED}
        whole = {"top_ids", "final_ranks", "token_ranks", "followed_ranks", "neurons"}
        of_neurons = rows is None and question.component == NEURON
        cells = {
            name: np.zeros((len(layers), n_pos, *shapes.get(name, ())), np.int64 if name in whole else np.float32)
            for name in (*_CELLS, *_asked_for(question), *(("neurons",) if of_neurons else ()))
        }
        cells["final_ids"] = np.zeros(n_pos, np.int64)
        if question.follow:
            cells["followed_ids"] = np.zeros((n_pos, *shapes["followed_ranks"]), np.int64)
        if rows is None and question.head is not None:
            rows = HeadRows(trace, question.head)
        board = cls(question, trace, layers, cells, np.zeros((len(layers), n_pos), dtype=bool), rows)
        if before is not None:
            if before.complete and n_same == len(before.token_ids):
                board.known = n_same, before.pieces
            board.done[:, :n_same] = True if before.done is None else before.done[:, :n_same]
            for name, array in board.cells.items():
                place = np.s_[:n_same] if name in OF_POSITION else np.s_[:, :n_same]
                array[place] = getattr(before, name)[place]
        if of_neurons:
            # An answer that was given up half-way may want some that are older than the edit.
            first = next(iter(board.missing.tolist()), n_pos)
            board.rows = NeuronRows(trace, question.neuron, first)
        return board

    @property
    def missing(self) -> np.ndarray:
        """The positions at which not every layer is done, ascending."""
        return np.flatnonzero(~self.done.all(axis=0))

    @torch.no_grad()
    def fill(self, layers: tuple[int, ...], start: int, stop: int, n_before: int = 0) -> None:
        """Compute some layers at some positions; `n_before` as `lens_cells` has it."""
        if not layers:
            return
        if isinstance(self.rows, NeuronRows):
            at = np.ix_(self._rows_of(layers), range(start, stop))
            self.cells["neurons"][at] = self.rows.numbers(layers, start, stop)
        lens_cells(self.question, self.trace, layers, start, stop, self._put, self.rows, n_before)

    def _put(self, layers: tuple[int, ...], start: int, stop: int, new: Mapping[str, np.ndarray]) -> None:
        rows = self._rows_of(layers)
        for name in self.cells.keys() - {"neurons"}:
            place: Any = np.s_[start:stop] if name in OF_POSITION else (rows, np.s_[start:stop])
            self.cells[name][place] = new[name]
        self.done[rows, start:stop] = True

    def _rows_of(self, layers: tuple[int, ...]) -> list[int]:
        return [self.layers.index(layer) for layer in layers]

    def grid(self) -> LensGrid:
        """What is computed so far, as an answer of its own."""
        cells = {name: array.copy() for name, array in self.cells.items()}
        found = _grid(self.question, self.trace, self.layers, cells, *self.known)
        return found if self.done.all() else replace(found, done=self.done.copy())


def _asked_for(question: LogitLens) -> tuple[str, ...]:
    """Cells that not every question asks for."""
    return (*(_FOLLOWED if question.follow else ()), *(_JSD if question.jsd else ()))


def _layers(question: LogitLens, trace: Trace) -> tuple[int, ...]:
    known = (*COMPONENTS, HEAD, NEURON)
    if question.component not in known:
        raise QuestionError(f"The logit lens decodes one of {known}; got component={question.component!r}.")
    wanted = parse_layers(question.layers, trace.anatomy.n_layers)
    have = _layers_that_have_it(question, trace)
    layers = tuple(layer for layer in wanted if layer in have)
    if not layers:
        raise SelectionError(f"None of the layers {wanted} has {question.component!r}; layers with it: {have}.")
    return layers


def _layers_that_have_it(question: LogitLens, trace: Trace) -> tuple[int, ...]:
    if question.component == NEURON:
        return layers_with_neurons(trace, question.neuron)
    return trace.layers_with(question.component) if question.head is None else _layers_with_head(trace, question.head)


def _layers_with_head(trace: Trace, head: int) -> tuple[int, ...]:
    """Layers whose attention is known and has so many heads; those that were skipped have none."""
    if not trace.attention_layers:
        raise MissingComponentError(f"{trace.anatomy.name} has no attention weights, so no head's output.")
    n_heads = {layer: trace.anatomy.layers[layer].n_heads for layer in trace.attention_layers}
    if not 0 <= head < max(n_heads.values()):
        n = max(n_heads.values())
        raise SelectionError(f"Head {head} is out of range: {trace.anatomy.name} has {n} heads, 0 to {n - 1}.")
    return tuple(layer for layer, n in n_heads.items() if head < n)


def _valid_tokens(tokens: tuple[int, ...], d_vocab: int) -> None:
    for token in tokens:
        if not 0 <= token < d_vocab:
            raise SelectionError(
                f"Token id {token} is out of range: this model has {d_vocab} tokens, 0 to {d_vocab - 1}."
            )


def _grid(
    question: LogitLens,
    trace: Trace,
    layers: tuple[int, ...],
    arrays: dict[str, np.ndarray],
    n_known: int,
    known: Mapping[int, Piece],
) -> LensGrid:
    measured: dict[str, Any] = dict(arrays)
    several = [arrays["top_ids"][:, n_known:]]
    several += [arrays[name][n_known:] for name in OF_POSITION if name in arrays]
    shown = {*(token for ids in several for token in np.unique(ids).tolist()), *question.tokens}
    common = about(trace, layers, shown)
    return LensGrid(
        **{**common, "pieces": {**known, **common["pieces"]}},
        d_vocab=trace.anatomy.d_vocab,
        component=question.component,
        head=question.head,
        tokens=question.tokens,
        **measured,
    )
