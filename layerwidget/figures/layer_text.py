"""Curves over the layers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from layerwidget.figures.curves import Curves
from layerwidget.figures.number_words import tick_text
from layerwidget.figures.tables import said, table


def curve_text(curves: Curves | None, title: str, axis: str, in_view: Sequence[int], empty: str = "") -> str:
    """A row per layer in view, the last one on top, and a column per curve."""
    if curves is None:
        return said(title, empty)
    rows = [row for layer, row in zip(curves.layers, curve_rows(curves), strict=True) if layer in in_view]
    heading = " · ".join(part for part in (title, curves.detail, axis) if part)
    return said(heading, table(["layer", *curve_columns(curves, axis)], rows[::-1], widest=28))


def curve_columns(curves: Curves, axis: str) -> list[str]:
    """A name for each curve; one without a name of its own is called what the y axis is."""
    return [name or axis for name in curves.names]


def curve_rows(curves: Curves) -> list[list[str]]:
    """The layer and its value in each curve, a row per layer, in the order of the layers."""
    return [
        [str(layer), *(tick_text(value, ".4~g") if isfinite(value) else "–" for value in values)]
        for layer, values in zip(curves.layers, curves.values.T.tolist(), strict=True)
    ]
