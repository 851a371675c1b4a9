"""A message to a browser: what it says as JSON, and arrays as bytes behind it."""

from __future__ import annotations

import base64
from typing import Any, TypeAlias

import numpy as np

#: The content as JSON, and the bytes of each of its arrays.
Message: TypeAlias = tuple[dict[str, Any], list[bytes]]

_SENDABLE = {"uint8", "uint16", "int32", "uint32", "float32"}


def packed_message(kind: str, revision: int, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Message:
    """Arrays as a browser gets them: what they are as JSON, and the bytes of each."""
    specs = []
    for name, array in arrays.items():
        if array.dtype.name not in _SENDABLE:
            raise TypeError(f"Array {name!r} has dtype {array.dtype}; the browser reads {sorted(_SENDABLE)}.")
        specs.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
    message = {"type": kind, "revision": revision, "meta": meta, "arrays": specs}
    return message, [np.ascontiguousarray(array).tobytes() for array in arrays.values()]


def unpacked_message(message: dict[str, Any], buffers: list[bytes]) -> dict[str, np.ndarray]:
    """The arrays of such a message."""
    return {
        spec["name"]: np.frombuffer(buffer, spec["dtype"]).reshape(spec["shape"])
        for spec, buffer in zip(message["arrays"], buffers, strict=True)
    }


def without_buffers(message: Message) -> Message:
    """The same message with its arrays as base64 text, in the order of `arrays`."""
    content, buffers = message
    return {**content, "base64": [base64.b64encode(buffer).decode("ascii") for buffer in buffers]}, []
