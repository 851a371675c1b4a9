"""A model without one of its layers, by plain transformers: what skipping the layer is compared with."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

_LAYER_COUNTS = {"num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers", "num_decoder_layers"}
_OWN_NUMBERS = {"layer_idx", "layer_id", "layer_number"}
_NUMBERS = re.compile(r".*(layers|layer_ids|indices|idxs)")

Run = Callable[[nn.Module], Any]


class NoReferenceError(Exception):
    """Transformers cannot do without this layer."""


@dataclass(frozen=True)
class Place:
    """Where a layer is.

    Attributes:
        module: path of its module.
        call: which call of that module within a pass, from 0.
        further: where no module is the layer, the modules after the first, and which call of each.
    """

    module: str
    call: int
    further: tuple[tuple[str, int], ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        return self.module, *(path for path, _ in self.further)

    @property
    def last(self) -> tuple[str, int]:
        return self.further[-1] if self.further else (self.module, self.call)


def without_one(model: nn.Module, layers: Sequence[Place], run: Run) -> tuple[Any, int]:
    """What the model returns without one of its layers, and which: the first that it can do without.

    A model that runs without a layer is not enough: a mask or a table may be looked up by the layer's number. So the
    layers that remain have to be called as before, and so does every other module.

    Args:
        model: the model; copies of it are run.
        layers: the layers, in order.
        run: calls a model.

    Raises:
        NoReferenceError: when it can do without none.
    """
    middle, last = len(layers) // 2, len(layers) - 1
    order = list(dict.fromkeys([middle, *range(middle - 1, 0, -1), *range(middle + 1, last), 0, last]))
    trouble: dict[int, str] = {}
    for layer in order:
        before = _calls_without(model, layers, layer, run)
        for shorten in (True, False):
            try:
                return _checked(model, layers, layer, run, before, shorten), layer
            except Exception as error:  # whatever transformers raises
                trouble.setdefault(layer, str(error).strip().partition("\n")[0])
    raise NoReferenceError(f"no reference: without layer {middle}, {trouble[middle]}")


def _checked(model: nn.Module, layers: Sequence[Place], layer: int, run: Run, before: _Calls, shorten: bool) -> Any:
    twin = copy.deepcopy(model)
    paths = {id(part): path for path, part in twin.named_modules()}
    number, n_layers = _remove(twin, layers, layer)
    for holder in _holders(twin, layers[layer].module) if shorten else ():
        _renumber(holder, number, n_layers)
    output, after = _recorded(twin, paths, {path for one in layers for path in one.modules}, run)
    after.compare(before)
    return output


def _remove(twin: nn.Module, layers: Sequence[Place], layer: int) -> tuple[int, int]:
    """Take a layer out of its list; its number in that list, and how many there were."""
    path = layers[layer].module
    if [one.module for one in layers].count(path) > 1:
        return layer, len(layers)  # the configuration says how often the module is called
    for path in _elements(layers, layer):
        holder, _, index = path.rpartition(".")
        stack = twin.get_submodule(holder)
        if not isinstance(stack, nn.ModuleList):
            raise NoReferenceError(f"{path} is not in a list of modules")
        n_layers = len(stack)
        del stack[int(index)]
        _move_up(nn.ModuleList(stack[int(index) :]))
    return int(index), n_layers


def _elements(layers: Sequence[Place], layer: int) -> list[str]:
    """Paths of the list elements that a layer is, or that its modules are or are inside."""
    own, others = layers[layer].modules, layers[layer - 1].modules
    if len(own) == 1:
        return list(own)
    found = []
    for path, other in zip(own, others, strict=True):
        names = path.split(".")
        differs = next(n for n, (a, b) in enumerate(zip(names, other.split("."), strict=True)) if a != b)
        found.append(".".join(names[: differs + 1]))
    return list(dict.fromkeys(found))


def _move_up(later: nn.Module) -> None:
    """Lower the numbers that layers know themselves by, which are their places in a cache."""
    for part in later.modules():
        for name in _OWN_NUMBERS & vars(part).keys():
            if isinstance(vars(part)[name], int):
                vars(part)[name] -= 1


def _holders(twin: nn.Module, path: str) -> list[Any]:
    """The modules that hold a layer, from the outside in, and their configurations."""
    names = path.split(".")[:-1]
    modules = [twin.get_submodule(".".join(names[:depth])) for depth in range(len(names) + 1)]
    configs = {id(part.config): part.config for part in modules if hasattr(part, "config")}
    return [*configs.values(), *modules]


def _renumber(holder: Any, number: int, n_layers: int) -> None:
    """Counts of layers, values per layer, numbers of layers, and what a configuration keeps under a layer's number."""
    for name, value in list(vars(holder).items()):
        if name.startswith("_"):
            continue
        if name in _LAYER_COUNTS and value == n_layers:
            vars(holder)[name] = n_layers - 1
        elif not isinstance(value, list | tuple | set | frozenset):
            continue
        elif _NUMBERS.fullmatch(name) and all(type(one) is int for one in value) and len(set(value)) == len(value):
            vars(holder)[name] = type(value)(_after(one, number) for one in value if one != number)
        elif isinstance(value, list | tuple) and len(value) == n_layers:
            vars(holder)[name] = type(value)(one for place, one in enumerate(value) if place != number)
    different = vars(holder).get("_heterogeneity_spec")
    if different is not None:
        kept = different.per_layer_overrides.items()
        different.per_layer_overrides = {_after(key, number): value for key, value in kept if key != number}


