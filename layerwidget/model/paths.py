"""Where a tensor sits inside the arguments or the output of a module call."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import torch

#: Keys from the outside in: `()` is the value itself, `(0,)` the first of a tuple, `("hidden_states",)` a keyword.
Path: TypeAlias = tuple[str | int, ...]

_MAX_DEPTH = 3


def tensors_in(value: object, path: Path = ()) -> Iterator[tuple[Path, torch.Tensor]]:
    """Every tensor inside nested tuples, lists and mappings, with its path, in order."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif len(path) >= _MAX_DEPTH:
        return
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, (*path, key))
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*path, index))


def value_at(value: Any, path: Path) -> Any:
    """Whatever is at a path."""
    for key in path:
        value = value[key]
    return value


def tensor_at(value: Any, path: Path) -> torch.Tensor:
    """The tensor at a path.

    Raises:
        LookupError: when the value has another structure than the path expects.
    """
    value = value_at(value, path)
    if not isinstance(value, torch.Tensor):
        raise LookupError(f"Expected a tensor at {show(path)}, got {type(value).__name__}.")
    return value


def with_tensor_at(value: Any, path: Path, tensor: torch.Tensor) -> Any:
    """A copy of a nested value in which the tensor at a path is replaced; the rest is shared."""
    if not path:
        return tensor
    first, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        copied: Any = copy.copy(value)
        copied[first] = with_tensor_at(value[str(first)], rest, tensor)
        return copied
    items = list(value)
    items[int(first)] = with_tensor_at(items[int(first)], rest, tensor)
    if hasattr(value, "_fields"):
        return type(value)(*items)
    return tuple(items) if isinstance(value, tuple) else items


def show(path: Path) -> str:
    """A path as code: `("args", 0)` -> `"args[0]"`; the value itself is `""`."""
    parts = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in path]
    return "".join(parts).removeprefix(".")
