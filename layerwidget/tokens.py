"""Tokens and how they are shown: every character that cannot be seen gets a glyph that can."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

_GLYPHS = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\u3000": "␣"}


def visible(text: str) -> str:
    """Text with a glyph for every character that cannot be seen: space, a, newline -> `"␣a↵"`."""
    return "".join(_visible_char(char) for char in text)


def visible_bytes(raw: bytes) -> str:
    """Bytes that are no complete text on their own: 240, 159 -> `"‹F0 9F›"`."""
    return "‹" + raw.hex(" ").upper() + "›"


def well_formed(text: str) -> str:
    """Text that can be encoded: half of a surrogate pair, which can be typed, becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _visible_char(char: str) -> str:
    if char in _GLYPHS:
        return _GLYPHS[char]
    category = unicodedata.category(char)
    if char < " ":
        return chr(0x2400 + ord(char))
    if category in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}:
        return f"‹U+{ord(char):04X}›"
    return char


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary as it is shown.

    Attributes:
        id: the token id.
        text: what the token adds to a text, or None where it is no complete text alone (part of a character).
        visible: what to draw; spaces, newlines and bytes have glyphs.
    """

    id: int
    text: str | None
    visible: str

    @classmethod
    def from_text(cls, token_id: int, text: str) -> Piece:
        """A piece that is complete text."""
        return cls(token_id, text, visible(text) if text else f"‹{token_id}›")

    @classmethod
    def from_bytes(cls, token_id: int, raw: bytes) -> Piece:
        """A piece that is only part of a character."""
        return cls(token_id, None, visible_bytes(raw))

    @classmethod
    def unnamed(cls, token_id: int) -> Piece:
        """A piece of a model that came without a tokenizer."""
        return cls(token_id, None, f"#{token_id}")


@dataclass(frozen=True, eq=False)
class Tokens:
    """A prompt as the model reads it.

    Attributes:
        ids: token ids, shape [pos], int64.
        pieces: how each token id of the prompt is shown.
        text: the prompt as it was given, or None when ids were given.
        source: of what a decoder reads, the tokens that its encoder reads; None for all others.
        extrapolate: whether there may be more of them than the model was trained for.
    """

    ids: IntArray
    pieces: Mapping[int, Piece]
    text: str | None = None
    source: Tokens | None = None
    extrapolate: bool = False

    def __post_init__(self) -> None:
        """Freeze the ids."""
        self.ids.setflags(write=False)

    @property
    def key(self) -> bytes:
        """The same for what is read alike."""
        return self.ids.tobytes() if self.source is None else self.ids.tobytes() + b"|" + self.source.key

    def __len__(self) -> int:
        """Number of positions."""
        return len(self.ids)

    def __iter__(self) -> Iterator[Piece]:
        """The pieces, position by position."""
        return (self.pieces[int(token_id)] for token_id in self.ids)
