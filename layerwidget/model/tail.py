"""The tail: from any residual vector to logits, as the model itself would make them.

The model is *replayed* without its layers. A shallow twin of it shares every module but the layers, which are replaced
by stand-ins that return the given vectors. So final norm, head, soft-cap, scale and bias are the model's own code and
weights, and the model itself is never touched. The vectors lie along the position axis, a chunk at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwidget.model.anatomy import Anatomy
from layerwidget.model.decoding import BlockedLogits
from layerwidget.model.paths import Path, tensor_at, with_tensor_at
from layerwidget.model.running import ModelInput, converted, inference, run_model, shallow_twin, submodule, weight_dtype
from layerwidget.model.stream import StreamLayout

_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Returned:
    """What a module returned that is stood in for.

    Attributes:
        output: all of it.
        stream: where the stream sits in it.
        input: where it sits in what the module is called with.
    """

    output: Any
    stream: Path
    input: Path = ()


class Tail:
    """Final norm, head and output transform of a model, for arbitrary residual vectors.

    Args:
        model: the model.
        anatomy: where its layers are.
        returned: path of each layer's modules -> something it returned, whose structure the stand-ins imitate.
        n_ctx: no chunk is longer than this.
        dtype: the floating-point type to compute in: the model's own, or fp32 for a copy of the tail's weights in fp32.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        returned: Mapping[str, Returned],
        n_ctx: int | None,
        dtype: torch.dtype,
    ) -> None:
        self._anatomy = anatomy
        self._chunk = min(n_ctx or _CHUNK, _CHUNK)
        self._rows = torch.empty(0)
        self._direct: bool | None = None
        left = returned[anatomy.layers[0].last[0]]
        native = dtype == weight_dtype(model)
        # Some half-precision models carry their stream in fp32.
        self._dtype = tensor_at(left.output, left.stream).dtype if native else dtype
        stand_ins = {
            name: stand_in(model.get_submodule(name), seen, anatomy.layout, lambda: self._rows.clone())
            for name, seen in returned.items()
        }
        self._twin = twin_with(model, stand_ins, _as_it_is if native else _Converted(dtype))

    def __call__(self, rows: torch.Tensor, read: ModelInput) -> torch.Tensor:
        """Logits of residual vectors. Callers hold the model's lock.

        Args:
            rows: shape [n, d_model].
            read: any token ids: the model wants some, and does not use them.

        Returns:
            Logits, shape [n, d_vocab], in the type in which the tail computes them.
        """
        if rows.shape[0] == 0:
            return rows.new_empty(0, self._anatomy.d_vocab)
        if self._is_direct(read, rows.device):
            return self._steps(rows.to(self._dtype))
        chunks = [self._replay(chunk, read) for chunk in rows.to(self._dtype).split(self._chunk)]
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def in_blocks(self, read: ModelInput) -> bool:
        """Whether the head is a plain product, so that logits can be made a block of the vocabulary at a time."""
        direct = self._is_direct(read, read.ids.device)
        return direct and _is_plain_product(submodule(self._twin, self._anatomy.head or ""))

    def blocked(self, rows: torch.Tensor, differentiable: bool = False) -> BlockedLogits:
        """Logits of residual vectors, to be computed in blocks. Only if `in_blocks` says so.

        Args:
            rows: shape [n, d_model].
            differentiable: whether what enters the head remembers how it was made of the rows.
        """
        head = submodule(self._twin, self._anatomy.head or "")
        assert isinstance(head, nn.Linear)
        bias = None if head.bias is None else head.bias.detach()
        # All that runs is the norm: to look at every module of a model takes as long as one of its layers.
        with inference(submodule(self._twin, self._anatomy.final_norm or "")), torch.set_grad_enabled(differentiable):
            normed = self._normed(rows.to(self._dtype)).flatten(0, -2)
        return BlockedLogits(normed, head.weight.detach(), bias)

    def _is_direct(self, read: ModelInput, device: torch.device) -> bool:
        if self._direct is None:
            self._direct = self._agrees(read, device)
        return self._direct

    def _agrees(self, read: ModelInput, device: torch.device) -> bool:
        """Whether norm and head, called by themselves, give exactly what the replayed model gives."""
        anatomy = self._anatomy
        plain = anatomy.transform in ((), ("+ bias",)) and anatomy.layout.place == "all"
        if not plain or anatomy.final_norm is None or anatomy.head is None:
            return False
        rows = torch.linspace(-3, 3, 5 * anatomy.d_model).sin().reshape(5, -1)
        rows = rows.to(device, self._dtype)
        try:
            return torch.equal(self._steps(rows), self._replay(rows, read))
        except Exception:  # they want something else than rows
            return False

    def _steps(self, rows: torch.Tensor) -> torch.Tensor:
        assert self._anatomy.head is not None
        logits: torch.Tensor = submodule(self._twin, self._anatomy.head)(self._normed(rows))
        return logits.reshape(rows.shape[0], -1)

    def _normed(self, rows: torch.Tensor) -> torch.Tensor:
        """What enters the head, in the stream's own form."""
        assert self._anatomy.final_norm is not None
        normed: torch.Tensor = submodule(self._twin, self._anatomy.final_norm)(self._anatomy.layout.stream(rows))
        return normed

    def _replay(self, rows: torch.Tensor, read: ModelInput) -> torch.Tensor:
        self._rows = rows
        try:
            output = run_model(self._twin, read.of_length(rows.shape[0]))
        finally:
            self._rows = torch.empty(0)
        return tensor_at(output, self._anatomy.logits).reshape(rows.shape[0], -1)


