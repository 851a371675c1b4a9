"""The model built without one of its layers: what skipping that layer is compared with."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from layerwidget.errors import StructureError
from layerwidget.model.anatomy import Anatomy


def without_layer(model: nn.Module, anatomy: Anatomy, layer: int) -> nn.Module:
    """A shallow twin that shares every module but has one layer less; the model itself is not touched.

    Where no module is the layer, every module that it is made of is taken out, and who calls them counts one less.

    Raises:
        StructureError: when the layer cannot be taken out: it is used more than once, or is not in a list.
    """
    paths = anatomy.layers[layer].modules
    used = [path for other in anatomy.layers for path in other.modules]
    for path in paths:
        if used.count(path) > 1:
            raise StructureError(f"{path} is used for several layers, so one of them cannot be taken out.")
    twin = model
    for path in reversed(paths):
        twin = _without(twin, path.split("."), layer, anatomy.n_layers)
    if len(paths) > 1:
        _count_less(twin.get_submodule(paths[0].rpartition(".")[0].rpartition(".")[0]), anatomy.n_layers)
    return twin


def _without(module: nn.Module, path: list[str], layer: int, n_layers: int) -> nn.Module:
    twin = copy.copy(module)
    twin.__dict__.pop("forward", None)
    twin.__dict__["_compiled_call_impl"] = None
    if "config" in module.__dict__:
        twin.__dict__["config"] = _shorter(module.__dict__["config"], layer, n_layers)
    first, rest = path[0], path[1:]
    parts = dict(module._modules)
    if rest:
        parts[first] = _without(module.get_submodule(first), rest, layer, n_layers)
    elif not isinstance(module, nn.ModuleList):
        raise StructureError(f"The layers are not in a list but attributes of a {type(module).__name__}.")
    else:
        parts = {str(place): part for place, part in enumerate(part for key, part in parts.items() if key != first)}
    twin.__dict__["_modules"] = parts
    return twin


def _count_less(holder: nn.Module, n_layers: int) -> None:
    """Let the number of layers that a loop runs over be one less: nothing but its value tells which number it is."""
    for name, value in vars(holder).items():
        if type(value) is int and value == n_layers:
            vars(holder)[name] = n_layers - 1


def _shorter(config: Any, layer: int, n_layers: int) -> Any:
    """A configuration in which every list that has an entry per layer lacks this one's."""
    shorter = copy.copy(config)
    for key, value in vars(config).items():
        if isinstance(value, list | tuple) and len(value) == n_layers:
            vars(shorter)[key] = type(value)(entry for place, entry in enumerate(value) if place != layer)
    return shorter
