"""Rows that came from several passes, or have to be computed: put together, or made, only when somebody looks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

import torch

#: More pieces than this are put together for good.
MOST_PARTS = 32

_Held = TypeVar("_Held")
_Value = TypeVar("_Value")


def first_rows(parts: Iterable[tuple[_Held, int]], n_same: int) -> list[tuple[_Held, int]]:
    """The parts, each something with its number of rows, in which the first rows are; the last of them shortened."""
    kept, first = [], 0
    for held, n_held in parts:
        if first < n_same:
            kept.append((held, min(n_held, n_same - first)))
        first += n_held
    return kept


def below(held: Mapping[int, _Value], layer: int) -> Mapping[int, _Value]:
    """What is held of the layers below one; it keeps nothing alive of the others, and copies nothing."""
    if isinstance(held, Unmade):
        return held.below(layer)
    return {number: held[number] for number in held if number < layer}


class Unmade(Mapping[int, _Value]):
    """Layer -> something that is made of what is held when somebody asks for it."""

    @abstractmethod
    def below(self, layer: int) -> Mapping[int, _Value]:
        """What is held of the layers below one."""


class Rowwise(Unmade[torch.Tensor]):
    """Layer -> rows, shape [pos, ...], of which some can be made without the others."""

    @abstractmethod
    def between(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """Some rows of a layer, shape [stop - start, ...]."""


def rows_between(held: Mapping[int, torch.Tensor], layer: int, start: int, stop: int) -> torch.Tensor:
    """Some rows of a layer, shape [stop - start, ...]; others are not made where that can be helped."""
    while isinstance(held, Layered):
        held = held.part(layer)
    return held.between(layer, start, stop) if isinstance(held, Rowwise) else held[layer][start:stop]


class Layered(Unmade[_Value]):
    """Layer -> something; of the lower layers from one pass, of the upper ones from another.

    Args:
        lower: of the layers below `first`.
        first: the first of the upper layers.
        upper: of the layers from `first` on.
    """

    def __init__(self, lower: Mapping[int, _Value], first: int, upper: Mapping[int, _Value]) -> None:
        self._lower = lower
        self._first = first
        self._upper = upper

    def __getitem__(self, layer: int) -> _Value:
        """What is held of a layer."""
        return self.part(layer)[layer]

    def part(self, layer: int) -> Mapping[int, _Value]:
        """What holds a layer."""
        return self._lower if layer < self._first else self._upper

    def __iter__(self) -> Iterator[int]:
        """The layers, ascending in the order of the pass."""
        return chain(self._lower, self._upper)

    def __len__(self) -> int:
        """How many layers there are."""
        return len(self._lower) + len(self._upper)

    def below(self, layer: int) -> Mapping[int, _Value]:
        """What is held of the layers below one."""
        if layer <= self._first:
            return below(self._lower, layer)
        return Layered(self._lower, self._first, below(self._upper, layer))


class Pieces(Unmade[_Value]):
    """Layer -> something along the positions; the first pass's, then the next one's.

    Args:
        parts: of each pass, layer -> something with at least so many rows, and how many of them count.
    """

    def __init__(self, parts: list[tuple[Mapping[int, _Value], int]]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[int]:
        """The layers, ascending in the order of the pass."""
        return iter(self._parts[-1][0])

    def __len__(self) -> int:
        """How many layers there are."""
        return len(self._parts[-1][0])

    def below(self, layer: int) -> Mapping[int, _Value]:
        """What is held of the layers below one."""
        parts: list[tuple[Mapping[int, _Value], int]] = []
        for held, n_rows in self._parts:
            cut = below(held, layer)
            parts += first_rows(cut._parts, n_rows) if isinstance(cut, Pieces) else [(cut, n_rows)]
        pieces = type(self)(parts)
        return pieces if len(parts) <= MOST_PARTS else {number: pieces[number] for number in pieces}


class Rows(Pieces[torch.Tensor], Rowwise):
    """Layer -> rows, shape [pos, ...]; the rows of the first pass, then those of the next.

    Args:
        parts: of each pass, layer -> at least so many rows, and how many of them count.
    """

    def __init__(self, parts: list[tuple[Mapping[int, torch.Tensor], int]]) -> None:
        super().__init__(parts)
        self._whole: dict[int, torch.Tensor] = {}

    @classmethod
    def of(cls, held: Mapping[int, torch.Tensor], n_rows: int) -> Rows:
        """All rows of one pass."""
        return held if isinstance(held, Rows) else cls([(held, n_rows)])

    def __getitem__(self, layer: int) -> torch.Tensor:
        """All rows of a layer, shape [pos, ...]."""
        if layer not in self._whole:
            pieces = [rows_between(held, layer, 0, n_rows) for held, n_rows in self._parts]
            if len(pieces) == 1:
                return pieces[0]
            self._whole[layer] = torch.cat(pieces)
        return self._whole[layer]

    def between(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """Some rows of a layer, shape [stop - start, ...], without putting all of them together."""
        found, first = [], 0
        for held, n_rows in self._parts:
            begin, end = max(start - first, 0), min(stop - first, n_rows)
            if begin < end:
                found.append(rows_between(held, layer, begin, end))
            first += n_rows
        return found[0] if len(found) == 1 else torch.cat(found)

    def then(self, n_same: int, after: Mapping[int, torch.Tensor], n_rows: int) -> Rows:
        """The first rows of these, and then those of another pass."""
        kept = first_rows(self._parts, n_same)
        if len(kept) > MOST_PARTS:
            layers = list(self)
            kept = [({layer: self.between(layer, 0, n_same) for layer in layers}, n_same)]
        return Rows([*kept, *([(after, n_rows)] if n_rows else [])])
