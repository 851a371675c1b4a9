"""The rows of the tables, the ratios below the first, and what is demanded of all of them."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.bench.timing import Recorded, Summary

#: Row -> what was run; the letters are those of the ratios.
ROWS: dict[str, str] = {
    "forward": "(a) plain forward pass: transformers, no cache, no hooks",
    "cached": "(b) plain forward pass over one more token, with a cache",
    "gemm_cold": "(c) only the matrix product of the lens, all layers × all positions",
    "gemm_append": "(c₁) only the matrix product of the lens, all layers × one position",
    "naive": "(d) transformers alone: hidden states, eager attention, softmax of every layer",
    "transformer_lens": "(e) TransformerLens 4.3: `run_with_cache`, lens of every layer",
    "transformer_lens_needed": "(e₁) the same, caching residuals and 8 layers' attention only",
    "nnterp": "(f) nnterp 1.3, nnsight 0.6.3: one trace, lens and attention of every layer",
    "cold": "(g) **layerwidget**, a prompt it has never seen",
    "first": "(g₁) **layerwidget**, the first part of an answer about that prompt",
    "append": "(h) **layerwidget**, one token appended",
    "explorer": "(h₁) **layerwidget**, the same in an Explorer that shows the lens",
    "hidden": "(h₂) **layerwidget**, the same in one whose other pages were all open once and are hidden",
    "middle": "(i) **layerwidget**, one word in the middle replaced",
    "range": "(j) **layerwidget**, attention of 8 other layers",
}
#: By length, in JupyterLab in Chromium.
KEY_ROWS = {
    "painted": "(k) a key pressed → the grid painted for the new prompt",
    "settled": "(k) a key pressed → everything answered",
    "engine": "(k) of which the engine says that it worked",
    "alone": "(k₀) the edit alone between two keys: (h) in the same kernel, nothing drawn",
}
ABOVE_ALONE = "(k) painted − the edit alone (k₀), key by key"
ABOVE_APPEND = "(k) painted − one token appended (h), of their medians"
FIRST_PAINTED = "(k) a new prompt pasted → the first part of its answer painted"
FIRST_RATIO = "(k) first part painted / plain forward pass (a), of their medians"
DRAG_ROWS = {
    "frames": "(k) frames per second while the layers are dragged, 30 layers × 64 tokens × 9 heads",
    "slowest": "(k) the longest time between two of those frames, ms",
    "messages": "(k) messages sent to the kernel during a drag, the most of all drags",
    "page": "(k) exported page: frames per second while the layers are dragged, from a file, without a kernel",
}

_KEEPS: dict[str, Callable[[float, float], bool]] = {"≤": operator.le, "≥": operator.ge, "=": operator.eq}


@dataclass(frozen=True)
class Limit:
    """What a row must keep to.

    Attributes:
        sign, figure: the limit.
        judged: which of all values is held against it.
    """

    sign: Literal["≤", "≥", "="]
    figure: float
    judged: Callable[[Sequence[float]], float] = statistics.median

    def met(self, values: Sequence[float]) -> bool:
        """Whether these values, at least one, keep to it."""
        return _KEEPS[self.sign](self.judged(values), self.figure)


#: What the picture may add to the edit, ms, whichever way that is measured.
PAINT_LIMIT = Limit("≤", 60)
#: Every drag is to send none, not only most.
DRAG_LIMITS = {"frames": Limit("≥", 50), "messages": Limit("=", 0, max), "page": Limit("≥", 50)}


def above_alone(keys: Mapping[tuple[str, int], Sequence[float]], n: int) -> list[float]:
    """What each key took above the edit alone beside it, ms; none where no key was pressed."""
    painted, alone = keys.get(("painted", n), ()), keys.get(("alone", n), ())
    return [drawn - bare for drawn, bare in zip(painted, alone, strict=True)]


def above_append(keys: Mapping[tuple[str, int], Sequence[float]], recorded: Recorded, n: int) -> list[float]:
    """What the median key took above the median edit in a process without a browser, ms; none without either."""
    painted, append = keys.get(("painted", n), ()), recorded.of("append", n)
    return [statistics.median(painted) - statistics.median(append)] if painted and append else []


def first_to_forward(pastes: Mapping[int, Sequence[float]], recorded: Recorded, n: int) -> list[float]:
    """The median first part that is painted, in median plain passes; none without either."""
    first, forward = pastes.get(n, ()), recorded.of("forward", n)
    return [statistics.median(first) / statistics.median(forward)] if first and forward else []


#: A limit that holds at every length.
ANY = 0


@dataclass(frozen=True)
class Ratio:
    """How two sums of rows compare, turn by turn.

    Attributes:
        name: what is compared.
        above, below: rows whose times are added up.
        limits: n tokens, or `ANY` -> the most that is allowed.
        goals: n tokens -> what is hoped for, which is less.
    """

    name: str
    above: tuple[str, ...]
    below: tuple[str, ...]
    limits: Mapping[int, float] = field(default_factory=dict)
    goals: Mapping[int, float] = field(default_factory=dict)

    def summary(self, recorded: Recorded, n: int) -> Summary | None:
        """Median and quartiles of the ratios of all turns; None where a row has no times."""
        above, below = self._sums(self.above, recorded, n), self._sums(self.below, recorded, n)
        values = [over / under for over, under in zip(above, below, strict=False)]
        return Summary.of(values) if values else None

    def limit(self, n: int) -> float | None:
        """The limit at this length, if there is one."""
        return self.limits.get(n, self.limits.get(ANY))

    def met(self, recorded: Recorded, n: int) -> bool | None:
        """Whether the median is within the limit; None without a limit or times."""
        limit, summary = self.limit(n), self.summary(recorded, n)
        return None if limit is None or summary is None else summary.median <= limit

    @staticmethod
    def _sums(rows: tuple[str, ...], recorded: Recorded, n: int) -> list[float]:
        # A peer that gave up has fewer turns than the others, or none.
        return [sum(times) for times in zip(*(recorded.of(row, n) for row in rows), strict=False)]


RATIOS = (
    Ratio(
        "one token appended (h) / pass and product alone (b + c₁)", ("append",), ("cached", "gemm_append"), {ANY: 1.4}
    ),
    Ratio(
        "one token appended (h) / TransformerLens (e)",
        ("append",),
        ("transformer_lens",),
        {64: 1 / 15, 256: 1 / 50},
        {64: 1 / 20, 256: 1 / 70},
    ),
    Ratio("one token appended (h) / TransformerLens (e₁)", ("append",), ("transformer_lens_needed",)),
    Ratio("new prompt (g) / pass and product alone (a + c)", ("cold",), ("forward", "gemm_cold"), {64: 1.35}),
    Ratio("one token appended with all pages hidden (h₂) / never opened (h₁)", ("hidden",), ("explorer",), {ANY: 1.1}),
    Ratio("new prompt (g) / TransformerLens (e)", ("cold",), ("transformer_lens",), {64: 1.0}),
    Ratio("first answer (g₁) / plain forward pass (a)", ("first",), ("forward",), {ANY: 1.5}),
)
