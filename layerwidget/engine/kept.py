"""Answers about recent prompts, up to a number of bytes: the one that was asked for longest ago goes first."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from cachetools import Cache, LRUCache

_Part: TypeAlias = np.ndarray | dict[Any, Any]


class KeptAnswers(LRUCache[Any, Any]):
    """Answers by what was asked.

    Answers share memory: of a pattern that is appended to, the old one is a part of the new one. What they share counts
    once.

    Args:
        max_bytes: the limit.

    Attributes:
        held_bytes: memory that their arrays and dictionaries take, which is never more than the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(math.inf)
        self._max_bytes = max_bytes
        self._holders: Counter[int] = Counter()
        self._sizes: dict[int, int] = {}
        self.held_bytes = 0

    def __setitem__(self, key: Any, answer: Any) -> None:
        """Keep an answer; those that were asked for longest ago make room for it.

        Raises:
            ValueError: when it is larger than the limit.
        """
        parts = list(_parts([answer]))
        if sum(map(_n_bytes, parts)) > self._max_bytes:
            raise ValueError("value too large")
        if key in self:
            del self[key]
        super().__setitem__(key, answer)
        for part in parts:
            if not self._holders[id(part)]:
                self._sizes[id(part)] = size = _n_bytes(part)
                self.held_bytes += size
            self._holders[id(part)] += 1
        while self.held_bytes > self._max_bytes:
            self.popitem()

    def __delitem__(self, key: Any) -> None:
        """Let go of an answer."""
        answer = Cache.__getitem__(self, key)
        super().__delitem__(key)
        for part in _parts([answer]):
            self._holders[id(part)] -= 1
            if not self._holders[id(part)]:
                del self._holders[id(part)]
                self.held_bytes -= self._sizes.pop(id(part))

    def bytes_with(self, answers: Iterable[Any]) -> int:
        """Memory that is kept alive by these and by others that somebody holds."""
        return self.held_bytes + sum(_n_bytes(one) for one in _parts(answers) if id(one) not in self._holders)


def _parts(answers: Iterable[Any]) -> Iterator[_Part]:
    """What answers keep alive, each once: of an array that is a part of a larger one, all of that."""
    found = (value for answer in answers for value in vars(answer).values() if isinstance(value, (np.ndarray, dict)))
    yield from {id(part): part for part in map(_whole, found)}.values()


def _whole(part: _Part) -> _Part:
    while isinstance(part, np.ndarray) and isinstance(part.base, np.ndarray):
        part = part.base
    return part


def _n_bytes(part: _Part) -> int:
    """Of a dictionary without what is in it, which answers share with the vocabulary."""
    return part.nbytes if isinstance(part, np.ndarray) else sys.getsizeof(part)
