"""What a message adds to the one before it: after an edit, all that stands before the edited token is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerwidget.widgets.messages import Message, unpacked_message


def additions(before: Message, after: Message, growing: Mapping[str, int]) -> Message:
    """A message for a browser that has the one before: of lists and arrays only what follows their common beginning.

    `js/store.js` puts it together again. It names the revision that it builds on, in `base`; `kept` says of each list
    and of each array how much of it is there already.

    Args:
        before: what the browser has.
        after: what it is to have.
        growing: arrays that grow with the prompt, and along which axis. All others are sent as they are.

    Returns:
        `after` itself where the two have nothing in common.
    """
    (old, _), (new, buffers) = before, after
    meta, kept = _after_beginnings(old["meta"], new["meta"])
    held, arrays = unpacked_message(*before), unpacked_message(*after)
    specs, sent = [], []
    for spec, buffer in zip(new["arrays"], buffers, strict=True):
        name = spec["name"]
        axis = growing.get(name)
        n_same = 0 if axis is None or name not in held else _n_same(held[name], arrays[name], axis)
        if axis is not None and n_same:
            rest = arrays[name][(slice(None),) * axis + (slice(n_same, None),)]
            spec, buffer = {**spec, "axis": axis, "kept": n_same}, np.ascontiguousarray(rest).tobytes()
        specs.append(spec)
        sent.append(buffer)
    if not kept and specs == new["arrays"]:
        return after
    return {**new, "base": old["revision"], "meta": meta, "kept": kept, "arrays": specs}, sent


def _after_beginnings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """The values of `after`, lists without the beginning that they share with `before`, and how long that is."""
    found, kept = dict(after), {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, list) and isinstance(old, list) and (n_same := _n_alike(old, value)):
            found[name], kept[name] = value[n_same:], n_same
    return found, kept


def _n_alike(before: Sequence[Any], after: Sequence[Any]) -> int:
    pairs = enumerate(zip(before, after, strict=False))
    return next((place for place, (a, b) in pairs if a is not b and a != b), min(len(before), len(after)))


def _n_same(before: np.ndarray, after: np.ndarray, axis: int) -> int:
    """How far two arrays agree along an axis, bit by bit; 0 where they differ in kind or in another axis."""
    alike = before.dtype == after.dtype and before.ndim == after.ndim
    if not alike or np.delete(before.shape, axis).tolist() != np.delete(after.shape, axis).tolist():
        return 0
    shorter = min(before.shape[axis], after.shape[axis])
    start = (slice(None),) * axis + (slice(shorter),)
    # As whole numbers, in which what is not a number equals itself.
    bits = f"u{before.itemsize}"
    differs = before.view(bits)[start] != after.view(bits)[start]
    first = differs.any(axis=tuple(other for other in range(differs.ndim) if other != axis))
    return int(first.argmax()) if first.any() else shorter
