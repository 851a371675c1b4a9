"""Boxes of views, and what marimo shows of them: it draws canvases but neither ipywidgets' boxes nor bqplot."""

from __future__ import annotations

import html
from typing import Any, ClassVar

import anywidget
import ipywidgets
import traitlets as t

from layerwidget.widgets.picture import Pictured, is_seen
from layerwidget.widgets.tab_bar import TabBar
from layerwidget.widgets.traits import SHARED

_STILL = "A picture of when this cell ran: marimo cannot draw these curves alive. Run the cell again for a new one."


class PicturedBox(Pictured, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A box that can be saved as a picture.

    Attributes:
        is_figure: whether bqplot draws it.
    """

    is_figure: ClassVar[bool] = False

    @t.default("keys")
    def _sent(self) -> list[str]:
        # What is chosen is drawn by the views in it: of the box itself, no browser asks it.
        return [name for name in self.traits(sync=True) if name not in (*SHARED, "group")]

    def _display_(self) -> Any:
        """What marimo shows, which alone asks for it: canvases alive, and pictures of what bqplot draws."""
        import marimo

        self._settle()
        shown = _shown(self)
        return marimo.vstack([] if shown is None else [shown])


def _shown(widget: Any) -> Any:
    """A widget as marimo can draw it; None where it cannot, or nothing is to be seen."""
    import marimo

    # A tab would open boxes, of which marimo would not hear.
    if not is_seen(widget) or isinstance(widget, TabBar):
        return None
    if isinstance(widget, PicturedBox) and widget.is_figure:
        return _still(widget)
    if isinstance(widget, anywidget.AnyWidget):
        return marimo.ui.anywidget(widget)
    if isinstance(widget, ipywidgets.Label):
        return _words(widget.value) if widget.value else None
    return _box(widget) if isinstance(widget, ipywidgets.Box) else None


def _box(box: Any) -> Any:
    import marimo

    parts = [part for part in map(_shown, box.children) if part is not None]
    if not parts:
        return None
    if isinstance(box, ipywidgets.HBox):
        return marimo.hstack(parts, align="start", justify="start", wrap=True)
    return marimo.vstack(parts)


def _still(figure: PicturedBox) -> Any:
    import marimo

    theme = "dark" if marimo.app_meta().theme == "dark" else "paper"
    width = int(figure.kept_width or figure.picture_width)
    image = marimo.image(figure.to_png(theme=theme, width=width), alt=figure.to_text(), width=width)
    return marimo.vstack([image, _words(_STILL, f"max-width: {width}px; font-size: 12px; opacity: 0.8")])


def _words(text: str, style: str = "") -> Any:
    import marimo

    return marimo.Html(f'<div style="{style}">{html.escape(text)}</div>')
