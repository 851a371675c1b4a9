"""KL(final || other) of residual vectors, and its gradient, without the probabilities of the whole text.

Where the head is a plain product, `z = W_U h + b_U`, the final prediction `p` enters the divergence by one vector only,
the row of `W_U` that it expects: with `h_f` what entered the head at the end,
`KL = logsumexp(z) - logsumexp(z_f) - (h - h_f) . (W_U^T p)`, and its gradient is `W_U^T (softmax(z) - p)`.

Source: science.md, "Tuned lens".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from layerwidget.cancellation import checkpoint
from layerwidget.errors import QuestionError
from layerwidget.model.decoding import BlockedLogits, Logits
from layerwidget.model.hooked_model import HookedModel

#: Where all logits of some rows are held at once, their size.
_BYTES = 32 * 2**20
#: Rows and tokens of a block of logits, which is made anew in the same place.
_ROWS, _WIDTH = 128, 16384
#: How far the slope that is measured may be from the gradient.
_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class FinalPrediction:
    """The model's own prediction at some positions.

    Attributes:
        model: the model.
        stream: what leaves the last layer, shape [pos, d_model].
        constant: the part of the divergence that depends on nothing else, shape [pos], nats.
        expected: of a plain head, the row of `W_U` that the prediction expects, shape [pos, d_model]; else None.
    """

    model: HookedModel
    stream: torch.Tensor
    constant: torch.Tensor
    expected: torch.Tensor | None

    @classmethod
    @torch.no_grad()
    def of(cls, model: HookedModel, stream: torch.Tensor, told: Callable[[], None] = lambda: None) -> FinalPrediction:
        """From what leaves the last layer, shape [pos, d_model]; `told` is called between two parts of it."""
        constants, expected = [], []
        for rows in stream.split(_rows_at_once(model)):
            checkpoint("the final prediction")
            decoded = model.decoded(rows)
            if isinstance(decoded, BlockedLogits):
                log_norm, mean = softmax_mean(decoded)
                expected.append(mean)
                constants.append((decoded.normed * mean).sum(-1) - log_norm)
            else:
                constants.append(-torch.special.entr(_finite(decoded.logits).softmax(-1)).sum(-1))
            told()
        return cls(model, stream, torch.cat(constants), torch.cat(expected) if expected else None)

    @torch.no_grad()
    def kl_nats(self, vectors: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """KL(final || vectors), shape [n], nats, >= 0.

        Args:
            vectors: residual vectors, shape [n, d_model].
            at: their positions, shape [n].
        """
        found = []
        for rows, where in self._chunks(vectors, at):
            decoded = self.model.decoded(rows)
            if isinstance(decoded, BlockedLogits) and self.expected is not None:
                mean = (decoded.normed * self.expected[where]).sum(-1)
                found.append(self.constant[where] + _log_norm(decoded) - mean)
            else:
                found.append(self._whole(decoded, where))
        # Rounding can leave it a hair below its bound of zero.
        return torch.cat(found).clamp(min=0)

    def gradient(self, vectors: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """How the sum of `kl_nats` grows with the vectors, shape [n, d_model]. The model's weights get no gradient."""
        found = []
        for rows, where in self._chunks(vectors, at):
            leaf = rows.detach().requires_grad_()
            decoded = self.model.decoded(leaf, differentiable=True)
            if isinstance(decoded, BlockedLogits) and self.expected is not None:
                at_head = softmax_mean(decoded)[1] - self.expected[where]
                found.append(torch.autograd.grad(decoded.normed, leaf, at_head)[0])
            else:
                with torch.enable_grad():
                    found.append(torch.autograd.grad(self._whole(decoded, where).sum(), leaf)[0])
        return torch.cat(found)

    def _chunks(self, vectors: torch.Tensor, at: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        n = _rows_at_once(self.model)
        return zip(vectors.split(n), at.split(n), strict=True)

    def _whole(self, decoded: Logits, at: torch.Tensor) -> torch.Tensor:
        logits, probs = (_finite(_all(one)) for one in (decoded, self.model.decoded(self.stream[at])))
        return self.constant[at] + logits.logsumexp(-1) - (probs.softmax(-1) * logits).sum(-1)


@torch.no_grad()
def softmax_mean(logits: BlockedLogits) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-sum-exp of each row, shape [n], and the row of `W_U` that its softmax expects, shape [n, d_model]."""
    mean = torch.zeros_like(logits.normed)
    log_norm = _log_norm(logits, mean)
    return log_norm, mean


@torch.no_grad()
def _log_norm(logits: BlockedLogits, mean: torch.Tensor | None = None) -> torch.Tensor:
    """Log-sum-exp of each row, a block of the vocabulary at a time; `mean` is filled with what the softmax expects."""
    n, d_vocab = len(logits.normed), logits.d_vocab
    room = logits.normed.new_empty(n * min(_WIDTH, d_vocab))
    peak, norm = logits.normed.new_full((n, 1), -torch.inf), logits.normed.new_zeros(n, 1)
    for first in range(0, d_vocab, _WIDTH):
        stop = min(first + _WIDTH, d_vocab)
        block = logits.between(first, stop, room)
        larger = torch.maximum(peak, block.amax(-1, keepdim=True))
        kept = (peak - larger).exp()
        block.sub_(larger).exp_()
        norm = norm * kept + block.sum(-1, keepdim=True)
        if mean is not None:
            mean.mul_(kept).addmm_(block, logits.W_U[first:stop])
        peak = larger
    if mean is not None:
        mean.div_(norm)
    return (peak + norm.log())[:, 0]


def _rows_at_once(model: HookedModel) -> int:
    return _ROWS if model.decodes_in_blocks else max(1, _BYTES // (4 * model.d_vocab))


def _all(decoded: Logits) -> torch.Tensor:
    """All logits, shape [n, d_vocab]."""
    if not isinstance(decoded, BlockedLogits):
        return decoded.logits
    logits = decoded.normed @ decoded.W_U.T
    return logits if decoded.b_U is None else logits + decoded.b_U


def _finite(logits: torch.Tensor) -> torch.Tensor:
    """A masked token has minus infinity, and 0 * -inf would be NaN: it is very unlikely instead."""
    return logits.clamp(min=-1e30)


def check_differentiable(model: HookedModel, rows: torch.Tensor) -> None:
    """Raise unless the gradient of the model's tail is the slope that is measured.

    Args:
        model: the model.
        rows: a few residual vectors to try it on, shape [n, d_model], fp32.

    Raises:
        QuestionError: when it has no gradient, or another one.
    """
    refusal = f"No tuned lens can be trained for {model.name}: what makes logits of its stream"
    leaf = rows.detach().requires_grad_()
    weights = torch.linspace(-1, 1, model.d_vocab, device=rows.device).mul(37).sin()
    try:
        with torch.enable_grad():
            total = _finite(_all(model.decoded(leaf, differentiable=True))).mul(weights).sum()
            (gradient,) = torch.autograd.grad(total, leaf)
    except RuntimeError as error:
        raise QuestionError(f"{refusal} has no gradient ({error}).") from error
    size = gradient.norm(dim=-1)
    step = 1e-2 * rows.norm(dim=-1) / size.clamp(min=1e-30)
    with torch.no_grad():
        sides = [rows + sign * step[:, None] * gradient for sign in (1, -1)]
        above, below = (_finite(_all(model.decoded(one))).mul(weights).sum(-1) for one in sides)
    slope = (above - below) / (2 * step * size).clamp(min=1e-30)
    if not ((slope - size).abs() <= _TOLERANCE * size).logical_and(size > 0).all():
        raise QuestionError(
            f"{refusal} has gradients of the sizes {_listed(size)}, but its slopes are {_listed(slope)}."
        )


def _listed(numbers: torch.Tensor) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers.tolist())
