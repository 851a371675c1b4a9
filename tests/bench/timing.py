"""Alternating runs, and what is made of their times."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: Before every run: threads that still spin after the last one come to rest.
REST_S = 0.02

#: Row of the table -> milliseconds; mostly one row, and more where a run has several moments worth a row.
Times = dict[str, float]


@dataclass(frozen=True)
class Summary:
    """Median and quartiles.

    Attributes:
        median, low, high: the value in the middle, and those that enclose the middle half.
        n: of how many values.
    """

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))


class Contestant(Protocol):
    """Something that can be run on a prompt of n tokens."""

    key: str

    def check(self, n: int) -> None:
        """Run once and raise where the answers are wrong."""
        ...

    def times_ms(self, n: int, turn: int) -> Times:
        """Run once, on what no other turn had, and say how long it took."""
        ...


@dataclass
class Recorded:
    """All times of one benchmark.

    Attributes:
        series: (row, n tokens) -> milliseconds, one for each turn.
        failures: row -> why it has no times, in one line.
    """

    series: dict[tuple[str, int], list[float]]
    failures: dict[str, str]

    def of(self, row: str, n: int) -> list[float]:
        """The times of one row, turn by turn; none where it was not run."""
        return self.series.get((row, n), [])


def clock_ms(action: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def take_turns(
    contestants: Sequence[Contestant], lengths: Sequence[int], turns: int, say: Callable[[str], None]
) -> Recorded:
    """Check everybody, then run them in turns: everybody once at each length, in another order every time.

    So whatever else the machine does for a while, it does to all rows and all columns. Every run follows one of its own
    that is not timed, as an edit follows an edit: nobody runs on the caches that another has left.
    """
    recorded = Recorded({}, {})
    for n in lengths:
        for contestant in contestants:
            _check(contestant, n, recorded)
        say(f"{n} tokens: answers checked")
    chance = random.Random(0)
    for turn in range(turns):
        for n in lengths:
            for contestant in chance.sample(contestants, len(contestants)):
                _time(contestant, n, turn, recorded)
        say(f"turn {turn + 1} of {turns}")
    return recorded


class PeerError(RuntimeError):
    """A peer could not be installed or run; the benchmark goes on without it and says why."""


def last_line(text: str) -> str:
    """The last line of a traceback or a log that says something, for a cell of the table."""
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no word"])[-1][:200]


def _check(contestant: Contestant, n: int, recorded: Recorded) -> None:
    """Peers may fail and are left out from then on; layerwidget and plain transformers may not."""
    if contestant.key not in recorded.failures:
        try:
            contestant.check(n)
        except PeerError as error:
            recorded.failures[contestant.key] = str(error)


def _time(contestant: Contestant, n: int, turn: int, recorded: Recorded) -> None:
    if contestant.key not in recorded.failures:
        try:
            for nth in (2 * turn, 2 * turn + 1):
                time.sleep(REST_S)
                times = contestant.times_ms(n, nth)
        except PeerError as error:
            recorded.failures[contestant.key] = str(error)
            return
        for row, milliseconds in times.items():
            recorded.series.setdefault((row, n), []).append(milliseconds)
