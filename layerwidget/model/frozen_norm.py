"""A norm with its scale frozen: linear in what goes in, so that sums can be split. Its form is measured, not named.

The form is `gain * (v - mean v) / scale + bias`, as in LayerNorm, or the same without the mean, as in RMSNorm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from layerwidget.model.running import converted
from layerwidget.rounding import relative_error

_TOLERANCE = 1e-5
#: Large enough that what a norm adds to the variance does not count.
_LARGE = 1e3


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """A norm as it acts on some vectors.

    Attributes:
        gain: shape [d_model].
        inverse_scale: what each vector is multiplied by, shape [pos, 1].
        bias: what is added last, shape [d_model].
        centred: whether the mean is taken off first.
    """

    gain: torch.Tensor
    inverse_scale: torch.Tensor
    bias: torch.Tensor
    centred: bool

    def linear(self, vectors: torch.Tensor) -> torch.Tensor:
        """What the norm makes of a part of its vectors, without its bias, shape [..., pos, d_model]."""
        centred = vectors - vectors.mean(-1, keepdim=True) if self.centred else vectors
        return self.gain * centred * self.inverse_scale


def frozen_norm(norm: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor) -> FrozenNorm | None:
    """A norm, frozen at some vectors; None where it has neither of the two forms.

    Args:
        norm: vectors, shape [n, d_model], to as many.
        rows: the vectors, shape [pos, d_model], fp32.
    """
    bias = norm(rows.new_zeros(1, rows.shape[-1]))[0]
    gain = _gain(norm, bias, rows)
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(3, rows.shape[-1], generator=generator) + torch.tensor([[0.0], [1.5], [-3.0]])
    vectors = torch.cat([rows, probes.to(rows)])
    made = norm(vectors)
    for centred in (False, True):
        found = FrozenNorm(gain, torch.ones_like(vectors[:, :1]), bias, centred)
        shape = found.linear(vectors)
        scale = ((made - bias) * shape).sum(-1, keepdim=True) / shape.square().sum(-1, keepdim=True)
        if relative_error(shape * scale + bias, made) <= _TOLERANCE:
            return FrozenNorm(gain, scale[: len(rows)], bias, centred)
    return None


def _gain(norm: Callable[[torch.Tensor], torch.Tensor], bias: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The gain up to a factor, from vectors of plus and minus the same number, whose mean is zero."""
    width = like.shape[-1]
    signs = 1.0 - 2.0 * (torch.arange(width, device=like.device) % 2)
    one, other = signs.clone(), signs.clone()
    if width % 2:
        one[-1], other[0] = 0.0, 0.0
    made = norm(_LARGE * torch.stack([one, other])) - bias
    return torch.where(one != 0, made[0] * one, made[1] * other)


def in_fp32(module: nn.Module) -> nn.Module:
    """The module itself, or a copy of it in fp32."""
    if all(weight.dtype == torch.float32 and weight.device.type != "meta" for weight in module.parameters()):
        return module
    return converted(module, torch.float32)
