"""Small bitmaps for figures: PNG files of ramp places, made without an imaging library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from layerwidget.figures.svg import Markup, tag
from layerwidget.figures.themes import Ramp


def indexed_png(places: np.ndarray, ramp: Ramp) -> bytes:
    """A PNG file whose pixels are places on a ramp; places [row, column], uint8."""
    height, width = places.shape
    palette = b"".join(bytes.fromhex(fill[1:]) for fill in ramp.fills)
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = places
    return b"".join((
        b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        _chunk(b"PLTE", palette), _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), _chunk(b"IEND", b""),
    ))  # fmt: skip


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bitmap(
    places: np.ndarray, ramp: Ramp, x: float, y: float, width: float, height: float,
    **said: str | float | None,
) -> Markup:  # fmt: skip
    """An image element of ramp places, stretched to a size, with hard edges where pixels are larger than px."""
    data = base64.b64encode(indexed_png(places, ramp)).decode()
    smooth = places.shape[1] > width or places.shape[0] > height
    # What knows the one word does not know the other.
    how = {} if smooth else {"image-rendering": "optimizeSpeed", "style": "image-rendering:pixelated"}
    named = {name.rstrip("_").replace("_", "-"): value for name, value in said.items()}
    box: dict[str, str | float | None] = {"x": x, "y": y, "width": width, "height": height}
    source = f"data:image/png;base64,{data}"
    return tag("image", {**box, "preserveAspectRatio": "none", **how, **named, "href": source})
