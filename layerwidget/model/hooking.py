"""Hooks at chosen calls of modules: there only while a pass runs, and only for those who listen in this thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from layerwidget.model.attention_shape import Moment
from layerwidget.model.running import submodule
from layerwidget.model.tracing import KERNELS

#: What a listener does at a call, with what is given there; what it returns, if anything, replaces that.
Act: TypeAlias = Callable[[Any, Any], Any]
_Table: TypeAlias = dict[str, dict[int, Act]]

_listening: ContextVar[tuple[object, ...]] = ContextVar("layerwidget_listening", default=())


def listens(listener: object) -> bool:
    """Whether this thread runs a pass for this listener."""
    return listener in _listening.get()


class Hooks:
    """What is to be done before and after which calls: the same in every pass, by whoever listens to that."""

    def __init__(self) -> None:
        self._before: _Table = {}
        self._after: _Table = {}

    def before(self, name: str, call: int, act: Act) -> None:
        """Do something with `{"args": args, "kwargs": kwargs}` of a module's call, counted from 0.

        What it returns, if anything, is what the module is called with instead.
        """
        _then(self._before, name, call, act)

    def at(self, moment: Moment, act: Act) -> None:
        """Do something when a call begins or ends."""
        (self.before if moment.begins else self.after)(moment.module, moment.call, act)

    def after(self, name: str, call: int, act: Act) -> None:
        """Do something with the output of a module's call; what it returns, if anything, replaces the output."""
        _then(self._after, name, call, act)

    @contextmanager
    def on(self, model: nn.Module, listener: object, together: tuple[object, ...] | None = None) -> Iterator[None]:
        """Put them on for one pass.

        Args:
            model: the model.
            listener: who does it.
            together: who listens to the passes inside; the listener alone by default.
        """
        handles: list[RemovableHandle] = []
        token = _listening.set((listener,) if together is None else together)
        try:
            for name, acts in self._before.items():
                hook = _entering(listener, acts)
                handles.append(submodule(model, name).register_forward_pre_hook(hook, with_kwargs=True))
            for name, acts in self._after.items():
                handles.append(submodule(model, name).register_forward_hook(_leaving(listener, acts)))
            yield
        finally:
            for handle in handles:
                handle.remove()
            _listening.reset(token)


class AttentionCatcher(TorchFunctionMode):
    """Tells of every attention operation, or what may be one: kernel, arguments and output."""

    def __init__(self, catch: Callable[[str, tuple[Any, ...], dict[str, Any], Any], None]) -> None:
        super().__init__()
        self._catch = catch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for every operation while it is on, so it does next to nothing for most of them."""
        out = func(*args, **kwargs) if kwargs else func(*args)
        kernel = KERNELS.get(func)
        if kernel is not None:
            self._catch(kernel, args, kwargs or {}, out)
        return out


def _then(table: _Table, name: str, call: int, act: Act) -> None:
    """Do something at a call, after what is done there already."""
    earlier = table.setdefault(name, {}).get(call)

    def both(listener: Any, value: Any) -> Any:
        changed = earlier(listener, value) if earlier is not None else None
        changed_again = act(listener, value if changed is None else changed)
        return changed if changed_again is None else changed_again

    table[name][call] = act if earlier is None else both


def _entering(listener: object, acts: Mapping[int, Act]) -> Callable[..., Any]:
    count = -1

    def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
        nonlocal count
        if not listens(listener):
            return None
        count += 1
        act = acts.get(count)
        changed = None if act is None else act(listener, {"args": args, "kwargs": kwargs})
        return None if changed is None else (changed["args"], changed["kwargs"])

    return hook


def _leaving(listener: object, acts: Mapping[int, Act]) -> Callable[..., Any]:
    count = -1

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        nonlocal count
        if not listens(listener):
            return None
        count += 1
        act = acts.get(count)
        return None if act is None else act(listener, output)

    return hook
