"""Attention patterns, computed when somebody looks, from what the forward pass used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from layerwidget.errors import MissingComponentError
from layerwidget.model.stream import StreamLayout
from layerwidget.plain import registered
from layerwidget.trace import Pattern

#: Keys of several layers that are copied to be looked at together.
_FEW_NUMBERS = 2**20
_NO_VALUES = "Its attention is not one fused operation, so what each head reads is not kept."


@registered
@dataclass(frozen=True, eq=False)
class FusedAttention:
    """The arguments of one call of fused attention, by reference.

    Attributes:
        query: shape [1, head, query_pos, d_head].
        key: shape [1, head or kv_head, key_pos, d_head].
        mask: boolean (True: may look) or added to the scores, or None.
        is_causal: whether a position may look at itself and before only.
        scale: what the scores are multiplied by; None for 1 / sqrt(d_head).
        value: shape [1, head or kv_head, key_pos, d_value], or None.
    """

    query: torch.Tensor
    key: torch.Tensor
    mask: torch.Tensor | None
    is_causal: bool
    scale: float | None
    value: torch.Tensor | None = None

    @classmethod
    def from_call(
        cls,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> FusedAttention:
        """From the arguments of `torch.nn.functional.scaled_dot_product_attention`."""
        return cls(query, key, attn_mask, is_causal, options.get("scale"), value)

    def weights(self, n_pos: int) -> torch.Tensor:
        """Attention weights, shape [head, query_pos, key], fp32. A position that may look nowhere has zeros."""
        query, key = self.query.float(), self.key.float()
        shape = (*query.shape[:-1], key.shape[-2])
        if query.dim() > 2 and key.shape[-3] != query.shape[-3]:
            # The heads of a group lie along the query axis for the product, so that no key is copied for each of them.
            query = query.unflatten(-3, (key.shape[-3], -1)).flatten(-3, -2)
        scale = 1.0 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale
        # In place: of thousands of tokens, every copy is hundreds of megabytes.
        scores = (query @ key.transpose(-2, -1)).reshape(shape).mul_(scale)
        if self.is_causal:
            allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores.masked_fill_(allowed.logical_not_(), -math.inf)
        if self.mask is not None and self.mask.dtype == torch.bool:
            scores = scores.masked_fill(~self.mask, -math.inf)
        elif self.mask is not None:
            scores = scores + self.mask.float()
        weights = scores.softmax(dim=-1).nan_to_num_(nan=0.0)
        # With one position, transformers may lay the heads of a group along the query axis: this undoes it.
        return weights.reshape(-1, n_pos, weights.shape[-1])

    @property
    def form(self) -> tuple[object, ...]:
        """What operations that can be computed together have in common."""
        return self.query.shape, self.key.shape, self.query.dtype, self.query.device, self.scale

    def values(self, n_heads: int) -> torch.Tensor:
        """What each head reads at each key, shape [head, key, d_value], fp32."""
        if self.value is None:
            raise MissingComponentError(_NO_VALUES)
        value = self.value.float().reshape(-1, *self.value.shape[-2:])
        return value.repeat_interleave(n_heads // value.shape[0], dim=0)

    def head(self, n_rows: int, of_rows: int, n_keys: int, newer: Source | None) -> FusedAttention:
        """The first rows of so many, with the keys and values that they see; those of a newer pass, to hold them once.

        Args:
            n_rows: how many.
            of_rows: how many there are.
            n_keys: how many keys they see.
            newer: the operation in a later pass, which begins with the same keys.
        """
        mask = self.mask if self.mask is None else self.mask[..., :n_keys]
        query = self.query
        if n_rows < of_rows:
            query = query[..., :n_rows, :]
            mask = mask if mask is None or mask.shape[-2] == 1 else mask[..., :n_rows, :]
        key, value = self.key, self.value
        if isinstance(newer, FusedAttention):
            key = newer.key if newer.key.shape[:-2] == key.shape[:-2] else key
            alike = value is not None and newer.value is not None and newer.value.shape[:-2] == value.shape[:-2]
            value = newer.value if alike else value
        value = None if value is None else value[..., :n_keys, :]
        return FusedAttention(query, key[..., :n_keys, :], mask, self.is_causal, self.scale, value)

    def rows(self, start: int, stop: int, of_rows: int) -> FusedAttention:
        """Some rows of so many, with the keys that they see."""
        if stop - start == of_rows:
            return self
        n_keys = stop if self.is_causal else self.key.shape[-2]
        mask = self.mask if self.mask is None else self.mask[..., :n_keys]
        mask = mask if mask is None or mask.shape[-2] == 1 else mask[..., start:stop, :]
        if self.is_causal:
            mask = torch.ones(stop - start, n_keys, dtype=torch.bool, device=self.key.device).tril(start)
        query = self.query[..., start:stop, :]
        return FusedAttention(query, self.key[..., :n_keys, :], mask, False, self.scale)


@registered
@dataclass(frozen=True, eq=False)
class SoftmaxAttention:
    """The output of the softmax of an attention that is not fused.

    Attributes:
        output: shape [1, head, query_pos, key + sinks] or [head, query_pos, key + sinks].
    """

    output: torch.Tensor

    def weights(self, n_pos: int) -> torch.Tensor:
        """Attention weights, shape [head, query_pos, key + sinks], fp32."""
        return self.output.float().reshape(-1, n_pos, self.output.shape[-1])

    def head(self, n_rows: int, of_rows: int, n_keys: int, newer: Source | None) -> SoftmaxAttention:
        """The first rows of so many, with the keys that they see."""
        return SoftmaxAttention(self.weights(of_rows)[:, :n_rows, :n_keys])


@registered
@dataclass(frozen=True, eq=False)
class PaddedAttention:
    """Attention over all rows of a stream that has more rows than positions.

    Attributes:
        rows: what the operation left behind.
        layout: which of the rows are the positions.
    """

    rows: FusedAttention | SoftmaxAttention
    layout: StreamLayout

    def whole(self) -> torch.Tensor:
        """Weights from every row to every row, shape [head, row, row], fp32."""
        n_rows = self.rows.key.shape[-2] if isinstance(self.rows, FusedAttention) else self.rows.output.shape[-1]
        return self.rows.weights(n_rows)

    def weights(self, n_pos: int) -> torch.Tensor:
        """Attention weights, shape [head, query_pos, key_pos], fp32; the other rows take a share of each row."""
        weights = self.whole()
        here = self.layout.positions(weights.shape[-1], n_pos)
        return weights[:, here, here]

    def head(self, n_rows: int, of_rows: int, n_keys: int, newer: Source | None) -> SoftmaxAttention:
        """The first rows of so many, with the keys that they see."""
        return SoftmaxAttention(self.weights(of_rows)[:, :n_rows, :n_keys])


Source: TypeAlias = FusedAttention | SoftmaxAttention | PaddedAttention


@registered
@dataclass(frozen=True, eq=False)
class PatternRows:
    """The self-attention weights of one layer, of some positions in a row; computed when it is called.

    Attributes:
        sources: what its attention operations left behind, in order; their heads follow each other.
        first: the first of these positions.
        n_rows: how many they are.
    """

    sources: tuple[Source, ...]
    first: int
    n_rows: int

    def __call__(self) -> torch.Tensor:
        """Weights, shape [head, query_pos, key_pos], fp32; sinks and an encoder's positions (later columns) are cut."""
        n_keys = self.first + self.n_rows
        weights = [source.weights(self.n_rows)[..., :n_keys] for source in self.sources]
        # Of one fused operation they are made just now, and nobody else's.
        fresh = len(weights) == 1 and isinstance(self.sources[0], FusedAttention)
        return weights[0] if fresh else torch.cat(weights)

    def between(self, start: int, stop: int) -> torch.Tensor:
        """Weights of some positions, shape [head, stop - start, key_pos], fp32; keys that none of them see may lack."""
        if len(self.sources) > 1 or not isinstance(self.sources[0], FusedAttention):
            return self()[:, start - self.first : stop - self.first]
        cut = self.sources[0].rows(start - self.first, stop - self.first, self.n_rows)
        return cut.weights(stop - start)[..., : self.first + self.n_rows]

    def values(self) -> torch.Tensor:
        """What each head reads at each position, shape [head, key_pos, d_value], fp32.

        Raises:
            MissingComponentError: when the layer's attention is not one fused operation.
        """
        source = self._fused()
        n_heads = source.query.numel() // (self.n_rows * source.query.shape[-1])
        return source.values(n_heads)[:, : self.first + self.n_rows]

    def outputs(self) -> torch.Tensor:
        """What each head has read, shape [head, query_pos, d_value], fp32: weights times values."""
        values = self.values()
        return self()[..., : values.shape[-2]] @ values

    def row(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of one of these positions, shape [head, key_pos], and what they weigh, [head, key_pos, d_value]."""
        values = self.values()
        index = position - self.first
        weights = self._fused().rows(index, index + 1, self.n_rows).weights(1)[:, 0, : values.shape[-2]]
        return weights, values[:, : weights.shape[-1]]

    def _fused(self) -> FusedAttention:
        source = self.sources[0]
        if len(self.sources) > 1 or not isinstance(source, FusedAttention):
            raise MissingComponentError(_NO_VALUES)
        return source

    def head(self, n_rows: int, newer: tuple[Source, ...] | None) -> PatternRows:
        """The first rows alone.

        Args:
            n_rows: how many.
            newer: the operations of a later pass, whose keys begin with the same ones, to hold them once.
        """
        cut = tuple(
            source.head(n_rows, self.n_rows, self.first + n_rows, None if newer is None else newer[number])
            for number, source in enumerate(self.sources)
        )
        return PatternRows(cut, self.first, n_rows)


@registered
@dataclass(frozen=True, eq=False)
class SplicedPattern:
    """The weights of one layer from several passes, each with positions of its own.

    Attributes:
        parts: the passes' rows, from the first position on.
    """

    parts: tuple[PatternRows, ...]

    def __call__(self) -> torch.Tensor:
        """Weights, shape [head, query_pos, key_pos], fp32."""
        return self.between(0)

    @property
    def n_rows(self) -> int:
        """How many positions there are."""
        return self.parts[-1].first + self.parts[-1].n_rows

    def between(self, start: int, stop: int | None = None) -> torch.Tensor:
        """Weights of some positions, shape [head, query_pos, key_pos], fp32; without `stop`, with all keys.

        Keys that none of the positions sees may lack.
        """
        stop, n_keys = (self.n_rows, self.n_rows) if stop is None else (stop, 0)
        computed = [
            part.between(max(start, part.first), min(stop, part.first + part.n_rows))
            for part in self.parts
            if part.first < stop and part.first + part.n_rows > start
        ]
        n_keys = max(n_keys, *(rows.shape[-1] for rows in computed))
        short = [(rows, n_keys - rows.shape[-1]) for rows in computed]
        padded = [torch.nn.functional.pad(rows, (0, n_lacking)) if n_lacking else rows for rows, n_lacking in short]
        return padded[0] if len(padded) == 1 else torch.cat(padded, dim=1)

    def values(self) -> torch.Tensor:
        """What each head reads at each position, shape [head, key_pos, d_value], fp32: the last pass has all of it."""
        return self.parts[-1].values()

    def outputs(self) -> torch.Tensor:
        """What each head has read, shape [head, query_pos, d_value], fp32."""
        return torch.cat([part.outputs() for part in self.parts], dim=1)

    def row(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of one position, shape [head, key_pos], and what they weigh, shape [head, key_pos, d_value], fp32."""
        return next(part for part in self.parts if position < part.first + part.n_rows).row(position)

    def fused_from(self, first: int) -> FusedAttention | None:
        """The only operation behind the positions from `first` on, if it is fused and each sees all of its keys."""
        part = self.parts[-1]
        if first < part.first or len(part.sources) > 1 or not isinstance(part.sources[0], FusedAttention):
            return None
        cut = part.sources[0].rows(first - part.first, part.n_rows, part.n_rows)
        return None if cut.is_causal or cut.mask is not None or cut.query.dim() < 3 else cut

    def then(self, n_same: int, after: SplicedPattern | None) -> SplicedPattern:
        """The first positions of these, and then those of another pass."""
        newest = None if after is None else after.parts[-1].sources
        kept = []
        for part in self.parts:
            n_rows = min(part.n_rows, n_same - part.first)
            if n_rows > 0:
                kept.append(part.head(n_rows, newest))
        return SplicedPattern((*kept, *(after.parts if after else ())))


def weights_from(patterns: Sequence[Pattern], first: int, n_pos: int) -> Iterator[torch.Tensor]:
    """Weights of several layers at the positions from `first` on, each of shape [head, query_pos, key_pos], fp32.

    Those of one position are computed for all layers at once: operations on few numbers all take about as long.

    Args:
        patterns: the layers'.
        first: the first position.
        n_pos: how many there are in all.
    """
    spliced = [pattern for pattern in patterns if isinstance(pattern, SplicedPattern)] if n_pos - first == 1 else []
    found = [one for pattern in spliced if (one := pattern.fused_from(first)) is not None]
    alike = len(found) == len(patterns) and len({one.form for one in found}) == 1
    if alike and sum(one.key.numel() for one in found) <= _FEW_NUMBERS:
        queries, keys = torch.cat([one.query for one in found]), torch.cat([one.key for one in found])
        together = FusedAttention(queries, keys, None, False, found[0].scale)
        yield from together.weights(1)[..., :n_pos].chunk(len(found))
    else:
        yield from (pattern.between(first) for pattern in patterns)


@registered
@dataclass(frozen=True, eq=False)
class CrossPattern:
    """The weights of one layer's attention to an encoder; computed when it is called.

    Attributes:
        sources: what its attention operations left behind, in order; their heads follow each other.
        n_pos: how many positions there are.
        n_source: how many positions the encoder has.
    """

    sources: tuple[Source, ...]
    n_pos: int
    n_source: int

    def __call__(self) -> torch.Tensor:
        """Weights from position to the encoder's positions, shape [head, query_pos, source_pos], fp32."""
        return torch.cat([source.weights(self.n_pos)[..., -self.n_source :] for source in self.sources])
