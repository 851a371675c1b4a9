"""Memory that is free is given back to the system: what edits allocate and free would otherwise pile up as gaps."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache

#: It takes some milliseconds, so it is done at most so often.
_EVERY_S = 2.0

_last = -_EVERY_S


def give_back() -> None:
    """Return free pages of the C library's heap, where it is one that can: glibc keeps gaps between what is in use."""
    global _last
    trim, now = _trimmer(), time.monotonic()
    if trim is not None and now - _last >= _EVERY_S:
        _last = now
        trim(0)


@cache
def _trimmer() -> Callable[[int], object] | None:
    try:
        found: Callable[[int], object] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows has no such library
        return None
    return found
