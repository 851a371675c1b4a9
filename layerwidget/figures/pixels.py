"""Small bitmaps for figures: PNG files of ramp places, made without an imaging library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from layerwidget.figures.svg import Attributes, Markup, tag
from layerwidget.figures.themes import Ramp


def indexed_png(places: np.ndarray, ramp: Ramp) -> bytes:
    """A PNG file whose pixels are places on a ramp; places [row, column], uint8."""
    palette = b"".join(bytes.fromhex(fill[1:]) for fill in ramp.fills)
    return _png(places, 3, _chunk(b"PLTE", palette))


def colour_png(pixels: np.ndarray) -> bytes:
    """A PNG file of red, green, blue and how opaque; pixels [row, column, 4], uint8."""
    return _png(pixels.reshape(len(pixels), -1), 6)


def _png(samples: np.ndarray, kind: int, palette: bytes = b"") -> bytes:
    """Samples [row, byte] of 8 bits; kind 3 is places in a palette, 6 four samples a pixel."""
    height, width = samples.shape
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = samples
    size = struct.pack(">IIBBBBB", width // 4 if kind == 6 else width, height, 8, kind, 0, 0, 0)
    return b"".join((
        b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", size),
        palette, _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), _chunk(b"IEND", b""),
    ))  # fmt: skip


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bitmap(
    places: np.ndarray, ramp: Ramp, x: float, y: float, width: float, height: float,
    **said: str | float | None,
) -> Markup:  # fmt: skip
    """An image element of ramp places, stretched to a size, with hard edges where pixels are larger than px."""
    return _image(indexed_png(places, ramp), places.shape, (x, y, width, height), said)


def painted(pixels: np.ndarray, x: float, y: float, width: float, height: float, **said: str | float | None) -> Markup:
    """The same of pixels with colours of their own, which may be see-through; uint8 [row, column, 4]."""
    return _image(colour_png(pixels), pixels.shape, (x, y, width, height), said)


def _image(png: bytes, shape: tuple[int, ...], place: tuple[float, float, float, float], said: Attributes) -> Markup:
    data = base64.b64encode(png).decode()
    smooth = shape[1] > place[2] or shape[0] > place[3]
    # What knows the one word does not know the other.
    how = {} if smooth else {"image-rendering": "optimizeSpeed", "style": "image-rendering:pixelated"}
    named = {name.rstrip("_").replace("_", "-"): value for name, value in said.items()}
    box: dict[str, str | float | None] = dict(zip(("x", "y", "width", "height"), place, strict=True))
    source = f"data:image/png;base64,{data}"
    return tag("image", {**box, "preserveAspectRatio": "none", **how, **named, "href": source})
