"""How work is spread over the processor's cores: in pieces that wait for nothing, by threads in nobody's way.

An operation that torch splits over all cores is done when its slowest part is. Where another process takes one of them,
such as the browser that shows the picture, every such operation waits until that one gives way. So long work is cut
into pieces, and a thread whose core is busy otherwise takes fewer of them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import chain, islice
from typing import TypeVar

import torch

#: Threads that share out pieces; where there are more cores, each of them uses several.
_MOST_SHARERS = 4

_Piece = TypeVar("_Piece")
_Found = TypeVar("_Found")

#: Held by whoever shares out.
_sharing = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()


def n_sharers(device: torch.device) -> int:
    """How many threads do work for `shared_out`; one on a GPU, which needs no help."""
    return min(torch.get_num_threads(), _MOST_SHARERS) if device.type == "cpu" else 1


def shared_out(
    work: Callable[[Iterator[_Piece]], _Found], pieces: Iterable[_Piece], device: torch.device
) -> list[_Found]:
    """What each of `n_sharers` threads found. A thread whose core is busy otherwise takes fewer pieces.

    Args:
        work: called once in every thread, without gradients; it takes pieces until there are none.
        pieces: what is to be done, in order. They are made in the caller's thread: while others are done, as many as
            there are threads, and one more.
        device: where the tensors are.

    Where there are no threads, or they are busy with something else, the caller's does it alone.
    """
    n_threads = n_sharers(device)
    # Whoever waited for the threads might hold a lock that others need to make their next piece.
    if n_threads == 1 or not _sharing.acquire(blocking=False):
        return [work(iter(pieces))]
    try:
        return _among(n_threads, work, pieces)
    finally:
        _sharing.release()


def _among(n_threads: int, work: Callable[[Iterator[_Piece]], _Found], pieces: Iterable[_Piece]) -> list[_Found]:
    handed: _Handed[_Piece] = _Handed(n_threads)
    made = iter(pieces)
    # By all cores, for nobody has anything else to do yet.
    first = deque(islice(made, 1))

    def share() -> _Found:
        try:
            return work(handed)
        finally:
            # Nobody else will take what is left when all have failed.
            handed.leave()

    try:
        running = [_pool(n_threads).submit(copy_context().run, share) for _ in range(n_threads)]
    except RuntimeError:  # the interpreter is ending and starts no more threads
        handed.close()
        return [work(chain(first, made))]
    n_torch = torch.get_num_threads()
    # The others have all cores: what would be split over them would wait for each of them.
    torch.set_num_threads(1)
    try:
        while first:
            handed.take(first.popleft())
        for piece in made:
            handed.take(piece)
            # Whoever takes it has it alone.
            del piece
            if not handed.is_wanted:
                break
        handed.close()
        wait(running)
    except BaseException:
        handed.close(drop=True)
        wait(running)
        raise
    finally:
        torch.set_num_threads(n_torch)
    return [one.result() for one in running]


class _Handed(Iterator[_Piece]):
    """Pieces that one thread hands to several others.

    Args:
        n: how many take them, and how many pieces wait for somebody at most.
    """

    def __init__(self, n: int) -> None:
        self._n, self._n_there = n, n
        self._waiting: deque[_Piece] = deque()
        self._open = True
        self._changed = threading.Condition()

    def take(self, piece: _Piece) -> None:
        """Hand out one more, as soon as fewer wait, or nobody is there any more because all have failed."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._n or not self._n_there)
            self._waiting.append(piece)
            self._changed.notify_all()

    def close(self, drop: bool = False) -> None:
        """No more will come; what waits is dropped, too, if nobody wants it any more."""
        with self._changed:
            self._open = False
            if drop:
                self._waiting.clear()
            self._changed.notify_all()

    @property
    def is_wanted(self) -> bool:
        """Whether anybody is there."""
        return self._n_there > 0

    def leave(self) -> None:
        """One of those that take pieces takes no more."""
        with self._changed:
            self._n_there -= 1
            self._changed.notify_all()

    def __next__(self) -> _Piece:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open)
            if not self._waiting:
                raise StopIteration
            self._changed.notify_all()
            return self._waiting.popleft()


def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Threads among which torch's are divided."""
    n_torch = torch.get_num_threads()
    with _pools_lock:
        if (n_threads, n_torch) not in _pools:
            _pools[n_threads, n_torch] = pool = ThreadPoolExecutor(n_threads, "layerwidget-share", _share, (n_torch,))
            together = threading.Barrier(n_threads + 1)
            started: list[Future[int]] = [pool.submit(together.wait) for _ in range(n_threads)]
            together.wait()
            wait(started)
            # What one thread says also holds for those that torch has not seen yet.
            torch.set_num_threads(n_torch)
        return _pools[n_threads, n_torch]


def _share(n_torch: int) -> None:
    torch.set_grad_enabled(False)
    # Asked first, torch does not take the number of all threads afterwards.
    torch.get_num_threads()
    torch.set_num_threads(n_torch // min(n_torch, _MOST_SHARERS))


def _after_fork() -> None:
    """Threads do not live on in a child, and what they held is held for ever."""
    global _sharing
    _pools.clear()
    _sharing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
