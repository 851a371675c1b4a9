"""What each attention head adds to the stream: what it has read, through its rows of W_O.

Which axis of W_O is which is proved once for its weights as they are. Every time somebody asks, the sum over heads is
compared with what the layer added. Source: science.md, "Direct logit attribution".
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import nn

from layerwidget.errors import MissingComponentError
from layerwidget.model.frozen_norm import FrozenNorm, frozen_norm, in_fp32
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.parts import Part
from layerwidget.model.running import submodule, weight_at, weights_in_memory
from layerwidget.rounding import relative_error, tolerance
from layerwidget.trace import Trace


@dataclass(frozen=True, eq=False)
class _Proof:
    """What was proved of a projection.

    Attributes:
        of: its weights as they were: the tensor, where its numbers are, and how often they were changed in place.
        transposed: whether its weight is W_O transposed.
    """

    of: tuple[tuple[weakref.ref[torch.Tensor], tuple[int, int]], ...]
    transposed: bool

    @classmethod
    def about(cls, module: nn.Module, transposed: bool) -> _Proof:
        """About a module as it is now."""
        return cls(tuple((weakref.ref(weight), _state(weight)) for weight in _weights(module)), transposed)

    def holds(self, module: nn.Module) -> bool:
        """Whether the module still has these weights, unchanged; no where a change could not be noticed."""
        weights = _weights(module)
        same = len(weights) == len(self.of) and not any(weight.is_inference() for weight in weights)
        return same and all(
            was() is weight and state == _state(weight) for (was, state), weight in zip(self.of, weights, strict=True)
        )


def _weights(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def _state(weight: torch.Tensor) -> tuple[int, int]:
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version


_proofs: weakref.WeakKeyDictionary[HookedModel, dict[tuple[str, int, int], _Proof]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class HeadWriting:
    """How the heads of one layer write to the stream at some positions.

    Attributes:
        W_O: what each head writes with, shape [head, d_head, d_model], fp32.
        bias: what is added to the sum over heads, shape [d_model]; zeros without a bias.
        norm: the norm through which the sum is added, frozen at it; None without.
        factor: what is multiplied last: a number, or shape [d_model].
    """

    W_O: torch.Tensor
    bias: torch.Tensor
    norm: FrozenNorm | None
    factor: torch.Tensor | float

    def raw(self, outputs: torch.Tensor) -> torch.Tensor:
        """What heads write, before norm and factor, from what they have read: [head, pos, d_head] -> d_model."""
        return torch.bmm(outputs.to(self.W_O.device), self.W_O)

    def added(self, raw: torch.Tensor) -> torch.Tensor:
        """What a part of the sum adds to the stream, shape [..., pos, d_model]."""
        return (raw if self.norm is None else self.norm.linear(raw)) * self.factor

    @property
    def constant(self) -> torch.Tensor:
        """What the biases of projection and norm add to the stream, shape [pos, d_model]."""
        biases = self.added(self.bias[None])
        return biases if self.norm is None else biases + self.norm.bias * self.factor


@torch.no_grad()
def head_writing(trace: Trace, layer: int, outputs: torch.Tensor, first: int = 0) -> HeadWriting:
    """How the heads of one layer write.

    Args:
        trace: a trace.
        layer: which layer.
        outputs: what all its heads have read at some positions in a row, shape [head, pos, d_head].
        first: the first of these positions.

    Raises:
        MissingComponentError: when it is not known, or the sum over heads is not what the layer added.
    """
    part = _attention_part(trace, layer)
    expected = trace.rows("attn_out", layer, first, first + outputs.shape[1])
    W_O, bias = _projection(trace, part, outputs, _refusal(trace, layer))
    raw = _side_by_side(outputs).to(W_O.device) @ W_O.flatten(0, 1) + bias
    norm, total = None, raw
    if part.norm_after:
        module = submodule(trace.model.hf_model, part.norm_after)
        with trace.model.lock:
            module = in_fp32(module)
            norm, total = frozen_norm(module, raw), module(raw)
        if norm is None:
            raise MissingComponentError(f"{_refusal(trace, layer)}: the norm after it is not linear for a fixed scale.")
    factor: torch.Tensor | float = 1.0
    for one in part.factors:
        factor = factor * (weight_at(trace.model.hf_model, one).to(raw) if isinstance(one, str) else one)
    error = relative_error(total * factor, expected.to(total.device))
    if not error <= tolerance(expected.dtype, at_least=1e-5):
        raise MissingComponentError(
            f"{_refusal(trace, layer)}: through {part.projection} they sum to something else than the layer adds "
            f"(relative error {error:.1e})."
        )
    return HeadWriting(W_O, bias, norm, factor)


def _refusal(trace: Trace, layer: int) -> str:
    return f"What each head of layer {layer} of {trace.anatomy.name} adds is not known"


def _attention_part(trace: Trace, layer: int) -> Part:
    """The only attention part of a layer, in a form that can be split over heads."""
    found = trace.anatomy.layers[layer]
    parts = found.parts_of("attention")
    why = ""
    if len(parts) != 1 or len(found.attention_sites) != 1:
        why = f"it has {len(parts)} attention parts and {len(found.attention_sites)} attention operations"
    elif parts[0].gate is not None:
        why = f"their sum is multiplied by {parts[0].gate.module}"
    elif not parts[0].projection:
        why = "no single matrix was found through which the attention operation's output is added"
    if why:
        raise MissingComponentError(f"{_refusal(trace, layer)}: {why}.")
    return parts[0]


def _projection(trace: Trace, part: Part, outputs: torch.Tensor, refusal: str) -> tuple[torch.Tensor, torch.Tensor]:
    """W_O, shape [head, d_head, d_model], and its bias."""
    module = submodule(trace.model.hf_model, part.projection.rpartition(".")[0])
    n_heads, _, d_head = outputs.shape
    with trace.model.lock, weights_in_memory(module):
        weight = weight_at(trace.model.hf_model, part.projection)
        held, d_model = getattr(module, "bias", None), trace.anatomy.d_model
        bias = held.detach().float() if isinstance(held, torch.Tensor) else torch.zeros(d_model, device=weight.device)
        proofs, key = _proofs.setdefault(trace.model, {}), (part.projection, n_heads, d_head)
        if key not in proofs or not proofs[key].holds(module):
            transposed = _is_transposed(module, weight.float(), bias, _side_by_side(outputs).to(weight.device))
            if transposed is None:
                raise MissingComponentError(
                    f"{refusal}: {part.projection} is not multiplied with their outputs side by side."
                )
            proofs[key] = _Proof.about(module, transposed)
        matrix = weight.float().T if proofs[key].transposed else weight.float()
    return matrix.unflatten(0, (n_heads, d_head)), bias


def _side_by_side(outputs: torch.Tensor) -> torch.Tensor:
    """The heads of each position one after the other, [head, pos, d_head] -> [pos, head * d_head]."""
    return outputs.movedim(0, 1).flatten(1)


def _is_transposed(module: nn.Module, weight: torch.Tensor, bias: torch.Tensor, flat: torch.Tensor) -> bool | None:
    """Whether a module multiplies rows with its weight transposed, or as it is; None where it does something else.

    Args:
        module: the projection.
        weight: its weight, fp32.
        bias: its bias, shape [d_model], fp32.
        flat: rows to try it on, shape [pos, head * d_head], fp32.
    """
    n_in, n_out = flat.shape[1], len(bias)
    if sorted(weight.shape) != sorted((n_in, n_out)):
        return None
    made = in_fp32(module)(flat)
    for transposed, matrix in ((True, weight.T), (False, weight)):
        if matrix.shape == (n_in, n_out) and relative_error(flat @ matrix + bias, made) <= 1e-5:
            return transposed
    return None
