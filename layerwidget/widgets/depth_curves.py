"""Curves over all layers at the chosen position: probability, rank, entropy, KL to the final prediction."""

from __future__ import annotations

import threading
from typing import Any

import bqplot
import ipywidgets
import numpy as np
import traitlets as t

from layerwidget.layers import parse_layers
from layerwidget.questions.lens import LensGrid
from layerwidget.results import FloatArray
from layerwidget.widgets.base import View, parts_of
from layerwidget.widgets.traits import MAX_PINNED, PIN_COLOURS

DATA_COLOUR = "#5573ea"
HERE_COLOUR = "#e0661f"

#: Quantity -> what its axis shows.
QUANTITIES = {
    "probability": "probability",
    "rank": "rank + 1",
    "entropy": "nats",
    "kl": "nats",
}
TOOLTIPS = [
    "probability of the words",
    "rank of the words + 1, log scale",
    "entropy in nats",
    "KL(final || layer) in nats",
]


class CurveDriver(View, module="curve_driver"):
    """The title line, and the part that moves the marks in the browser while a range is dragged."""

    band = t.Unicode().tag(sync=True)
    cursor = t.Unicode().tag(sync=True)
    detail = t.Unicode().tag(sync=True)
    prompt = t.Unicode(None, allow_none=True).tag(sync=True)


