"""Memory that is free is given back to the system: what edits allocate and free would otherwise pile up as gaps.

Some of it is left to the next edit: the first touch of memory that the system hands out anew is slow.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

#: It takes some milliseconds, and the next edit some more, so it is done at most so often.
_EVERY_S = 2.0
#: While somebody types, by so much may resident memory grow until it is done again, bytes: some edits need that.
_MAY_GROW = 48 * 2**20
#: Where nobody has edited anything for so long, all are at rest, seconds.
REST_S = 30.0

_last = -_EVERY_S
# What was resident when it had been done.
_resident = 0
# When somebody in this process last began or finished an edit.
_edited = 0.0


@contextmanager
def editing() -> Iterator[None]:
    """Inside, and for a while afterwards, nobody in this process is at rest: it has one heap for all its edits."""
    global _edited
    _edited = time.monotonic()
    try:
        yield
    finally:
        _edited = time.monotonic()


def give_back() -> float:
    """Return free pages of the C library's heap, where it is one that can: glibc keeps gaps between what is in use.

    While somebody edits, this is done only if it has become much more; where all are at rest, once.

    Returns:
        in how many seconds to ask again; 0.0 when it is done, or cannot be.
    """
    global _last, _resident
    trim, now = _trimmer(), time.monotonic()
    if trim is None:
        return 0.0
    rest_s = _edited + REST_S - now
    if rest_s <= 0 and _last > _edited:
        return 0.0
    if rest_s > 0 and _resident_bytes() < _resident + _MAY_GROW:
        return rest_s
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
