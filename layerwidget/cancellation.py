"""Giving up work half-way: long computations call `checkpoint()`, whoever started them may set a flag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from layerwidget.errors import Cancelled

_given_up: ContextVar[Callable[[], bool] | None] = ContextVar("layerwidget_given_up", default=None)


@contextmanager
def cancelled_by(given_up: Callable[[], bool]) -> Iterator[None]:
    """Within this block, of this thread, `checkpoint()` raises as soon as `given_up()` is true."""
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


def checkpoint(where: str) -> None:
    """A place at which work can stop cleanly, such as a layer boundary; `where` is named in the error.

    Raises:
        Cancelled: when the work is no longer wanted.
    """
    given_up = _given_up.get()
    if given_up is not None and given_up():
        raise Cancelled(f"The work was given up at {where}.")
