"""What a comparison of two results holds: both values of every quantity, and their difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from layerwidget.axes import Along, Series, Tabular, along, extra, naming
from layerwidget.errors import SelectionError
from layerwidget.questions.alignment import Alignment, in_columns
from layerwidget.questions.attention import HeadGrid
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["one-sided", "signed", "log"]


@dataclass(frozen=True, eq=False)
class Compared(Tabular):
    """One quantity of two results, in the columns that both share. All have shape [layer, column].

    Attributes:
        name: what it is.
        unit: of `a` and `b`.
        kind: what it can be: `one-sided` (from 0), `signed`, or `log` (above 0).
        a, b: its values in both results; NaN where the result has no such token; None for what both have together.
        change: `b - a`; of a `log` quantity log2(b / a); NaN where one of them has no value.
        change_unit: of `change`.
        ids_a, ids_b: the token ids that it is about, int64; -1 where the result has no such token; None where it is
            about none.
    """

    name: str
    unit: str
    kind: Kind
    a: FloatArray | None = field(metadata=along("row column"))
    b: FloatArray | None = field(metadata=along("row column"))
    change: FloatArray = field(metadata=along("row column"))
    change_unit: str
    ids_a: IntArray | None = field(default=None, metadata=along("row column"))
    ids_b: IntArray | None = field(default=None, metadata=along("row column"))

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for values in (self.a, self.b, self.change, self.ids_a, self.ids_b):
            if values is not None:
                values.setflags(write=False)

    @classmethod
    def by_difference(cls, name: str, unit: str, kind: Kind, a: FloatArray, b: FloatArray) -> Compared:
        """Of two arrays of one shape: what is compared by `b - a`."""
        return cls(name, unit, kind, a, b, b - a, unit)

    def as_series(self) -> Iterator[Series]:
        """Both values and their difference, along the layers and columns of what it is a part of."""
        values = {"A": (self.a, self.unit), "B": (self.b, self.unit), "change": (self.change, self.change_unit)}
        for key, (array, unit) in values.items():
            if array is not None:
                yield Series(f"{self.name} ({key})", Along(("layer", "column"), unit), array)


@dataclass(frozen=True, eq=False)
class TwoResults(Tabular):
    """Two results of one kind. `L` rows (`.layers`), as many columns as `.alignment` has.

    Attributes:
        a, b: the results.
        alignment: which of their tokens stand beside each other.
        layers, layers_b: the layers of both that are compared, row by row; in models of the same depth,
            the same numbers.
    """

    a: Grid
    b: Grid
    alignment: Alignment
    layers: tuple[int, ...] = field(metadata=naming("layer"))
    layers_b: tuple[int, ...] = field(metadata=naming("layer", "layer_b"))

    def row_of(self, layer: int) -> int:
        """Index of the row of a layer of the first result.

        Raises:
            SelectionError: when that layer is not compared.
        """
        if layer not in self.layers:
            raise SelectionError(f"The layers {self.layers} are compared; layer {layer} is not among them.")
        return self.layers.index(layer)


class HasQuantities:
    """What is looked up by the name of a quantity."""

    quantities: Mapping[str, Compared]

    def __getitem__(self, name: str) -> Compared:
        """One of `quantities`.

        Raises:
            SelectionError: when there is none of that name.
        """
        if name not in self.quantities:
            raise SelectionError(f"There is no quantity {name!r}. There are: {', '.join(self.quantities)}.")
        return self.quantities[name]


@dataclass(frozen=True, eq=False)
class Difference(HasQuantities, TwoResults):
    """What differs between two results by layer and token.

    Attributes:
        quantities: name -> both values and their difference.
    """

    quantities: Mapping[str, Compared]

    def series(self) -> Iterator[Series]:
        """Both tokens of every column, and of every quantity its values in both results and their difference."""
        yield from super().series()
        for name, grid, positions in (("A", self.a, self.alignment.a), ("B", self.b, self.alignment.b)):
            words = [piece.visible for piece in grid.prompt_pieces()]
            told = Along(("column",), is_coordinate=True)
            yield Series(f"pos {name}", told, positions)
            yield Series(f"token {name}", told, np.array([words[at] if at >= 0 else "" for at in positions], dtype=str))
        for one in self.quantities.values():
            yield from one.as_series()

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer and column: both tokens, and of every quantity `(A)`, `(B)` and `(change)`."""
        pd = extra("pandas")

        size = len(self.alignment)
        columns: dict[str, Any] = {"layer": np.repeat(self.layers, size)}
        for name, grid, positions in (("A", self.a, self.alignment.a), ("B", self.b, self.alignment.b)):
            words = [piece.visible for piece in grid.prompt_pieces()]
            columns[f"pos {name}"] = np.tile(positions, len(self.layers))
            columns[f"token {name}"] = [words[at] if at >= 0 else None for at in positions] * len(self.layers)
        for one in self.quantities.values():
            columns |= {series.name: series.values.ravel() for series in one.as_series()}
        return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class ColumnDifference(HasQuantities, TwoResults):
    """What differs between two results by layer and column, where the columns are no tokens: heads, or parts of a sum.

    Attributes:
        columns: what each column is.
        heads: the number of the head that each column is; -1 for one that is none.
        quantities: name -> both values and their difference.
        about: what the numbers are about, in words; mostly nothing.
    """

    columns: tuple[str, ...] = field(metadata=naming("column"))
    heads: tuple[int, ...] = field(metadata=naming("column", "head"))
    quantities: Mapping[str, Compared]
    about: str

    def series(self) -> Iterator[Series]:
        """Of every quantity its values in both results and their difference."""
        yield from super().series()
        for one in self.quantities.values():
            yield from one.as_series()


