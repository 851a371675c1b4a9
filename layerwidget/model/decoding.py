"""Logits of residual vectors, a block of the vocabulary at a time where the head is a plain product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch.nn.functional import linear

from layerwidget.model.cores import shared_out
from layerwidget.model.crowding import is_crowded

#: Tokens whose logits a thread computes at once.
_BLOCK_WIDTH = 4096


@dataclass(frozen=True, eq=False)
class BlockedLogits:
    """Logits that are computed a block at a time.

    Attributes:
        normed: what enters the head, shape [n, d_model].
        W_U: its matrix, shape [d_vocab, d_model].
        b_U: its bias, shape [d_vocab], or None.
    """

    normed: torch.Tensor
    W_U: torch.Tensor
    b_U: torch.Tensor | None  # noqa: N815 - the name the field uses

    @property
    def d_vocab(self) -> int:
        """How many logits there are per row."""
        return self.W_U.shape[0]

    def between(self, first: int, stop: int, room: torch.Tensor) -> torch.Tensor:
        """Logits of the tokens from `first` to before `stop`, shape [n, token], fp32.

        Args:
            first: the first token.
            stop: one more than the last.
            room: memory that may be used for it, one axis, fp32, at least as large; new memory is slow.
        """
        logits = room[: len(self.normed) * (stop - first)].view(len(self.normed), stop - first)
        torch.mm(self.normed, self.W_U[first:stop].T, out=logits)
        return logits if self.b_U is None else logits.add_(self.b_U[first:stop])

    def whole(self, room: torch.Tensor) -> WholeLogits:
        """All of them.

        Args:
            room: memory for them, one axis, fp32, at least as large; new memory is slow.
        """
        if not is_crowded():
            # In one go; in pieces, when a part of it would have to wait for a core.
            return WholeLogits(self.between(0, self.d_vocab, room))
        logits = room[: len(self.normed) * self.d_vocab].view(len(self.normed), self.d_vocab)

        def multiply(firsts: Iterator[int]) -> None:
            for first in firsts:
                block = slice(first, first + _BLOCK_WIDTH)
                torch.mm(self.normed, self.W_U[block].T, out=logits[:, block])

        shared_out(multiply, range(0, self.d_vocab, _BLOCK_WIDTH), logits.device)
        return WholeLogits(logits if self.b_U is None else logits.add_(self.b_U))

    def at(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of some tokens, the same for every row, shape [n, len(ids)], fp32: equal to those up to rounding."""
        bias = None if self.b_U is None else self.b_U[ids]
        return linear(self.normed, self.W_U[ids], bias)


@dataclass(frozen=True, eq=False)
class WholeLogits:
    """Logits that the tail makes all at once.

    Attributes:
        logits: shape [n, d_vocab], fp32.
    """

    logits: torch.Tensor

    @property
    def d_vocab(self) -> int:
        """How many logits there are per row."""
        return self.logits.shape[1]

    def between(self, first: int, stop: int, room: torch.Tensor) -> torch.Tensor:
        """Logits of the tokens from `first` to before `stop`, shape [n, token]; no room is needed."""
        return self.logits[:, first:stop]

    def whole(self, room: torch.Tensor) -> WholeLogits:
        """All of them; no room is needed."""
        return self

    def at(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of some tokens, the same for every row, shape [n, len(ids)]."""
        return self.logits[:, ids]


Logits: TypeAlias = BlockedLogits | WholeLogits
