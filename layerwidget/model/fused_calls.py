"""Who hears of the calls of fused attention: nearly all models look it up in `torch.nn.functional` when they call it.

A `TorchFunctionMode` hears of them too, but of every other operation besides, and slows each of them down: over the
layers of a model, that was a tenth of a pass over one token.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, TypeAlias

import torch

#: Told of arguments and output.
Heard: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any], torch.Tensor], None]

_NAME = "scaled_dot_product_attention"

_hearing: ContextVar[tuple[Heard, ...]] = ContextVar("layerwidget_hearing", default=())


@contextmanager
def hearing_fused_attention(heard: Heard) -> Iterator[None]:
    """Inside, of this thread, calls of `torch.nn.functional.scaled_dot_product_attention` by that name are told of.

    Other threads may call it meanwhile, and nobody hears of that.
    """
    token = _hearing.set((*_hearing.get(), heard))
    _replacement.come()
    try:
        yield
    finally:
        _replacement.go()
        _hearing.reset(token)


class _Replacement:
    """Stands in the place of the function while anybody listens, in any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_listeners = 0
        self._original: Any = None
        self._told: Any = None

    def come(self) -> None:
        """One listener more."""
        with self._lock:
            if not self._n_listeners:
                self._original = getattr(torch.nn.functional, _NAME)
                self._told = _telling(self._original)
                setattr(torch.nn.functional, _NAME, self._told)
            self._n_listeners += 1

    def go(self) -> None:
        """One less; what somebody else has put there meanwhile is theirs."""
        with self._lock:
            self._n_listeners -= 1
            if not self._n_listeners and getattr(torch.nn.functional, _NAME) is self._told:
                setattr(torch.nn.functional, _NAME, self._original)


_replacement = _Replacement()


def _telling(original: Any) -> Any:
    @functools.wraps(original)
    def told(*args: Any, **kwargs: Any) -> Any:
        hearing = _hearing.get()
        # What somebody has put around an earlier replacement calls that in turn: it is one call all the same.
        token = _hearing.set(())
        try:
            out = original(*args, **kwargs)
        finally:
            _hearing.reset(token)
        for heard in hearing:
            heard(args, kwargs, out)
        return out

    return told
