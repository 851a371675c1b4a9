"""Any numbers per layer and column: what a heat grid shows, in a notebook or on paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from layerwidget.results import FloatArray, Grid

TextArray: TypeAlias = "np.ndarray[Any, np.dtype[np.str_]]"


@dataclass(frozen=True, eq=False)
class Sheet:
    """One quantity of a heat grid.

    Attributes:
        name: what the drop-down says; unlike that of the other sheets.
        values: shape [layer, column], float32; NaN where there is no value, which is drawn as such, never as 0.
        unit: of the values.
        kind: `one-sided` (from 0), `signed` (around 0, both sides alike) or `log` (above 0).
        limits: the ends of the colour scale: the high one of a `one-sided` or `signed` sheet, both of a `log` one.
            From the values of all layers where None. What lies beyond is coloured like the end, and the legend says so.
        digits: how many significant places a cell writes; the line below the grid says the number in full.
        detail: what the title line says of it.
        words: what each cell says in place of its number, shape [layer, column], text; numbers where None.
        in_full: the same for the line below the grid, where that says more than the cell.
        empty: what stands in place of the cells where none has a value.

    Raises:
        ValueError: when the values cannot be those of that kind, the limits are no limits of it, or words have
            another shape.
    """

    name: str
    values: FloatArray
    unit: str = ""
    kind: Literal["one-sided", "signed", "log"] = "one-sided"
    limits: float | tuple[float, float] | None = None
    digits: int = 2
    detail: str = ""
    words: TextArray | None = None
    in_full: TextArray | None = None
    empty: str = "No cell has a value."

    def __post_init__(self) -> None:
        """Check the values and limits against the kind."""
        shape = self.values.shape
        for texts in (self.words, self.in_full):
            if texts is not None and texts.shape != shape:
                raise ValueError(f"Sheet {self.name!r}: expected words of shape {shape}, got {texts.shape}.")
        if self.values.ndim != 2 or np.isinf(self.values).any():
            raise ValueError(f"Sheet {self.name!r}: expected finite values or NaN of shape [layer, column].")
        smallest = finite(self.values).min(initial=np.inf)
        if (self.kind == "one-sided" and smallest < 0) or (self.kind == "log" and smallest <= 0):
            bound = "from 0" if self.kind == "one-sided" else "above 0"
            raise ValueError(f"Sheet {self.name!r} is {self.kind}: expected values {bound}, got {smallest:g}.")
        low, high = self.ends
        if not (np.isfinite([low, high]).all() and high > 0 and (self.kind != "log" or 0 < low <= high)):
            raise ValueError(f"Sheet {self.name!r}: {self.limits} are no limits of a {self.kind} colour scale.")

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the colour scale."""
        sizes = np.abs(finite(self.values))
        largest = float(sizes.max(initial=0.0)) or 1.0
        given = self.limits if isinstance(self.limits, tuple) else (None, self.limits)
        high = largest if given[1] is None else float(given[1])
        if self.kind == "log":
            return (float(sizes.min(initial=largest)) if given[0] is None else float(given[0])), high
        return (-high if self.kind == "signed" else 0.0), high


@dataclass(frozen=True)
class HeatColumns:
    """The columns of a heat grid.

    Attributes:
        labels: what stands below them.
        picks: which choice a click changes, besides the layer: `position`, `head`, or `column`, the view's own.
        numbers: the position, head or column that each one is; from 0 where empty; -1 for one that cannot be chosen.
        names: what the line below the grid says of each; its label and number where empty.
    """

    labels: tuple[str, ...]
    picks: Literal["position", "head", "column"] = "column"
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Number the columns.

        Raises:
            ValueError: when there is no column, or not one number, or name, for each.
        """
        sizes = {len(self.numbers), len(self.names)} - {0}
        if not self.labels or sizes - {len(self.labels)}:
            raise ValueError(f"Expected columns with one number each; got {len(self.labels)} and {len(self.numbers)}.")
        object.__setattr__(self, "numbers", self.numbers or tuple(range(len(self.labels))))

    @classmethod
    def positions(cls, grid: Grid) -> HeatColumns:
        """The positions of a result's prompt."""
        return cls(tuple(piece.visible for piece in grid.prompt_pieces()), "position")

    @classmethod
    def heads(cls, numbers: Iterable[int]) -> HeatColumns:
        """The heads of those numbers."""
        numbers = tuple(numbers)
        return cls(tuple(map(str, numbers)), "head", numbers)


def finite(values: FloatArray) -> FloatArray:
    """Those of the values that are there, shape [value]."""
    there: FloatArray = values[np.isfinite(values)]
    return there
