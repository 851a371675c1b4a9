"""How wide words are, without a browser: the widths of DejaVu, a wide font, so that others fit too."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, TypeAlias

Face: TypeAlias = Literal["sans", "bold", "mono"]

# Of the characters U+0020 to U+007E, in hundredths of the font size.
_SANS = (
    "32 40 46 84 64 95 78 27 39 39 50 84 32 36 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 53 100 68 "
    "69 70 77 63 58 77 75 29 29 66 56 86 75 79 60 79 69 63 61 73 68 99 69 61 69 39 34 39 84 50 50 61 63 55 "
    "63 62 35 63 63 28 28 58 28 97 63 61 63 63 41 52 39 63 59 82 59 59 52 64 34 64 84"
)
_BOLD = (
    "35 46 52 84 70 100 87 31 46 46 52 84 38 42 38 37 70 70 70 70 70 70 70 70 70 70 40 40 84 84 84 58 100 77 "
    "76 73 83 68 68 82 84 37 37 77 64 100 84 85 73 85 77 72 68 81 77 110 77 72 73 46 37 46 84 50 50 67 72 59 "
    "72 68 44 72 71 34 34 67 34 104 71 69 72 72 49 60 48 71 65 92 65 65 58 71 37 71 84"
)
_WIDTHS = {
    face: {chr(32 + place): int(width) / 100 for place, width in enumerate(table.split())}
    | {"·": 0.38, "–": 0.5, "“": 0.6, "”": 0.6, "␣": 0.7, "…": 1.0, "●": 0.88, "‹": 0.41, "›": 0.41}
    for face, table in (("sans", _SANS), ("bold", _BOLD))
}


@lru_cache(maxsize=50_000)
def text_width(text: str, size: float, face: Face = "sans") -> float:
    """How wide a line of text is, in the unit of `size`."""
    return size * sum(_share(char, face) for char in text)


def _share(char: str, face: Face) -> float:
    if unicodedata.combining(char):
        return 0.0
    if unicodedata.east_asian_width(char) in "WF":
        return 1.0
    if face == "mono":
        return 0.61
    return _WIDTHS[face].get(char, 0.84 if ord(char) > 0x2000 else 0.75)


def fitted(text: str, width: float, size: float, face: Face = "sans") -> str:
    """The longest head of `text` that fits into `width`, with an ellipsis where it was cut."""
    if text_width(text, size, face) <= width:
        return text
    for end in range(len(text) - 1, 0, -1):
        if text_width(text[:end] + "…", size, face) <= width:
            return text[:end] + "…"
    return text[:1]


def wrapped(text: str, width: float, size: float, face: Face = "sans", first: float | None = None) -> list[str]:
    """Lines of whole words that fit into `width`, the first one into `first`; a word that is too long is cut."""
    lines, room = [""], width if first is None else first
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size, face) <= room:
            lines[-1] = longer
        else:
            lines += [fitted(word, width, size, face)]
            room = width
    return lines


def flowed(widths: list[float], width: float, gap: float) -> Iterator[tuple[float, int]]:
    """Where pieces of those widths stand that flow over lines of `width`: left edge and number of the line."""
    x, row = 0.0, 0
    for own in widths:
        if x and x + own > width:
            x, row = 0.0, row + 1
        yield x, row
        x += own + gap
