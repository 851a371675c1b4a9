"""Plain tables: what a view shows, in letters of one width."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from layerwidget.figures.svg import plain

#: More columns than these are cut, and the table says so.
MOST_COLUMNS = 12
# A number as the views write it, or the sign that there is none.
_NUMBER = re.compile(r"[-−]?\d*\.?\d*(e-?\d+)?[kMGT]?|–")


def columns_around(count: int, chosen: int, most: int = MOST_COLUMNS) -> range:
    """As many columns as fit into a table, the chosen one among them."""
    first = min(max(0, chosen - most // 2), max(0, count - most))
    return range(first, min(count, first + most))


def cut_words(shown: range, count: int) -> str:
    """What is not in the table; empty where all is."""
    return "" if len(shown) == count else f"Columns {shown[0]} to {shown[-1]} of {count}; the others are cut."


def table(head: Sequence[str], rows: Sequence[Sequence[str]], widest: int = 18) -> str:
    """Rows under a head, columns aligned: the first on its right, numbers too, others on the left.

    Args:
        head: the titles of the columns.
        rows: as many cells each.
        widest: of a cell, in letters; longer ones are cut with an ellipsis.
    """
    cells = [[_short(plain(cell), widest) for cell in row] for row in (head, *rows)]
    widths = [max(_width(cell) for cell in column) for column in zip(*cells, strict=True)]
    numeric = [place == 0 or all(_is_number(row[place]) for row in cells[1:]) for place in range(len(head))]
    return "\n".join(
        "  ".join(_padded(cell, width, right) for cell, width, right in zip(row, widths, numeric, strict=True)).rstrip()
        for row in cells
    )


def said(*lines: str) -> str:
    """Lines under each other; empty ones are left out."""
    return "\n".join(plain(line) for line in lines if line)


def _is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip()) is not None


def _short(cell: str, widest: int) -> str:
    if _width(cell) <= widest:
        return cell
    while _width(cell) > widest - 1:
        cell = cell[:-1]
    return cell + "…"


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def _padded(cell: str, width: int, right: bool) -> str:
    room = " " * (width - _width(cell))
    return room + cell if right else cell + room
