"""The cosine of the angle between vectors."""

from __future__ import annotations

import torch


def cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Cosine of each pair of rows, shapes [..., d] -> [...], -1 to 1, at least fp32; NaN where a row is zero."""
    at_least = torch.promote_types(one.dtype, torch.float32)
    one, other = one.to(at_least), other.to(one.device, at_least)
    # Each is scaled first: a product of long vectors could overflow.
    one, other = (rows / rows.norm(dim=-1, keepdim=True) for rows in (one, other))
    return (one * other).sum(-1).clamp(-1.0, 1.0)