@dataclass(frozen=True, eq=False)
class AttentionDifference(TwoResults):
    """What differs between the attention, or the value-weighted attention, of two results.

    Attributes:
        heads: the heads that are compared, ascending.
        moved: how much of its weight each head puts elsewhere in the second result, shape [layer, head], 0 to 1: the
            mean, over the queries that stand beside each other, of half the sum of |difference| over all keys. A token
            that is not there gets no weight. NaN where no queries stand beside each other. Of value-weighted attention
            the same sum, in its units.
        sink: the share of its weight that each head rests on token 0, in both results, shape [layer, head]: the mean
            over queries from 1 on. Of value-weighted attention what it takes from there, in its units.
    """

    heads: tuple[int, ...] = field(metadata=naming("head"))
    moved: FloatArray = field(metadata=along("layer head"))
    sink: Compared

    @property
    def unit(self) -> str:
        """Of all numbers; empty for weights."""
        return self.a.unit if isinstance(self.a, HeadGrid) else ""

    @property
    def quantity(self) -> str:
        """What the numbers are, in a few words; empty for weights."""
        return self.a.quantity if isinstance(self.a, HeadGrid) else ""

    def head(self, layer: int, head: int) -> Compared:
        """One head's weights in both results and their difference, shape [query column, key column].

        Raises:
            SelectionError: when that head is not compared.
        """
        if head not in self.heads:
            raise SelectionError(f"The heads {self.heads} are compared; head {head} is not among them.")
        row = self.row_of(layer)
        a = _matrix(self.a, self.layers[row], head, self.alignment.a)
        b = _matrix(self.b, self.layers_b[row], head, self.alignment.b)
        return Compared.by_difference(f"layer {layer}, head {head}", self.unit, "one-sided", a, b)


@dataclass(frozen=True, eq=False)
class MatrixDifference(TwoResults):
    """What differs between two results that are one matrix each: queries down, keys across.

    Attributes:
        matrix: both and their difference, shape [query column, key column].
        about: what the numbers are about, in words.
    """

    matrix: Compared
    about: str

    def series(self) -> Iterator[Series]:
        """Both matrices and their difference."""
        yield from super().series()
        for key, values in (("A", self.matrix.a), ("B", self.matrix.b), ("change", self.matrix.change)):
            if values is not None:
                yield Series(f"{self.matrix.name} ({key})", Along(("query_column", "key_column")), values)


def _matrix(grid: Grid, layer: int, head: int, positions: IntArray) -> FloatArray:
    """A head's numbers in columns, shape [query column, key column]; NaN where there is no such query or key."""
    assert isinstance(grid, HeadGrid)
    keys = in_columns(grid.matrices[grid.row_of(layer), grid.heads.index(head)], positions)
    return in_columns(keys.T, positions).T
