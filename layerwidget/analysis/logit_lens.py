"""The logit lens: every layer's residual through the model's own final norm, head and output transform.

Rows are decoded in chunks and blocks of the vocabulary, so `[layer, pos, d_vocab]` never exists.
Source: science.md, "Logit lens".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.analysis.decoding import BLOCK_BYTES, BLOCK_WIDTH, Final, decode, room_for_logits
from layerwidget.analysis.head_rows import HeadRows
from layerwidget.analysis.neuron_rows import NeuronRows, layers_with_neurons
from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError, QuestionError, SelectionError
from layerwidget.layers import parse_layers
from layerwidget.model.crowding import leaving_a_core
from layerwidget.model.decoding import BlockedLogits, Logits, WholeLogits
from layerwidget.questions import OnScreen, steps
from layerwidget.questions.lens import HEAD, NEURON, LensGrid, LogitLens
from layerwidget.tokens import Piece
from layerwidget.trace import COMPONENTS, LaterLogits, Trace

#: Layer, first position and the one after the last -> what is decoded, shape [pos, d_model].
RowsOf: TypeAlias = Callable[[int, int, int], torch.Tensor]

#: The model's own logits that are made at once, and held while their columns are decoded.
_FINAL_BYTES = 12 * 2**20
#: Probabilities of the model's own prediction that are held; as much again is needed to compute them.
_PROBS_BYTES = 8 * 2**20
#: From so many columns on, the last one is shown before the others are computed.
_WORTH_A_PART = 6
#: Rows between two parts of an answer: what is computed up to there is kept when the rest is given up.
_ROWS_PER_STEP = 512


_CELLS = (
    "top_ids", "top_probs", "entropy_nats", "kl_to_final_nats", "final_probs", "final_ranks", "token_ranks",
    "token_log_probs",
)  # fmt: skip
#: What is the same in every layer.
_OF_POSITION = ("final_ids", "followed_ids")
_FOLLOWED = ("followed_ranks", "followed_log_probs")
_JSD = ("jsd_nats",)


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
    missing = np.flatnonzero(~board.done.all(axis=0))
    per_step = max(1, _ROWS_PER_STEP // len(layers)) if on_screen.layers else n_pos
    in_sight = (on_screen.first <= missing) & (missing < on_screen.stop)
    runs = [(run, n_pos) for run in _runs(missing[in_sight], n_pos)]
    runs += [(run, per_step) for run in _runs(missing[~in_sight], max(per_step, _finals_at_once(trace)))]
    if on_screen.layers and len(missing) >= _WORTH_A_PART:
        seen = tuple(layer for layer in layers if layer in on_screen.layers)
        (first, end), _ = runs[0]
        # The columns that come next, where they are those just before it.
        next_to_it = end >= n_pos - 1 and end - first <= _finals_at_once(trace)
        board.fill(seen, n_pos - 1, n_pos, n_pos - 1 - first if next_to_it else 0)
        yield board.grid()
    for (first, end), longest in runs:
        if end - first > longest:
            # For all steps at once: each of them would read the whole head for a few positions.
            trace.logits_between(first, end)
        for start, stop in _runs(np.arange(first, end), longest):
            board.fill(layers, start, stop)
            if not board.done.all():
                yield board.grid()
    yield board.grid()


def _finals_at_once(trace: Trace) -> int:
    """At how many positions the model's own logits are made at once; an encoder makes none."""
    return max(1, _FINAL_BYTES // (4 * max(1, trace.anatomy.d_vocab)))


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
        if of_neurons:
            rows = NeuronRows(trace, question.neuron, n_same if before is not None else 0)
        board = cls(question, trace, layers, cells, np.zeros((len(layers), n_pos), dtype=bool), rows)
        if before is not None:
            if before.complete and n_same == len(before.token_ids):
                board.known = n_same, before.pieces
            board.done[:, :n_same] = True if before.done is None else before.done[:, :n_same]
            for name, array in board.cells.items():
                place = np.s_[:n_same] if name in _OF_POSITION else np.s_[:, :n_same]
                array[place] = getattr(before, name)[place]
        return board

    @torch.no_grad()
    def fill(self, layers: tuple[int, ...], start: int, stop: int, n_before: int = 0) -> None:
        """Compute some layers at some positions; `n_before` as `lens_cells` has it."""
        if not layers:
            return
        rows = [self.layers.index(layer) for layer in layers]
        new = lens_cells(self.question, self.trace, layers, start, stop, self.rows, n_before)
        if isinstance(self.rows, NeuronRows):
            new["neurons"] = self.rows.numbers(layers, start, stop)
        for name, array in self.cells.items():
            place: Any = np.s_[start:stop] if name in _OF_POSITION else (rows, np.s_[start:stop])
            array[place] = new[name]
        self.done[rows, start:stop] = True

    def grid(self) -> LensGrid:
        """What is computed so far, as an answer of its own."""
        cells = {name: array.copy() for name, array in self.cells.items()}
        found = _grid(self.question, self.trace, self.layers, cells, *self.known)
        return found if self.done.all() else replace(found, done=self.done.copy())


def _asked_for(question: LogitLens) -> tuple[str, ...]:
    """Cells that not every question asks for."""
    return (*(_FOLLOWED if question.follow else ()), *(_JSD if question.jsd else ()))


def lens_cells(
    question: LogitLens,
    trace: Trace,
    layers: tuple[int, ...],
    first: int,
    end: int,
    rows: RowsOf | None = None,
    n_before: int = 0,
) -> dict[str, np.ndarray]:
    """All arrays of `LensGrid` of some layers, at the positions from `first` to before `end`.

    Args:
        question: the question.
        trace: the trace.
        layers: of which layers.
        first: the first position.
        end: the one after the last.
        rows: where to take what is decoded from; by default from the trace.
        n_before: at how many positions before `first` the model's own logits are wanted soon: the trace may remember
            them, where they cost next to nothing.
    """
    ends_too = rows is None and _ends_are_decoded_too(question, trace, layers, end - first)
    rows = rows or partial(trace.rows, question.component)
    d_vocab = trace.anatomy.d_vocab
    tokens = torch.tensor(question.tokens, dtype=torch.long, device=trace.logits_device)
    # Logits that are looked at twice are held meanwhile: to make them again takes longer than anything else.
    in_blocks = trace.model.decodes_in_blocks and not question.jsd
    rows_at_once = BLOCK_BYTES // (4 * min(BLOCK_WIDTH if in_blocks else d_vocab, d_vocab))
    most = _finals_at_once(trace)
    width = max(1, min(rows_at_once // len(layers), _PROBS_BYTES // (4 * d_vocab)))
    per_call = max(1, rows_at_once // width)
    chunks = [layers[begin : begin + per_call] for begin in range(0, len(layers), per_call)]
    n_told = max(1, min(question.follow, d_vocab))
    # All of them or none: what is wanted is looked for as a whole.
    fits = 4 * (n_before + (end - first) * len(layers)) * d_vocab <= BLOCK_BYTES
    k, n_before = min(question.k, d_vocab), n_before if fits else 0
    decoded_by = partial(_column, trace, rows, tokens, k, n_told, chunks, question.jsd, n_before)
    columns = []
    # Of equal width: a product of few rows takes as long as one of many.
    for group, group_end in _evenly(first, end, most):
        logits = None if ends_too else trace.logits_between(group, group_end)
        for start, stop in _evenly(group, group_end, width):
            own = None if logits is None else logits[start - group : stop - group]
            # Not by a name: the probabilities of one column are let go of before those of the next are made.
            columns.append(decoded_by(start, stop, None if own is None else _final(own, n_told)))
    return {
        name: torch.cat([column[name] for column in columns], dim=0 if name in _OF_POSITION else 1).cpu().numpy()
        for name in columns[0]
    }


def _column(
    trace: Trace,
    rows: RowsOf,
    tokens: torch.Tensor,
    k: int,
    n_told: int,
    chunks: Sequence[tuple[int, ...]],
    jsd: bool,
    n_before: int,
    start: int,
    stop: int,
    final: Final | None,
) -> dict[str, torch.Tensor]:
    """The cells of some positions, a chunk of layers after the other; without `final`, the last layer gives it."""
    parts = []
    for layers in chunks:
        checkpoint(f"the lens of layer {layers[0]}, position {start}")
        residuals = torch.stack([rows(layer, start, stop).to(tokens.device) for layer in layers], 1).flatten(0, 1)
        if final is None:
            decoded, final = _with_ends(residuals, trace, start, stop - start, n_told, n_before)
        else:
            decoded = trace.model.decoded(residuals)
            if jsd and isinstance(decoded, BlockedLogits):
                decoded = decoded.whole(room_for_logits(trace.logits_device))
        parts.append(decode(decoded, final, tokens, len(layers), k, jsd))
        # The next ones may be made whole, in several copies: these are let go of before.
        del decoded
    assert final is not None
    told = {"final_ids": final.top_ids[:, 0], "followed_ids": final.top_ids}
    return {**{name: torch.cat([part[name] for part in parts]) for name in parts[0]}, **told}


def _ends_are_decoded_too(question: LogitLens, trace: Trace, layers: tuple[int, ...], n_pos: int) -> bool:
    """Whether the last layer, which nobody has decoded yet, is among few rows: the head's weights are read once."""
    last = question.component == "resid_post" and layers[-1] == trace.anatomy.n_layers - 1
    few = 4 * n_pos * len(layers) * trace.anatomy.d_vocab <= BLOCK_BYTES
    return last and few and isinstance(trace.held_logits, LaterLogits)


def _with_ends(
    residuals: torch.Tensor, trace: Trace, start: int, n_pos: int, n_told: int, n_before: int
) -> tuple[Logits, Final]:
    """All logits, of which those of the last layer are the model's own prediction.

    So are those of what leaves the last layer at `n_before` earlier positions: the head's weights are read once.
    """
    if n_before:
        before = trace.rows("resid_post", trace.anatomy.n_layers - 1, start - n_before, start)
        residuals = torch.cat([before.to(residuals.device), residuals])
    # Whoever looks at all of them needs no room for blocks.
    decoded = trace.model.decoded(residuals)
    every = decoded.whole(room_for_logits(trace.logits_device)).logits
    ends = torch.cat([every[:n_before], every[n_before:].unflatten(0, (n_pos, -1))[:, -1]])
    trace.remember_logits(start - n_before, ends)
    return WholeLogits(every[n_before:]), _final(ends[n_before:], n_told)


def _final(logits: torch.Tensor, n_told: int) -> Final:
    with leaving_a_core(len(logits)):
        return Final.of(logits, n_told)


def _evenly(first: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    """Ranges of about the same length, none longer than `longest`."""
    n = max(1, -(-(end - first) // longest))
    bounds = [first + (end - first) * index // n for index in range(n + 1)]
    return pairwise(bounds)


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
    several += [arrays[name][n_known:] for name in _OF_POSITION if name in arrays]
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
