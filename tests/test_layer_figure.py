"""Figures over layers: scales, gaps, bars, and what a view of them has to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import traitlets

from layerwidget.figures.curves import BELOW_COLOUR, DATA_COLOUR, Curves, Quantity, Scale
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.parts import parts_of

N_LAYERS = 4
VALUES = np.array([[[1, -2, 0, 3], [0, 0, 1, 5]], [[-1, 2, 4, -8], [2, 3, 4, 5]]], np.float32)


class TwoCurves(LayerFigure):
    """Values of shape [position, curve, layer]."""

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "sum": Quantity("sum", "logits", "as it is"),
        "parts": Quantity("parts", "logits", "as bars"),
        "first": Quantity("first", "logits", "the first alone, as bars"),
    }

    def __init__(self, layers: tuple[int, ...] = (0, 1, 2, 3), **traits: Any) -> None:
        super().__init__(title="Two curves", **traits)
        self.held = layers

    def show(self, values: np.ndarray | None, prompt: str | None = None, n_layers: int = N_LAYERS) -> None:
        self.values = values
        self._renew(None if values is None else n_layers, prompt)

    def _curves(self) -> Curves | None:
        if self.values is None:
            return None
        values = self.values[self.driver.position][: 1 if self.quantity == "first" else 2]
        names, colours = ["one", "two"][: len(values)], [DATA_COLOUR, "#009e73"][: len(values)]
        marks = "lines" if self.quantity == "sum" else "stacked"
        scale = Scale.fitting(values) if self.quantity == "sum" else Scale.stacking(values)
        return Curves(self.held, values, names, colours, scale, "in logits", marks)  # type: ignore[arg-type]


def test_a_figure_follows_position_quantity_and_layers() -> None:
    figure = TwoCurves(layer=2)
    figure.show(VALUES, "text")
    np.testing.assert_array_equal(figure.lines.y, VALUES[0])
    figure.driver.position = 1
    np.testing.assert_array_equal(figure.lines.y, VALUES[1])
    assert (figure.driver.title, figure.driver.detail, figure.driver.prompt) == ("Two curves", "in logits", "text")
    assert [label.value for label in figure._names if label.value] == ["● one", "● two"]
    assert (figure._up.label, figure.bars) == ("logits", None)
    figure.driver.layers = "1-2"
    np.testing.assert_array_equal(figure._band.y, [0, 0, 1, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(figure._cursor.x, [2, 2])
    figure.show(None)
    assert not any(mark.visible for mark in (figure.lines, figure._band, figure._cursor, figure._zero))
    assert not any(label.value for label in figure._names)


def test_its_table_is_sent_once_a_browser_asks_for_it() -> None:
    figure = TwoCurves()
    figure.show(VALUES, "text")
    assert figure.driver.table == {}
    figure.driver.told = True
    table = figure.driver.table
    assert table["columns"] == ["one", "two"]
    assert [row[0] for row in table["rows"]] == ["3", "2", "1", "0"]
    told = [[float(cell.replace("−", "-")) for cell in row[1:]] for row in table["rows"][::-1]]
    np.testing.assert_allclose(told, VALUES[0].T, rtol=1e-3)
    assert table["heights"] == VALUES[0].T[::-1].tolist()
    figure.driver.position = 1
    assert figure.driver.table != table
    figure.show(None)
    assert figure.driver.table == {}


def test_a_browser_knows_where_a_ring_stands_around_a_value() -> None:
    figure = TwoCurves()
    figure.show(np.where(VALUES == 2, np.nan, VALUES))
    figure.driver.told, figure.driver.position = True, 1
    assert figure.driver.drawn
    # Last layer on top; where there is no value is no ring.
    assert figure.driver.table["heights"] == [[-8, 5], [4, 4], [None, 3], [-1, None]]
    figure.quantity = "parts"
    # What stands on another ends higher, and what is below zero hangs from zero.
    assert figure.driver.table["heights"] == [[-8, 5], [4, 8], [None, 3], [-1, None]]
    assert figure._point.scales["y"] is figure.bars.scales["y"]  # type: ignore[union-attr]
    assert figure.figure.marks[-1] is figure._point
    figure.show(None)
    assert not figure.driver.drawn


def test_signed_values_stand_around_a_zero_line() -> None:
    figure = TwoCurves()
    figure.show(VALUES)
    assert (figure._linear.min, figure._linear.max) == (-5.25, 5.25)
    assert figure._zero.visible
    np.testing.assert_array_equal(figure._zero.x, [-0.5, 3.5])
    figure.show(np.abs(VALUES))
    assert (figure._linear.min, figure._linear.max, figure._zero.visible) == (0.0, 5.25, False)


def test_what_is_absent_is_a_gap() -> None:
    values = VALUES.copy()
    values[0, 0, 2] = np.nan
    figure = TwoCurves()
    figure.show(values)
    np.testing.assert_array_equal(np.isnan(figure.lines.y), np.isnan(values[0]))
    assert figure.dots is not None
    assert (figure.lines.marker, figure.dots.visible) == (None, True)
    np.testing.assert_array_equal(figure.dots.x, [0, 1, 3, 0, 1, 2, 3])
    np.testing.assert_array_equal(figure.dots.y, [1, -2, 3, 0, 0, 1, 5])
    assert figure.dots.colors == [DATA_COLOUR] * 3 + ["#009e73"] * 4
    figure.driver.position = 1
    assert (figure.lines.marker, figure.dots.visible) == ("circle", False)
    figure.show(np.full_like(VALUES, np.nan))
    assert len(figure.dots.x) == 0
    assert (figure._linear.min, figure._linear.max) == (0, 1)


def test_bars_are_drawn_and_made_once() -> None:
    figure = TwoCurves(quantity="parts")
    figure.show(VALUES)
    assert figure.bars is not None
    assert (figure.bars.visible, figure.lines.visible, figure.bars.type) == (True, False, "stacked")
    np.testing.assert_array_equal(figure.bars.y, VALUES[0])
    before = parts_of(figure)
    figure.quantity, figure.driver.position = "first", 1
    np.testing.assert_array_equal(figure.bars.y, VALUES[1, :1])
    assert figure.bars.colors == [BELOW_COLOUR, DATA_COLOUR, DATA_COLOUR, BELOW_COLOUR]
    figure.quantity = "sum"
    assert (figure.bars.visible, figure.lines.visible) == (False, True)
    assert parts_of(figure) == before
    figure.close()
    assert all(widget.comm is None for widget in before)


def test_bars_of_some_layers_stand_at_their_layers() -> None:
    figure = TwoCurves((1, 4), quantity="parts")
    figure.show(VALUES[..., 1:3], n_layers=6)
    assert figure.bars is not None
    np.testing.assert_array_equal(figure.bars.x, np.arange(6))
    np.testing.assert_array_equal(figure.bars.y, [[0, -2, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0]])


def test_a_single_layer_is_two_equal_points() -> None:
    figure = TwoCurves((0,))
    figure.show(VALUES[..., 1:2], n_layers=1)
    np.testing.assert_array_equal(figure.lines.x, [0, 0])
    np.testing.assert_array_equal(figure.lines.y, [[-2, -2], [0, 0]])
    figure.quantity = "parts"
    assert figure.bars is not None
    np.testing.assert_array_equal(figure.bars.x, [-1, 0, 1])
    np.testing.assert_array_equal(figure.bars.y, [[0, -2, 0], [0, 0, 0]])


def test_scales_fit_what_is_drawn() -> None:
    assert Scale.fitting(np.float32([0, 2])).ticks == (0, 0.5, 1, 1.5, 2)
    assert Scale.fitting(np.float32([-0.3, 0.1])).ticks == (-0.2, 0, 0.2)
    assert Scale.fitting(np.float32([0.5]), at_least=3.0).high == 3.0
    stacked = Scale.stacking(np.float32([[1, -2], [3, np.nan]]))
    assert (stacked.low, stacked.high) == (-4.2, 4.2)


def test_ranks_stand_on_a_reversed_log_scale() -> None:
    scale = Scale.ranks(49152)
    assert (scale.low, scale.high, scale.log, scale.reverse) == (1, 49152, True, True)
    assert scale.ticks == (1, 10, 100, 1000, 10000)


def test_an_unknown_quantity_and_curves_of_another_shape_are_refused() -> None:
    with pytest.raises(traitlets.TraitError, match="one of sum, parts, first; got 'mean'"):
        TwoCurves().quantity = "mean"
    with pytest.raises(ValueError, match=r"\[curve, layer\] = \(2, 4\).* got \(2, 3\)"):
        Curves((0, 1, 2, 3), VALUES[0, :, :3], ["a", "b"], [DATA_COLOUR] * 2, Scale.shares())
    with pytest.raises(ValueError, match="1 colours"):
        Curves((0, 1, 2, 3), VALUES[0], ["a", "b"], [DATA_COLOUR], Scale.shares())
