"""Does a sublayer mix positions? Measured: change the stream at the first position and look at the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from layerwidget.model.layer_parts import Contribution
from layerwidget.model.paths import tensor_at, with_tensor_at
from layerwidget.model.stack import Stack
from layerwidget.model.tracing import Call

#: A change at other positions below this share of the change at the first is rounding.
_ROUNDING = 1e-4


def mixes_positions(layer: Call, stack: Stack, part: Contribution, parts: Iterable[Contribution]) -> bool:
    """Whether a part's output at one position depends on the stream at another.

    The layer is called again with the stream changed at position 0; all other parts return what they returned before,
    so that their mixing is not taken for this part's.
    """
    frozen = [other for other in parts if other.call is not part.call]
    named = {"args": layer.args, "kwargs": layer.kwargs}
    stream = tensor_at(named, stack.input)
    before = _output(layer, with_tensor_at(named, stack.input, stream.clone()), part, frozen)
    changed = stream.clone()
    first = changed.select(1 if stack.layout.axes.startswith("batch pos") else 0, 0)
    first.add_(torch.linspace(-1.0, 1.0, first.shape[-1], dtype=first.dtype, device=first.device) * first.abs().mean())
    after = _output(layer, with_tensor_at(named, stack.input, changed), part, frozen)
    change = (after - before).abs().float().reshape(*stream.shape[:-1], -1).amax(-1)
    if stack.layout.axes.startswith("pos"):
        change = change.T
    at_first, elsewhere = change.flatten()[0], change.reshape(-1)[1 : change.shape[-1]].amax()
    return bool(elsewhere > _ROUNDING * at_first)


def _output(layer: Call, named: dict[str, Any], part: Contribution, frozen: list[Contribution]) -> torch.Tensor:
    caught: list[torch.Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        caught.append(tensor_at(output, part.output).clone())

    with torch.no_grad(), _frozen(frozen):
        handle = part.call.module.register_forward_hook(keep)
        try:
            layer.module(*named["args"], **named["kwargs"])
        finally:
            handle.remove()
    return caught[0]


@contextmanager
def _frozen(parts: list[Contribution]) -> Iterator[None]:
    """Let modules return what they returned in the watched pass."""
    handles = [part.call.module.register_forward_hook(_returning(part.call.output)) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _returning(output: Any) -> Any:
    def replace(module: nn.Module, args: Any, computed: Any) -> Any:
        return output

    return replace
