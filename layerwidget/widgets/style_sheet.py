"""One style sheet for all panels: a notebook that is saved holds it once, and a browser reads it once."""

from __future__ import annotations

import sys

import anywidget

from layerwidget.widgets.esm import style_text


class StyleSheet(anywidget.AnyWidget):
    """Puts the style sheet into the page, and is not seen."""

    _esm = "export default { render() {} };"
    _css = style_text()


_in_use: list[StyleSheet] = []


def shared_sheet() -> StyleSheet:
    """What all panels of this kernel share; made with the first of them, so that a browser has it first."""
    if not _in_use or _in_use[0].comm is None:
        _in_use[:] = [StyleSheet()]
    return _in_use[0]


def sheets_are_shared() -> bool:
    """Whether widgets of this front end see each other: in marimo each is alone, and brings a sheet of its own."""
    if "marimo" not in sys.modules:
        return True
    import marimo

    return not marimo.running_in_notebook()
