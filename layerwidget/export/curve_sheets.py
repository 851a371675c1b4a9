"""Figures over layers for a page: lines as numbers in axes that are drawn here, anything else as a whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from layerwidget.figures.curve_figure import curve_svg
from layerwidget.figures.curves import Curves
from layerwidget.layers import parse_layers
from layerwidget.widgets.layer_figure import LayerFigure

#: Of the area that the figure takes in the page, px; a narrow one says so in its layout.
_WIDTH, _HEIGHT = 430, 270
_ABSENT = "Not computed when this was recorded."
_OTHER_PROMPT = "Not computed for this prompt when it was recorded."

Traits = dict[str, Any]
Arrays = dict[str, np.ndarray]


def recorded_figure(figure: LayerFigure, prompt: str, n_pos: int) -> tuple[Traits, Arrays]:
    """What `js/recorded_figure.js` draws of a figure: of each quantity, and of each position where they follow it.

    Args:
        figure: what is drawn; nothing of it moves.
        prompt: the text that is recorded; a figure that is about another one is left blank.
        n_pos: its length in tokens.

    Returns:
        Its traits, and arrays beside them: the lines of a quantity as `values <quantity>`, float32 of shape
        [curve, layer, pos], and what it says of words that a reader may pin.
    """
    about = figure.driver.prompt
    is_there = about is None or about == prompt
    frames: dict[str, int] = {}
    arrays: Arrays = {}
    sheets: dict[str, list[Traits]] = {}
    for name in figure.quantities if is_there else ():
        drawn = _drawn(figure, name, n_pos)
        if drawn and _only_lines(drawn):
            values = np.stack([curves.values for curves in drawn], axis=-1)
            arrays[f"values {name}"] = np.ascontiguousarray(values, np.float32)
            sheets[name] = [_lines(figure, one, name, frames) for one in drawn]
        else:
            sheets[name] = [{"svg": _svg(figure, one, name), "detail": one.detail} for one in drawn]
    words, more = figure.recorded_words() if is_there else ({}, {})
    traits = {
        "title": figure.driver.title,
        "quantity": figure.quantity,
        "quantities": [[name, quantity.label, quantity.tooltip] for name, quantity in figure.quantities.items()],
        "axes": {name: quantity.axis for name, quantity in figure.quantities.items()},
        "sheets": sheets,
        "frames": list(frames),
        "words": words,
        "blank": _ABSENT if is_there else _OTHER_PROMPT,
    }
    return traits, arrays | more


def _drawn(figure: LayerFigure, quantity: str, n_pos: int) -> list[Curves]:
    """What is drawn of a quantity, without pinned words: those are for the reader to choose."""
    positions = range(n_pos) if "position" in figure.follows else (figure.driver.position,)
    found = (figure.curves_at(quantity, position, tokens=()) for position in positions)
    return [curves for curves in found if curves is not None]


def _only_lines(drawn: Sequence[Curves]) -> bool:
    first = drawn[0]
    return all(
        curves.marks == "lines" and not curves.overlays and curves.layers == first.layers
        and curves.values.shape == first.values.shape
        for curves in drawn
    )  # fmt: skip


def _lines(figure: LayerFigure, curves: Curves, quantity: str, frames: dict[str, int]) -> Traits:
    """Which axes are around the lines, and what is said of them."""
    nameless = replace(curves, values=np.full_like(curves.values, np.nan), names=[""] * len(curves.names))
    frame = frames.setdefault(_svg(figure, nameless, quantity), len(frames))
    return {
        "frame": frame, "layers": list(curves.layers), "names": list(curves.names), "colours": list(curves.colours),
        "detail": curves.detail,
    }  # fmt: skip


def _svg(figure: LayerFigure, curves: Curves, quantity: str) -> str:
    """Without a title: the page has one above the buttons."""
    width, height = _size(figure)
    return curve_svg(
        replace(curves, detail=""), n_layers=figure.n_layers, title="", margin=0, theme="host",
        axis=figure.quantities[quantity].axis if figure.labelled else "",
        layers_in_view=parse_layers(figure.driver.layers, figure.n_layers), layer=figure.driver.layer,
        width=width, height=height,
    )  # fmt: skip


def _size(figure: LayerFigure) -> tuple[float, float]:
    """Width and height of its place in the page, px: what is drawn for another place would change its type there."""
    if figure.scale > 1:
        return figure.talk_size
    given = figure.layout.width or ""
    return (float(given.removesuffix("px")) if given.endswith("px") else _WIDTH), _HEIGHT
