"""The report of `lw.check`: what was measured on one model, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Grade:
    """The outcome of one check.

    Attributes:
        status: `pass`, `fail`, or `n/a` where the model has nothing of the kind; `n/a` is never a pass.
        figure: what was measured, a relative or absolute error; None where nothing could be.
        reason: what the figure is, or why there is none.
    """

    status: Literal["pass", "fail", "n/a"]
    figure: float | None
    reason: str

    @classmethod
    def of(cls, figure: float, allowed: float, reason: str) -> Grade:
        """Passed where the figure is at most what is allowed; NaN is not."""
        return cls("pass" if figure <= allowed else "fail", figure, f"{reason} (allowed {allowed:.0e})")


@dataclass(frozen=True, repr=False)
class CheckReport:
    """All grades of one model; prints as a table.

    Attributes:
        model_name: which model.
        grades: name of the check -> its grade: `lens`, `residual`, `attention`, `skip`, `clean`.
    """

    model_name: str
    grades: Mapping[str, Grade]

    @property
    def ok(self) -> bool:
        """Whether nothing failed and something passed."""
        statuses = {grade.status for grade in self.grades.values()}
        return "fail" not in statuses and "pass" in statuses

    @property
    def summary(self) -> str:
        """One line: what fails, or else what holds and what does not apply."""
        failed = self._named("fail")
        absent = self._named("n/a")
        said = f"fails: {', '.join(failed)}" if failed else f"checked: {', '.join(self._named('pass'))}"
        return said + (f" (n/a: {', '.join(absent)})" if absent else "")

    def _named(self, status: str) -> list[str]:
        return [name for name, grade in self.grades.items() if grade.status == status]

    def __repr__(self) -> str:
        """A line for each check."""
        marks = {"pass": "✓ pass", "fail": "✗ FAIL", "n/a": "– n/a"}
        lines = [f"{self.model_name}: {'all that applies holds' if self.ok else 'NOT everything holds'}"]
        for name, grade in self.grades.items():
            figure = "" if grade.figure is None else f"{grade.figure:.1e}"
            lines.append(f"  {name:<10} {marks[grade.status]:<7} {figure:>8}  {grade.reason}")
        return "\n".join(lines)
