"""Any numbers per layer and column as a grid of colours: norms by token, scores by head, ..."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import traitlets as t

from layerwidget.results import FloatArray, Grid
from layerwidget.widgets.base import View

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

    def __post_init__(self) -> None:
        """Check the values and limits against the kind."""
        shape = self.values.shape
        for texts in (self.words, self.in_full):
            if texts is not None and texts.shape != shape:
                raise ValueError(f"Sheet {self.name!r}: expected words of shape {shape}, got {texts.shape}.")
        if self.values.ndim != 2 or np.isinf(self.values).any():
            raise ValueError(f"Sheet {self.name!r}: expected finite values or NaN of shape [layer, column].")
        smallest = _finite(self.values).min(initial=np.inf)
        if (self.kind == "one-sided" and smallest < 0) or (self.kind == "log" and smallest <= 0):
            bound = "from 0" if self.kind == "one-sided" else "above 0"
            raise ValueError(f"Sheet {self.name!r} is {self.kind}: expected values {bound}, got {smallest:g}.")
        low, high = self.ends
        if not (np.isfinite([low, high]).all() and high > 0 and (self.kind != "log" or 0 < low <= high)):
            raise ValueError(f"Sheet {self.name!r}: {self.limits} are no limits of a {self.kind} colour scale.")

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the colour scale."""
        sizes = np.abs(_finite(self.values))
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


class HeatGrid(View, module="heat_grid"):
    """Rows are the layers in view (last one on top), columns the tokens, heads or other things; colours are numbers.

    Attributes:
        sheet: the name of the sheet that is shown.
        column: the chosen column, where columns are neither positions nor heads.
        title: the name in the title line.
        detail: what the title line says besides.
        placeholder: what stands in place of the grid while there is nothing to show.
    """

    sheet = t.Unicode("").tag(sync=True)
    column = t.Int(0, min=0).tag(sync=True)
    title = t.Unicode("").tag(sync=True)
    detail = t.Unicode("").tag(sync=True)
    placeholder = t.Unicode("Type a prompt, and the numbers of every layer appear here.").tag(sync=True)

    def show(
        self,
        sheets: Sequence[Sheet] | None,
        columns: HeatColumns | None = None,
        *,
        layers: Sequence[int] = (),
        n_layers: int | None = None,
        prompt: str | None = None,
        second: str | None = None,
    ) -> None:
        """Draw sheets that share their layers and columns; None clears the grid.

        Args:
            sheets: what can be shown, in the order of the drop-down.
            columns: the columns of all sheets.
            layers: the layers of their rows, ascending; need not be contiguous.
            n_layers: how many layers the model has; one more than the last of `layers` where None.
            prompt: the text it is about, by which the browser knows what is stale.
            second: the second text, where it is about two.

        Raises:
            ValueError: when a sheet has another shape, or two have the same name.
        """
        if not sheets or columns is None:
            self._publish({"layers": [], "prompt": prompt}, {})
            return
        names, shape = [sheet.name for sheet in sheets], (len(layers), len(columns.labels))
        wrong = [sheet.name for sheet in sheets if sheet.values.shape != shape]
        if wrong or len(set(names)) < len(names) or not layers:
            raise ValueError(f"Expected sheets of different names and shape [layer, column] = {shape}; got {names}.")
        self._bound_to(n_layers or layers[-1] + 1, None)
        if self.sheet not in names:
            self.sheet = names[0]
        if columns.picks == "position":
            self.position = min(self.position, max(0, *columns.numbers))
        texts = [_texts(sheet) for sheet in sheets]
        meta = {
            "prompt": prompt, "second": second,
            "layers": list(layers),
            "columns": {
                "labels": list(columns.labels), "picks": columns.picks, "numbers": list(columns.numbers),
                "names": list(columns.names),
            },
            "sheets": [
                {**_described(sheet), **{key: different for key, (different, _) in found.items()}}
                for sheet, found in zip(sheets, texts, strict=True)
            ],
        }  # fmt: skip
        at = {f"{key}{place}": cells for place, found in enumerate(texts) for key, (_, cells) in found.items()}
        values = np.stack([sheet.values for sheet in sheets]).astype(np.float32, copy=False)
        self._publish(meta, {"values": values, **at})


def _described(sheet: Sheet) -> dict[str, Any]:
    """What the browser needs to know of a sheet besides its values."""
    finite, (low, high) = _finite(sheet.values), sheet.ends
    # As the browser compares them: a limit that is a value of the sheet cuts nothing.
    beyond = [bool((finite < np.float32(low)).any()), bool((finite > np.float32(high)).any())]
    return {
        "name": sheet.name, "unit": sheet.unit, "kind": sheet.kind, "limits": [low, high], "digits": sheet.digits,
        "detail": sheet.detail, "clipped": beyond, "absent": bool(np.isnan(sheet.values).any()),
    }  # fmt: skip


def _texts(sheet: Sheet) -> dict[str, tuple[list[str], np.ndarray]]:
    """Its words: every different one once, and which of them each cell has."""
    found = {}
    for key, texts in (("words", sheet.words), ("in_full", sheet.in_full)):
        if texts is not None:
            different, at = np.unique(texts, return_inverse=True)
            found[key] = (different.tolist(), at.astype(np.int32).reshape(texts.shape))
    return found


def _finite(values: FloatArray) -> FloatArray:
    finite: FloatArray = values[np.isfinite(values)]
    return finite
