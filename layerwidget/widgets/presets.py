"""Presets: how an explorer is drawn, for exploring, for a talk, or for a picture in a paper."""

from __future__ import annotations

import ipywidgets

from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.parts import parts_of

#: The first one is that of a new explorer. What they look like is in `js/style.css`.
PRESETS = ("explore", "talk", "paper")
#: How much larger everything is where there are 1920 px; `js/style.css` says so, too, and how much in less.
SCALES = {"explore": 1.0, "talk": 1.6, "paper": 1.0}


def wear(page: ipywidgets.Widget, preset: str) -> None:
    """Draw the figures of a page as a preset says: they measure themselves, so that a style sheet does not do."""
    for part in parts_of(page):
        if isinstance(part, LayerFigure):
            part.scale = SCALES[preset]
