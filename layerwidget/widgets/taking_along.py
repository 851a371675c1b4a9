"""Readers who are taken along with a text: for a moment, their position is ahead of what is drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Taking(threading.local):
    """Of each thread: the group that it takes along now, and who wants to follow later."""

    def __init__(self) -> None:
        self.group: str | None = None
        self.behind: list[Callable[[], None]] = []


_taking = _Taking()


@contextmanager
def taking_along(group: str) -> Iterator[list[Callable[[], None]]]:
    """Meanwhile this thread moves a group's position to where answers are on their way.

    What is drawn is about the text before, of which nobody wants to see that position. Yields what is to be called when
    all answers are there: whoever was given none follows then.
    """
    behind: list[Callable[[], None]] = []
    _taking.group, _taking.behind = group, behind
    try:
        yield behind
    finally:
        # The thread outlives whoever it takes along.
        _taking.group, _taking.behind = None, []


def is_taking_along(group: str) -> bool:
    """Whether this thread takes that group along now."""
    return _taking.group == group


def follow_later(catch_up: Callable[[], None]) -> None:
    """Call back when all answers are there; for whoever is told of a position by a thread that takes them along."""
    _taking.behind.append(catch_up)
