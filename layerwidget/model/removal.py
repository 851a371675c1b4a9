"""The model built without one of its layers: what skipping that layer is compared with."""

from __future__ import annotations

import copy
from itertools import takewhile
from typing import Any

from torch import nn

from layerwidget.errors import StructureError
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.running import shallow_twin


def without_layer(model: nn.Module, anatomy: Anatomy, layer: int) -> nn.Module:
    """A shallow twin that shares every module but has one layer less; the model itself is not touched.

    Where no module is the layer, everything that it is made of is taken out, and who calls it counts one less.

    Raises:
        StructureError: when the layer cannot be taken out: it is used more than once, or is not in a list.
    """
    modules = anatomy.layers[layer].modules
    used = [path for other in anatomy.layers for path in other.modules]
    for path in modules:
        if used.count(path) > 1:
            raise StructureError(f"{path} is used for several layers, so one of them cannot be taken out.")
    twin = model
    elements = _elements(modules, anatomy.layers[layer - 1].modules)
    for path in reversed(elements):
        twin = _without(twin, path.split("."), layer, anatomy.n_layers)
    if len(modules) > 1:
        _count_less(twin.get_submodule(elements[0].rpartition(".")[0].rpartition(".")[0]), anatomy.n_layers)
    return twin


def _elements(modules: tuple[str, ...], others: tuple[str, ...]) -> list[str]:
    """What is taken out for a layer: its module, or where it has several, the elements of lists that they are in."""
    if len(modules) == 1:
        return [*modules]
    pairs = [(path.split("."), other.split(".")) for path, other in zip(modules, others, strict=True)]
    same = [
        sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(one, other, strict=False))) for one, other in pairs
    ]
    return list(dict.fromkeys(".".join(one[: n + 1]) for (one, _), n in zip(pairs, same, strict=True)))


def _without(module: nn.Module, path: list[str], layer: int, n_layers: int) -> nn.Module:
    twin = shallow_twin(module)
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
