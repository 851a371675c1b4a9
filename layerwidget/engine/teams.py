"""Threads among which OpenMP divides up what one thread computes: whoever computes nothing keeps none."""

from __future__ import annotations

import ctypes
import os

#: That the threads may end, and all settings stay.
_SOFT = 1

#: Whether this process is a child that has none of its parent's threads, which OpenMP would wait for.
_forked = False


def let_team_go() -> None:
    """End the threads that divide up this thread's operations; the next operation starts them again.

    OpenMP keeps such a team for every thread that has ever computed something. Where all teams together have more
    threads than there are cores, GNU's sends them to sleep after each operation, instead of awaiting the next one
    awake: a pass, which is hundreds of short ones, then takes half as long again, whoever runs it. So a thread that
    hands work to another, or has nothing to do, lets its own team go.
    """
    if _forked:
        return
    try:
        pause = getattr(ctypes.CDLL(None), "omp_pause_resource_all", None)
    except (OSError, TypeError):  # Windows has no table of everything that is loaded
        return
    if pause is not None:
        pause(_SOFT)


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
