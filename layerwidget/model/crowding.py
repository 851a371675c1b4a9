"""A pass over a few positions, beside a browser that wants a core too.

Such a pass is hundreds of short operations. Split over all cores, each of them is done when its slowest part is: where
another process takes a core, the pass waits for it again and again, and the core that waits is lost to both. With a
core less it takes up to twice as long. So it leaves one to others while they want it: a browser draws the text that was
typed while the first layers run, and then waits for the rest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from time import monotonic

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: A pass over so many positions at most leaves a core to others: with more, it gains more by the last core than it
#: loses by waiting for it.
FEW_ROWS = 24
#: The same where the system does not say who waits, so that it may be left to nobody.
_FEW_ROWS_UNTOLD = 4
#: The system's own threads want a core for moments: who is in the way at so many looks in a row wants it for longer.
_NO_ACCIDENT = 2
#: Nobody looks more often than this, in seconds: about as long as the system lets one thread run before the next.
_EVERY_S = 0.003
#: How long what was seen holds for what follows a pass, seconds.
_MOMENT_S = 0.02

#: Where Linux says how many threads of the whole machine run, or wait for a core: `0.78 1.09 1.23 2/79 1116` has 2.
_RUNNING = Path("/proc/loadavg")


@contextmanager
def leaving_a_core(n_rows: int, most: int | None = None) -> Iterator[None]:
    """Inside, operations of this thread leave one core to others while they want it, if they look at few rows.

    Whether they do is seen when it begins, and at every `look_around`. Where the system does not say who waits, such as
    macOS, it begins with all cores, and whoever pushes it off one has that for the rest; where it does not say that
    either, such as Windows, they always do.

    Args:
        n_rows: at how many.
        most: so many threads at most have something to do, if they are fewer than there are.
    """
    before = torch.get_num_threads()
    most = before if most is None else min(most, before)
    fewer = min(most, max(1, _n_cores() - 1))
    if n_rows > (_FEW_ROWS_UNTOLD if _n_running() is None else FEW_ROWS) or fewer == before:
        yield
        return
    watch = _Watch(most, fewer) if fewer < most else None
    token = _watch.set(watch)
    try:
        torch.set_num_threads(most)
        if watch is not None:
            watch.begin()
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
    """Whether others want one of the cores on which this thread's operations run, as far as anybody can tell.

    What a pass has seen a moment ago still holds.
    """
    if monotonic() - _Watch.seen_at < _MOMENT_S:
        return _Watch.crowded
    n_threads = torch.get_num_threads()
    return _others_wait(n_threads, n_threads, unless_told=resource is None)


class _Watch:
    """How many threads one pass uses.

    Args:
        most: where nobody else wants a core.
        fewer: where somebody does.

    Attributes:
        crowded: whether somebody else wanted a core when any of them last looked.
        seen_at: when that was.
    """

    crowded, seen_at = False, -math.inf

    def __init__(self, most: int, fewer: int) -> None:
        self._most, self._fewer, self._now = most, fewer, most
        self._looked_at, self._pushed = -math.inf, _n_pushed_off()
        # At how many looks in a row somebody was seen to wait.
        self._n_waiting = 0

    def begin(self) -> None:
        """Use as many threads as there seems to be room for: what does not look around keeps to that."""
        self._use(self._fewer if is_crowded() else self._most)

    def look(self) -> None:
        """Use as many threads as there is room for now."""
        if (now := monotonic()) - self._looked_at < _EVERY_S:
            return
        pushed, self._pushed, self._looked_at = self._pushed, _n_pushed_off(), now
        # Where nobody was pushed off, nobody wants a core: to know that takes less time than to count who runs.
        asks = self._now < self._most or pushed != self._pushed
        waits = asks and _others_wait(self._now, self._most, unless_told=True)
        self._n_waiting = self._n_waiting + 1 if waits else 0
        if not waits:
            self._use(self._most)
        elif self._n_waiting >= _NO_ACCIDENT:
            self._use(self._fewer)
        _Watch.crowded, _Watch.seen_at = self._now < self._most, now

    def _use(self, n_threads: int) -> None:
        if n_threads != self._now:
            torch.set_num_threads(n_threads)
            self._now = n_threads


_watch: ContextVar[_Watch | None] = ContextVar("layerwidget_watch", default=None)


def _others_wait(now: int, most: int, unless_told: bool) -> bool:
    """Whether somebody has to wait for a core when this thread's operations run on `most`, where `now` run already.

    Where some of these sleep, such as those that were let go, one who waits may be taken for one of them; the next
    looks see it.

    Args:
        now: so many threads run for them.
        most: so many would.
        unless_told: the answer where the system does not say who waits.
    """
    n_cores = _n_cores()
    running = _n_running()
    return unless_told if running is None else running - now + min(most, n_cores) > n_cores


def _n_running() -> int | None:
    """How many threads of the machine run or could run, this one among them; None where nobody says it.

    They are counted on all cores of the machine: of a process that may use some of them, that says nothing.
    """
    if _n_cores() != os.cpu_count():
        return None
    try:
        return int(_RUNNING.read_bytes().split()[3].partition(b"/")[0]) or None
    except (OSError, IndexError, ValueError):
        return None


def _n_pushed_off() -> int | None:
    """How often a thread of this process had to leave its core to others, so far; None where nobody counts it."""
    return None if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _n_cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
