"""A grid whose rows are the layers in view, last one on top: layer numbers on the left, a label below each column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerwidget.figures.svg import Attributes, Markup, Picture, joined, rect, text
from layerwidget.figures.themes import Theme
from layerwidget.figures.words import fitted, wrapped

_NUMBERS = 30
_LABELS = 22
# As `js/layer_grid.js` and `js/rows.js` have them.
_WIDTHS = (544, 272, 204, 136, 102, 84, 68, 60, 52, 46, 40, 36)
_HEIGHT, _LOWEST, _HIGHEST = 420, 14, 42


@dataclass(frozen=True)
class Box:
    """Where a cell is, in px, with the gap to its neighbours."""

    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        """Where its word stands."""
        return self.left + (self.width - 1) / 2, self.top + self.height / 2

    def filled(self, fill: str, said: Attributes, *, seamless: bool = False) -> Markup:
        """The cell in a colour; `seamless` leaves no gap below."""
        gap = 1 if self.height > 16 else 0
        # A hair more than the cell: no seam where two of one colour meet.
        height = self.height + (0.4 if seamless else -gap)
        return rect(self.left, self.top, self.width - 1, height, fill=fill, **said)


@dataclass(frozen=True)
class Columns:
    """Which columns of a grid are drawn.

    Attributes:
        first, stop: the first one, and one more than the last.
        count: how many there are.
        width: of each, in px.
    """

    first: int
    stop: int
    count: int
    width: float

    @classmethod
    def fitting(cls, count: int, chosen: int, room: float, widths: Sequence[float] = _WIDTHS) -> Columns:
        """All of them where the narrowest fit, else those around the chosen one."""
        width = next((width for width in widths if width * count <= room), widths[-1])
        fits = max(1, min(count, int(room // width)))
        first = min(max(0, chosen - fits // 2), count - fits)
        return cls(first, first + fits, count, width)

    @property
    def cut(self) -> str:
        """What is not drawn, in words; empty where all is."""
        n_cut = self.count - (self.stop - self.first)
        return f"columns {self.first} to {self.stop - 1} of {self.count} drawn, {n_cut} cut" if n_cut else ""


def row_height(count: int) -> float:
    """Height of one of `count` rows, in px."""
    return min(_HIGHEST, max(_LOWEST, _HEIGHT / max(1, count)))


def grid_columns(count: int, chosen: int, width: float) -> Columns:
    """Which columns of a grid fit into a width that includes its layer numbers."""
    return Columns.fitting(count, chosen, width - _NUMBERS)


def grid_picture(
    rows: Sequence[int],
    labels: Sequence[str],
    columns: Columns,
    here: tuple[int, int],
    paint: Callable[[int, int, Box], Sequence[Markup]],
    theme: Theme,
) -> Picture:
    """The grid.

    Args:
        rows: the layers, the last one first.
        labels: what stands below each of all columns.
        columns: which of them are drawn.
        here: the chosen layer and column, which is outlined.
        paint: draws the cell of a layer and a column.
        theme: colours and fonts.
    """
    height = row_height(len(rows))
    parts: list[Markup] = []
    for row, layer in enumerate(rows):
        top, bottom = round(row * height), round((row + 1) * height)
        colour = theme.accent if layer == here[0] else theme.muted
        parts.append(text(_NUMBERS - 6, (top + bottom) / 2, str(layer), size=11, text_anchor="end", fill=colour))
        for column in range(columns.first, columns.stop):
            left = _NUMBERS + (column - columns.first) * columns.width
            parts += paint(layer, column, Box(left, top, columns.width, bottom - top))
    foot = round(len(rows) * height)
    parts += _labels(labels, columns, here[1], foot, theme)
    if here[0] in rows and columns.first <= here[1] < columns.stop:
        row, left = list(rows).index(here[0]), _NUMBERS + (here[1] - columns.first) * columns.width
        top, bottom = round(row * height), round((row + 1) * height)
        parts.append(
            rect(left, top + 0.5, columns.width - 1, bottom - top - 1.5, fill="none", stroke=theme.accent,
                 stroke_width=2, class_="lw-here")
        )  # fmt: skip
    return Picture(_NUMBERS + (columns.stop - columns.first) * columns.width + 2, foot + _LABELS, joined(parts))


def _labels(labels: Sequence[str], columns: Columns, chosen: int, foot: float, theme: Theme) -> list[Markup]:
    return [
        text(
            _NUMBERS + (column - columns.first + 0.5) * columns.width, foot + _LABELS / 2 + 1,
            fitted(labels[column], columns.width - 3, 11, "mono"), size=11, text_anchor="middle",
            font_family=theme.mono, fill=theme.accent if column == chosen else theme.muted,
        )
        for column in range(columns.first, columns.stop)
    ]  # fmt: skip


def cell_size(columns: Columns, n_rows: int) -> float:
    """The size of the letters in a cell."""
    return max(9.0, min(11.0 if columns.width < 50 else 12.0, row_height(n_rows) - 3))


def placeholder(words: str, width: float, height: float, theme: Theme) -> Picture:
    """What stands in place of a picture while there is nothing to show."""
    frame = rect(0.5, 0.5, width - 1, height - 1, fill="none", stroke=theme.edge, stroke_dasharray="4 4", rx=6)
    lines = wrapped(words or "Nothing is drawn yet.", width - 48, 12)
    start = height / 2 - 9 * (len(lines) - 1)
    said = [
        text(width / 2, start + 18 * place, words, size=12, text_anchor="middle", fill=theme.muted)
        for place, words in enumerate(lines)
    ]
    return Picture(width, height, joined([frame, *said]))
