"""The style sheet: what it may not ask of a page in which somebody types."""

from __future__ import annotations

import re

from layerwidget.widgets.esm import style_text
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.pages import PAGES

#: Asked of a page that says nothing about its theme, which no notebook is.
_OF_PLAIN_PAGES = "#output-area)"


def test_has_looks_at_children_only() -> None:
    """Where it looks at all that is below, a letter that changes there costs the style of every element around it."""
    asked = re.findall(r":has\((.*)", re.sub(r"/\*.*?\*/", "", style_text(), flags=re.DOTALL))
    assert asked
    assert [one for one in asked if not one.startswith(("> ", _OF_PLAIN_PAGES))] == []


def test_figures_of_a_talk_are_recorded_as_high_as_the_style_sheet_has_them() -> None:
    given = dict(re.findall(r"\.lw-only-(\w+) \{ --lw-figure: (\d+)px; \}", style_text()))
    drawn = {}
    for kind in PAGES:
        page = kind.for_file()
        heights = {part.talk_size[1] for part in vars(page).values() if isinstance(part, LayerFigure)}
        assert len(heights) <= 1, kind
        if heights:
            drawn[kind.page_name] = str(heights.pop())
    assert drawn == given
