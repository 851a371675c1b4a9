"""Any numbers per layer and column as a grid of colours: norms by token, scores by head, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.figures.heat_figure import Heat, heat_picture, heat_text
from layerwidget.figures.sheets import HeatColumns, Sheet, finite
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured, place_of


class HeatGrid(Pictured, View, module="heat_grid"):
    """Rows are the layers in view (last one on top), columns the tokens, heads or other things; colours are numbers.

    Attributes:
        sheet: the name of the sheet that is shown.
        column: the chosen column, where columns are neither positions nor heads.
        title: the name in the title line.
        detail: what the title line says besides.
        placeholder: what stands in place of the grid while there is nothing to show.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer", "position", "head")
    growing: ClassVar[Mapping[str, int]] = {"values": 2}

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
        names = _names(sheets, (len(layers), len(columns.labels)))
        self._bound_to(n_layers or layers[-1] + 1, None)
        if self.sheet not in names:
            self.sheet = names[0]
        if columns.picks == "position":
            self._keep_within(max(0, *columns.numbers) + 1)
        described, arrays = _packed(sheets)
        meta = {
            "prompt": prompt, "second": second,
            "layers": list(layers),
            "columns": {
                "labels": list(columns.labels), "picks": columns.picks, "numbers": list(columns.numbers),
                "names": list(columns.names),
            },
            "sheets": described,
        }  # fmt: skip
        self._publish(meta, arrays)

    def to_text(self) -> str:
        """The numbers as a table: layers by columns."""
        return heat_text(self._heat(), self.placeholder)

    def _picture(self, theme: Theme, width: float) -> Picture:
        return heat_picture(self._heat(), self.placeholder, width, theme)

    def _heat(self) -> Heat:
        return Heat(self.shown, place_of(self), self.sheet, self.column, self.title, self.detail)


def _names(sheets: Sequence[Sheet], shape: tuple[int, int]) -> list[str]:
    """The names of sheets that go together.

    Raises:
        ValueError: when a sheet has another shape, when two have the same name, or without any layer.
    """
    names = [sheet.name for sheet in sheets]
    wrong = any(sheet.values.shape != shape for sheet in sheets)
    if wrong or len(set(names)) < len(names) or not shape[0]:
        raise ValueError(f"Expected sheets of different names and shape [layer, column] = {shape}; got {names}.")
    return names


def _packed(sheets: Sequence[Sheet]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What the browser needs to know of each sheet, and their numbers and words."""
    values = np.stack([sheet.values for sheet in sheets]).astype(np.float32, copy=False)
    described, arrays = [], {"values": values}
    for place, sheet in enumerate(sheets):
        texts = _texts(sheet)
        described.append({**_described(sheet), **{key: different for key, (different, _) in texts.items()}})
        arrays.update((f"{key}{place}", cells) for key, (_, cells) in texts.items())
    return described, arrays


def _described(sheet: Sheet) -> dict[str, Any]:
    """What the browser needs to know of a sheet besides its values."""
    there, (low, high) = finite(sheet.values), sheet.ends
    # As the browser compares them: a limit that is a value of the sheet cuts nothing.
    beyond = [bool((there < np.float32(low)).any()), bool((there > np.float32(high)).any())]
    return {
        "name": sheet.name, "unit": sheet.unit, "kind": sheet.kind, "limits": [low, high], "digits": sheet.digits,
        "detail": sheet.detail, "clipped": beyond, "absent": bool(np.isnan(sheet.values).any()),
        "empty": "" if np.isfinite(sheet.values).any() else sheet.empty,
    }  # fmt: skip


def _texts(sheet: Sheet) -> dict[str, tuple[list[str], np.ndarray]]:
    """Its words: every different one once, and which of them each cell has."""
    found = {}
    for key, texts in (("words", sheet.words), ("in_full", sheet.in_full)):
        if texts is not None:
            different, at = np.unique(texts, return_inverse=True)
            found[key] = (different.tolist(), at.astype(np.int32).reshape(texts.shape))
    return found
