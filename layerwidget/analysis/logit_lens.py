"""The logit lens: every layer's residual through the model's own final norm, head and output transform.

Rows are decoded in chunks, so `[layer, pos, d_vocab]` never exists. Source: science.md, "Logit lens".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from layerwidget.cancellation import checkpoint
from layerwidget.errors import QuestionError, SelectionError
from layerwidget.layers import parse_layers
from layerwidget.questions import LogitLens, answers, steps
from layerwidget.results import LensGrid
from layerwidget.trace import COMPONENTS, Trace

#: Logits of one chunk; as much again is needed for their probabilities.
CHUNK_BYTES = 28 * 2**20
#: From so many columns on, the last one is shown before the others are computed.
_WORTH_A_PART = 6
#: Rows between two parts of an answer: what is computed up to there is kept when the rest is given up.
_ROWS_PER_STEP = 512


_CELLS = (
    "top_ids", "top_probs", "entropy_nats", "kl_to_final_nats", "final_probs", "final_ranks", "token_ranks",
    "token_log_probs",
)  # fmt: skip


@dataclass(frozen=True)
class _Final:
    """The model's own prediction at some positions: shapes [pos, d_vocab] and [pos]."""

    probs: torch.Tensor
    neg_entropy: torch.Tensor
    top_id: torch.Tensor


@answers(LogitLens)
def logit_lens(question: LogitLens, trace: Trace) -> LensGrid:
    """Top tokens, entropy, KL to the final prediction and pinned tokens in every cell.

    Raises:
        SelectionError: when layers or tokens are out of range, or the chosen layers lack the component.
        MissingComponentError: when no layer has the component.
    """
    *_, whole = logit_lens_steps(question, trace, None, 0, ())
    return whole


