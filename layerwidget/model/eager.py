"""The same model with attention that is not fused: to say whether it gives other numbers."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from layerwidget.model.running import shallow_twin


def is_fused(model: nn.Module) -> bool:
    """Whether the model chooses between ways of computing attention, and does not take the plain one."""
    config = getattr(model, "config", None)
    return getattr(config, "_attn_implementation", "eager") not in ("eager", None)


def eager_twin(model: nn.Module) -> nn.Module:
    """A shallow twin that shares all weights and computes attention step by step; the model itself is not touched."""
    return _twin(model, {})


def _twin(module: nn.Module, configs: dict[int, Any]) -> nn.Module:
    twin = shallow_twin(module)
    for name, value in module.__dict__.items():
        if isinstance(value, PreTrainedConfig):
            twin.__dict__[name] = _eager(value, configs)
    twin.__dict__["_modules"] = {
        name: None if part is None else _twin(part, configs) for name, part in module._modules.items()
    }
    return twin


def _eager(config: PreTrainedConfig, configs: dict[int, Any]) -> PreTrainedConfig:
    """A copy, in which nested configurations are eager as well; the same copy for the same configuration."""
    if id(config) not in configs:
        copied = configs[id(config)] = copy.copy(config)
        for name, value in vars(config).items():
            if isinstance(value, PreTrainedConfig):
                vars(copied)[name] = _eager(value, configs)
        copied._attn_implementation = "eager"
    found: PreTrainedConfig = configs[id(config)]
    return found
