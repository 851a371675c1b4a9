"""Figures over layers as pictures for a page: one for each quantity, and for each position where they follow it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from layerwidget.figures.curve_figure import curve_svg
from layerwidget.figures.curves import Curves
from layerwidget.layers import parse_layers
from layerwidget.widgets.layer_figure import LayerFigure

#: Of the area that the figure takes in the page, px; a narrow one says so in its layout.
_WIDTH, _HEIGHT = 430, 270
_ABSENT = "Not computed when this was recorded."
_OTHER_PROMPT = "Not computed for this prompt when it was recorded."


def figure_traits(figure: LayerFigure, prompt: str, n_pos: int) -> dict[str, Any]:
    """What `js/recorded_figure.js` draws of a figure.

    Args:
        figure: what is drawn; nothing of it moves.
        prompt: the text that is recorded; a figure that is about another one is left blank.
        n_pos: its length in tokens.
    """
    about = figure.driver.prompt
    is_there = about is None or about == prompt
    positions = range(n_pos) if "position" in figure.follows else (figure.driver.position,)
    sheets = {
        name: [sheet for sheet in (_sheet(figure, name, position) for position in positions) if sheet]
        for name in (figure.quantities if is_there else ())
    }
    return {
        "title": figure.driver.title,
        "quantity": figure.quantity,
        "quantities": [[name, quantity.label, quantity.tooltip] for name, quantity in figure.quantities.items()],
        "sheets": sheets,
        "blank": _ABSENT if is_there else _OTHER_PROMPT,
    }


def _sheet(figure: LayerFigure, quantity: str, position: int) -> dict[str, Any] | None:
    """One picture, and what the title line says of it."""
    curves = figure.curves_at(quantity, position)
    return None if curves is None else {"svg": _svg(figure, curves, quantity), "detail": curves.detail}


def _svg(figure: LayerFigure, curves: Curves, quantity: str) -> str:
    """Without a title: the page has one above the buttons."""
    return curve_svg(
        replace(curves, detail=""), n_layers=figure.n_layers, title="", margin=0, theme="host",
        axis=figure.quantities[quantity].axis if figure.labelled else "",
        layers_in_view=parse_layers(figure.driver.layers, figure.n_layers), layer=figure.driver.layer,
        width=_width(figure), height=_HEIGHT,
    )  # fmt: skip


def _width(figure: LayerFigure) -> float:
    given = figure.layout.width or ""
    return float(given.removesuffix("px")) if given.endswith("px") else _WIDTH
