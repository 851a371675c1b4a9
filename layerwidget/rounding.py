"""How far two tensors are from each other, and how far rounding alone can take them."""

from __future__ import annotations

import torch


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, as a share of the largest finite value; infinite where the shapes differ.

    Equal infinities do not differ: some models forbid tokens with minus infinity.
    """
    if got.shape != expected.shape:
        return float("inf")
    got, expected = got.float(), expected.float()
    difference = torch.where(got == expected, 0.0, got - expected).abs().max()
    return float(difference / expected[expected.isfinite()].abs().max().clamp_min(1e-30))


def row_errors(got: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """The same for every row, as a share of the largest finite value of that row; shapes [pos, d] -> [pos], fp32."""
    if got.shape != expected.shape:
        return torch.full(expected.shape[:1], float("inf"), device=expected.device)
    got, expected = got.float(), expected.float()
    difference = torch.where(got == expected, 0.0, got - expected).abs().amax(-1)
    return difference / expected.abs().where(expected.isfinite(), 0.0).amax(-1).clamp_min(1e-30)


def tolerance(dtype: torch.dtype, at_least: float = 1e-4) -> float:
    """The largest relative error that rounding explains."""
    return max(at_least, 8 * torch.finfo(dtype).eps)
