"""An FFN, or one of its experts, as a memory: what each neuron is multiplied by, and the vector that it writes.

Source: science.md, "FFN as key-value memory".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from layerwidget.errors import MissingComponentError
from layerwidget.model.ffn_again import FfnAgain, Watched
from layerwidget.rounding import relative_error

#: A sum over neurons that is further from what was made than this share of it lacks something.
TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Memory:
    """The neurons of an FFN, or of one of its experts, at some positions.

    Attributes:
        activations: shape [pos, neuron], fp32.
        halves: gates and ups, each of that shape; None where there are none.
        values: what each neuron writes, shape [neuron, d_model], fp32.
        bias: what is added to their sum, shape [d_model].
        scale: what the FFN multiplies that by, as few do.
    """

    activations: torch.Tensor
    halves: tuple[torch.Tensor, torch.Tensor] | None
    values: torch.Tensor
    bias: torch.Tensor
    scale: float = 1.0

    @property
    def total(self) -> torch.Tensor:
        """What they make together, shape [pos, d_model]."""
        return (self.activations @ self.values + self.bias) * self.scale


def memory_of(again: FfnAgain, seen: Watched, made: torch.Tensor, expert: int | None = None) -> Memory:
    """Neurons whose sum is what was made, shape [pos, d_model]; which axis of the weight is which is measured."""
    activations = activations_of(again, seen)
    holder = again.module_of(again.ffn.down)
    weight = getattr(holder, again.ffn.down.rpartition(".")[2]).detach()
    weight = weight if expert is None else weight[expert]
    width = again.ffn.n_neurons
    n_out = made.shape[-1]
    biases = biases_of(holder, weight, n_out, expert)
    error = float("inf")
    for matrix in (weight.T, weight):
        for bias in biases if matrix.shape == (width, n_out) else ():
            found = Memory(activations, _halves(seen, again), matrix, bias)
            for scale in (1.0, multiple(made, found.total)):
                error = min(error, relative_error(scale * found.total, made))
                if error <= TOLERANCE:
                    return replace(found, scale=scale)
    raise MissingComponentError(not_the_sum(again, error))


def biases_of(holder: nn.Module, weight: torch.Tensor, n_out: int, expert: int | None) -> list[torch.Tensor]:
    """What may be added to the sum over neurons: nothing, or a parameter beside the weight, shape [n_out]."""
    beside = (one.detach() if expert is None else one.detach()[expert] for one in holder.parameters(recurse=False))
    return [weight.new_zeros(n_out), *(one for one in beside if one.shape == (n_out,))]


def activations_of(again: FfnAgain, seen: Watched) -> torch.Tensor:
    """What the down projection reads, shape [pos, neuron]."""
    product = seen.product_with(again.ffn.down)
    if product is None or len(seen.rows(product.activation)) != len(seen.output):
        raise MissingComponentError(f"{again.refusal}: {again.ffn.down} is not multiplied with them once.")
    return seen.rows(product.activation)


def _halves(seen: Watched, again: FfnAgain) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Gates and ups, as far as their product is what the down projection reads."""
    product = seen.product_with(again.ffn.down)
    pair = None if product is None else seen.products.gate_and_up(product.activation)
    if product is None or pair is None:
        return None
    gates, ups = (seen.rows(node) for node in pair)
    return (gates, ups) if torch.equal(gates * ups, seen.rows(product.activation)) else None


def multiple(one: torch.Tensor, other: torch.Tensor) -> float:
    """By what something is best multiplied to give another."""
    return float((one * other).sum() / other.square().sum().clamp_min(1e-30))


def not_the_sum(again: FfnAgain, error: float) -> str:
    """What to say when neurons do not sum to what was made."""
    return (
        f"{again.refusal}: through {again.ffn.down} they sum to something else than its FFN gives (error {error:.1e})."
    )
