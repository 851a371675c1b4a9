"""One row of the table: all checks of one configuration, whatever a model raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from tests.conformance.build import Entry, quiet
from tests.conformance.checks import CHECKS, Subject
from tests.conformance.compare import DisagreementError, NotApplicableError
from tests.conformance.half import HALF_CHECKS, HalfSubject
from tests.conformance.overrides import NOTES

PASS, FAIL, ABSENT = "pass", "fail", "n/a"

_MAX_WORDS = 150


@dataclass
class Row:
    """The result of one configuration.

    Attributes:
        name: `group/configuration`.
        model: name of the model's class.
        results: check -> `pass`, `fail` or `n/a`; `fail` too where an earlier check stopped it.
        why: check -> one line that says why it is not a pass.
    """

    name: str
    model: str
    results: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [name for name, result in self.results.items() if result == FAIL]


def check(one: Entry, dtype: torch.dtype = torch.float32) -> Row:
    """Measure one configuration; in half precision, what can be told exactly."""
    row, names = Row(one.name, one.model), checks_of(dtype)
    subject = Subject(one) if dtype == torch.float32 else HalfSubject(one, dtype)
    for name in names:
        _measure(row, name, getattr(subject, name))
        if name == "built" and row.results[name] == FAIL and one.name in NOTES:
            row.why[name] = f"{NOTES[one.name]} ({row.why[name]})"
        if name in ("built", "located") and row.results[name] == FAIL and subject.trace is None:
            stopped(row, f"not {name}", names)
            break
    return row


def checks_of(dtype: torch.dtype) -> tuple[str, ...]:
    """What is measured of models of this type."""
    return CHECKS if dtype == torch.float32 else HALF_CHECKS


def stopped(row: Row, why: str, names: Sequence[str] = CHECKS) -> None:
    """Let all checks that were not reached fail for the same reason."""
    for name in names:
        if name not in row.results:
            row.results[name] = FAIL
            row.why[name] = why


def one_line(error: BaseException) -> str:
    """The first line of an error, shortened."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    said = re.sub(r"^Class validation error.*", lambda match: _second_line(error) or match[0], said)
    text = said if isinstance(error, DisagreementError | NotApplicableError) else f"{type(error).__name__}: {said}"
    return text if len(text) <= _MAX_WORDS else text[: _MAX_WORDS - 1] + "…"


def _second_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else ""


def _measure(row: Row, name: str, what: Callable[[], None]) -> None:
    try:
        with quiet():
            what()
    except NotApplicableError as reason:
        row.results[name], row.why[name] = ABSENT, one_line(reason)
    except Exception as error:  # whatever a model raises is a row of the table
        row.results[name], row.why[name] = FAIL, one_line(error)
    else:
        row.results[name] = PASS
