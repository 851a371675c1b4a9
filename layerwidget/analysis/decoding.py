"""What the lens says of logits, from one look at each of them: a block of the vocabulary at a time, or all of few rows.

Sums of exponentials are kept relative to the largest logit so far, and rescaled when a larger one comes ("online"
log-sum-exp). Logits are looked at in pieces that stay in the processor's cache, which is where the time goes. Where
they are computed in blocks, threads share the blocks out among them, each with sums of its own.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import torch

from layerwidget.analysis.log_probs import NOTHING, log_probs
from layerwidget.model.cores import n_sharers, shared_out
from layerwidget.model.crowding import leaving_a_core
from layerwidget.model.decoding import BlockedLogits, Logits, WholeLogits

#: Logits computed at once, of all rows, by all threads.
BLOCK_BYTES = 16 * 2**20
#: Tokens whose logits are computed at once, by all threads.
BLOCK_WIDTH = 8192
#: Numbers that one operation looks at: they stay in a core's own cache while all operations look at them. More on a
#: GPU, where the way to memory is short and each operation has a price.
_PIECE = 2**17
_PIECE_GPU = 2**24
#: The same where all logits are there, and every core has a part of each operation.
_WHOLE_PIECE = 2**19
#: The logit of a token that is masked: very unlikely. With minus infinity, 0 * -inf would be NaN.
_MASKED = -1e9
#: The largest of so many is known before the largest of all are looked for.
_GROUP = 64


@dataclass(frozen=True, eq=False)
class Final:
    """The model's own prediction at some positions.

    Attributes:
        probs: shape [pos, d_vocab].
        neg_entropy: shape [pos], nats.
        top_ids: the most probable tokens, best first, shape [pos, followed], at least one.
    """

    probs: torch.Tensor
    neg_entropy: torch.Tensor
    top_ids: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, n: int = 1) -> Final:
        """From the logits, shape [pos, d_vocab]; `n` of the most probable tokens are told."""
        logs = log_probs(logits)
        probs = logs.exp()
        first = logs.argmax(-1, keepdim=True)
        # Where two are equal, the first one of all is the same as without the others.
        top = first if n < 2 else _first_first(first, logs.topk(n).indices)
        # In their place: as much again is not needed.
        return cls(probs, logs.mul_(probs).sum(-1), top)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What is known of every row after some tokens; all shapes begin with [pos, layer].

    Attributes:
        peak: the largest logit.
        norm: sum of exp(logit - peak).
        energy: sum of exp(logit - peak) * logit.
        cross: sum of the final prediction's probability * logit.
        larger: how many logits are larger than those asked for, shape [pos, layer, asked].
        asked: the logits asked for; 0 where they have not come yet.
        top: the largest logits, shape [pos, layer, k].
        top_ids: whose they are.
    """

    peak: torch.Tensor
    norm: torch.Tensor
    energy: torch.Tensor
    cross: torch.Tensor
    larger: torch.Tensor
    asked: torch.Tensor
    top: torch.Tensor
    top_ids: torch.Tensor

    @classmethod
    def of_layers(cls, parts: list[_Sums]) -> _Sums:
        """Of some layers, and then of others."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(torch.cat(each, dim=1) for each in zip(*(vars(part).values() for part in parts), strict=True)))

    def then(self, other: _Sums, k: int) -> _Sums:
        """After the tokens of both."""
        peak = torch.maximum(self.peak, other.peak)
        mine, others = (self.peak - peak).exp(), (other.peak - peak).exp()
        tops = torch.cat([self.top, other.top], -1)
        top, chosen = tops.topk(min(k, tops.shape[-1]))
        return _Sums(
            peak,
            self.norm * mine + other.norm * others,
            self.energy * mine + other.energy * others,
            self.cross + other.cross,
            self.larger + other.larger,
            self.asked + other.asked,
            top,
            torch.cat([self.top_ids, other.top_ids], -1).gather(-1, chosen),
        )


def decode(
    logits: Logits, final: Final, tokens: torch.Tensor, n_layers: int, k: int, jsd: bool = False
) -> dict[str, torch.Tensor]:
    """All cells of some layers at some positions.

    Args:
        logits: of the residual vectors of all layers at the first position, then at the second, ...
        final: the model's own prediction at these positions.
        tokens: ids whose rank and probability are asked for everywhere, shape [token].
        n_layers: how many layers they are.
        k: how many of the most probable tokens.
        jsd: whether the Jensen-Shannon divergence is wanted, too: a second look at every block, which is cheap where
            the logits are held.

    Returns:
        Tensors of shape [layer, pos, ...], named like the arrays of `LensGrid`.
    """
    n_pos, d_vocab = final.probs.shape
    device = final.probs.device
    asked_ids = torch.cat([final.top_ids, tokens.expand(n_pos, -1)], -1)
    distinct, which = asked_ids.unique(return_inverse=True)
    near = logits.at(distinct).unflatten(0, (n_pos, n_layers))
    near = near.gather(-1, which[:, None].expand(-1, n_layers, -1)).clamp_(min=_MASKED)
    width = max(1, min(BLOCK_WIDTH // n_sharers(device), d_vocab))
    if isinstance(logits, WholeLogits):
        # They are there: each operation is shared out by itself.
        piece = _WHOLE_PIECE if device.type == "cpu" else _PIECE_GPU
        some = max(1, piece // (n_pos * d_vocab))
        every = logits.logits.clamp_(min=_MASKED).unflatten(0, (n_pos, n_layers))
        blocks = zip(every.split(some, 1), near.split(some, 1), strict=True)
        with leaving_a_core(n_pos):
            sums = _Sums.of_layers([_look(block, final.probs, asked, asked_ids, k) for block, asked in blocks])
    else:
        sums = _multiplied(logits, final, near, asked_ids, k, width)
    cells = _cells(sums, final)
    return cells if not jsd else cells | {"jsd_nats": _jsd(logits, final, sums, cells["entropy_nats"], width)}


def _multiplied(
    logits: BlockedLogits, final: Final, near: torch.Tensor, asked_ids: torch.Tensor, k: int, width: int
) -> _Sums:
    """Everything about logits that are computed a block at a time."""
    n_pos, n_layers, _ = near.shape
    device = near.device
    rooms = _rooms_of(logits, n_pos * n_layers * width, device)
    # Short operations of several threads wait for each other's interpreter; meanwhile the others can multiply.
    looking = threading.Semaphore(max(1, n_sharers(device) // 2))

    def look(blocks: Iterator[tuple[int, int]]) -> dict[int, _Sums]:
        room, found = rooms.pop(), {}
        for first, stop in blocks:
            block = logits.between(first, stop, room).unflatten(0, (n_pos, n_layers))
            if logits.b_U is not None:
                # A product alone masks nothing.
                block.clamp_(min=_MASKED)
            with looking:
                found[first] = _look(block, final.probs[:, first:stop], near, asked_ids - first, min(k, stop - first))
            found[first].top_ids.add_(first)
        return found

    found = {
        first: sums
        for share in shared_out(look, _blocks(logits.d_vocab, width), device)
        for first, sums in share.items()
    }
    # In the order of the vocabulary: the same sums come out, whichever thread was faster.
    return reduce(lambda sums, more: sums.then(more, k), [found[first] for first in sorted(found)])


def _blocks(d_vocab: int, width: int) -> Iterator[tuple[int, int]]:
    """First token and the one after the last of each block.

    The second is smaller, so that two threads are not done with it at the same time as with the first one; and so are
    the last ones, for whoever is done earlier.
    """
    first = 0
    while first < d_vocab:
        small = first == width or d_vocab - first <= width
        stop = min(first + max(1, width // 2 if small else width), d_vocab)
        yield first, stop
        first = stop


def _jsd(logits: Logits, final: Final, sums: _Sums, entropy: torch.Tensor, width: int) -> torch.Tensor:
    """Jensen-Shannon divergence of both predictions, shape [layer, pos]: H((p + q) / 2) - (H(p) + H(q)) / 2.

    Args:
        logits: as `decode` has them.
        final: the same.
        sums: of all tokens; without them no probability is known.
        entropy: of the rows, shape [layer, pos].
        width: how many tokens are looked at at once.
    """
    log_norm = sums.peak + sums.norm.log()
    n_pos, n_layers = log_norm.shape
    d_vocab = final.probs.shape[1]
    rooms = _rooms_of(logits, n_pos * n_layers * width, log_norm.device)

    def look(starts: Iterator[int]) -> dict[int, torch.Tensor]:
        room, found = rooms.pop(), {}
        for first in starts:
            stop = min(first + width, d_vocab)
            block = logits.between(first, stop, room).clamp_(min=_MASKED).unflatten(0, (n_pos, n_layers))
            found[first] = _mixed(block, final.probs[:, first:stop], log_norm)
        return found

    shares = shared_out(look, range(0, d_vocab, width), log_norm.device)
    found = {first: mixed for share in shares for first, mixed in share.items()}
    mixed = reduce(torch.add, [found[first] for first in sorted(found)])
    # With s = p + q, H(s / 2) is ln 2 less half the sum of s log s. Rounding can leave its bounds by a hair.
    most = math.log(2)
    return (most + (final.neg_entropy[:, None] - mixed - entropy.T) / 2).clamp(min=0, max=most).T


def _mixed(block: torch.Tensor, final_probs: torch.Tensor, log_norm: torch.Tensor) -> torch.Tensor:
    """Sum of `s log s` over some tokens, shape [pos, layer]; `s` is the sum of both probabilities."""
    n_pos, n_layers, width = block.shape
    piece = _PIECE if block.device.type == "cpu" else _PIECE_GPU
    per_piece = max(1, piece // (n_layers * width))
    scratch = block.new_empty(2, min(per_piece, n_pos), n_layers, width)
    parts = []
    for start in range(0, n_pos, per_piece):
        here = slice(start, start + per_piece)
        both, logs = scratch[:, : block[here].shape[0]]
        torch.sub(block[here], log_norm[here, :, None], out=both).clamp_(min=NOTHING).exp_().add_(
            final_probs[here, None]
        )
        # 0 log 0 is 0.
        torch.clamp(both, min=1e-30, out=logs).log_()
        parts.append(logs.mul_(both).sum(-1))
    return torch.cat(parts)


_held = threading.local()


def room_for_logits(device: torch.device) -> torch.Tensor:
    """Memory that a thread uses again and again, one axis, fp32, `BLOCK_BYTES`; what is in it holds until the next use.

    The first touch of new memory takes as long as a third of the logits that are put there.
    """
    room: torch.Tensor | None = getattr(_held, "room", None)
    if room is None or room.device != device:
        room = _held.room = torch.empty(BLOCK_BYTES // 4, device=device)
    return room


def _rooms_of(logits: Logits, n_numbers: int, device: torch.device) -> list[torch.Tensor]:
    """Memory for so many logits for each thread that shares blocks out: of all rows at once, where they fit."""
    if isinstance(logits, WholeLogits):
        # They are there.
        return [torch.empty(0, device=device)] * n_sharers(device)
    n_all, room = n_numbers * n_sharers(device), room_for_logits(device)
    return list((room[:n_all] if n_all <= len(room) else room.new_empty(n_all)).split(n_numbers))


def _look(block: torch.Tensor, final_probs: torch.Tensor, near: torch.Tensor, places: torch.Tensor, k: int) -> _Sums:
    """Everything about some tokens.

    Args:
        block: their logits, shape [pos, layer, token].
        final_probs: of the model's own prediction, shape [pos, token].
        near: the logits asked for, up to rounding, shape [pos, layer, asked].
        places: where in the block they are, shape [pos, asked]; some are before or behind it.
        k: how many of the largest are kept.
    """
    n_pos, n_layers, width = block.shape
    piece = _PIECE if block.device.type == "cpu" else _PIECE_GPU
    per_piece = max(1, piece // (n_layers * width))
    scratch = block.new_empty(min(per_piece, n_pos), n_layers, width)
    peak, norm, energy, cross = block.new_empty(4, n_pos, n_layers)
    counted = torch.empty_like(near)
    # Without groups, each token is one.
    peaks = block.new_empty(n_pos, n_layers, width // _GROUP) if _in_groups(width, k) else block
    here = (block, final_probs[:, None], near, peaks, peak, norm, energy, cross, counted)
    for logits, final, asked, *found in zip(*(each.split(per_piece) for each in here), strict=True):
        group_peaks, row_peak, row_norm, row_energy, row_cross, counts = found
        room = scratch[: len(logits)]
        if peaks is not block:
            torch.amax(_groups(logits), -2, out=group_peaks)
        torch.amax(group_peaks, -1, out=row_peak)
        for one, count in zip(asked.unbind(-1), counts.unbind(-1), strict=True):
            # Counting as floats is exact below 2**24 and an order of magnitude faster than summing booleans.
            torch.sum(torch.gt(logits, one[..., None], out=room), -1, out=count)
        # Not by a matrix product, which adds up long rows less exactly.
        torch.sum(torch.mul(logits, final, out=room), -1, out=row_cross)
        torch.sub(logits, row_peak[..., None], out=room).clamp_(min=NOTHING).exp_()
        torch.sum(room, -1, out=row_norm)
        torch.sum(room.mul_(logits), -1, out=row_energy)
    top, top_ids = largest(block, k, None if peaks is block else peaks)
    at_asked, beyond = _asked(block, near, places)
    return _Sums(peak, norm, energy, cross, counted.long() - beyond, at_asked, top, top_ids)


def _asked(logits: torch.Tensor, near: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | int]:
    """The logits asked for, 0 where they are in no place here; and which of them rounding makes larger than `near`."""
    width = logits.shape[-1]
    here = ((places >= 0) & (places < width))[:, None]
    if not here.any():
        return torch.zeros_like(near), 0
    own = logits.gather(-1, places.clamp(0, width - 1)[:, None].expand(near.shape))
    # A token is not larger than itself, whatever rounding says.
    return torch.where(here, own, 0), (here & (own > near)).long()


def largest(logits: torch.Tensor, k: int, peaks: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Like `topk` along the last axis, for long ones: the k largest lie in the groups of the k largest peaks.

    Args:
        logits: shape [..., token].
        k: how many.
        peaks: the largest of each group, where they are known.
    """
    if not _in_groups(logits.shape[-1], k):
        top, ids = logits.topk(k)
        return top, ids
    groups = _groups(logits)
    chosen = (groups.amax(-2) if peaks is None else peaks).topk(k).indices
    few = groups.gather(-1, chosen[..., None, :].expand(*chosen.shape[:-1], _GROUP, k)).flatten(-2)
    top, place = few.topk(k)
    return top, chosen.gather(-1, place % k) + place // k * groups.shape[-1]


