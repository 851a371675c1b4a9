"""One look at some logits: all that the lens wants to know of them.

Sums of exponentials are kept relative to the largest logit so far, and rescaled when a larger one comes ("online"
log-sum-exp). Logits are looked at in pieces that stay in the processor's cache, which is where the time goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from layerwidget.analysis.log_probs import NOTHING

#: Numbers that one operation looks at: they stay in a core's own cache while all operations look at them. More on a
#: GPU, where the way to memory is short and each operation has a price.
_PIECE = 2**17
_PIECE_GPU = 2**24
#: The same where every core has a part of each operation.
_SHARED_PIECE = 2**19
#: The logit of a token that is masked: very unlikely. With minus infinity, 0 * -inf would be NaN.
MASKED = -1e9
#: The largest of so many is known before the largest of all are looked for.
_GROUP = 64


def piece_of(device: torch.device, shared: bool) -> int:
    """How many numbers one operation looks at; `shared` when every core has a part of it."""
    if device.type != "cpu":
        return _PIECE_GPU
    return _SHARED_PIECE if shared else _PIECE


@dataclass(frozen=True, eq=False)
class Sums:
    """What is known of every row after some tokens; all shapes begin with [layer, pos].

    Attributes:
        peak: the largest logit.
        norm: sum of exp(logit - peak).
        energy: sum of exp(logit - peak) * logit.
        cross: sum of the final prediction's probability * logit.
        larger: how many logits are larger than those asked for, shape [layer, pos, asked].
        asked: the logits asked for; 0 where they have not come yet.
        top: the largest logits, shape [layer, pos, k].
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

    def then(self, other: Sums, k: int) -> Sums:
        """After the tokens of both."""
        peak = torch.maximum(self.peak, other.peak)
        mine, others = (self.peak - peak).exp(), (other.peak - peak).exp()
        tops = torch.cat([self.top, other.top], -1)
        top, chosen = tops.topk(min(k, tops.shape[-1]))
        return Sums(
            peak,
            self.norm * mine + other.norm * others,
            self.energy * mine + other.energy * others,
            self.cross + other.cross,
            self.larger + other.larger,
            self.asked + other.asked,
            top,
            torch.cat([self.top_ids, other.top_ids], -1).gather(-1, chosen),
        )


def pieces(block: torch.Tensor, piece: int) -> Iterator[tuple[slice, slice]]:
    """Layers and positions of parts of a block, shape [layer, pos, token]: of so many numbers, or of one row."""
    n_layers, n_pos, width = block.shape
    # Several layers only with all of their positions.
    per_layer, per_pos = max(1, piece // (n_pos * width)), max(1, min(n_pos, piece // width))
    for layer in range(0, n_layers, per_layer):
        for pos in range(0, n_pos, per_pos):
            yield slice(layer, layer + per_layer), slice(pos, pos + per_pos)


def look(
    block: torch.Tensor,
    final_probs: torch.Tensor,
    near: torch.Tensor,
    places: torch.Tensor,
    k: int,
    piece: int,
    floor: torch.Tensor | None = None,
) -> Sums:
    """Everything about some tokens.

    Args:
        block: their logits, shape [layer, pos, token].
        final_probs: of the model's own prediction, shape [pos, token].
        near: the logits asked for, up to rounding, shape [layer, pos, asked].
        places: where in the block they are, shape [pos, asked]; some are before or behind it.
        k: how many of the largest are kept.
        piece: how many logits are looked at at once.
        floor: k logits of other tokens are not less, shape [layer, pos]. Where all of these are, none of them is among
            the largest, and minus infinity is given in their place.
    """
    n_layers, n_pos, width = block.shape
    scratch = block.new_empty(min(max(piece, width), block.numel()))
    peak, norm, energy, cross = block.new_empty(4, n_layers, n_pos)
    counted = torch.empty_like(near)
    for here in pieces(block, piece):
        logits = block[here]
        room = scratch[: logits.numel()].view(logits.shape)
        torch.amax(logits, -1, out=peak[here])
        for one, count in zip(near[here].unbind(-1), counted[here].unbind(-1), strict=True):
            # Counting as floats is exact below 2**24 and an order of magnitude faster than summing booleans.
            torch.sum(torch.gt(logits, one[..., None], out=room), -1, out=count)
        # Not by a matrix product, which adds up long rows less exactly.
        torch.sum(torch.mul(logits, final_probs[here[1]], out=room), -1, out=cross[here])
        torch.sub(logits, peak[here][..., None], out=room).clamp_(min=NOTHING).exp_()
        torch.sum(room, -1, out=norm[here])
        torch.sum(room.mul_(logits), -1, out=energy[here])
    top, top_ids = largest(block, k) if floor is None else _largest_of(block, k, peak >= floor)
    at_asked, beyond = _asked(block, near, places)
    return Sums(peak, norm, energy, cross, counted.long() - beyond, at_asked, top, top_ids)


def _asked(logits: torch.Tensor, near: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | int]:
    """The logits asked for, 0 where they are in no place here; and which of them rounding makes larger than `near`."""
    width = logits.shape[-1]
    here = (places >= 0) & (places < width)
    if not here.any():
        return torch.zeros_like(near), 0
    own = logits.gather(-1, places.clamp(0, width - 1).expand(near.shape))
    # A token is not larger than itself, whatever rounding says.
    return torch.where(here, own, 0), (here & (own > near)).long()


def largest(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Like `topk` along the last axis, for long ones: the k largest lie in the groups of the k largest peaks."""
    n = logits.shape[-1]
    if n % _GROUP or n <= 2 * k * _GROUP:
        top, ids = logits.topk(k)
        return top, ids
    groups = _groups(logits)
    chosen = groups.amax(-2).topk(k).indices
    few = groups.gather(-1, chosen[..., None, :].expand(*chosen.shape[:-1], _GROUP, k)).flatten(-2)
    top, place = few.topk(k)
    return top, chosen.gather(-1, place % k) + place // k * groups.shape[-1]


def _largest_of(block: torch.Tensor, k: int, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `largest` gives of some rows, shape [layer, pos]; minus infinity in the others, unless they are few."""
    if 2 * int(rows.sum()) > rows.numel():
        return largest(block, k)
    top = block.new_full((*rows.shape, k), -math.inf)
    ids = torch.zeros(top.shape, dtype=torch.long, device=top.device)
    top[rows], ids[rows] = largest(block[rows], k)
    return top, ids


def _groups(logits: torch.Tensor) -> torch.Tensor:
    """In groups of `_GROUP`, shape [..., member, group]; their members are far apart: so vectors are compared."""
    groups: torch.Tensor = logits.unflatten(-1, (_GROUP, -1))
    return groups
