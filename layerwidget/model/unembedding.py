"""The direction of a token: how much each vector of the final stream gives to its logit, the final norm's scale frozen.

Source: science.md, "Direct logit attribution".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from layerwidget.errors import MissingComponentError
from layerwidget.model.frozen_norm import FrozenNorm, frozen_norm, in_fp32
from layerwidget.model.running import submodule, weight_at, weights_in_memory
from layerwidget.rounding import tolerance
from layerwidget.trace import Trace

#: Rows of W_U that are multiplied at once.
_BLOCK = 16384
#: On how many tokens more a factor before the head is proved.
_N_PROOFS = 16


@dataclass(frozen=True, eq=False)
class LogitDirection:
    """How the logit of a token, or the difference of two, is made of the final stream at one position.

    Attributes:
        logit: the logit, before the model's output transform.
        direction: its inner product with a part of the stream is what this gives to the logit, shape [d_model], fp64.
        norm_bias: what the final norm's bias gives.
        head_bias: what the head's bias gives.
        transform: what the model does to its logits afterwards.
        largest: the largest logit of any token at this position, up or down, before the transform; of a soft-cap,
            which only makes them smaller, after it. Errors are shares of it.
    """

    logit: float
    direction: torch.Tensor
    norm_bias: float
    head_bias: float
    transform: tuple[str, ...]
    largest: float


@torch.no_grad()
def logit_direction(trace: Trace, token: int, minus: int | None, position: int) -> LogitDirection:
    """The direction of one token, or of one minus another.

    Args:
        trace: a trace.
        token: a token id.
        minus: the id of the token whose logit is taken off, or None.
        position: where the next token is predicted.

    Raises:
        MissingComponentError: when the final norm and head are not known, or are not linear for a fixed scale.
    """
    own = trace.logits_between(position, position + 1)[0]
    tokens = [token] if minus is None else [token, minus]
    norm, normed = _final_norm(trace, position)
    rows, biases, transform = _head_rows(trace, tokens)
    logits = rows @ normed.to(rows.device) + biases
    error = _error(transformed(logits, transform), own[tokens], own)
    if not error <= tolerance(own.dtype) and trace.anatomy.transform in ((), ("+ bias",)):
        rows, biases, error = _as_it_runs(trace, tokens, norm, normed, own)
        logits, transform = rows @ normed.to(rows.device) + biases, ()
    if not error <= tolerance(own.dtype):
        why = f"relative error {error:.1e}" if math.isfinite(error) else f"then come: {', '.join(transform)}"
        raise MissingComponentError(
            f"{_refusal(trace)}: its final norm and head by themselves do not give its logits ({why})."
        )
    signs = torch.tensor([1.0, -1.0][: len(tokens)], dtype=torch.float64)
    target = (signs @ rows.cpu().double()) * norm.gain.cpu().double()
    centred = target - target.mean() if norm.centred else target
    exact = logits if transform or own.dtype != torch.float32 else own[tokens]
    return LogitDirection(
        logit=float(signs @ exact.cpu().double()),
        direction=centred * norm.inverse_scale[0].cpu().double(),
        norm_bias=float(signs @ (rows @ norm.bias.to(rows.device)).cpu().double()),
        head_bias=float(signs @ biases.cpu().double()),
        transform=transform,
        largest=_before_factors(float(_largest(own)), transform),
    )


@dataclass(frozen=True, eq=False)
class Promotion:
    """Which logits vectors raise most and least, by `W_U . v`, without the final norm.

    Attributes:
        top_ids: tokens of the largest products, the largest first, shape [n, k].
        top_logits: these products, fp32.
        bottom_ids: tokens of the smallest products, the smallest first.
        bottom_logits: these products, fp32.
    """

    top_ids: torch.Tensor
    top_logits: torch.Tensor
    bottom_ids: torch.Tensor
    bottom_logits: torch.Tensor


@torch.no_grad()
def promotion(trace: Trace, vectors: torch.Tensor, position: int, k: int) -> Promotion:
    """What vectors of the stream promote and demote.

    Args:
        trace: a trace.
        vectors: shape [n, d_model], fp32.
        position: where it is made sure that the logits are W_U times the normed stream.
        k: how many tokens.

    Raises:
        MissingComponentError: when they are not.
    """
    logit_direction(trace, 0, None, position)
    k = min(k, trace.anatomy.d_vocab)
    head = submodule(trace.model.hf_model, trace.anatomy.head or "")
    with trace.model.lock, weights_in_memory(head):
        # Block by block: a copy of W_U in fp32 would be as large as the model.
        blocks = [_extremes(block, vectors, k) for block in weight_at(head, "weight").split(_BLOCK)]
    firsts = range(0, trace.anatomy.d_vocab, _BLOCK)
    found = []
    for end in (0, 1):
        products = torch.cat([block[end].values for block in blocks], -1)
        ids = torch.cat([block[end].indices + first for first, block in zip(firsts, blocks, strict=True)], -1)
        best, place = products.topk(k, largest=end == 0)
        found += [ids.gather(-1, place), best]
    return Promotion(*found)


def _extremes(block: torch.Tensor, vectors: torch.Tensor, k: int) -> tuple[Any, Any]:
    """The largest and the smallest products with some rows of W_U."""
    products = vectors.to(block.device) @ block.float().T
    k = min(k, products.shape[-1])
    return products.topk(k), products.topk(k, largest=False)


def _refusal(trace: Trace) -> str:
    return f"The logits of {trace.anatomy.name} cannot be split over its parts"


def _final_norm(trace: Trace, position: int) -> tuple[FrozenNorm, torch.Tensor]:
    """The final norm, frozen at the final stream, and what it makes of it, shape [d_model]."""
    anatomy = trace.anatomy
    if anatomy.final_norm is None or anatomy.head is None:
        missing = "final norm" if anatomy.final_norm is None else "head"
        raise MissingComponentError(f"{_refusal(trace)}: no module was found that is its {missing}.")
    if len(anatomy.layout.inner) > 1:
        raise MissingComponentError(f"{_refusal(trace)}: it has several parallel streams.")
    stream = trace.rows("resid_post", anatomy.n_layers - 1, position, position + 1).float()
    with trace.model.lock:
        module = in_fp32(submodule(trace.model.hf_model, anatomy.final_norm))

        def norm(rows: torch.Tensor) -> torch.Tensor:
            return anatomy.layout.rows(module(anatomy.layout.stream(rows)))

        frozen, normed = frozen_norm(norm, stream), norm(stream)[0]
    if frozen is None:
        raise MissingComponentError(f"{_refusal(trace)}: {anatomy.final_norm} is not linear for a fixed scale.")
    return frozen, normed


def _head_rows(trace: Trace, tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """The tokens' rows of W_U, shape [token, d_model], their biases [token], and what is done to the logits then."""
    head = submodule(trace.model.hf_model, trace.anatomy.head or "")
    with trace.model.lock, weights_in_memory(head):
        weight, bias = getattr(head, "weight", None), getattr(head, "bias", None)
        if not isinstance(weight, torch.Tensor) or weight.shape != (trace.anatomy.d_vocab, trace.anatomy.d_model):
            raise MissingComponentError(f"{_refusal(trace)}: {trace.anatomy.head} is not a matrix [d_vocab, d_model].")
        rows = weight[tokens].detach().float()
        biases = bias[tokens].detach().float() if isinstance(bias, torch.Tensor) else rows.new_zeros(len(tokens))
    steps = trace.anatomy.transform
    return rows, biases, steps[1:] if steps[:1] == ("+ bias",) and bias is not None else steps