def _in_groups(n: int, k: int) -> bool:
    return n % _GROUP == 0 and n > 2 * k * _GROUP


def _groups(logits: torch.Tensor) -> torch.Tensor:
    """In groups of `_GROUP`, shape [..., member, group]; their members are far apart: so vectors are compared."""
    groups: torch.Tensor = logits.unflatten(-1, (_GROUP, -1))
    return groups


def _first_first(first: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """The same tokens with `first`, shape [pos, 1], in front; the last one goes where it was not among them."""
    order = (top != first).int().sort(dim=-1, descending=True, stable=True).indices
    return torch.cat([first, top.gather(-1, order[..., :-1])], -1)


def _cells(sums: _Sums, final: Final) -> dict[str, torch.Tensor]:
    asked, log_norm = sums.asked, sums.peak + sums.norm.log()
    log_probs, n = asked - log_norm[..., None], final.top_ids.shape[-1]
    kl = log_norm - sums.cross + final.neg_entropy[:, None]
    # Among the tokens that are listed the order is certain; others come after these.
    listed = (sums.top[..., None, :] > asked[..., None]).sum(-1)
    ranks = torch.where(listed < sums.top.shape[-1], listed, sums.larger.clamp(min=sums.top.shape[-1]))
    cells = {
        "top_ids": sums.top_ids,
        "top_probs": (sums.top - log_norm[..., None]).exp(),
        # Rounding can leave entropy and KL a hair below their bound of zero.
        "entropy_nats": (log_norm - sums.energy / sums.norm).clamp(min=0),
        "kl_to_final_nats": kl.clamp(min=0),
        "final_probs": log_probs[..., 0].exp(),
        "final_ranks": ranks[..., 0],
        "followed_ranks": ranks[..., :n],
        "followed_log_probs": log_probs[..., :n],
        "token_ranks": ranks[..., n:],
        "token_log_probs": log_probs[..., n:],
    }
    return {name: cell.transpose(0, 1) for name, cell in cells.items()}
