"""One forward pass, watched: the tree of module calls, the data flow between them, the attention operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from layerwidget.model.dataflow import DataFlow
from layerwidget.model.fused_calls import hearing_fused_attention
from layerwidget.model.paths import tensors_in
from layerwidget.model.running import ModelInput
from layerwidget.model.watched import AttentionOp, Call, WatchedPass

#: Operations that make attention weights, or may.
KERNELS: dict[Any, str] = {
    torch.nn.functional.scaled_dot_product_attention: "sdpa",
    torch.nn.functional.softmax: "softmax",
    torch.softmax: "softmax",
    torch.special.softmax: "softmax",
    torch.Tensor.softmax: "softmax",
}


class _AttentionWatcher(TorchFunctionMode):
    def __init__(self, watched: WatchedPass) -> None:
        super().__init__()
        self.watched = watched

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kernel = KERNELS.get(func)
        if kernel is None:
            return func(*args, **kwargs)
        flow = self.watched.flow
        inputs = tuple(flow.node_of(tensor) for _, tensor in tensors_in((args, kwargs)))
        out = func(*args, **kwargs)
        self.watched.attention.append(AttentionOp(kernel, inputs, flow.node_of(out)))
        return out


class _CallRecorder:
    def __init__(self, watched: WatchedPass) -> None:
        self.watched = watched
        self.open: list[Call] = []
        self.counts: dict[int, int] = {}
        self.thread = get_ident()

    def before(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if get_ident() != self.thread:
                return
            flow = self.watched.flow
            nth = self.counts.get(id(module), 0)
            self.counts[id(module)] = nth + 1
            named = {"args": args, "kwargs": kwargs}
            inputs = {path: flow.node_of(tensor) for path, tensor in tensors_in(named)}
            parent = self.open[-1] if self.open else None
            start = len(flow.nodes)
            call = Call(module, name, nth, parent, len(self.open), args, kwargs, inputs, start)
            self.open.append(call)
            self.watched.calls.append(call)

        return hook

    def name_leaf(self, tensor: torch.Tensor, node: int) -> None:
        """Weights that are offloaded come in as other tensors, as parameters of the module that runs."""
        if id(tensor) not in self.watched.weights:
            for call in reversed(self.open):
                held = {**call.module._parameters, **call.module._buffers}
                name = next((name for name, weight in held.items() if weight is tensor), None)
                if name is not None:
                    self.watched.weights[id(self.watched.flow.tensors[node])] = f"{call.name}.{name}"
                    return

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        if get_ident() != self.thread:
            return
        flow = self.watched.flow
        call = self.open.pop()
        call.output = output
        call.outputs = {path: flow.node_of(tensor) for path, tensor in tensors_in(output)}
        call.end = len(flow.nodes)


@contextmanager
def _recorded_calls(model: nn.Module, recorder: _CallRecorder) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(recorder.before(name), with_kwargs=True))
            handles.append(module.register_forward_hook(recorder.after))
        yield
    finally:
        for handle in handles:
            handle.remove()


def watch(model: nn.Module, read: ModelInput, run: Callable[[ModelInput], Any]) -> WatchedPass:
    """Run the model once and return what was seen.

    Args:
        model: the module to watch; its hooks are as before when this returns or raises.
        read: token ids.
        run: calls the model with them.
    """
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    # A weight that is shared is called by its first path.
    weights = {id(weight): path for path, weight in reversed(named)}
    flow = DataFlow()
    watched = WatchedPass(flow, read.ids, read.source, weights=weights)
    recorder = _CallRecorder(watched)
    flow.on_leaf = recorder.name_leaf

    def heard(_args: Any, _kwargs: Any, out: torch.Tensor) -> None:
        watched.fused.append(flow.node_of(out))

    hearing = hearing_fused_attention(heard)
    with _recorded_calls(model, recorder), torch.no_grad(), _AttentionWatcher(watched), flow, hearing:
        run(read)
    return watched
