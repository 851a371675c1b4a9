"""The words of a view's cells, each told to the browser once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from layerwidget.tokens import IntArray, Piece

#: Words that are no longer in any cell are kept until there are so many more of them than of the others.
SPARE_WORDS = 2000


class Word(TypedDict):
    """A word as the browser gets it: token id, shape on screen and text."""

    id: int
    visible: str
    text: str | None


class WordTable:
    """A list of words that only grows, so that a message needs to bring the new ones only.

    Attributes:
        words: those that were told.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.words: list[Word] = []
        # Token id -> its place in the list, or -1.
        self._places = np.full(0, -1, np.int32)

    def places(self, ids: IntArray, pieces: Mapping[int, Piece]) -> np.ndarray:
        """The place in the list of each token id, as uint32; words that are not in it are added.

        Args:
            ids: token ids, of any shape.
            pieces: how each of them is shown.
        """
        found = self._found(ids, pieces)
        used = np.flatnonzero(np.bincount(found.ravel(), minlength=len(self.words)))
        strangers = any(word != _word(pieces[word["id"]]) for word in map(self.words.__getitem__, used.tolist()))
        if strangers or len(self.words) > len(used) + SPARE_WORDS:
            self._forget()
            found = self._found(ids, pieces)
        return found.astype(np.uint32)

    def _found(self, ids: IntArray, pieces: Mapping[int, Piece]) -> np.ndarray:
        more = int(ids.max(initial=-1)) + 1 - len(self._places)
        if more > 0:
            self._places = np.concatenate([self._places, np.full(more, -1, np.int32)])
        found: np.ndarray = self._places[ids]
        if (found < 0).any():
            for token_id in np.unique(ids[found < 0]).tolist():
                self._places[token_id] = len(self.words)
                self.words.append(_word(pieces[token_id]))
            found = self._places[ids]
        return found


def _word(piece: Piece) -> Word:
    return {"id": piece.id, "visible": piece.visible, "text": piece.text}


def without_spare(words: list[Word], places: np.ndarray) -> tuple[list[Word], np.ndarray]:
    """Only the words that are in a cell, ordered by token id, and their places among these."""
    ids, found = np.unique(np.array([word["id"] for word in words])[places], return_inverse=True)
    by_id = {word["id"]: word for word in words}
    return [by_id[one] for one in ids.tolist()], found.astype(places.dtype).reshape(places.shape)
