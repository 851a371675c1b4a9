"""Answers about recent prompts, up to a number of bytes: the one that was asked for longest ago goes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from cachetools import Cache, LRUCache


class KeptAnswers(LRUCache[Any, Any]):
    """Answers by what was asked.

    Answers share memory: of a pattern that is appended to, the old one is a part of the new one. Against the limit each
    counts in full, as if it were alone; `held_bytes` is what they keep alive in fact, which is never more.

    Args:
        max_bytes: the limit.

    Attributes:
        held_bytes: memory that they keep alive, what they share counted once.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, getsizeof=_n_bytes)
        self._holders: Counter[int] = Counter()
        self.held_bytes = 0

    def __setitem__(self, key: Any, answer: Any) -> None:
        """Keep an answer; those that were asked for longest ago make room for it.

        Raises:
            ValueError: when it is larger than the limit.
        """
        if key in self:
            del self[key]
        super().__setitem__(key, answer)
        for owner in _owners([answer]):
            self.held_bytes += 0 if self._holders[id(owner)] else owner.nbytes
            self._holders[id(owner)] += 1

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


def _n_bytes(answer: Any) -> int:
    """Memory that an answer keeps alive: of an array that is a part of a larger one, all of that."""
    return sum(owner.nbytes for owner in _owners([answer]))


def _owners(answers: Iterable[Any]) -> Iterator[np.ndarray]:
    """The arrays whose memory answers keep alive, each once."""
    arrays = (value for answer in answers for value in vars(answer).values() if isinstance(value, np.ndarray))
    yield from {id(owner): owner for owner in map(_owner, arrays)}.values()


def _owner(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
