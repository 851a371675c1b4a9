"""Threads among which OpenMP divides up what one thread computes: whoever computes nothing keeps none."""

from __future__ import annotations

import ctypes

#: That the threads may end, and all settings stay.
_SOFT = 1


def let_team_go() -> None:
    """End the threads that divide up this thread's operations; the next operation starts them again.

    OpenMP keeps such a team for every thread that has ever computed something. Where all teams together have more
    threads than there are cores, GNU's sends them to sleep after each operation, instead of awaiting the next one
    awake: a pass, which is hundreds of short ones, then takes half as long again, whoever runs it. So a thread that
    hands work to another, or has nothing to do, lets its own team go.
    """
    try:
        pause = getattr(ctypes.CDLL(None), "omp_pause_resource_all", None)
    except (OSError, TypeError):  # Windows has no table of everything that is loaded
        return
    if pause is not None:
        pause(_SOFT)
