"""Numbers that have to agree."""

from __future__ import annotations

import torch


class DisagreementError(Exception):
    """A number is not what plain transformers says."""


class NotApplicableError(Exception):
    """There is nothing to check; the reason is evidence that was measured."""


def close(what: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Raise unless the largest difference is within a share of the largest value."""
    if found.shape != expected.shape:
        raise DisagreementError(f"{what}: shape {list(found.shape)}, expected {list(expected.shape)}")
    off = error(found, expected)
    if not off <= tolerance:
        raise DisagreementError(f"{what}: relative error {off:.1e} (allowed {tolerance:.0e})")


def close_rows(what: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Raise unless at every position the largest difference is within a share of the largest value there."""
    if found.shape != expected.shape:
        raise DisagreementError(f"{what}: shape {list(found.shape)}, expected {list(expected.shape)}")
    off = max(error(*rows) for rows in zip(found, expected, strict=True))
    if not off <= tolerance:
        raise DisagreementError(f"{what}: relative error {off:.1e} at a position (allowed {tolerance:.0e})")


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, as a share of the largest value; some models forbid tokens with minus infinity."""
    found, expected = found.float(), expected.float()
    difference = torch.where(found == expected, 0.0, found - expected).abs().max()
    return float(difference / expected[expected.isfinite()].abs().max().clamp_min(1e-30))
