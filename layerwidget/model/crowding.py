"""A pass over a few positions, beside a browser that wants a core too.

Such a pass is hundreds of short operations. Split over all cores, each of them is done when its slowest part is: where
another process takes a core, a pass was seen to take ten times as long, and with a core less it takes half as long
again. So it begins with all of them, and leaves one to others as soon as they want it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: A pass over so many positions at most leaves a core to others: it reads every weight for a few products.
FEW_ROWS = 4
#: Others that wanted a core are left one for so long, seconds.
CROWDED_S = 3.0
#: A layer that takes so many times as long as the fastest one was held up; so many of them in a pass are no accident.
_HELD_UP, _NO_ACCIDENT = 3, 2


@contextmanager
def leaving_a_core(n_rows: int) -> Iterator[None]:
    """Inside, operations of this thread leave one core to other processes that want it, if they look at few rows.

    They want it if they have pushed a thread of this process off its core, which `look_around` sees, in the last
    `CROWDED_S`. Where nobody can tell, they always do.

    Args:
        n_rows: at how many.
    """
    before = torch.get_num_threads()
    fewer = min(before, max(1, _n_cores() - 1))
    if n_rows > FEW_ROWS or fewer == before:
        yield
        return
    token = _watch.set(_Watch(fewer))
    try:
        yield
    finally:
        _watch.reset(token)
        torch.set_num_threads(before)


def look_around() -> None:
    """Leave a core from now on if another process wants it: for a pass between two layers."""
    watch = _watch.get()
    if watch is not None:
        watch.look()


def is_crowded() -> bool:
    """Whether another process wanted a core in the last `CROWDED_S`, as far as anybody can tell."""
    return _n_pushed_off() is None or monotonic() < _Watch.crowded_until


class _Watch:
    """Whether another process wants a core, told by a pass that was held up.

    Args:
        fewer: how many threads leave one.
    """

    crowded_until = -math.inf

    def __init__(self, fewer: int) -> None:
        self._fewer = fewer
        self._fastest_s, self._n_held_up = math.inf, 0
        # When the last layer began, and how often a thread had been pushed off by then.
        self._last: tuple[float, int | None] | None = None
        self._watches = not is_crowded()
        if not self._watches:
            torch.set_num_threads(fewer)

    def look(self) -> None:
        """See what has happened since the last time."""
        if not self._watches:
            return
        now, pushed = monotonic(), _n_pushed_off()
        if self._last is not None:
            since, pushed_before = self._last
            self._fastest_s = min(self._fastest_s, now - since)
            # Threads are pushed off for moments, too, by nobody in particular.
            self._n_held_up += now - since > _HELD_UP * self._fastest_s and pushed != pushed_before
        self._last = now, pushed
        if self._n_held_up == _NO_ACCIDENT:
            self._watches, _Watch.crowded_until = False, now + CROWDED_S
            torch.set_num_threads(self._fewer)


_watch: ContextVar[_Watch | None] = ContextVar("layerwidget_watch", default=None)


def _n_pushed_off() -> int | None:
    """How often a thread of this process had to leave its core to others, so far; None where nobody counts it."""
    return None if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _n_cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
