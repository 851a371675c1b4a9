"""Per-token negative log likelihood by position. Source: science.md, "Position and length"."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.analysis.log_probs import log_probs
from layerwidget.cancellation import checkpoint
from layerwidget.errors import QuestionError
from layerwidget.questions import OnScreen, steps
from layerwidget.questions.position import LossGrid, PositionLoss
from layerwidget.results import FloatArray
from layerwidget.trace import Trace

#: Log-probabilities that are held at once.
_BYTES = 16 * 2**20


@steps(PositionLoss)
def position_loss_steps(
    question: PositionLoss, trace: Trace, before: LossGrid | None, n_same: int, on_screen: OnScreen
) -> Iterator[LossGrid]:
    """Negative log likelihood of every token after those before it.

    The first positions are taken from an earlier answer: they see nothing of the rest.

    Raises:
        QuestionError: when positions see what comes after them, so that they would be told what they predict.
        MissingComponentError: for an encoder's stack, which makes no logits.
    """
    if trace.anatomy.causal is False:
        raise QuestionError(
            f"PositionLoss asks how likely each token is after those before it; in {trace.model.name} positions also "
            "see what comes after them. Ask it of a causal model."
        )
    kept = 0 if before is None else n_same
    new = token_nats(trace, kept)
    n_layers = trace.anatomy.n_layers
    yield LossGrid(
        **about(trace, tuple(range(n_layers))),
        nats=new if before is None else np.concatenate([before.nats[:kept], new]),
        n_ctx=trace.model.n_ctx,
        windows=tuple(_window(trace, layer) for layer in range(n_layers)),
        causal=trace.anatomy.causal,
    )


@torch.no_grad()
def token_nats(trace: Trace, first: int = 0) -> FloatArray:
    """Negative log likelihood of the tokens at the positions from `first` on, shape [pos - first], fp32.

    NaN at position 0, and for tokens that have no logit.
    """
    ids, d_vocab = trace.tokens.ids, trace.anatomy.d_vocab
    nats = np.full(len(ids) - first, np.nan, np.float32)
    for start, stop in position_chunks(max(first, 1), len(ids), d_vocab):
        checkpoint(f"the likelihood of position {start}")
        logs = log_probs(trace.logits_between(start - 1, stop - 1))
        wanted = torch.tensor(ids[start:stop], device=logs.device)
        found = -logs.gather(-1, wanted.clamp(max=d_vocab - 1)[:, None])[:, 0]
        nats[start - first : stop - first] = found.where(wanted < d_vocab, torch.nan).cpu().numpy()
    return nats


def position_chunks(first: int, end: int, d_vocab: int) -> Iterator[tuple[int, int]]:
    """Positions as ranges that are short enough for a few arrays of shape [pos, d_vocab]."""
    width = max(1, _BYTES // (4 * d_vocab))
    for start in range(first, end, width):
        yield start, min(start + width, end)


def _window(trace: Trace, layer: int) -> int | None:
    """How far a layer looks back: no less far than any of its attention parts."""
    windows = [part.window for part in trace.anatomy.layers[layer].parts_of("attention")]
    known = [window for window in windows if window is not None]
    return max(known) if known and len(known) == len(windows) else None