@steps(LogitLens)
def logit_lens_steps(
    question: LogitLens, trace: Trace, before: LensGrid | None, n_same: int, on_screen: tuple[int, ...]
) -> Iterator[LensGrid]:
    """The same in parts: the last position in the layers on screen first, then from the end to the beginning.

    Cells of the first positions are taken from an earlier answer: they see nothing of the rest.
    """
    layers, n_pos = _layers(question, trace), len(trace.tokens)
    board = _Board.of(question, trace, layers, before, n_same)
    missing = np.flatnonzero(~board.done.all(axis=0))
    if on_screen and len(missing) >= _WORTH_A_PART:
        board.fill(tuple(layer for layer in layers if layer in on_screen), n_pos - 1, n_pos)
        yield board.grid()
    per_step = max(1, _ROWS_PER_STEP // len(layers)) if on_screen else n_pos
    for start, stop in _runs(missing, per_step):
        board.fill(layers, start, stop)
        if start != missing[0]:
            yield board.grid()
    yield board.grid()


def _runs(columns: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Columns as ranges of limited length, the last first."""
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
    """

    question: LogitLens
    trace: Trace
    layers: tuple[int, ...]
    cells: dict[str, np.ndarray]
    done: np.ndarray

    @classmethod
    def of(
        cls, question: LogitLens, trace: Trace, layers: tuple[int, ...], before: LensGrid | None, n_same: int
    ) -> _Board:
        """An empty board, or one that begins with the cells of an earlier answer."""
        n_pos, d_vocab = len(trace.tokens), trace.anatomy.d_vocab
        _valid_tokens(question.tokens, d_vocab)
        shapes = {"top_ids": (min(question.k, d_vocab),), "top_probs": (min(question.k, d_vocab),)}
        shapes |= {"token_ranks": (len(question.tokens),), "token_log_probs": (len(question.tokens),)}
        whole = {"top_ids", "final_ranks", "token_ranks"}
        cells = {
            name: np.zeros((len(layers), n_pos, *shapes.get(name, ())), np.int64 if name in whole else np.float32)
            for name in _CELLS
        }
        cells["final_ids"] = np.zeros(n_pos, np.int64)
        board = cls(question, trace, layers, cells, np.zeros((len(layers), n_pos), dtype=bool))
        if before is not None:
            board.done[:, :n_same] = True if before.done is None else before.done[:, :n_same]
            board.cells["final_ids"][:n_same] = before.final_ids[:n_same]
            for name in _CELLS:
                board.cells[name][:, :n_same] = getattr(before, name)[:, :n_same]
        return board

    @torch.no_grad()
    def fill(self, layers: tuple[int, ...], start: int, stop: int) -> None:
        """Compute some layers at some positions."""
        if not layers:
            return
        rows = [self.layers.index(layer) for layer in layers]
        new = _cells(self.question, self.trace, layers, start, stop)
        self.cells["final_ids"][start:stop] = new["final_ids"]
        for name in _CELLS:
            self.cells[name][rows, start:stop] = new[name]
        self.done[rows, start:stop] = True

    def grid(self) -> LensGrid:
        """What is computed so far, as an answer of its own."""
        cells = {name: array.copy() for name, array in self.cells.items()}
        found = _grid(self.question, self.trace, self.layers, cells)
        return found if self.done.all() else replace(found, done=self.done.copy())


def _cells(question: LogitLens, trace: Trace, layers: tuple[int, ...], first: int, end: int) -> dict[str, np.ndarray]:
    """All arrays of the grid at some positions."""
    logits = trace.logits_between(first, end)
    d_vocab = logits.shape[-1]
    tokens = torch.tensor(question.tokens, dtype=torch.long, device=logits.device)
    k = min(question.k, d_vocab)
    rows_per_chunk = max(1, CHUNK_BYTES // (4 * d_vocab))
    width = max(1, rows_per_chunk // len(layers))
    blocks = []
    for start in range(first, end, width):
        stop = min(start + width, end)
        final = _final(logits[start - first : stop - first])
        per_call = max(1, rows_per_chunk // (stop - start))
        parts = []
        for begin in range(0, len(layers), per_call):
            checkpoint(f"the lens of layer {layers[begin]}, position {start}")
            chosen = layers[begin : begin + per_call]
            residuals = [trace.rows(question.component, layer, start, stop) for layer in chosen]
            parts.append(_decode(trace, residuals, final, tokens, k))
        block = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        block["final_ids"] = final.top_id
        blocks.append(block)
    return {
        name: torch.cat([block[name] for block in blocks], dim=0 if name == "final_ids" else 1).cpu().numpy()
        for name in blocks[0]
    }


def _layers(question: LogitLens, trace: Trace) -> tuple[int, ...]:
    if question.component not in COMPONENTS:
        raise QuestionError(f"The logit lens decodes one of {COMPONENTS}; got component={question.component!r}.")
    wanted = parse_layers(question.layers, trace.anatomy.n_layers)
    have = trace.layers_with(question.component)
    layers = tuple(layer for layer in wanted if layer in have)
    if not layers:
        raise SelectionError(f"None of the layers {wanted} has {question.component!r}; layers with it: {have}.")
    return layers


def _valid_tokens(tokens: tuple[int, ...], d_vocab: int) -> None:
    for token in tokens:
        if not 0 <= token < d_vocab:
            raise SelectionError(
                f"Token id {token} is out of range: this model has {d_vocab} tokens, 0 to {d_vocab - 1}."
            )


def _final(logits: torch.Tensor) -> _Final:
    log_probs = logits.float().log_softmax(-1)
    probs = log_probs.exp()
    return _Final(probs, -torch.special.entr(probs).sum(-1), log_probs.argmax(-1))


def _decode(
    trace: Trace, residuals: list[torch.Tensor], final: _Final, tokens: torch.Tensor, k: int
) -> dict[str, torch.Tensor]:
    """Everything about some layers at the positions of `final`; each tensor has shape [layer, pos, ...]."""
    device = final.probs.device
    n_pos = final.probs.shape[0]
    rows = torch.cat([residual.to(device) for residual in residuals])
    logits = _finite(trace.model.tail(rows))
    top_logits, top_ids = logits.topk(k)
    asked = torch.cat([final.top_id.repeat(len(residuals))[:, None], tokens.expand(len(rows), -1)], -1)
    asked_logits = logits.gather(-1, asked)
    # Few passes over memory: they cost as much as the product with W_U. With p = softmax(z), the log of the
    # normaliser is max z - log max p, the entropy is log Z - p.z, and KL follows from the final p.z.
    probs = logits.softmax(-1)
    log_norm = top_logits[:, :1] - probs.gather(-1, top_ids[:, :1]).log()
    entropy = log_norm[:, 0] - probs.mul_(logits).sum(-1)
    columns = logits.view(len(residuals), n_pos, -1).unbind(1)
    with_final = torch.stack([column @ one for column, one in zip(columns, final.probs, strict=True)], 1)
    cross = log_norm[:, 0] - with_final.flatten()
    kl = cross + final.neg_entropy.repeat(len(residuals))
    # Counting as floats is exact below 2**24 and an order of magnitude faster than summing booleans.
    larger = [torch.gt(logits, logit[:, None], out=probs).sum(-1).long() for logit in asked_logits.unbind(-1)]
    ranks = torch.stack(larger, -1)
    log_probs = asked_logits - log_norm
    cells = {
        "top_ids": top_ids,
        "top_probs": (top_logits - log_norm).exp(),
        # Rounding can leave entropy and KL a hair below their bound of zero.
        "entropy_nats": entropy.clamp_(min=0),
        "kl_to_final_nats": kl.clamp_(min=0),
        "final_probs": log_probs[:, 0].exp(),
        "final_ranks": ranks[:, 0],
        "token_ranks": ranks[:, 1:],
        "token_log_probs": log_probs[:, 1:],
    }
    return {name: cell.unflatten(0, (len(residuals), n_pos)) for name, cell in cells.items()}


def _finite(logits: torch.Tensor) -> torch.Tensor:
    """Logits in which a masked token, of minus infinity, is very unlikely instead: 0 * -inf would be NaN."""
    return logits if logits.amin() > -torch.inf else logits.clamp(min=-1e30)


def _grid(question: LogitLens, trace: Trace, layers: tuple[int, ...], arrays: dict[str, np.ndarray]) -> LensGrid:
    ids = trace.tokens.ids
    shown = {*ids.tolist(), *np.unique(arrays["top_ids"]).tolist(), *arrays["final_ids"].tolist(), *question.tokens}
    return LensGrid(
        layers=layers,
        n_layers=trace.anatomy.n_layers,
        token_ids=ids,
        pieces=trace.model.pieces(shown),
        model_name=trace.model.name,
        d_vocab=trace.anatomy.d_vocab,
        component=question.component,
        tokens=question.tokens,
        top_ids=arrays["top_ids"],
        top_probs=arrays["top_probs"],
        entropy_nats=arrays["entropy_nats"],
        kl_to_final_nats=arrays["kl_to_final_nats"],
        final_ids=arrays["final_ids"],
        final_probs=arrays["final_probs"],
        final_ranks=arrays["final_ranks"],
        token_ranks=arrays["token_ranks"],
        token_log_probs=arrays["token_log_probs"],
    )
