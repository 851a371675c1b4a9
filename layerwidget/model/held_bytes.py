"""How much memory a trace and a cache keep alive: every tensor that can be reached from them, each storage once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch

from layerwidget.rows import Unmade
from layerwidget.trace import Trace


def held_bytes(*held: object) -> int:
    """Bytes of the storages of all tensors in traces and in nested tuples, lists, mappings and dataclasses.

    A tensor that is a view of a larger one keeps all of that alive; two views of one count once.
    """
    sizes: dict[int, int] = {}
    seen: set[int] = set()
    waiting: list[Any] = list(held)
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        elif id(value) not in seen:
            seen.add(id(value))
            waiting.extend(_inside(value))
    return sum(sizes.values())


def _inside(value: Any) -> Iterable[Any]:
    """What is directly in a value; nothing is made of it."""
    if isinstance(value, Trace):
        # All but the model, which is not held for the prompt.
        return [one for name, one in vars(value).items() if name != "model"]
    if isinstance(value, Unmade) or (is_dataclass(value) and not isinstance(value, type)):
        return vars(value).values()
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, tuple | list) else ()
