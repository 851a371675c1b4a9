"""Words below the columns of a picture with axes, and the unit beside its axis; `js/column_words.js` has the same."""

from __future__ import annotations

from layerwidget.figures.svg import Markup, group, text
from layerwidget.figures.themes import Theme
from layerwidget.figures.words import fitted

_UPRIGHT = 52
#: Columns that are narrower have no room for a word, not even for one that stands on end.
NARROWEST_WORD = 12
UPRIGHT_HEIGHT = 20


def on_end(column: float) -> bool:
    """Whether words below columns so wide stand on end."""
    return column < _UPRIGHT


def column_word(word: str, x: float, foot: float, column: float, room: float, colour: str, theme: Theme) -> Markup:
    """One word below the middle of a column, on end where that is narrow and `room` px are below."""
    ends = on_end(column)
    said = fitted(word, room if ends else column - 3, 10, "mono")
    anchor = "end" if ends else "middle"
    label = text(0, 0, said, size=10, font_family=theme.mono, fill=colour, text_anchor=anchor)
    turn = " rotate(-90)" if ends else ""
    return group([label], transform=f"translate({x:.1f} {foot + (4 if ends else 10):.6g}){turn}")


def unit_label(unit: str, y: float, theme: Theme) -> Markup:
    """What the numbers beside an axis count, at the left edge."""
    label = text(0, 0, unit, size=11, text_anchor="middle", fill=theme.muted)
    return group([label], transform=f"translate(8 {y:.6g}) rotate(-90)")