class DepthCurves(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A figure whose x axis is the layer; the layers in view are shaded, the chosen layer is marked.

    `probability` and `rank` follow the pinned tokens, or the model's own answer where none is pinned.

    Attributes:
        quantity: one of `probability`, `rank`, `entropy`, `kl`.
        driver: carries the shared selection traits (`layers`, `layer`, `position`, `tokens`, `group`).
        lines: the bqplot lines; read their `x` and `y`.
    """

    quantity = t.Enum(tuple(QUANTITIES), "probability")

    def __init__(self, lens: LensGrid | None = None, *, quantity: str = "probability", **selection: Any) -> None:
        self._lens: LensGrid | None = None
        # Results come from the model's thread, choices from the reader's.
        self._drawing = threading.RLock()
        if lens is not None and lens.tokens:
            selection = {"tokens": list(lens.tokens[:MAX_PINNED]), **selection}
        self._x = bqplot.LinearScale(min=-0.5, max=0.5)
        self._linear = bqplot.LinearScale(min=0, max=1)
        self._log = bqplot.LogScale(min=1, max=10)
        self.lines = bqplot.Lines(
            x=[0, 1], y=[[0, 0]], visible=False, colors=[DATA_COLOUR], stroke_width=2, marker="circle", marker_size=14,
            scales={"x": self._x, "y": self._linear}, display_legend=False, labels_visibility="none",
        )  # fmt: skip
        self._band = bqplot.Lines(
            x=[-0.5, 0.5], y=[0, 0], fill="bottom", fill_colors=[DATA_COLOUR], fill_opacities=[0.12], opacities=[0],
            scales={"x": self._x, "y": bqplot.LinearScale(min=0, max=1)},
        )  # fmt: skip
        self._cursor = bqplot.Lines(
            x=[0, 0], y=[0, 1], colors=[HERE_COLOUR], stroke_width=1, scales={"x": self._x, "y": self._band.scales["y"]}
        )
        self._across = bqplot.Axis(
            scale=self._x, label="layer", label_offset="30px", tick_format="d", grid_lines="none"
        )
        self._up = bqplot.Axis(scale=self._linear, side="left", num_ticks=5, grid_lines="solid", grid_color="#8884")
        self.figure = bqplot.Figure(
            marks=[self._band, self._cursor, self.lines], axes=[self._across, self._up], animation_duration=0, title="",
            fig_margin={"top": 10, "bottom": 42, "left": 40, "right": 10}, background_style={"fill": "transparent"},
            padding_x=0, padding_y=0, layout=ipywidgets.Layout(width="100%", height="270px", min_width="0"),
        )  # fmt: skip
        self.driver = CurveDriver(
            band=f"IPY_MODEL_{self._band.model_id}", cursor=f"IPY_MODEL_{self._cursor.model_id}", **selection
        )
        self._choice = ipywidgets.ToggleButtons(
            options=[("probability", "probability"), ("rank", "rank"), ("entropy", "entropy"), ("KL", "kl")],
            style={"button_width": "auto"}, tooltips=TOOLTIPS, layout=ipywidgets.Layout(margin="0"),
        )  # fmt: skip
        self._names = [ipywidgets.Label(layout=ipywidgets.Layout(margin="0 8px 0 4px")) for _ in range(MAX_PINNED)]
        legend = ipywidgets.HBox(self._names, layout=ipywidgets.Layout(height="22px", overflow="hidden"))
        super().__init__([self.driver, self._choice, self.figure, legend], quantity=quantity)
        self.add_class("lw-depth")
        t.link((self, "quantity"), (self._choice, "value"))
        self.observe(self._redraw, "quantity")
        self.driver.observe(self._redraw, ["position", "tokens"])
        self.driver.observe(self._mark, ["layers", "layer"])
        if lens is not None:
            self.show(lens)

    def show(self, lens: LensGrid | None, prompt: str | None = None) -> None:
        """Draw a result of all layers, perhaps in part; None clears the figure; `prompt` is the text it is about."""
        with self._drawing:
            self._lens = lens
            self.driver.prompt = prompt
            if lens is not None:
                self.driver._bound_to(lens.n_layers, None)
            self._redraw(None)
            self._mark(None)

    def close(self) -> None:
        """Remove the figure and everything that it is made of."""
        for widget in parts_of(self):
            if widget is not self:
                widget.close()
        super().close()

    def _redraw(self, _change: object) -> None:
        with self._drawing:
            lens = self._at_hand()
            self.lines.visible = self._band.visible = self._cursor.visible = lens is not None
            if lens is None:
                self.driver.detail = ""
                self._name([], [])
                return
            position = min(self.driver.position, len(lens.token_ids) - 1)
            curves, names, colours = self._curves(lens, position)
            with self.lines.hold_sync():
                self._x.min, self._x.max = -0.5, lens.n_layers - 0.5
                self._across.tick_values = _ticks(lens.n_layers)
                self._scale_y(lens, curves)
                self.lines.x, self.lines.y = _plottable(lens.layers, curves)
                self.lines.colors = colours
            word = lens.prompt_pieces()[position].visible
            what = "" if lens.component == "resid_post" else f" · {lens.component}"
            self.driver.detail = f"{QUANTITIES[self.quantity]} after “{word}”{what}"
            self._name(names, colours)

    def _at_hand(self) -> LensGrid | None:
        """The result, where all layers are computed at the chosen position."""
        lens = self._lens
        if lens is None or lens.done is None:
            return lens
        return lens if lens.done[:, min(self.driver.position, len(lens.token_ids) - 1)].all() else None

    def _mark(self, _change: object) -> None:
        """Shade the layers in view and mark the chosen one; `js/curve_driver.js` does the same during a drag."""
        with self._drawing:
            if self._lens is None:
                return
            in_view = parse_layers(self.driver.layers, self._lens.n_layers)
            with self._band.hold_sync():
                self._band.x = [edge for layer in range(self._lens.n_layers) for edge in (layer - 0.5, layer + 0.5)]
                self._band.y = [float(layer in in_view) for layer in range(self._lens.n_layers) for _edge in range(2)]
            self._cursor.x = [self.driver.layer, self.driver.layer]

    def _name(self, names: list[str], colours: list[str]) -> None:
        for place, label in enumerate(self._names):
            label.value = f"● {names[place]}" if place < len(names) else ""
            label.layout.display = None if place < len(names) else "none"
            label.style.text_color = colours[place] if place < len(names) else None

    def _curves(self, lens: LensGrid, position: int) -> tuple[FloatArray, list[str], list[str]]:
        if self.quantity == "entropy":
            return lens.entropy_nats[None, :, position], ["entropy of each layer's prediction"], [DATA_COLOUR]
        if self.quantity == "kl":
            return lens.kl_to_final_nats[None, :, position], ["KL(final || layer)"], [DATA_COLOUR]
        pinned = [token for token in self.driver.tokens if token in lens.tokens]
        if pinned:
            places = [lens.tokens.index(token) for token in pinned]
            names = [lens.pieces[token].visible for token in pinned]
            colours = [PIN_COLOURS[list(self.driver.tokens).index(token)] for token in pinned]
            if self.quantity == "rank":
                return lens.token_ranks[:, position, places].T + 1.0, names, colours
            return np.exp(lens.token_log_probs[:, position, places].T), names, colours
        name = f"{lens.pieces[int(lens.final_ids[position])].visible} (final answer)"
        if self.quantity == "rank":
            return lens.final_ranks[None, :, position] + 1.0, [name], [DATA_COLOUR]
        return lens.final_probs[None, :, position], [name], [DATA_COLOUR]

    def _scale_y(self, lens: LensGrid, curves: FloatArray) -> None:
        rank = self.quantity == "rank"
        scale = self._log if rank else self._linear
        if rank:
            self._log.min, self._log.max, self._log.reverse = 1, float(lens.d_vocab), True
        else:
            top = 1.0 if self.quantity == "probability" else max(1.0, float(np.nanmax(curves)) * 1.05)
            self._linear.min, self._linear.max = 0, top
        self._up.scale = scale
        self._up.tick_values = (
            None if self.quantity in ("entropy", "kl") else _decades(lens.d_vocab) if rank else [0, 0.25, 0.5, 0.75, 1]
        )
        self._up.tick_format = "~s" if rank else ".2~f"
        self.lines.scales = {"x": self._x, "y": scale}


def _ticks(n_layers: int) -> list[int]:
    """A few round layer numbers, always with the first and the last."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if n_layers / step <= 7)
    inner = [layer for layer in range(step, n_layers - 1, step) if n_layers - 1 - layer >= step / 2]
    return sorted({0, *inner, n_layers - 1})


def _decades(top: int) -> list[float]:
    return [10.0**power for power in range(len(str(top)))]


def _plottable(layers: tuple[int, ...], curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bqplot drops axes of length one, so a single layer is drawn as two equal points."""
    x = np.asarray(layers, dtype=np.float32)
    return (x, curves) if len(x) > 1 else (np.repeat(x, 2), np.repeat(curves, 2, axis=-1))
