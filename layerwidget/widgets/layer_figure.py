"""A figure over layers: what every curve or bar whose x axis is the layer has in common."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import Any, ClassVar

import bqplot
import ipywidgets
import numpy as np
import traitlets as t

from layerwidget.figures.curve_figure import curve_picture
from layerwidget.figures.curves import (
    BELOW_COLOUR,
    DATA_COLOUR,
    HERE_COLOUR,
    LINE_COLOUR,
    Curves,
    Quantity,
    Scale,
    layer_ticks,
)
from layerwidget.figures.heading import heading
from layerwidget.figures.layer_grid import placeholder
from layerwidget.figures.layer_text import curve_columns, curve_rows, curve_text
from layerwidget.figures.svg import Picture, above
from layerwidget.figures.themes import Theme
from layerwidget.layers import parse_layers
from layerwidget.results import FloatArray
from layerwidget.widgets.curve_driver import CurveDriver
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.pictured_box import PicturedBox
from layerwidget.widgets.taking_along import follow_later, is_taking_along
from layerwidget.widgets.traits import MAX_PINNED

#: How wide its picture becomes, in px.
_WIDEST = 640


class LayerFigure(PicturedBox):
    """A figure whose x axis is the layer; the layers in view are shaded, the chosen layer is marked.

    A view of it says what `quantities` there are and which choices it `follows`, and answers `_curves`; when a new
    result is there, it calls `_renew`.

    Attributes:
        quantity: which of the quantities is drawn.
        scale: how much larger its type and its lines are; `js/style.css` gives it the room.
        driver: carries the shared selection traits (`layers`, `layer`, `position`, `tokens`, `group`) and the `title`.
        lines: the bqplot lines; read their `x` and `y`.
        bars, dots: the bqplot bars, and the dots of lines with gaps, where some were drawn, else None.
    """

    #: Name -> quantity, in the order of the buttons; one alone has no button.
    quantities: ClassVar[Mapping[str, Quantity]] = {}
    #: The traits of `driver` on which `_curves` depends.
    follows: ClassVar[tuple[str, ...]] = ("position",)
    #: How many curves the legend has room for.
    max_names: ClassVar[int] = MAX_PINNED
    #: Whether the y axis is labelled; else the title line says what it shows.
    labelled: ClassVar[bool] = True

    is_figure: ClassVar[bool] = True
    #: What stands in the place of its picture on paper while nothing is drawn.
    nothing_drawn: ClassVar[str] = "Nothing is drawn yet."
    picture_width: ClassVar[float] = 520
    kept_width: ClassVar[float | None] = 440
    #: Its place in an exported talk, px: a page that gives it another one in `js/style.css` says so here.
    talk_size: tuple[float, float] = (430, 270)

    quantity = t.Unicode()
    scale = t.Float(1.0, min=0.1)

    def __init__(self, *, title: str, quantity: str | None = None, **selection: Any) -> None:
        # Results come from the model's thread, choices from the reader's.
        self._drawing = threading.RLock()
        self._n_layers = 0
        self._is_behind = False
        self.bars: bqplot.Bars | None = None
        self.dots: bqplot.Scatter | None = None
        self._build_scales()
        self._build_marks()
        self.figure = bqplot.Figure(
            marks=[self._band, self._cursor, self._zero, self.lines, self._point], axes=[self._across, self._up],
            animation_duration=0, title="", background_style={"fill": "transparent"}, padding_x=0, padding_y=0,
            fig_margin=self._margins,
            layout=ipywidgets.Layout(width="100%", height="270px", min_width="0"),
        )  # fmt: skip
        self.driver = CurveDriver(
            title=title, band=f"IPY_MODEL_{self._band.model_id}", cursor=f"IPY_MODEL_{self._cursor.model_id}",
            point=f"IPY_MODEL_{self._point.model_id}", **selection,
        )  # fmt: skip
        super().__init__(quantity=quantity or next(iter(self.quantities)))
        self.children = [self.driver, self._build_choice(), self.figure, self._build_legend()]
        self.add_class("lw-figure")
        self.observe(self._redraw, "quantity")
        self.observe(self._resize, "scale")
        for name in self.follows:
            self.driver.observe(self._follow, name)
        self.driver.observe(self._mark, ["layers", "layer"])
        self.driver.observe(self._redraw, "told")

    def close(self) -> None:
        """Remove the figure and everything that it is made of."""
        for widget in parts_of(self) | parts_of(self._up) | parts_of(self._up_log):
            if widget is not self:
                widget.close()
        super().close()

    @property
    def _margins(self) -> dict[str, float]:
        margins = {"top": 10, "bottom": 42, "left": 54 if self.labelled else 40, "right": 10}
        return {side: px * self.scale for side, px in margins.items()}

    def _resize(self, _change: object) -> None:
        with self._drawing:
            self.figure.fig_margin = self._margins
            self._across.label_offset = f"{30 * self.scale:g}px"
            for axis in (self._up, self._up_log):
                axis.label_offset = f"{42 * self.scale:g}px"
            self.lines.stroke_width, self.lines.marker_size = 2 * self.scale, int(14 * self.scale**2)
            self._cursor.stroke_width = self._zero.stroke_width = self.scale

    def _curves(self) -> Curves | None:
        """What is to be drawn of `quantity` at the reader's place; None where nothing is there to be drawn."""
        raise NotImplementedError

    @property
    def n_layers(self) -> int:
        """How many layers the x axis has; 0 while nothing is drawn."""
        return self._n_layers

    def curves_at(self, quantity: str, position: int, tokens: Sequence[int] | None = None) -> Curves | None:
        """What would be drawn of a quantity at a position, with other pinned tokens; what is drawn stays as it is."""
        pinned = list(self.driver.tokens if tokens is None else tokens)
        with (
            self._drawing, _as_if(self, "quantity", quantity), _as_if(self.driver, "position", position),
            _as_if(self.driver, "tokens", pinned),
        ):  # fmt: skip
            return self._curves() if self._n_layers else None

    def recorded_words(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a page without a kernel needs to follow words that its reader pins: traits, and arrays beside them."""
        return {}, {}

    def to_text(self) -> str:
        """The curves as a table: a row per layer in view, the last one on top."""
        curves, in_view = self._drawn()
        return curve_text(curves, self.driver.title, self._axis, in_view, self.nothing_drawn)

    def _picture(self, theme: Theme, width: float) -> Picture:
        curves, in_view = self._drawn()
        width = min(width, _WIDEST)
        height = max(220.0, 0.62 * width)
        if curves is None:
            empty = placeholder(self.nothing_drawn, width, height - 40, theme)
            return above([heading(self.driver.title, "", width, theme), empty])
        return curve_picture(
            curves, n_layers=self._n_layers, title=self.driver.title, axis=self._axis, layers_in_view=in_view,
            layer=self.driver.layer, width=width, height=height, theme=theme,
        )  # fmt: skip

    @property
    def _axis(self) -> str:
        return self.quantities[self.quantity].axis

    def _drawn(self) -> tuple[Curves | None, tuple[int, ...]]:
        """What is drawn now, and the layers in view."""
        with self._drawing:
            if not self._n_layers:
                return None, ()
            return self._curves(), tuple(parse_layers(self.driver.layers, self._n_layers))

    def _renew(self, n_layers: int | None, prompt: str | None) -> None:
        """Draw a new result about a model of `n_layers` and the text `prompt`, or clear the figure where it is None."""
        with self._drawing, self.driver.hold_sync():
            self.driver.prompt, self.driver.target = prompt, self.driver.answered_target
            self._n_layers = n_layers or 0
            if n_layers:
                self.driver._bound_to(n_layers, None)
            self._redraw(None)
            self._mark(None)

    @t.validate("quantity")
    def _known_quantity(self, proposal: dict[str, Any]) -> str:
        name = str(proposal["value"])
        if name not in self.quantities:
            raise t.TraitError(f"A quantity is one of {', '.join(self.quantities)}; got {name!r}.")
        return name

    # What it is made of

    def _build_scales(self) -> None:
        self._x = bqplot.LinearScale(min=-0.5, max=0.5)
        self._linear = bqplot.LinearScale(min=0, max=1)
        self._log = bqplot.LogScale(min=1, max=10)
        self._across = bqplot.Axis(
            scale=self._x, label="layer", label_offset="30px", tick_format="d", grid_lines="none"
        )
        # One for each scale: an axis takes over another scale only after its ticks, which may have no place on the old.
        self._up, self._up_log = (
            bqplot.Axis(scale=scale, side="left", num_ticks=5, grid_lines="solid", grid_color="#8884",
                        label_offset="42px")
            for scale in (self._linear, self._log)
        )  # fmt: skip

    def _build_marks(self) -> None:
        whole = bqplot.LinearScale(min=0, max=1)
        self.lines = bqplot.Lines(
            x=[0, 1], y=[[0, 0]], visible=False, colors=[DATA_COLOUR], stroke_width=2, marker="circle", marker_size=14,
            scales={"x": self._x, "y": self._linear}, display_legend=False, labels_visibility="none",
        )  # fmt: skip
        self._band = bqplot.Lines(
            x=[-0.5, 0.5], y=[0, 0], fill="bottom", fill_colors=[DATA_COLOUR], fill_opacities=[0.12], opacities=[0],
            scales={"x": self._x, "y": whole},
        )  # fmt: skip
        self._cursor = bqplot.Lines(
            x=[0, 0], y=[0, 1], colors=[HERE_COLOUR], stroke_width=1, scales={"x": self._x, "y": whole}
        )
        self._zero = bqplot.Lines(
            x=[-0.5, 0.5], y=[0, 0], visible=False, colors=[LINE_COLOUR], stroke_width=1,
            scales={"x": self._x, "y": self._linear},
        )  # fmt: skip
        # Shown by the browser only, around the value that the keyboard has come to.
        self._point = bqplot.Scatter(
            x=[0], y=[1], visible=False, colors=[HERE_COLOUR], fill=False, default_size=90, stroke_width=2,
            scales={"x": self._x, "y": self._linear},
        )  # fmt: skip

    def _build_choice(self) -> ipywidgets.ToggleButtons:
        choice = ipywidgets.ToggleButtons(
            options=[(quantity.label, name) for name, quantity in self.quantities.items()], value=self.quantity,
            tooltips=[quantity.tooltip for quantity in self.quantities.values()], style={"button_width": "auto"},
            layout=ipywidgets.Layout(margin="0", display=None if len(self.quantities) > 1 else "none"),
        )  # fmt: skip
        t.link((self, "quantity"), (choice, "value"))
        return choice

    def _build_legend(self) -> ipywidgets.HBox:
        self._names = [
            ipywidgets.Label(layout=ipywidgets.Layout(margin="0 8px 0 4px", display="none"))
            for _ in range(self.max_names)
        ]
        return ipywidgets.HBox(self._names, layout=ipywidgets.Layout(height="22px", overflow="hidden"))

    # How it is drawn

    def _catch_up(self) -> None:
        """Follow where the reader was taken along to, if no answer has come with it."""
        with self._drawing:
            if self._is_behind:
                self._redraw(None)

    def _follow(self, change: dict[str, Any]) -> None:
        if change["name"] == "position" and is_taking_along(self.driver.group):
            self._is_behind = True
            follow_later(self._catch_up)
        else:
            self._redraw(change)

    def _redraw(self, _change: object) -> None:
        with self._drawing:
            self._is_behind = False
            curves = self._curves() if self._n_layers else None
            self._band.visible = self._cursor.visible = curves is not None
            self._show_marks(curves)
            self.driver.detail = "" if curves is None else curves.detail
            self.driver.drawn = curves is not None
            self._name(curves)
            self.driver.table = self._table(curves) if self.driver.told else {}

    def _table(self, curves: Curves | None) -> dict[str, Any]:
        """All layers, the last one on top: which of them are in view, the browser knows first."""
        if curves is None:
            return {}
        drawn = _heights(curves).T[::-1].tolist()
        heights = [[height if isfinite(height) else None for height in row] for row in drawn]
        return {"columns": curve_columns(curves, self._axis), "rows": curve_rows(curves)[::-1], "heights": heights}

    def _show_marks(self, curves: Curves | None) -> None:
        as_lines = curves is not None and curves.marks == "lines"
        self.lines.visible = as_lines
        self._zero.visible = curves is not None and curves.scale.low < 0
        if self.dots is not None and not as_lines:
            self.dots.visible = False
        if self.bars is not None and (curves is None or as_lines):
            self.bars.visible = False
        if curves is None:
            return
        self._x.min, self._x.max = -0.5, self._n_layers - 0.5
        self._zero.x = [-0.5, self._n_layers - 0.5]
        self._across.tick_values = layer_ticks(self._n_layers)
        up = self._scale_up(curves.scale)
        self._point.scales = {"x": self._x, "y": up}
        if as_lines:
            self._draw_lines(curves, up)
        else:
            self._draw_bars(curves, up)

    def _put_on_top(self, mark: bqplot.Mark) -> None:
        """Draw a mark over all others but what shows where the keyboard is."""
        marks = [*(one for one in self.figure.marks if one not in (mark, self._point)), mark, self._point]
        if marks != list(self.figure.marks):
            self.figure.marks = marks

    def _scale_up(self, scale: Scale) -> bqplot.Scale:
        up = self._log if scale.log else self._linear
        # A range that is empty or backwards for a moment would be drawn.
        with up.hold_sync():
            up.min, up.max, up.reverse = scale.low, scale.high, scale.reverse
        axis = self._up_log if scale.log else self._up
        with axis.hold_sync():
            axis.tick_values = None if scale.ticks is None else list(scale.ticks)
            axis.tick_format = scale.tick_format
            axis.label = self.quantities[self.quantity].axis if self.labelled else ""
        if self.figure.axes[1] is not axis:
            self.figure.axes = [self._across, axis]
        return up

    def _draw_lines(self, curves: Curves, up: bqplot.Scale) -> None:
        with self.lines.hold_sync():
            self.lines.x, self.lines.y = _plottable(curves.layers, curves.values)
            self.lines.colors = list(curves.colours)
            self.lines.scales = {"x": self._x, "y": up}
            self.lines.marker = "circle" if np.isfinite(curves.values).all() else None
        if self.lines.marker is None or self.dots is not None:
            self._draw_dots(curves, up)

    def _draw_dots(self, curves: Curves, up: bqplot.Scale) -> None:
        """Bqplot puts the dots of a line with gaps anywhere: dots of their own stand where there is a value."""
        curve, place = np.nonzero(np.isfinite(curves.values))
        if self.dots is None:
            self.dots = bqplot.Scatter(x=[0], y=[0], scales={"x": self._x, "y": up}, default_size=14, stroke_width=0)
            self._put_on_top(self.dots)
        with self.dots.hold_sync():
            self.dots.x, self.dots.y = np.asarray(curves.layers, np.float32)[place], curves.values[curve, place]
            self.dots.colors = [curves.colours[index] for index in curve.tolist()] or [DATA_COLOUR]
            self.dots.scales = {"x": self._x, "y": up}
            self.dots.visible = self.lines.marker is None

    def _draw_bars(self, curves: Curves, up: bqplot.Scale) -> None:
        # A bar is as wide as its share of all bars, so every layer has one; without a value it has no height.
        # Beside a single layer stand two more, outside: a share of nothing would be nothing.
        outside = int(self._n_layers == 1)
        x = np.arange(-outside, self._n_layers + outside)
        heights = np.zeros((len(curves.names), len(x)), np.float32)
        heights[:, np.asarray(curves.layers) + outside] = np.nan_to_num(curves.values, nan=0.0)
        single = len(curves.names) == 1
        signs = [BELOW_COLOUR if height < 0 else curves.colours[0] for height in heights[0]]
        if self.bars is None:
            self.bars = bqplot.Bars(
                x=[0], y=[0], scales={"x": self._x, "y": up}, stroke_width=0, padding=0.2, display_legend=False
            )
            self._put_on_top(self.bars)
        with self.bars.hold_sync():
            self.bars.x, self.bars.y = x, heights
            self.bars.type = "stacked" if single else curves.marks
            self.bars.color_mode = "no_group" if single else "element"
            self.bars.colors = signs if single else list(curves.colours)
            self.bars.scales = {"x": self._x, "y": up}
            self.bars.visible = True

    def _mark(self, _change: object) -> None:
        """Shade the layers in view and mark the chosen one; `js/curve_driver.js` does the same during a drag."""
        with self._drawing:
            if not self._n_layers:
                return
            in_view = parse_layers(self.driver.layers, self._n_layers)
            with self._band.hold_sync():
                self._band.x = [edge for layer in range(self._n_layers) for edge in (layer - 0.5, layer + 0.5)]
                self._band.y = [float(layer in in_view) for layer in range(self._n_layers) for _edge in range(2)]
            self._cursor.x = [self.driver.layer, self.driver.layer]

    def _name(self, curves: Curves | None) -> None:
        names = [] if curves is None else list(zip(curves.names, curves.colours, strict=True))
        for place, label in enumerate(self._names):
            name, colour = names[place] if place < len(names) else ("", None)
            label.value = f"● {name}" if name else ""
            label.layout.display = None if name else "none"
            label.style.text_color = colour


@contextmanager
def _as_if(owner: t.HasTraits, name: str, value: Any) -> Iterator[None]:
    """A trait has another value, and nobody is told: not the views, and not the browser."""
    before = getattr(owner, name)
    owner._trait_values[name] = value
    try:
        yield
    finally:
        owner._trait_values[name] = before


def _heights(curves: Curves) -> FloatArray:
    """Where each value is drawn, shape [curve, layer]: of what stands on others, its end."""
    if curves.marks != "stacked":
        return curves.values
    filled = np.nan_to_num(curves.values)
    up, down = np.cumsum(np.maximum(filled, 0), axis=0), np.cumsum(np.minimum(filled, 0), axis=0)
    heights: FloatArray = np.where(curves.values < 0, down, np.where(np.isnan(curves.values), np.nan, up))
    return heights


def _plottable(layers: Sequence[int], values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bqplot drops axes of length one, so a single layer is drawn as two equal points."""
    x = np.asarray(layers, dtype=np.float32)
    return (x, values) if len(x) > 1 else (np.repeat(x, 2), np.repeat(values, 2, axis=-1))
