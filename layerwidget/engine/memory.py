"""Memory that is free is given back to the system: what edits allocate and free would otherwise pile up as gaps.

Some of it is left to the next edit: the first touch of memory that the system hands out anew is slow.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

#: It takes some milliseconds, so it is done at most so often.
_EVERY_S = 2.0
#: While somebody types, by so much may resident memory grow until it is done again, bytes: some edits need that.
_MAY_GROW = 48 * 2**20
#: Whoever has not typed for so long is at rest, seconds.
REST_S = 30.0

_last = -_EVERY_S
# What was resident when it had been done.
_resident = 0


def give_back(at_rest: bool = False) -> float:
    """Return free pages of the C library's heap, where it is one that can: glibc keeps gaps between what is in use.

    Args:
        at_rest: whether nobody has typed for a while: then all of it, else only if it has become much more.

    Returns:
        in how many seconds to ask again if nobody types until then; 0.0 when it is done, or cannot be.
    """
    global _last, _resident
    trim, now = _trimmer(), time.monotonic()
    if trim is None:
        return 0.0
    if not at_rest and _resident_bytes() < _resident + _MAY_GROW:
        return REST_S
    if (wait_s := _last + _EVERY_S - now) > 0:
        return wait_s
    _last = now
    trim(0)
    _resident = _resident_bytes()
    return 0.0


def _resident_bytes() -> int:
    """Memory of this process that is in use, as Linux counts it, where the C library is one that can trim."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:  # nobody may look
        return 0
    return int(pages) * mmap.PAGESIZE


@cache
def _trimmer() -> Callable[[int], object] | None:
    try:
        found: Callable[[int], object] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows has no such library
        return None
    return found
