"""A grid of numbers on paper: their colours, the numbers where they fit, and the scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, log
from typing import Any

from layerwidget.figures.heading import TEXT_SIZE, colour_scale, hatched, heading
from layerwidget.figures.layer_grid import Box, Columns, cell_size, grid_columns, grid_picture, placeholder
from layerwidget.figures.number_words import exact_value, layers_title, short_value
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Attributes, Markup, Picture, above, text
from layerwidget.figures.tables import columns_around, cut_words, said, table
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import fitted, text_width


@dataclass(frozen=True, eq=False)
class Heat:
    """What a heat grid shows.

    Attributes:
        shown: sheets and columns as the browser has them.
        place: where the reader is.
        sheet: the name of the sheet that is drawn.
        column: the view's own choice of a column.
        title, detail: what the title line says.
    """

    shown: Shown
    place: Place
    sheet: str
    column: int
    title: str
    detail: str

    @cached_property
    def which(self) -> int:
        """The place of the sheet that is drawn."""
        names = [sheet["name"] for sheet in self.shown.meta["sheets"]]
        return names.index(self.sheet) if self.sheet in names else 0

    @property
    def drawn(self) -> Mapping[str, Any]:
        """The sheet that is drawn."""
        sheet: Mapping[str, Any] = self.shown.meta["sheets"][self.which]
        return sheet

    @property
    def rows(self) -> tuple[int, ...]:
        """Layers in view, the last one first."""
        return self.place.in_view(self.shown.layers)[::-1]

    @property
    def here(self) -> tuple[int, int]:
        """The chosen layer and column."""
        columns = self.shown.meta["columns"]
        chosen = {"position": self.place.position, "head": self.place.head, "column": self.column}[columns["picks"]]
        numbers = columns["numbers"]
        return self.place.row(self.shown.layers), numbers.index(chosen) if chosen in numbers else len(numbers) - 1

    def value(self, layer: int, column: int) -> float:
        """The number of a cell; NaN where there is none."""
        return float(self.shown.arrays["values"][self.which, self.shown.layers.index(layer), column])

    def words(self, key: str, layer: int, column: int) -> str | None:
        """What a cell (`words`), or the line below (`in_full`), says in place of the number; None for the number."""
        if key not in self.drawn:
            return None
        at = self.shown.arrays[f"{key}{self.which}"][self.shown.layers.index(layer), column]
        return str(self.drawn[key][int(at)])

    def cell(self, layer: int, column: int) -> str:
        """What a cell says: words, else its number in a few letters."""
        value, own = self.value(layer, column), self.words("words", layer, column)
        if own is not None:
            return own
        return short_value(value, self.drawn["digits"]) if isfinite(value) else "–"


def heat_share(value: float, kind: str, low: float, high: float) -> float:
    """Where a value lies on its scale: 0 to 1 from the ground, below 0 where it is coloured as a negative one."""
    if kind != "log":
        return value / high
    if value <= 0:
        return 0.0
    return log(value / low) / log(high / low) if high > low else 1.0


def heat_fill(value: float, sheet: Mapping[str, Any], theme: Theme) -> tuple[str, str]:
    """Fill and ink of a value."""
    share = heat_share(value, sheet["kind"], *sheet["limits"])
    if sheet["kind"] != "signed":
        return ramp(theme).at(share)
    return ramp(theme, "below" if share < 0 else "above").at(abs(share))


def heat_colours(kind: str, theme: Theme) -> list[str]:
    """The colours of a sheet from its low to its high end."""
    if kind != "signed":
        return [ramp(theme).fills[place] for place in range(0, 256, 15)]
    sides = ramp(theme, "below").fills[255:0:-32], ramp(theme, "above").fills[0:256:32]
    return [*sides[0], *sides[1]]


def heat_legend(sheet: Mapping[str, Any], theme: Theme) -> Picture:
    """The scale with both ends and the unit; a limit that some values pass says so."""
    (low, high), (under, over) = sheet["limits"], sheet["clipped"]
    first = "0" if sheet["kind"] == "one-sided" else short_value(low, 3)
    last = f"{short_value(high, 3)} {sheet['unit']}".rstrip()
    return colour_scale(
        ("≤" if under else "") + first, ("≥" if over else "") + last, heat_colours(sheet["kind"], theme), theme,
        absent=sheet["absent"],
    )  # fmt: skip


def heat_picture(heat: Heat, empty: str, width: float, theme: Theme) -> Picture:
    """Title line, grid, and the chosen cell in words."""
    if not heat.shown.layers:
        return above([heading(heat.title, "", width, theme), placeholder(empty, width, 160, theme)])
    if nothing := heat.drawn.get("empty"):
        title = heading(heat.title, _detail(heat, ""), width, theme)
        return above([title, placeholder(nothing, width, 160, theme)])
    labels = heat.shown.meta["columns"]["labels"]
    columns = grid_columns(len(labels), heat.here[1], width)
    grid = grid_picture(heat.rows, labels, columns, heat.here, _painter(heat, columns, theme), theme)
    legend, whole = heat_legend(heat.drawn, theme), max(grid.width, min(width, 460))
    readout = fitted(heat_words(heat), whole, TEXT_SIZE)
    return above([
        heading(heat.title, _detail(heat, columns.cut), whole, theme, legend), grid,
        Picture(whole, 20, text(0, 10, readout, size=TEXT_SIZE, fill=theme.muted)),
    ])  # fmt: skip


def heat_words(heat: Heat) -> str:
    """What is said of the chosen cell: where it is, and its value in full."""
    layer, column = heat.here
    columns, sheet = heat.shown.meta["columns"], heat.drawn
    label, number = columns["labels"][column], columns["numbers"][column]
    where = {"position": f"“{label}” (position {number})", "head": f"head {number}"}.get(columns["picks"], label)
    where = columns["names"][column] if columns["names"] else where
    value = heat.value(layer, column)
    amount = f"{exact_value(value)} {sheet['unit']}".rstrip() if isfinite(value) else "no value"
    full, own = heat.words("in_full", layer, column), heat.words("words", layer, column)
    said = own if full is None else full
    # As the browser says it: where nothing differs, the word alone.
    amount = said if said and full is not None and value == 0 else f"{said or ''} {amount}".strip()
    return f"layer {layer} · {where} · {sheet['name']}: {amount}"


def _detail(heat: Heat, cut: str) -> str:
    sheet, sheets = heat.drawn, heat.shown.meta["sheets"]
    name = sheet["name"] if len(sheets) > 1 else ""
    parts = [name, sheet["detail"], heat.detail, layers_title(heat.rows[::-1]), "last layer on top", cut]
    return " · ".join(part for part in parts if part)


def _painter(heat: Heat, columns: Columns, theme: Theme) -> Callable[[int, int, Box], Sequence[Markup]]:
    size, sheet = cell_size(Columns(0, 1, 1, 0), len(heat.rows)), heat.drawn

    def paint(layer: int, column: int, box: Box) -> Sequence[Markup]:
        value = heat.value(layer, column)
        if not isfinite(value):
            return [hatched(box.left, box.top, box.width - 1, box.height - 1, theme)]
        fill, ink = heat_fill(value, sheet, theme)
        said: Attributes = {
            "class_": "lw-cell",
            "data_layer": layer,
            "data_column": column,
            "data_value": f"{value:.7g}",
        }
        words = heat.cell(layer, column)
        if "words" in sheet:
            words = fitted(words, box.width - 3, size)
        # A number that is cut would be another number.
        if text_width(words, size) > box.width - 2:
            return [box.filled(fill, said)]
        x, y = box.middle
        return [box.filled(fill, said), text(x, y, words, size=size, text_anchor="middle", fill=ink)]

    return paint


def heat_text(heat: Heat, empty: str) -> str:
    """The same as a table: layers by columns."""
    if not heat.shown.layers:
        return said(heat.title, empty)
    labels, sheet = heat.shown.meta["columns"]["labels"], heat.drawn
    shown = columns_around(len(labels), heat.here[1])
    rows = [[str(layer), *(heat.cell(layer, column) for column in shown)] for layer in heat.rows]
    return said(
        f"{heat.title} · {_detail(heat, '')}{f' · in {unit}' if (unit := sheet['unit']) else ''}",
        table(["layer", *(labels[column] for column in shown)], rows),
        cut_words(shown, len(labels)),
        heat_words(heat),
    )
