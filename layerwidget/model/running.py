"""Call a model as it would be called for inference, and leave it as it was."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate.hooks import remove_hook_from_module
from accelerate.utils import align_module_device
from torch import nn


@dataclass(frozen=True, eq=False)
class ModelInput:
    """What a model reads in one pass.

    Attributes:
        ids: token ids at the positions that get logits, shape [batch, pos].
        source: token ids for the encoder of an encoder-decoder, shape [batch, source_pos]; None for other models.
    """

    ids: torch.Tensor
    source: torch.Tensor | None = None

    def to(self, device: torch.device) -> ModelInput:
        """The same on another device."""
        return ModelInput(self.ids.to(device), None if self.source is None else self.source.to(device))

    def of_length(self, n_pos: int) -> ModelInput:
        """The first token of each, the decoder's repeated: for passes in which the ids do not count."""
        source = None if self.source is None else self.source[:1, :1]
        return ModelInput(self.ids[:1, :1].expand(1, n_pos), source)


def reads_source(model: nn.Module) -> bool:
    """Whether a decoder and an encoder of the model read token ids of their own."""
    encodes = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    return encodes and "decoder_input_ids" in inspect.signature(type(model).forward).parameters


def can_leave_out_logits(model: nn.Module) -> bool:
    """Whether the model takes a choice of the positions that get logits; none is one, too."""
    return "logits_to_keep" in inspect.signature(type(model).forward).parameters


def run_model(model: nn.Module, read: ModelInput, cache: Any | None = None, with_logits: bool = True) -> Any:
    """The model's output: without a cache, or after the positions that one holds, which then holds these too.

    Args:
        model: the model.
        read: what it reads.
        cache: a cache of transformers.
        with_logits: without, no position gets logits, if `can_leave_out_logits`.
    """
    accepted = inspect.signature(type(model).forward).parameters
    options: dict[str, Any] = {"use_cache": cache is not None} if "use_cache" in accepted else {}
    if cache is not None:
        # Purely recurrent models call it otherwise, and take no notice of what they are given under the usual name.
        recurrent = "cache_params" in accepted and "past_key_values" not in accepted
        options["cache_params" if recurrent else "past_key_values"] = cache
    if not with_logits:
        options["logits_to_keep"] = torch.empty(0, dtype=torch.long, device=read.ids.device)
    if read.source is None:
        return model(input_ids=read.ids, **options)
    return model(input_ids=read.source, decoder_input_ids=read.ids, **options)


def compiled_parts(model: nn.Module) -> bool:
    """Whether the model or something inside it is compiled, so that hooks would not fire reliably."""
    return any(module._compiled_call_impl is not None for module in model.modules())


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """No gradients, no dropout, nothing compiled: all modules are inside in evaluation mode, and as before after."""
    training, compiled = [], False
    for module in _modules(model):
        if module.training:
            training.append(module)
        compiled = compiled or module._compiled_call_impl is not None
    for module in training:
        module.training = False
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        for module in training:
            module.training = True


def _modules(model: nn.Module) -> list[nn.Module]:
    """All modules once, like `modules()`, which takes longer than some passes: it also makes their names."""
    found, seen = [model], {id(model)}
    for module in found:
        for part in module._modules.values():
            if part is not None and id(part) not in seen:
                seen.add(id(part))
                found.append(part)
    return found


def input_device(model: nn.Module) -> torch.device:
    """Where token ids have to be: the device of the first weight that is in memory."""
    for weight in model.parameters():
        if weight.device.type != "meta":
            return weight.device
    return torch.device("cpu")


def device_name(module: nn.Module) -> str:
    """Where a module's weights are: `cpu`, `cuda:0`; `offloaded` when they are brought in only for its own call."""
    devices = {str(weight.device) for weight in module.parameters()} or {"cpu"}
    return ", ".join(sorted("offloaded" if device == "meta" else device for device in devices))


def weight_dtype(model: nn.Module) -> torch.dtype:
    """The floating-point type of most weights; what the configuration says may be wrong."""
    counts: dict[torch.dtype, int] = {}
    for weight in model.parameters():
        if weight.is_floating_point():
            counts[weight.dtype] = counts.get(weight.dtype, 0) + weight.numel()
    return max(counts, key=lambda dtype: counts[dtype], default=torch.float32)


@contextmanager
def weights_in_memory(module: nn.Module) -> Iterator[None]:
    """Inside, weights of a module and its parts that are offloaded are there; afterwards they are away again."""
    with ExitStack() as stack:
        for part in module.modules():
            if any(weight.device.type == "meta" for weight in part.parameters(recurse=False)):
                stack.enter_context(align_module_device(part))
        yield


def converted(module: nn.Module, dtype: torch.dtype, memo: dict[int, Any] | None = None) -> nn.Module:
    """A copy in another floating-point type, its weights in memory.

    Args:
        module: the module.
        dtype: the type.
        memo: that of `copy.deepcopy`, for weights that are shared with other modules.
    """
    with weights_in_memory(module):
        # What brings offloaded weights in and out is left behind: the copy holds its own.
        copied: nn.Module = remove_hook_from_module(copy.deepcopy(module, memo), recurse=True)
    return copied.to(dtype)


def shallow_twin(module: nn.Module) -> nn.Module:
    """A copy that shares parameters and parts, and runs its own class's forward."""
    twin = copy.copy(module)
    # Something like accelerate may have put a `forward` on the instance, or `compile` a call, bound to the original.
    twin.__dict__.pop("forward", None)
    twin.__dict__["_compiled_call_impl"] = None
    return twin


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at a path; like `get_submodule`, which takes longer than a hook."""
    module = model
    for name in path.split(".") if path else ():
        module = cast(nn.Module, module._modules[name])
    return module


def weight_at(model: nn.Module, path: str) -> torch.Tensor:
    """The parameter or buffer at a path, brought in where it is offloaded."""
    holder, _, attribute = path.rpartition(".")
    module = submodule(model, holder)
    with weights_in_memory(module):
        weight: torch.Tensor = getattr(module, attribute)
        return weight.detach()
