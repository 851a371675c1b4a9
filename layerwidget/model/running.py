"""Call a model as it would be called for inference, and leave it as it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn


def run_model(model: nn.Module, ids: torch.Tensor) -> Any:
    """The model's output for token ids, shape [batch, pos], without a cache."""
    accepted = inspect.signature(type(model).forward).parameters
    options = {"use_cache": False} if "use_cache" in accepted else {}
    return model(input_ids=ids, **options)


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """No gradients, and no dropout: modules in training mode are in evaluation mode inside, and as before after."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def input_device(model: nn.Module) -> torch.device:
    """Where token ids have to be: the device of the first weight that is in memory."""
    for weight in model.parameters():
        if weight.device.type != "meta":
            return weight.device
    return torch.device("cpu")


def weight_dtype(model: nn.Module) -> torch.dtype:
    """The floating-point type of most weights; what the configuration says may be wrong."""
    counts: dict[torch.dtype, int] = {}
    for weight in model.parameters():
        if weight.is_floating_point():
            counts[weight.dtype] = counts.get(weight.dtype, 0) + weight.numel()
    return max(counts, key=lambda dtype: counts[dtype], default=torch.float32)


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at a path; like `get_submodule`, which takes longer than a hook."""
    module = model
    for name in path.split(".") if path else ():
        module = cast(nn.Module, module._modules[name])
    return module