def _is_plain_product(head: nn.Module) -> bool:
    """Whether calling the head is multiplying by its weight in memory, and nothing else."""
    changed = "forward" in head.__dict__ or head._forward_hooks or head._forward_pre_hooks
    return type(head) is nn.Linear and not changed and head.weight.device.type != "meta"


def stand_in(layer: nn.Module, seen: Returned, layout: StreamLayout, rows: Callable[[], torch.Tensor]) -> nn.Module:
    """A twin of a layer with its attributes (some models read them), without hooks, that returns given vectors.

    Args:
        layer: the module that is stood in for.
        seen: what it returned once; the vectors take the stream's place in it.
        layout: how the stream's axes are arranged.
        rows: the vectors, shape [pos, d_model], asked for at every call; what follows may write into them.
    """

    def forward(*args: Any, **kwargs: Any) -> Any:
        like = None if layout.place == "all" else tensor_at({"args": args, "kwargs": kwargs}, seen.input)
        return with_tensor_at(seen.output, seen.stream, layout.stream(rows(), like))

    twin = shallow_twin(layer)
    for name, value in layer.__dict__.items():
        if "_hooks" in name and isinstance(value, dict):
            twin.__dict__[name] = type(value)()
    twin.__dict__["forward"] = forward
    return twin


def _as_it_is(module: nn.Module) -> nn.Module:
    return module


def twin_with(
    module: nn.Module,
    stand_ins: Mapping[str, nn.Module],
    convert: Callable[[nn.Module], nn.Module] = _as_it_is,
    name: str = "",
) -> nn.Module:
    """A shallow twin in which modules have others in their place.

    Args:
        module: the model; of its modules only those above the replaced ones are copied.
        stand_ins: path -> module.
        convert: what becomes of all others; they are shared by default.
        name: path of the module in the model.
    """
    if name in stand_ins:
        return stand_ins[name]
    prefix = f"{name}." if name else ""
    if not any(layer.startswith(prefix) for layer in stand_ins):
        return convert(module)
    twin = shallow_twin(module)
    twin.__dict__["training"] = False
    twin.__dict__["_modules"] = {
        child: None if part is None else twin_with(part, stand_ins, convert, prefix + child)
        for child, part in module._modules.items()
    }
    if isinstance(convert, _Converted):
        twin.__dict__["_parameters"] = {key: convert.tensor(value) for key, value in module._parameters.items()}
        twin.__dict__["_buffers"] = {key: convert.tensor(value) for key, value in module._buffers.items()}
    return twin


class _Converted:
    """Copies in another floating-point type. Weights that are shared stay shared."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.memo: dict[int, Any] = {}

    def __call__(self, module: nn.Module) -> nn.Module:
        return converted(module, self.dtype, self.memo)

    def tensor(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        copied = copy.deepcopy(value, self.memo)
        if copied.is_floating_point():
            copied.data = copied.data.to(self.dtype)
        return copied
