"""Which tokens of two prompts stand beside each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np

from layerwidget.axes import Tabular, along
from layerwidget.results import FloatArray
from layerwidget.tokens import IntArray


@dataclass(frozen=True, eq=False)
class Alignment(Tabular):
    """Two prompts in shared columns; every position of both has exactly one.

    Attributes:
        a: the position in the first prompt of each column, shape [column], int64, ascending; -1 where it has none.
        b: the same of the second prompt.
    """

    a: IntArray = field(metadata=along("column"))
    b: IntArray = field(metadata=along("column"))

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        self.a.setflags(write=False)
        self.b.setflags(write=False)

    def __len__(self) -> int:
        """Number of columns."""
        return len(self.a)

    @property
    def pairs(self) -> IntArray:
        """Positions in the first and in the second prompt that stand beside each other, shape [pair, 2]."""
        both: IntArray = np.stack([self.a, self.b], axis=1)[(self.a >= 0) & (self.b >= 0)]
        return both


def aligned(ids_a: IntArray, ids_b: IntArray) -> Alignment:
    """The columns of two prompts, by their token ids.

    The beginning that both share comes first: in a causal model nothing differs there. In the rest, runs of equal
    tokens stand beside each other (`difflib.SequenceMatcher`), and so do, token by token, as many tokens as were
    replaced by as many others. All other tokens have a column of their own; those of the first prompt come first.
    """
    one, other = np.asarray(ids_a).tolist(), np.asarray(ids_b).tolist()
    first = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    columns = [(at, at) for at in range(first)]
    matcher = SequenceMatcher(None, one[first:], other[first:], autojunk=False)
    for _, a_start, a_stop, b_start, b_stop in matcher.get_opcodes():
        in_a, in_b = range(first + a_start, first + a_stop), range(first + b_start, first + b_stop)
        if len(in_a) == len(in_b):
            columns += zip(in_a, in_b, strict=True)
        else:
            columns += [(position, -1) for position in in_a]
            columns += [(-1, position) for position in in_b]
    both = np.array(columns, dtype=np.int64).reshape(-1, 2)
    return Alignment(both[:, 0].copy(), both[:, 1].copy())


def in_columns(values: FloatArray, positions: IntArray) -> FloatArray:
    """Values along positions, shape [..., pos], laid into columns, shape [..., column]; NaN where there is none."""
    laid: FloatArray = values[..., np.maximum(positions, 0)].astype(np.float32)
    laid[..., positions < 0] = np.nan
    return laid
