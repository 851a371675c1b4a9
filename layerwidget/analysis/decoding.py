"""What the lens says of logits, from one look at each of them: a block of the vocabulary at a time, or all of few rows.

Where they are computed in blocks, threads share the blocks out among them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from itertools import count

import torch

from layerwidget.analysis.log_probs import NOTHING, log_probs
from layerwidget.analysis.looking import MASKED, Sums, look, piece_of, pieces
from layerwidget.model.cores import n_sharers, shared_out
from layerwidget.model.crowding import leaving_a_core
from layerwidget.model.decoding import BlockedLogits, Logits, WholeLogits

#: Logits computed at once, of all rows, by all threads.
BLOCK_BYTES = 16 * 2**20
#: Tokens whose logits are computed at once, by all threads.
BLOCK_WIDTH = 8192


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
        probs = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
        neg_entropies, tops = [], []
        # A few positions at a time: what is looked at several times stays in the cache, and no copies are held.
        some = max(1, piece_of(logits.device, shared=True) // logits.shape[-1])
        for part, room in zip(logits.split(some), probs.split(some), strict=True):
            logs = log_probs(part)
            # Several times as fast as `argmax`.
            first = logs.max(-1, keepdim=True).indices
            # Where two are equal, the first one of all is the same as without the others.
            tops.append(first if n < 2 else _first_first(first, logs.topk(n).indices))
            torch.exp(logs.clamp_(min=NOTHING), out=room)
            neg_entropies.append(logs.mul_(room).sum(-1))
        return cls(probs, torch.cat(neg_entropies), torch.cat(tops))


@dataclass(frozen=True, eq=False)
class Columns:
    """What is decoded at some positions.

    Attributes:
        logits: of the residual vectors of the first layer at all positions, then of the second, ...
        final: the model's own prediction at these positions.
        n_layers: how many layers they are.
        last: where `logits` are computed in blocks, those of one layer more, which are there already, shape
            [pos, d_vocab], fp32; they stay as they are.
    """

    logits: Logits
    final: Final
    n_layers: int
    last: torch.Tensor | None = None


def decode(columns: Columns, tokens: torch.Tensor, k: int, jsd: bool = False) -> dict[str, torch.Tensor]:
    """All cells of some columns, whose logits are there, or are made all at once.

    Args:
        columns: what is decoded, without `last`; their logits are written to.
        tokens: ids whose rank and probability are asked for everywhere, shape [token].
        k: how many of the most probable tokens.
        jsd: whether the Jensen-Shannon divergence is wanted, too: a second look at all logits.

    Returns:
        Tensors of shape [layer, pos, ...], named like the arrays of `LensGrid`.
    """
    work, logits = _Work(columns, tokens, k), columns.logits
    if isinstance(logits, BlockedLogits):
        # Those that are there need no room, and it would be held from then on.
        logits = logits.whole(room_for_logits(work.device))
    every = logits.logits.clamp_(min=MASKED)
    work.look_at_all(every)
    return work.cells | ({"jsd_nats": _jsd(every, columns.final, work)} if jsd else {})


def decode_in_blocks(
    several: Iterable[Columns], tokens: torch.Tensor, k: int, told: Callable[[int, dict[str, torch.Tensor]], None]
) -> None:
    """What `decode` gives of several, a block of the vocabulary at a time: the next are made while some are looked at.

    Args:
        several: what is decoded.
        tokens: ids whose rank and probability are asked for everywhere, shape [token].
        k: how many of the most probable tokens.
        told: which of several, from 0 on, and their cells, as soon as they are there, in any thread and any order.
    """

    def works() -> Iterator[_Work]:
        # Not by `enumerate`, which would hold on to them: they are held for no longer than they are looked at.
        indices = count()
        for columns in several:
            work = _Work(columns, tokens, k, partial(told, next(indices)))
            del columns
            yield work

    _share_out(works(), tokens.device)


class _Work:
    """Columns that are being decoded.

    Args:
        columns, tokens, k: as `decode` has them.
        told: the cells, when they are there.

    Attributes:
        d_vocab, device: of the logits.
        cells: what is said of the columns, as soon as all their logits were looked at.
        log_norm: the logarithm of the sum of all exponentials, from then on, shape [layer, pos].
    """

    cells: dict[str, torch.Tensor]
    log_norm: torch.Tensor

    def __init__(
        self,
        columns: Columns,
        tokens: torch.Tensor,
        k: int,
        told: Callable[[dict[str, torch.Tensor]], None] = lambda _: None,
    ) -> None:
        final = columns.final
        n_pos, self.d_vocab = final.probs.shape
        self.device = final.probs.device
        self._columns: Columns | None = columns
        self._told = told
        self._k, self._top_ids, self._neg_entropy = k, final.top_ids, final.neg_entropy
        # Whose rank and probability are asked for, shape [pos, asked], and their logits, up to rounding.
        self._asked = torch.cat([final.top_ids, tokens.expand(n_pos, -1)], -1)
        distinct, which = self._asked.unique(return_inverse=True)
        near = columns.logits.at(distinct).unflatten(0, (columns.n_layers, n_pos))
        near = near.gather(-1, which.expand(columns.n_layers, -1, -1))
        if columns.last is not None:
            near = torch.cat([near, columns.last.gather(-1, self._asked)[None]])
        self._near = near.clamp_(min=MASKED)
        self._found: dict[int, Sums] = {}
        # Among what was looked at, k logits are not less: whatever is will not be listed.
        self._floor: torch.Tensor | None = None
        self._n_looked_at = 0
        self._finding = threading.Lock()

    def look_at_all(self, logits: torch.Tensor) -> None:
        """Look at logits that are there, shape [layer * pos, d_vocab]: each operation is shared out by itself."""
        assert self._columns is not None
        probs, piece = self._columns.final.probs, piece_of(self.device, shared=True)
        with leaving_a_core(len(probs)):
            block = logits.unflatten(0, (-1, len(probs)))
            self._finish(look(block, probs, self._near, self._asked, self._k, piece))

    def look_at(self, first: int, stop: int, room: torch.Tensor, looking: threading.Semaphore) -> None:
        """Compute the logits of some tokens, and look at them.

        Args:
            first: the first token.
            stop: the one after the last.
            room: memory for them, one axis, fp32; they may be too many for it.
            looking: taken by whoever looks.
        """
        columns = self._columns
        assert columns is not None
        logits, last, probs = columns.logits, columns.last, columns.final.probs[:, first:stop]
        n_numbers = len(probs) * len(self._near) * (stop - first)
        room = room if n_numbers <= len(room) else room.new_empty(n_numbers)
        block = room[:n_numbers].view(len(self._near), *probs.shape)
        made = logits.between(first, stop, room)
        if isinstance(logits, WholeLogits):
            # Of a head on which somebody hangs something meanwhile.
            block[: columns.n_layers] = made.unflatten(0, (-1, len(probs)))
        if last is not None:
            block[-1] = last[:, first:stop]
        if not isinstance(logits, BlockedLogits) or logits.b_U is not None:
            # A product alone masks nothing.
            block.clamp_(min=MASKED)
        k, piece = min(self._k, stop - first), piece_of(self.device, shared=False)
        # Short operations of several threads wait for each other's interpreter; meanwhile the others can multiply.
        with looking:
            sums = look(block, probs, self._near, self._asked - first, k, piece, self._floor)
            if k == self._k:
                # Whichever thread writes last: what it writes holds.
                least = sums.top[..., -1]
                self._floor = least if self._floor is None else torch.maximum(self._floor, least)
        sums.top_ids.add_(first)
        with self._finding:
            self._found[first] = sums
            self._n_looked_at += stop - first
            if self._n_looked_at < self.d_vocab:
                return
        # In the order of the vocabulary: the same sums come out, whichever thread was faster.
        self._finish(reduce(partial(Sums.then, k=self._k), [self._found[first] for first in sorted(self._found)]))

    def _finish(self, sums: Sums) -> None:
        self.log_norm = sums.peak + sums.norm.log()
        self.cells = _cells(sums, self.log_norm, self._top_ids, self._neg_entropy)
        self._columns = None
        self._found.clear()
        self._told(self.cells)


def _share_out(works: Iterable[_Work], device: torch.device) -> None:
    """Let every block of all of them be looked at by one of several threads."""
    n = n_sharers(device)
    width, rooms = max(1, BLOCK_WIDTH // n), list(room_for_logits(device).tensor_split(n))
    looking = threading.Semaphore(max(1, n // 2))

    def look_at(blocks: Iterator[tuple[_Work, int]]) -> None:
        room = rooms.pop()
        for work, first in blocks:
            work.look_at(first, min(first + width, work.d_vocab), room, looking)
            # It is held for no longer.
            del work

    shared_out(look_at, ((work, first) for work in works for first in range(0, work.d_vocab, width)), device)


def _jsd(logits: torch.Tensor, final: Final, work: _Work) -> torch.Tensor:
    """Jensen-Shannon divergence of both predictions, shape [layer, pos]: H((p + q) / 2) - (H(p) + H(q)) / 2.

    Args:
        logits: all of them, as `_Work.look_at_all` has them.
        final: the model's own prediction.
        work: what is known of the others; without the sum of all exponentials no probability is.
    """
    every, width = logits.unflatten(0, work.log_norm.shape), max(1, BLOCK_WIDTH // n_sharers(work.device))

    def look_at(starts: Iterator[int]) -> dict[int, torch.Tensor]:
        blocks = ((first, slice(first, first + width)) for first in starts)
        return {first: _mixed(every[..., here], final.probs[:, here], work.log_norm) for first, here in blocks}

    shares = shared_out(look_at, range(0, work.d_vocab, width), work.device)
    found = {first: mixed for share in shares for first, mixed in share.items()}
    mixed = reduce(torch.add, [found[first] for first in sorted(found)])
    # With s = p + q, H(s / 2) is ln 2 less half the sum of s log s. Rounding can leave its bounds by a hair.
    most = math.log(2)
    return (most + (final.neg_entropy - mixed - work.cells["entropy_nats"]) / 2).clamp(min=0, max=most)


def _mixed(block: torch.Tensor, final_probs: torch.Tensor, log_norm: torch.Tensor) -> torch.Tensor:
    """Sum of `s log s` over some tokens, shape [layer, pos]; `s` is the sum of both probabilities."""
    piece = piece_of(block.device, shared=False)
    scratch = block.new_empty(2, min(max(piece, block.shape[-1]), block.numel()))
    found = torch.empty_like(log_norm)
    for here in pieces(block, piece):
        logits = block[here]
        both, logs = scratch[:, : logits.numel()].view(2, *logits.shape)
        torch.sub(logits, log_norm[here][..., None], out=both).clamp_(min=NOTHING).exp_().add_(final_probs[here[1]])
        # 0 log 0 is 0.
        torch.clamp(both, min=1e-30, out=logs).log_()
        torch.sum(logs.mul_(both), -1, out=found[here])
    return found


_held = threading.local()


def room_for_logits(device: torch.device) -> torch.Tensor:
    """Memory that a thread uses again and again, one axis, fp32, `BLOCK_BYTES`; what is in it holds until the next use.

    The first touch of new memory takes as long as a third of the logits that are put there.
    """
    room: torch.Tensor | None = getattr(_held, "room", None)
    if room is None or room.device != device:
        room = _held.room = torch.empty(BLOCK_BYTES // 4, dtype=torch.float32, device=device)
    return room


def _first_first(first: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """The same tokens with `first`, shape [pos, 1], in front; the last one goes where it was not among them."""
    order = (top != first).int().sort(dim=-1, descending=True, stable=True).indices
    return torch.cat([first, top.gather(-1, order[..., :-1])], -1)


def _cells(
    sums: Sums, log_norm: torch.Tensor, top_ids: torch.Tensor, neg_entropy: torch.Tensor
) -> dict[str, torch.Tensor]:
    """What all sums together say; `top_ids` and `neg_entropy` are those of the final prediction."""
    asked, n = sums.asked, top_ids.shape[-1]
    log_probs = asked - log_norm[..., None]
    kl = log_norm - sums.cross + neg_entropy
    # Among the tokens that are listed the order is certain; others come after these.
    listed = (sums.top[..., None, :] > asked[..., None]).sum(-1)
    ranks = torch.where(listed < sums.top.shape[-1], listed, sums.larger.clamp(min=sums.top.shape[-1]))
    return {
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
