"""Rows that came from several passes, put together only when somebody looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

import torch

#: More pieces than this are put together for good.
MOST_PARTS = 32

_Held = TypeVar("_Held")
_Part: TypeAlias = tuple[Mapping[int, torch.Tensor], int]


def first_rows(parts: Iterable[tuple[_Held, int]], n_same: int) -> list[tuple[_Held, int]]:
    """The parts, each something with its number of rows, in which the first rows are; the last of them shortened."""
    kept, first = [], 0
    for held, n_held in parts:
        if first < n_same:
            kept.append((held, min(n_held, n_same - first)))
        first += n_held
    return kept


class Rows(Mapping[int, torch.Tensor]):
    """Layer -> rows, shape [pos, ...]; the rows of the first pass, then those of the next.

    Args:
        parts: of each pass, layer -> at least so many rows, and how many of them count.
    """

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts
        self._whole: dict[int, torch.Tensor] = {}

    @classmethod
    def of(cls, held: Mapping[int, torch.Tensor], n_rows: int) -> Rows:
        """All rows of one pass."""
        return held if isinstance(held, Rows) else cls([(held, n_rows)])

    def __getitem__(self, layer: int) -> torch.Tensor:
        """All rows of a layer, shape [pos, ...]."""
        if layer not in self._whole:
            pieces = [held[layer][:n_rows] for held, n_rows in self._parts]
            if len(pieces) == 1:
                return pieces[0]
            self._whole[layer] = torch.cat(pieces)
        return self._whole[layer]

    def __iter__(self) -> Iterator[int]:
        """The layers, ascending in the order of the pass."""
        return iter(self._parts[-1][0])

    def __len__(self) -> int:
        """How many layers there are."""
        return len(self._parts[-1][0])

    def between(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """Some rows of a layer, shape [stop - start, ...], without putting all of them together."""
        found, first = [], 0
        for held, n_rows in self._parts:
            begin, end = max(start - first, 0), min(stop - first, n_rows)
            if begin < end:
                found.append(held[layer][begin:end])
            first += n_rows
        return found[0] if len(found) == 1 else torch.cat(found)

    def then(self, n_same: int, after: Mapping[int, torch.Tensor], n_rows: int) -> Rows:
        """The first rows of these, and then those of another pass."""
        kept = first_rows(self._parts, n_same)
        if len(kept) > MOST_PARTS:
            layers = list(self)
            kept = [({layer: self.between(layer, 0, n_same) for layer in layers}, n_same)]
        return Rows([*kept, *([(after, n_rows)] if n_rows else [])])
