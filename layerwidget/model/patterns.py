"""Attention patterns, computed when somebody looks, from what the forward pass used."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch


@dataclass(frozen=True, eq=False)
class FusedAttention:
    """The arguments of one call of fused attention, by reference.

    Attributes:
        query: shape [1, head, query_pos, d_head].
        key: shape [1, head or kv_head, key_pos, d_head].
        mask: boolean (True: may look) or added to the scores, or None.
        is_causal: whether a position may look at itself and before only.
        scale: what the scores are multiplied by; None for 1 / sqrt(d_head).
    """

    query: torch.Tensor
    key: torch.Tensor
    mask: torch.Tensor | None
    is_causal: bool
    scale: float | None

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
        return cls(query, key, attn_mask, is_causal, options.get("scale"))

    def weights(self, n_pos: int) -> torch.Tensor:
        """Attention weights, shape [head, query_pos, key], fp32. A position that may look nowhere has zeros."""
        query, key = self.query.float(), self.key.float()
        if query.dim() > 2 and key.shape[-3] != query.shape[-3]:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
        scale = 1.0 / math.sqrt(query.shape[-1]) if self.scale is None else self.scale
        scores = query @ key.transpose(-2, -1) * scale
        if self.is_causal:
            allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~allowed, -math.inf)
        if self.mask is not None and self.mask.dtype == torch.bool:
            scores = scores.masked_fill(~self.mask, -math.inf)
        elif self.mask is not None:
            scores = scores + self.mask.float()
        weights = scores.softmax(dim=-1).nan_to_num(nan=0.0)
        # With one position, transformers may lay the heads of a group along the query axis: this undoes it.
        return weights.reshape(-1, n_pos, weights.shape[-1])


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


Source: TypeAlias = FusedAttention | SoftmaxAttention


def self_pattern(sources: Iterable[Source], n_pos: int) -> torch.Tensor:
    """Weights from position to position, shape [head, query_pos, key_pos], fp32.

    The heads of several operations follow each other; learned sinks and an encoder's positions (columns after the last)
    are cut.
    """
    return torch.cat([source.weights(n_pos)[..., :n_pos] for source in sources])


def cross_pattern(sources: Iterable[Source], n_pos: int, n_source: int) -> torch.Tensor:
    """Weights from position to the encoder's positions, shape [head, query_pos, source_pos], fp32."""
    return torch.cat([source.weights(n_pos)[..., -n_source:] for source in sources])
