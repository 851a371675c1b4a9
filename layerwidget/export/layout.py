"""The widgets of an explorer's pages as a tree of boxes, views, figures and lines of text."""

from __future__ import annotations

from typing import Any, TypeAlias

import ipywidgets

from layerwidget.errors import ExportError
from layerwidget.widgets.base import Panel
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.page import Page
from layerwidget.widgets.picture import is_seen
from layerwidget.widgets.request_bar import RequestBar
from layerwidget.widgets.status_line import ErrorPanel
from layerwidget.widgets.tab_bar import TabBar

Node: TypeAlias = dict[str, Any]

#: The module that draws figures in a page.
FIGURE_MODULE = "recorded_figure"
#: So much is said of what a control is set to, in letters.
_MOST_LETTERS = 60
#: Without a kernel they have nothing to do.
_OF_THE_KERNEL = (RequestBar, ErrorPanel, TabBar)


class Layout:
    """Names the widgets that stay, so that every recorded prompt can say what each of them shows.

    Attributes:
        panels, figures, labels: name -> widget.
        left_out: what is seen of the pages, but not without a kernel: controls with what they are set to.
    """

    def __init__(self) -> None:
        self.panels: dict[str, Panel] = {}
        self.figures: dict[str, LayerFigure] = {}
        self.labels: dict[str, ipywidgets.Label] = {}
        self.left_out: set[str] = set()
        self._names: dict[ipywidgets.Widget, str] = {}

    def page(self, page: Page) -> Node:
        """What stands behind one tab."""
        parts = {"above": page.above, "below": page.below}
        return {
            "name": page.page_name,
            "title": page.page_title,
            "rail": page.has_rail,
            "beside": self.node(page.beside),
            **{name: [node for node in map(self.node, widgets) if node] for name, widgets in parts.items()},
        }

    def node(self, widget: ipywidgets.Widget) -> Node | None:
        """A widget and what is inside it; None where nothing of it is left without a kernel."""
        if isinstance(widget, LayerFigure):
            return self._named(widget, self.figures, "figure", FIGURE_MODULE)
        if isinstance(widget, _OF_THE_KERNEL):
            return None
        if isinstance(widget, Panel):
            return self._named(widget, self.panels, "view", module_of(widget))
        if isinstance(widget, ipywidgets.Label):
            return self._named(widget, self.labels, "text", "")
        if isinstance(widget, ipywidgets.Box):
            inside = [node for node in map(self.node, widget.children) if node]
            across = isinstance(widget, ipywidgets.HBox)
            return {**_dressed(widget), "kind": "row" if across else "column", "inside": inside} if inside else None
        if is_seen(widget):
            self.left_out.add(_told(widget))
        return None

    def _named(self, widget: ipywidgets.Widget, held: dict[str, Any], kind: str, module: str) -> Node:
        name = self._names.setdefault(widget, f"{kind}{len(self._names)}")
        held[name] = widget
        return {**_dressed(widget), "kind": kind, "name": name, "module": module}


def _told(widget: ipywidgets.Widget) -> str:
    """A widget in a few words: what it is about, and what is chosen or written there."""
    options = getattr(widget, "_options_labels", ())
    name = getattr(widget, "description", "") or " / ".join(options) or type(widget).__name__
    said = getattr(widget, "label", None) if options else getattr(widget, "value", None)
    return name if said is None else f"{name}: {str(said)[:_MOST_LETTERS]}"


def module_of(panel: Panel) -> str:
    """The name of the module that draws a panel.

    Raises:
        ExportError: when it has none.
    """
    if panel.js_module:
        return panel.js_module
    if not str(getattr(panel, "_esm", "")):
        raise ExportError(
            f"{type(panel).__name__} has no JavaScript, so a page cannot draw it. Name its module, as in "
            "`class MyView(View, module=...)`, or leave its page closed."
        )
    return type(panel).__name__


def style_of(widget: ipywidgets.DOMWidget) -> dict[str, str]:
    """The CSS of a widget's layout."""
    layout = widget.layout
    names = (name for name in layout.keys if not name.startswith("_"))
    return {name.replace("_", "-"): getattr(layout, name) for name in names if getattr(layout, name) is not None}


def _dressed(widget: ipywidgets.DOMWidget) -> Node:
    return {"css": style_of(widget), "classes": list(widget._dom_classes)}
