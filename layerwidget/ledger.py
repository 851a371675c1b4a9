"""The ledger of a layer: everything that happens to the stream between its input and its output, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch

from layerwidget.plain import registered
from layerwidget.rounding import relative_error, row_errors


@registered
@dataclass(frozen=True, eq=False)
class Added:
    """A part adds something to the stream.

    Attributes:
        kind: `attention`, `cross_attention`, `mlp` or `mixer`.
        value: shape [pos, d_model].
    """

    kind: str
    value: torch.Tensor


@registered
@dataclass(frozen=True, eq=False)
class Normed:
    """The stream itself passes through a norm, as in post-norm layers.

    Attributes:
        before: what the norm read, shape [pos, d_model].
        after: what it returned, shape [pos, d_model].
    """

    before: torch.Tensor
    after: torch.Tensor


@registered
@dataclass(frozen=True, eq=False)
class Scaled:
    """The stream itself is multiplied.

    Attributes:
        factor: a number, or a tensor that broadcasts to [pos, d_model].
    """

    factor: torch.Tensor | float


LedgerEntry: TypeAlias = Added | Normed | Scaled


def rows_of(entry: LedgerEntry, rows: slice) -> LedgerEntry:
    """What happens to some positions."""
    if isinstance(entry, Added):
        return Added(entry.kind, entry.value[rows])
    return entry if isinstance(entry, Scaled) else Normed(entry.before[rows], entry.after[rows])


def replayed(entered: torch.Tensor, entries: Iterable[LedgerEntry]) -> Iterator[torch.Tensor]:
    """The stream after each entry, shape [pos, d_model].

    Args:
        entered: the stream at the layer's input, shape [pos, d_model].
        entries: what happens to it.
    """
    stream = entered
    for entry in entries:
        if isinstance(entry, Added):
            stream = stream + entry.value
        elif isinstance(entry, Scaled):
            stream = stream * entry.factor
        else:
            stream = entry.after
        yield stream


def ledger_error(entered: torch.Tensor, entries: Iterable[LedgerEntry], left: torch.Tensor) -> float:
    """How far a layer is from what its ledger says: the largest difference, as a share of the largest value.

    The stream is summed up from the input. It has to be what every norm on it reads, and what the layer returns.

    Args:
        entered: the stream at the layer's input, shape [pos, d_model].
        entries: what happens to it.
        left: the stream at the layer's output, shape [pos, d_model].

    Source: science.md, "Residual stream".
    """
    return max(relative_error(got, expected) for got, expected in _promises(entered, entries, left))


def ledger_errors(entered: torch.Tensor, entries: Iterable[LedgerEntry], left: torch.Tensor) -> torch.Tensor:
    """The same for every position, as a share of the largest value at that position; shape [pos], fp32."""
    errors = [row_errors(got, expected) for got, expected in _promises(entered, entries, left)]
    return torch.stack([one.to(left.device) for one in errors]).amax(0)


def _promises(
    entered: torch.Tensor, entries: Iterable[LedgerEntry], left: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The stream as it is summed up and as it is found, at every norm on it and where the layer ends."""
    stream = entered.float()
    for entry in entries:
        if isinstance(entry, Added):
            stream = stream + entry.value.float()
        elif isinstance(entry, Scaled):
            factor = entry.factor
            stream = stream * (factor.float() if isinstance(factor, torch.Tensor) else factor)
        else:
            yield stream, entry.before
            stream = entry.after.float()
    yield stream, left
