"""The rows of the table, and the ratios below it with their goals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


#: A goal that holds at every length.
ANY = 0


@dataclass(frozen=True)
class Ratio:
    """How two sums of rows compare, turn by turn.

    Attributes:
        name: what is compared.
        above, below: rows whose times are added up.
        goals: n tokens, or `ANY` -> the most that is wanted.
    """

    name: str
    above: tuple[str, ...]
    below: tuple[str, ...]
    goals: Mapping[int, float] = field(default_factory=dict)

    def summary(self, recorded: Recorded, n: int) -> Summary | None:
        """Median and quartiles of the ratios of all turns; None where a row has no times."""
        above, below = self._sums(self.above, recorded, n), self._sums(self.below, recorded, n)
        values = [over / under for over, under in zip(above, below, strict=False)]
        return Summary.of(values) if values else None

    def goal(self, n: int) -> float | None:
        """The goal at this length, if there is one."""
        return self.goals.get(n, self.goals.get(ANY))

    def met(self, recorded: Recorded, n: int) -> bool | None:
        """Whether the median is within the goal; None without a goal or times."""
        goal, summary = self.goal(n), self.summary(recorded, n)
        return None if goal is None or summary is None else summary.median <= goal

    @staticmethod
    def _sums(rows: tuple[str, ...], recorded: Recorded, n: int) -> list[float]:
        # A peer that gave up has fewer turns than the others, or none.
        return [sum(times) for times in zip(*(recorded.of(row, n) for row in rows), strict=False)]


RATIOS = (
    Ratio(
        "one token appended (h) / pass and product alone (b + c₁)", ("append",), ("cached", "gemm_append"), {ANY: 1.4}
    ),
    Ratio(
        "one token appended (h) / TransformerLens (e)", ("append",), ("transformer_lens",), {64: 1 / 15, 256: 1 / 50}
    ),
    Ratio("one token appended (h) / TransformerLens (e₁)", ("append",), ("transformer_lens_needed",)),
    Ratio("new prompt (g) / pass and product alone (a + c)", ("cold",), ("forward", "gemm_cold"), {64: 1.35}),
    Ratio("one token appended with all pages hidden (h₂) / never opened (h₁)", ("hidden",), ("explorer",), {ANY: 1.1}),
    Ratio("new prompt (g) / TransformerLens (e)", ("cold",), ("transformer_lens",)),
    Ratio("first answer (g₁) / plain forward pass (a)", ("first",), ("forward",), {ANY: 1.5}),
)