def transformed(logits: torch.Tensor, steps: Iterable[str]) -> torch.Tensor:
    """Logits after the model's output transform; NaN where a step of it is not known."""
    for step in steps:
        word, _, number = step.partition(" ")
        if word == "×":
            logits = logits * float(number)
        elif word == "soft-cap":
            logits = float(number) * (logits / float(number)).tanh()
        elif step == "tanh":
            logits = logits.tanh()
        else:
            return torch.full_like(logits, math.nan)
    return logits


def _before_factors(logit: float, steps: Iterable[str]) -> float:
    """A logit before the factors of the model's output transform."""
    for step in steps:
        word, _, number = step.partition(" ")
        logit = logit / abs(float(number)) if word == "×" else logit
    return logit


def _largest(own: torch.Tensor) -> torch.Tensor:
    """The largest finite logit, up or down."""
    return own[own.isfinite()].abs().max().float().clamp_min(1e-30)


def _error(found: torch.Tensor, expected: torch.Tensor, own: torch.Tensor) -> float:
    """The largest difference of some logits from the model's own, as a share of its largest logit of any token."""
    return float((found - expected.to(found.device).float()).abs().max() / _largest(own).to(found.device))


def _as_it_runs(
    trace: Trace, tokens: list[int], norm: FrozenNorm, normed: torch.Tensor, own: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The tokens' rows and biases where the model scales what its head reads, or adds a bias that is not the head's.

    Where it is fed zeros, only biases are left; what remains has to be the same multiple for many tokens.

    Returns:
        Rows times the factor, shape [token, d_model], biases [token], and the relative error over all tokens tried.
    """
    likely = own.masked_fill(~own.isfinite(), -math.inf).topk(min(_N_PROOFS, len(own))).indices.tolist()
    tried = [*tokens, *likely]
    rows, _, _ = _head_rows(trace, tried)
    at_zero = trace.model.tail(normed.new_zeros(1, len(normed)))[0, tried].to(rows.device)
    products = rows @ (normed - norm.bias).to(rows.device)
    wanted = own[tried].to(rows.device).float() - at_zero
    factor = (wanted @ products) / products.square().sum().clamp_min(1e-30)
    biases = at_zero - factor * (rows @ norm.bias.to(rows.device))
    error = _error(factor * (rows @ normed.to(rows.device)) + biases, own[tried], own)
    return factor * rows[: len(tokens)], biases[: len(tokens)], error
