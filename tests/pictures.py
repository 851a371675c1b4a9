"""Reads figures back: elements of SVG, pixels of PNG, words of PDF; each without the code that writes them."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from xml.etree import ElementTree

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"


def elements(svg: str, kind: str, name: str) -> list[dict[str, str]]:
    """Attributes of all elements of a kind and class, in their order; raises where the XML is not well-formed."""
    root = ElementTree.fromstring(svg.encode())
    return [dict(one.attrib) for one in root.iter(SVG + kind) if name in (one.get("class"), "")]


def words(svg: str) -> list[str]:
    """All lines of text."""
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg.encode()).iter(SVG + "text")]


def pixels(png: bytes) -> np.ndarray:
    """Of a PNG file with 8 bits a channel: [row, column, channel]; of one with a palette [row, column]."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8
    data, place = b"", 8
    while place < len(png):
        length, name = struct.unpack(">I4s", png[place : place + 8])
        data += png[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += 12 + length
    channels = {2: 3, 3: 1, 6: 4}[kind]
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    rows = np.zeros((height + 1, width + 1, channels), np.int64)
    for row, (how, *_) in enumerate(raw):
        line = raw[row, 1:].reshape(width, channels).astype(np.int64)
        for column in range(width):
            left, up, corner = rows[row + 1, column], rows[row, column + 1], rows[row, column]
            rows[row + 1, column + 1] = (line[column] + _predicted(int(how), left, up, corner)) % 256
    found = rows[1:, 1:].astype(np.uint8)
    return found[..., 0] if channels == 1 else found


def _predicted(how: int, left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray | int:
    if how == 4:
        distances = [abs(left + up - corner - one) for one in (left, up, corner)]
        return np.where(
            (distances[0] <= distances[1]) & (distances[0] <= distances[2]),
            left, np.where(distances[1] <= distances[2], up, corner),
        )  # fmt: skip
    return (0, left, up, (left + up) // 2)[how]


def embedded(image: dict[str, str]) -> np.ndarray:
    """The pixels of an image element."""
    return pixels(base64.b64decode(image["href"].removeprefix("data:image/png;base64,")))


def pdf_characters(pdf: bytes) -> set[str]:
    """Every character that a reader of the PDF can select: those of its fonts' `ToUnicode` maps."""
    found: set[str] = set()
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            text = zlib.decompressobj().decompress(stream)
        except zlib.error:
            continue
        for block in re.findall(rb"beginbfchar(.*?)endbfchar", text, re.DOTALL):
            for code in re.findall(rb"<[0-9A-Fa-f]+>\s*<([0-9A-Fa-f]+)>", block):
                found |= set(bytes.fromhex(code.decode()).decode("utf-16-be"))
    return found
