"""Record one forward pass: plain hooks that are there only while it runs, and only listen to who asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from layerwidget.cancellation import checkpoint
from layerwidget.model.anatomy import Anatomy, LayerAnatomy, Part, Port
from layerwidget.model.paths import tensor_at, with_tensor_at
from layerwidget.model.patterns import FusedAttention, SoftmaxAttention
from layerwidget.model.running import submodule
from layerwidget.model.tracing import KERNELS

#: What to do at a call; what it returns, if anything, replaces the output.
_Act = Callable[[Any], Any]

_listening: ContextVar[Capture | None] = ContextVar("layerwidget_capture", default=None)


class Capture:
    """Context manager; whatever the model computes inside, in this thread, is recorded.

    Attributes:
        resid_pre: layer -> what entered it, shape [pos, d_model].
        resid_post: layer -> what left it.
        added: (layer, number of the part) -> what the part added to the stream.
        attention: layer -> what its attention weights can be computed from.
        attended: layer -> value and output of fused attention; only with `keep_values`.

    Args:
        model: the model.
        anatomy: where to listen.
        keep_values: also keep what verifies the attention weights.
        skipped: these layers return their input.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        keep_values: bool = False,
        skipped: frozenset[int] = frozenset(),
    ) -> None:
        self._model = model
        self._anatomy = anatomy
        self._exit = ExitStack()
        self._handles: list[RemovableHandle] = []
        self._before: dict[str, dict[int, _Act]] = {}
        self._after: dict[str, dict[int, _Act]] = {}
        self._layer: LayerAnatomy | None = None
        self._kernels: dict[str, int] = {}
        self.keep_values = keep_values
        self._skipped = skipped
        self.resid_pre: dict[int, torch.Tensor] = {}
        self.resid_post: dict[int, torch.Tensor] = {}
        self.added: dict[tuple[int, int], torch.Tensor] = {}
        self.attention: dict[int, FusedAttention | SoftmaxAttention] = {}
        self.attended: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for layer in anatomy.layers:
            self._plan(layer)

    def __enter__(self) -> Capture:
        """Put the hooks on."""
        with ExitStack() as stack:
            stack.callback(self._take_off)
            for name, acts in self._before.items():
                module = submodule(self._model, name)
                self._handles.append(module.register_forward_pre_hook(_entering(self, acts), with_kwargs=True))
            for name, acts in self._after.items():
                self._handles.append(submodule(self._model, name).register_forward_hook(_leaving(self, acts)))
            stack.callback(_listening.reset, _listening.set(self))
            stack.enter_context(_AttentionCatcher(self))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """Take exactly these hooks off."""
        self._exit.close()

    def _take_off(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def catch(self, kernel: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> None:
        """Keep an attention operation if it is the one of the layer that runs now."""
        if _listening.get() is not self:
            return
        nth = self._kernels.get(kernel, 0)
        self._kernels[kernel] = nth + 1
        layer = self._layer
        site = layer.attention_site if layer is not None else None
        if layer is None or site is None or (site.kernel, site.nth) != (kernel, nth):
            return
        if kernel == "softmax":
            self.attention[layer.layer] = SoftmaxAttention(out)
            return
        self.attention[layer.layer] = FusedAttention.from_call(*args, **kwargs)
        if self.keep_values:
            self.attended[layer.layer] = (args[2] if len(args) > 2 else kwargs["value"], out)

    def _plan(self, layer: LayerAnatomy) -> None:
        def enter(named: Any) -> None:
            checkpoint(f"layer {layer.layer} of {self._anatomy.name}")
            self._layer = layer
            self._kernels.clear()
            self.resid_pre[layer.layer] = self._rows(named, layer.input)

        def leave(output: Any) -> Any:
            self._layer = None
            if layer.layer in self._skipped:
                output = self._skip(layer, output)
            self.resid_post[layer.layer] = self._rows(output, layer.output)
            return output

        self._before.setdefault(layer.module, {})[layer.call] = enter
        for number, part in enumerate(layer.parts):
            self._after.setdefault(part.module, {})[part.call] = self._keep(layer, number, part)
        self._after.setdefault(layer.module, {})[layer.call] = leave

    def _skip(self, layer: LayerAnatomy, output: Any) -> Any:
        """The layer's output with its input as the stream: it has added nothing, and nobody saw where it looked."""
        stream = self.resid_pre[layer.layer]
        for number in range(len(layer.parts)):
            self.added[layer.layer, number] = torch.zeros_like(stream)
        self.attention.pop(layer.layer, None)
        # A copy, because the next layer may write into it.
        return with_tensor_at(output, layer.output.path, self._anatomy.layout.stream(stream.clone()))

    def _keep(self, layer: LayerAnatomy, number: int, part: Part) -> _Act:
        def keep(output: Any) -> None:
            value = self._rows(output, part.output)
            for factor in part.factors:
                value = value * (self._weight(factor) if isinstance(factor, str) else factor)
            self.added[layer.layer, number] = value

        return keep

    def _rows(self, value: Any, port: Port) -> torch.Tensor:
        rows = self._anatomy.layout.rows(tensor_at(value, port.path))
        return rows.clone() if port.overwritten else rows

    def _weight(self, name: str) -> torch.Tensor:
        holder, _, attribute = name.rpartition(".")
        weight: torch.Tensor = getattr(submodule(self._model, holder), attribute)
        return weight.detach()


def _entering(capture: Capture, acts: dict[int, _Act]) -> Callable[..., None]:
    count = -1

    def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
        nonlocal count
        if _listening.get() is capture:
            count += 1
            if count in acts:
                acts[count]({"args": args, "kwargs": kwargs})

    return hook


def _leaving(capture: Capture, acts: dict[int, _Act]) -> Callable[..., Any]:
    count = -1

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        nonlocal count
        if _listening.get() is not capture:
            return None
        count += 1
        return acts[count](output) if count in acts else None

    return hook


class _AttentionCatcher(TorchFunctionMode):
    def __init__(self, capture: Capture) -> None:
        super().__init__()
        self.capture = capture

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Called for every operation of the pass, so it does next to nothing for most of them.
        out = func(*args, **kwargs) if kwargs else func(*args)
        kernel = KERNELS.get(func)
        if kernel is not None:
            self.capture.catch(kernel, args, kwargs or {}, out)
        return out
