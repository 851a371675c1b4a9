"""One recorded prompt as a block of text: JSON and arrays, compressed, in base64."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

#: What `DecompressionStream` of a browser reads; without a date, so that equal recordings are equal bytes.
_LEVEL = 9


class Buffers:
    """Arrays that are held beside the JSON, which has their places."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> list[int]:
        """Hold some bytes; returns `[offset, size]`."""
        place = [self._size, len(data)]
        self._held.append(data)
        self._size += len(data)
        return place

    def packed(self, head: Mapping[str, Any]) -> str:
        """The text of the block: length of the JSON (32 bits, little-endian), JSON, arrays; gzip, then base64."""
        text = json.dumps(plain(head), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        whole = len(text).to_bytes(4, "little") + text + b"".join(self._held)
        return base64.b64encode(gzip.compress(whole, _LEVEL, mtime=0)).decode("ascii")


def unpacked(block: str) -> tuple[dict[str, Any], bytes]:
    """The JSON and the arrays of a block."""
    whole = gzip.decompress(base64.b64decode(block))
    end = 4 + int.from_bytes(whole[:4], "little")
    head: dict[str, Any] = json.loads(whole[4:end])
    return head, whole[end:]


def plain(value: Any) -> Any:
    """What JSON can hold: tuples become lists, numbers of numpy become Python's, and what is not finite None."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
