"""What a widget is made of."""

from __future__ import annotations

import ipywidgets

from layerwidget.widgets.style_sheet import StyleSheet


def parts_of(widget: ipywidgets.Widget) -> set[ipywidgets.Widget]:
    """A widget and every widget that it refers to, layouts and scales too; not the style sheet, which others share."""
    found: set[ipywidgets.Widget] = set()
    waiting = [widget]
    while waiting:
        one = waiting.pop()
        if one in found or isinstance(one, StyleSheet):
            continue
        found.add(one)
        for name in one.keys:
            value = getattr(one, name)
            values = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            waiting += [other for other in values if isinstance(other, ipywidgets.Widget)]
    return found
