"""The style sheet: what it may not ask of a page in which somebody types."""

from __future__ import annotations

import re

from layerwidget.widgets.esm import source_text, style_text
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


def test_a_tab_is_as_wide_as_its_name_in_the_weight_that_it_has_when_open() -> None:
    open_weight = re.search(r"\.lw-open \.lw-tab \{[^}]*font-weight: (\d+)", style_text())
    kept = re.search(r"\.lw-tab::after \{ content: attr\(([\w-]+)\); font-weight: (\d+)", style_text())
    assert open_weight is not None
    assert kept is not None
    assert kept[2] == open_weight[1]
    assert f'"{kept[1]}": title' in source_text("tab_bar")
