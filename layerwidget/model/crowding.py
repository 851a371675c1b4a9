"""A pass over a few positions, beside a browser that wants a core too.

Such a pass is hundreds of short operations. Split over all cores, each of them is done when its slowest part is: where
another process takes a core, the pass waits for it again and again, and the core that waits is lost to both. With a
core less it takes up to twice as long. So it leaves one to others exactly while they want it: a browser draws the text
that was typed while the first layers run, and then waits for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch

#: A pass over so many positions at most leaves a core to others: it reads every weight for a few products.
FEW_ROWS = 4

#: Where Linux says how many threads of the whole machine run, or wait for a core: `0.78 1.09 1.23 2/79 1116` has 2.
_RUNNING = Path("/proc/loadavg")


@contextmanager
def leaving_a_core(n_rows: int) -> Iterator[None]:
    """Inside, operations of this thread leave one core to others while they want it, if they look at few rows.

    Whether they do is seen when it begins, and at every `look_around`. Where nobody can tell, they always do.

    Args:
        n_rows: at how many.
    """
    before = torch.get_num_threads()
    fewer = min(before, max(1, _n_cores() - 1))
    if n_rows > FEW_ROWS or fewer == before:
        yield
        return
    watch = _Watch(before, fewer)
    token = _watch.set(watch)
    try:
        watch.look()
        yield
    finally:
        _watch.reset(token)
        torch.set_num_threads(before)


def look_around() -> None:
    """Leave a core from now on if somebody else wants it, or take it again: for a pass between two layers."""
    watch = _watch.get()
    if watch is not None:
        watch.look()


def is_crowded() -> bool:
    """Whether others want one of the cores on which this thread's operations run, as far as anybody can tell."""
    n_threads = torch.get_num_threads()
    return _others_wait(n_threads, n_threads)


class _Watch:
    """How many threads one pass uses.

    Args:
        most: where nobody else wants a core.
        fewer: where somebody does.
    """

    def __init__(self, most: int, fewer: int) -> None:
        self._most, self._fewer, self._now = most, fewer, most

    def look(self) -> None:
        """Use as many as there is room for."""
        wanted = self._fewer if _others_wait(self._now, self._most) else self._most
        if wanted != self._now:
            torch.set_num_threads(wanted)
            self._now = wanted


_watch: ContextVar[_Watch | None] = ContextVar("layerwidget_watch", default=None)


def _others_wait(now: int, most: int) -> bool:
    """Whether somebody has to wait for a core when this thread's operations run on `most`, where `now` run already."""
    running = _n_running()
    return running is None or running - now + most > (os.cpu_count() or 1)


def _n_running() -> int | None:
    """How many threads of the machine run or could run, this one among them; None where nobody says it."""
    try:
        return int(_RUNNING.read_bytes().split()[3].partition(b"/")[0]) or None
    except (OSError, IndexError, ValueError):
        return None


def _n_cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
