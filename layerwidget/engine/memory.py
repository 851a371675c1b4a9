"""Memory that is free is given back to the system: what edits allocate and free would otherwise pile up as gaps."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache

#: It takes some milliseconds, so it is done at most so often.
_EVERY_S = 2.0

_last = -_EVERY_S


def give_back() -> float:
    """Return free pages of the C library's heap, where it is one that can: glibc keeps gaps between what is in use.

    Returns:
        in how many seconds to ask again, because it was done a moment ago; 0.0 when it is done, or cannot be.
    """
    global _last
    trim, now = _trimmer(), time.monotonic()
    if trim is None:
        return 0.0
    if (wait_s := _last + _EVERY_S - now) > 0:
        return wait_s
    _last = now
    trim(0)
    return 0.0


@cache
def _trimmer() -> Callable[[int], object] | None:
    try:
        found: Callable[[int], object] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows has no such library
        return None
    return found
