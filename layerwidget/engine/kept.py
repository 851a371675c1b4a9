"""Answers about recent prompts, up to a number of bytes: the one that was asked for longest ago goes first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from cachetools import Cache, LRUCache


class KeptAnswers(LRUCache[Any, Any]):
    """Answers by what was asked.

    Answers share memory: of a pattern that is appended to, the old one is a part of the new one. What they share counts
    once.

    Args:
        max_bytes: the limit.

    Attributes:
        held_bytes: memory that they keep alive, which is never more than the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(math.inf)
        self._max_bytes = max_bytes
        self._holders: Counter[int] = Counter()
        self.held_bytes = 0

    def __setitem__(self, key: Any, answer: Any) -> None:
        """Keep an answer; those that were asked for longest ago make room for it.

        Raises:
            ValueError: when it is larger than the limit.
        """
        owners = list(_owners([answer]))
        if sum(owner.nbytes for owner in owners) > self._max_bytes:
            raise ValueError("value too large")
        if key in self:
            del self[key]
        super().__setitem__(key, answer)
        for owner in owners:
            self.held_bytes += 0 if self._holders[id(owner)] else owner.nbytes
            self._holders[id(owner)] += 1
        while self.held_bytes > self._max_bytes:
            self.popitem()

    def __delitem__(self, key: Any) -> None:
        """Let go of an answer."""
        answer = Cache.__getitem__(self, key)
        super().__delitem__(key)
        for owner in _owners([answer]):
            self._holders[id(owner)] -= 1
            if not self._holders[id(owner)]:
                del self._holders[id(owner)]
                self.held_bytes -= owner.nbytes

    def bytes_with(self, answers: Iterable[Any]) -> int:
        """Memory that is kept alive by these and by others that somebody holds."""
        return self.held_bytes + sum(one.nbytes for one in _owners(answers) if id(one) not in self._holders)


def _owners(answers: Iterable[Any]) -> Iterator[np.ndarray]:
    """The arrays whose memory answers keep alive, each once."""
    arrays = (value for answer in answers for value in vars(answer).values() if isinstance(value, np.ndarray))
    yield from {id(owner): owner for owner in map(_owner, arrays)}.values()


def _owner(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
