"""The logit lens: every layer's residual through the model's own final norm, head and output transform.

Rows are decoded in chunks, so `[layer, pos, d_vocab]` never exists. Source: science.md, "Logit lens".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from layerwidget.cancellation import checkpoint
from layerwidget.errors import QuestionError, SelectionError
from layerwidget.layers import parse_layers
from layerwidget.questions import LogitLens, answers, previews, resumes
from layerwidget.results import LensGrid
from layerwidget.trace import COMPONENTS, Trace

#: Logits of one chunk; as much again is needed for their probabilities.
CHUNK_BYTES = 24 * 2**20
#: So many columns are computed at once without showing the last one first.
_WORTH_A_PREVIEW = 6


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
@torch.no_grad()
def logit_lens(question: LogitLens, trace: Trace) -> LensGrid:
    """Top tokens, entropy, KL to the final prediction and pinned tokens in every cell.

    Raises:
        SelectionError: when layers or tokens are out of range, or the chosen layers lack the component.
        MissingComponentError: when no layer has the component.
    """
    layers = _layers(question, trace)
    return _grid(question, trace, layers, _cells(question, trace, layers, 0))


@resumes(LogitLens)
@torch.no_grad()
def logit_lens_on(question: LogitLens, trace: Trace, before: LensGrid, n_same: int) -> LensGrid:
    """The same, with the cells of the first positions taken from an earlier answer: they see nothing of the rest."""
    layers = _layers(question, trace)
    n_pos = len(trace.tokens)
    held = {name: getattr(before, name)[:, :n_same] for name in _CELLS}
    held["final_ids"] = before.final_ids[:n_same]
    if n_same < n_pos:
        new = _cells(question, trace, layers, n_same)
        held = {name: np.concatenate([array, new[name]], axis=_axis(name)) for name, array in held.items()}
    return _grid(question, trace, layers, held)


@previews(LogitLens)
@torch.no_grad()
def first_cells(
    question: LogitLens, trace: Trace, before: LensGrid | None, n_same: int, on_screen: tuple[int, ...]
) -> LensGrid | None:
    """The last position in the layers on screen, beside the cells that hold; None where little is to be done."""
    layers, n_pos = _layers(question, trace), len(trace.tokens)
    rows = [row for row, layer in enumerate(layers) if layer in on_screen]
    if n_pos - n_same < _WORTH_A_PREVIEW or not rows:
        return None
    new = _cells(question, trace, tuple(layers[row] for row in rows), n_pos - 1)
    cells = {name: np.zeros((len(layers), n_pos, *new[name].shape[2:]), new[name].dtype) for name in _CELLS}
    done = np.zeros((len(layers), n_pos), dtype=bool)
    if before is not None:
        done[:, :n_same] = True
    done[rows, -1] = True
    for name, array in cells.items():
        if before is not None:
            array[:, :n_same] = getattr(before, name)[:, :n_same]
        array[rows, -1:] = new[name]
    cells["final_ids"] = trace.logits_between(0, n_pos).argmax(-1).cpu().numpy()
    return replace(_grid(question, trace, layers, cells), done=done)


def _axis(name: str) -> int:
    return 0 if name == "final_ids" else 1


def _cells(question: LogitLens, trace: Trace, layers: tuple[int, ...], first: int) -> dict[str, np.ndarray]:
    """All arrays of the grid from position `first` on."""
    logits = trace.logits_between(first, len(trace.tokens))
    d_vocab = logits.shape[-1]
    tokens = torch.tensor(_valid_tokens(question.tokens, d_vocab), dtype=torch.long, device=logits.device)
    k = min(question.k, d_vocab)
    rows_per_chunk = max(1, CHUNK_BYTES // (4 * d_vocab))
    width = max(1, rows_per_chunk // len(layers))
    blocks = []
    for start in range(first, len(trace.tokens), width):
        stop = min(start + width, len(trace.tokens))
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
    return {name: torch.cat([block[name] for block in blocks], dim=_axis(name)).cpu().numpy() for name in blocks[0]}


def _layers(question: LogitLens, trace: Trace) -> tuple[int, ...]:
    if question.component not in COMPONENTS:
        raise QuestionError(f"The logit lens decodes one of {COMPONENTS}; got component={question.component!r}.")
    wanted = parse_layers(question.layers, trace.anatomy.n_layers)
    have = trace.layers_with(question.component)
    layers = tuple(layer for layer in wanted if layer in have)
    if not layers:
        raise SelectionError(f"None of the layers {wanted} has {question.component!r}; layers with it: {have}.")
    return layers


def _valid_tokens(tokens: tuple[int, ...], d_vocab: int) -> list[int]:
    for token in tokens:
        if not 0 <= token < d_vocab:
            raise SelectionError(
                f"Token id {token} is out of range: this model has {d_vocab} tokens, 0 to {d_vocab - 1}."
            )
    return list(tokens)


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
    entropy = log_norm[:, 0] - torch.linalg.vecdot(probs, logits)
    cross = log_norm[:, 0] - torch.linalg.vecdot(logits.view(len(residuals), n_pos, -1), final.probs).flatten()
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
