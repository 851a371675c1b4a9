"""What cannot be seen gets a glyph."""

from __future__ import annotations

import numpy as np
import pytest

from layerwidget.tokens import Piece, Tokens, visible, well_formed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a\n", "␣a↵"),
        ("\t\r", "⇥␍"),
        ("\u00a0x", "⍽x"),
        ("\x07", "␇"),
        ("\u200b", "‹U+200B›"),
        ("héé 世界", "héé␣世界"),
        ("<b>", "<b>"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_pieces_that_are_no_text_say_their_bytes() -> None:
    assert Piece.from_bytes(3, b"\xf0\x9f") == Piece(3, None, "‹F0 9F›")
    assert Piece.unnamed(7).visible == "#7"
    assert Piece.from_text(5, "").visible == "‹5›"


def test_half_characters_become_readable() -> None:
    assert well_formed("a\ud83d") == "a\ufffd"
    assert well_formed("\ud83d\ude00") == "😀"


def test_tokens_are_frozen_and_iterate_by_position() -> None:
    tokens = Tokens(np.array([4, 2, 4]), {4: Piece.from_text(4, " x"), 2: Piece.from_text(2, "y")}, " xy x")
    assert [piece.visible for piece in tokens] == ["␣x", "y", "␣x"]
    assert len(tokens) == 3
    with pytest.raises(ValueError, match="read-only"):
        tokens.ids[0] = 1