def _after(number: int, removed: int) -> int:
    return number - (number > removed)


@dataclass
class _Calls:
    """Which modules were called, and how the layers were.

    Attributes:
        counts: path of a module -> how often it was called.
        layers: for every call of a layer, its path and what it was called with.
    """

    counts: dict[str, int] = field(default_factory=dict)
    layers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def compare(self, before: _Calls) -> None:
        """Raise unless everything that does not depend on the layer that is gone is as it was."""
        differ = [path for path in {**before.counts, **self.counts} if self.counts.get(path) != before.counts.get(path)]
        if differ:
            path = differ[0]
            raise NoReferenceError(
                f"{path} is called {self.counts.get(path, 0)} times, not {before.counts.get(path, 0)}"
            )
        for (path, now), (_, then) in zip(self.layers, before.layers, strict=True):
            for name in {**now, **then}:
                if not _alike(now.get(name), then.get(name)):
                    raise NoReferenceError(f"{path} is called with another {name}")


def _alike(now: Any, then: Any) -> bool:
    if then is _DEPENDENT:
        return isinstance(now, torch.Tensor)
    if isinstance(then, torch.Tensor):
        return isinstance(now, torch.Tensor) and torch.equal(now, then)
    return bool(now == then)


_DEPENDENT = object()


def _calls_without(model: nn.Module, layers: Sequence[Place], layer: int, run: Run) -> _Calls:
    """The calls of the whole model but those of one layer; what depends on that layer's output is marked."""
    gone, paths = layers[layer], {path for one in layers for path in one.modules}
    calls = []
    for disturb in (False, True):
        twin = copy.deepcopy(model)
        names = {id(part): path for path, part in twin.named_modules()}
        calls.append(_recorded(twin, names, paths, run, gone, disturb)[1])
    for (_, then), (_, disturbed) in zip(calls[0].layers, calls[1].layers, strict=True):
        then.update({name: _DEPENDENT for name in then if not _alike(disturbed.get(name), then[name])})
    return calls[0]


def _recorded(
    model: nn.Module,
    names: dict[int, str],
    layers: set[str],
    run: Run,
    gone: Place | None = None,
    disturb: bool = False,
) -> tuple[Any, _Calls]:
    """Run a model; the calls of `gone`, and those inside it, are not recorded."""
    calls, inside, seen = _Calls(), [False], [-1]

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        path = names[id(module)]
        if gone is not None and path == gone.module:
            seen[0] += 1
            inside[0] = seen[0] == gone.call
        if inside[0]:
            return
        if not any(path.startswith(f"{one}.") for one in layers):  # which expert is called may change
            calls.counts[path] = calls.counts.get(path, 0) + 1
        if path in layers:
            calls.layers.append((path, dict(_leaves({"args": args, "kwargs": kwargs}))))

    def leave(module: nn.Module, args: Any, output: Any) -> Any:
        path = names[id(module)]
        if gone is None or path != gone.last[0] or not inside[0]:
            return None
        inside[0] = False
        return _disturbed(output) if disturb else None

    for module in model.modules():
        module.register_forward_pre_hook(enter, with_kwargs=True)
        module.register_forward_hook(leave)
    return run(model), calls


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors, switches and whether something is given at all; numbers may be those of layers."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, tuple | list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    elif isinstance(value, torch.Tensor):
        yield path, value.clone()
    elif value is None or isinstance(value, bool | str):
        yield path, value


def _disturbed(value: Any) -> Any:
    """The same structure with other numbers, and not only other sizes: norms would hide that."""
    if isinstance(value, Mapping):
        copied: Any = copy.copy(value)
        for key, inner in value.items():
            copied[key] = _disturbed(inner)
        return copied
    if isinstance(value, tuple | list):
        return type(value)(_disturbed(inner) for inner in value)
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value + value.roll(1, dims=-1)
    return value
