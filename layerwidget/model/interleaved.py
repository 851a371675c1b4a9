"""Layers that are no modules, or none that is called: one forward loops over the modules of several layers by itself.

It takes them from several lists side by side, or from inside the elements of one list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from layerwidget.model.watched import Call


@dataclass(eq=False)
class Span(Call):
    """Calls by the same caller that follow each other, taken for one: from the first one's input to the last's output.

    Attributes:
        steps: the calls.
    """

    steps: tuple[Call, ...] = ()

    @classmethod
    def over(cls, steps: Sequence[Call]) -> Span:
        """The span over some calls."""
        first, last = steps[0], steps[-1]
        return cls(
            first.module, first.name, first.nth, first.parent, first.depth, first.args, first.kwargs, first.inputs,
            first.start, last.outputs, last.output, last.end, tuple(steps),
        )  # fmt: skip

    @property
    def members(self) -> tuple[Call, ...]:
        """The calls that it stands for."""
        return self.steps

    @property
    def runner(self) -> Call:
        """The call that has to be repeated to repeat this one: the caller's, for what lies between is its code."""
        assert self.parent is not None, "a list of modules is called by somebody"
        return self.parent

    def encloses(self, other: Call) -> bool:
        """Whether another call is one of these, happened inside one of these or between them."""
        step = other
        while step.parent is not None and step.parent is not self.parent:
            step = step.parent
        return step.parent is self.parent and self.start <= step.start and step.end <= self.end


def interleaved(calls: Iterable[Call], modules: dict[str, nn.Module]) -> Iterator[list[Call]]:
    """Spans that may be layers of one stack: calls of modules in lists, in which an order of kinds repeats.

    Args:
        calls: of the whole pass, in order.
        modules: every module by its path.
    """
    by_caller: dict[int, list[Call]] = {}
    for call in calls:
        if call.parent is not None and _kind(call.name, modules) != call.name:
            by_caller.setdefault(id(call.parent), []).append(call)
    for listed in by_caller.values():
        for start, period, end in _repetitions([_kind(call.name, modules) for call in listed]):
            yield [Span.over(listed[first : first + period]) for first in range(start, end, period)]


def _kind(path: str, modules: dict[str, nn.Module]) -> str:
    """A path without the numbers in lists: the same for all modules that have this place in a layer."""
    names = path.split(".")
    holders = [modules.get(".".join(names[:depth])) for depth in range(len(names))]
    pairs = zip(names, holders, strict=True)
    return ".".join("*" if isinstance(holder, nn.ModuleList) else name for name, holder in pairs)


def _repetitions(names: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Runs in which an order of several kinds repeats: start, length of the order, end."""
    start = 0
    while start < len(names):
        lengths = range(2, (len(names) - start) // 2 + 1)
        ends = {length: _end(names, start, length) for length in lengths if len({*names[start : start + length]}) > 1}
        repeated = [(end, -length) for length, end in ends.items() if end >= start + 2 * length]
        if repeated:
            end, length = max(repeated)
            yield start, -length, end
            start = end
        else:
            start += 1


def _end(names: Sequence[str], start: int, length: int) -> int:
    """Where the order of the first names, so many, ends to repeat as a whole."""
    end = start + length
    while names[start : start + length] == names[end : end + length]:
        end += length
    return end
