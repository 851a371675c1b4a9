"""The style sheet: what it may not ask of a page in which somebody types."""

from __future__ import annotations

import re

from layerwidget.widgets.esm import style_text

#: Asked of a page that says nothing about its theme, which no notebook is.
_OF_PLAIN_PAGES = "#output-area)"


def test_has_looks_at_children_only() -> None:
    """Where it looks at all that is below, a letter that changes there costs the style of every element around it."""
    asked = re.findall(r":has\((.*)", re.sub(r"/\*.*?\*/", "", style_text(), flags=re.DOTALL))
    assert asked
    assert [one for one in asked if not one.startswith(("> ", _OF_PLAIN_PAGES))] == []
