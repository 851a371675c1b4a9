"""One recorded prompt as a block of text: JSON and arrays, compressed, in 85 letters."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

#: The letter with which markup begins, and one that the 85 do not have.
_MARKUP, _INSTEAD = b"<", b"."
#: A gzip file, which a browser's `DecompressionStream` reads; without a date: equal recordings are equal bytes.
_GZIP, _LEVEL, _MEMORY = 31, 9, 9


class Buffers:
    """Arrays that are held beside the JSON, which has their places; the same bytes are held once."""

    def __init__(self) -> None:
        self._places: dict[bytes, list[int]] = {}
        self._size = 0

    def add(self, data: bytes, width: int = 1) -> list[int]:
        """Hold some numbers of so many bytes each; returns `[offset, size]`.

        The first bytes of all numbers come first, then the second ones, ...: those are alike, and compress better.
        """
        data = np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()
        if data not in self._places:
            self._places[data] = [self._size, len(data)]
            self._size += len(data)
        return self._places[data]

    def packed(self, head: Mapping[str, Any]) -> str:
        """The text of the block: length of the JSON (32 bits, little-endian), JSON, arrays; gzip, then 85 letters."""
        text = json.dumps(plain(head), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        whole = len(text).to_bytes(4, "little") + text + b"".join(self._places)
        squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP, _MEMORY)
        letters = base64.b85encode(squeeze.compress(whole) + squeeze.flush())
        return letters.replace(_MARKUP, _INSTEAD).decode("ascii")


def unpacked(block: str) -> tuple[dict[str, Any], bytes]:
    """The JSON and the arrays of a block."""
    whole = zlib.decompress(base64.b85decode(block.encode().replace(_INSTEAD, _MARKUP)), _GZIP)
    end = 4 + int.from_bytes(whole[:4], "little")
    head: dict[str, Any] = json.loads(whole[4:end])
    return head, whole[end:]


def array_at(place: list[int], arrays: bytes, dtype: str) -> np.ndarray:
    """The numbers that `Buffers.add` has given a place."""
    start, size = place
    width = np.dtype(dtype).itemsize
    found: np.ndarray = np.frombuffer(arrays[start : start + size], np.uint8).reshape(width, -1).T
    return np.ascontiguousarray(found).view(dtype).reshape(-1)


def plain(value: Any) -> Any:
    """What JSON can hold: tuples become lists, numbers of numpy become Python's, and what is not finite None."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
