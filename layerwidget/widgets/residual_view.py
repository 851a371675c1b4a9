"""The residual stream: how large it is, what every layer adds, how far it turns, and whether the sum comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import ipywidgets
import numpy as np

from layerwidget.errors import LayerWidgetError
from layerwidget.figures.curves import DATA_COLOUR, Curves, Quantity, Scale
from layerwidget.figures.sheets import HeatColumns, Sheet
from layerwidget.layers import format_layers
from layerwidget.questions import TraceQuestion
from layerwidget.questions.residual import ResidualGrid, ResidualStream
from layerwidget.results import FloatArray
from layerwidget.widgets.heat_grid import HeatGrid
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.traits import PIN_COLOURS, SelectionTraits

#: Component -> what the drop-down and the legend say.
NAMES = {
    "resid_pre": "stream before the layer",
    "attn_out": "what attention adds",
    "cross_attn_out": "what cross-attention adds",
    "mixer_out": "what the mixer adds",
    "mlp_out": "what the FFN adds",
    "bias": "a bias",
    "resid_post": "stream after the layer",
}
#: The same, as short as the legend of the curves needs it.
_SHORT = {
    "attn_out": "attention adds", "cross_attn_out": "cross-att. adds", "mixer_out": "mixer adds", "mlp_out": "FFN adds",
    "bias": "bias", "resid_post": "stream after",
}  # fmt: skip
QUANTITIES = {
    "norms": Quantity("norms", "L2 norm, log scale", "length of the stream and of what is added to it"),
    "cosines": Quantity("cosines", "cosine with", "cosine with the stream before the layer, and with the final stream"),
    "error": Quantity("error", "max|difference| / max|x|", "input plus additions against the output of the layer"),
}
_LARGEST_ERROR = 1e-5


class StreamCurves(LayerFigure):
    """Norms, cosines and errors of the stream over the layers, at the chosen position."""

    quantities: ClassVar[Mapping[str, Quantity]] = QUANTITIES

    def __init__(self, **selection: Any) -> None:
        self._grid: ResidualGrid | None = None
        super().__init__(title="Over layers", **selection)

    def show(self, grid: ResidualGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the figure; `prompt` is the text it is about."""
        with self._drawing:
            self._grid = grid
            self._renew(None if grid is None else grid.n_layers, prompt)

    def _curves(self) -> Curves | None:
        grid = self._grid
        if grid is None:
            return None
        position = min(self.driver.position, len(grid.token_ids) - 1)
        names, values, scale = self._followed(grid, position)
        colours = [DATA_COLOUR, *PIN_COLOURS][: len(names)]
        word = grid.prompt_pieces()[position].visible
        return Curves(grid.layers, values, names, colours, scale, f"at “{word}”")

    def _followed(self, grid: ResidualGrid, position: int) -> tuple[list[str], FloatArray, Scale]:
        """Names, values of shape [curve, layer], and the y axis."""
        if self.quantity == "cosines":
            cosines = np.stack([grid.cos_previous[:, position], grid.cos_final[:, position]])
            scale = Scale(-1.0, 1.0, ticks=(-1, -0.5, 0, 0.5, 1)) if (cosines < 0).any() else Scale.shares()
            return ["layer before", "final stream"], cosines, scale
        if self.quantity == "error":
            errors = grid.error[None, :, position]
            return ["input + additions, output"], errors, Scale.fitting(errors, at_least=1e-7)
        # What enters a layer has left the one before: one of the two curves is enough.
        shown = [name for name in grid.components if name != "resid_pre"][::-1]
        norms = _above_zero(np.stack([grid.norm(name)[:, position] for name in shown]))
        return [_SHORT[name] for name in shown], norms, _decades(norms)


class ResidualView(Page):
    """A grid of norms, cosines or errors by layer and token, curves over the layers, and the ledger of the range.

    Attributes:
        grid_view, curves: its parts; the grid's `sheet` says what its colours are.
        ledger: one line: whether what enters the range of layers, plus all that is added, is what leaves it.
    """

    page_name = "residual"
    page_title = "Residual"
    choices: ClassVar[Mapping[str, str]] = {"sheet": "grid_view.sheet", "quantity": "curves.quantity"}
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {"residual": (ResidualGrid,), "ledger": (ResidualGrid,)}

    def __init__(self, grid: ResidualGrid | None = None, ledger: ResidualGrid | None = None, **selection: Any) -> None:
        self.grid_view = HeatGrid(title="Residual stream", **selection)
        self.curves = StreamCurves(**selection)
        self.curves.layout = ipywidgets.Layout(width="330px", flex="0 0 auto", padding="0 0 0 14px")
        self.curves.talk_size = (316, 390)
        self.ledger = ipywidgets.Label(layout=ipywidgets.Layout(margin="2px 0 8px", width="100%"))
        self.ledger.add_class("lw-note")
        side_by_side = ipywidgets.Layout(align_items="flex-start", width="100%", min_width="0", flex="1 1 auto")
        row = ipywidgets.HBox([self.grid_view, self.curves], layout=side_by_side).add_class("lw-heat-row")
        super().__init__(row, self.ledger)
        if grid is not None:
            self.show(grid)
            self.show_ledger(ledger or grid)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return self.grid_view, self.curves.driver

    @property
    def places(self) -> Mapping[str, tuple[ipywidgets.Widget, ...]]:
        """Grid and curves, and the line under them."""
        return {"residual": (self.grid_view, self.curves), "ledger": (self.ledger,)}

    def show(self, grid: ResidualGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the page; `prompt` is the text it is about."""
        self.curves.show(grid, prompt)
        if grid is None:
            self.grid_view.show(None, prompt=prompt)
            self.ledger.value = ""
            return
        self.grid_view.show(
            list(_sheets(grid)), HeatColumns.positions(grid), layers=grid.layers, n_layers=grid.n_layers, prompt=prompt
        )

    def show_ledger(self, grid: ResidualGrid) -> None:
        """Say whether a range of layers adds up."""
        if grid.range_error is None:
            self.ledger.value = f"No sum over layers {format_layers(grid.layers)}: {grid.range_reason}"
            return
        worst = int(np.argmax(grid.range_error))
        error = f"at most {grid.range_error[worst]:.1e} of the largest value, at position {worst}"
        self.ledger.value = (
            f"Layers {format_layers(grid.layers)}: what enters, plus everything that is added, is what leaves. "
            f"Error: {error if grid.range_error[worst] else 'exactly 0 at every position'}."
        )

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """All layers, and the range in view for its ledger."""
        return {"residual": ResidualStream(), "ledger": ResidualStream(standpoint.layers)}

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw the grid and the curves; or the ledger."""
        if name == "ledger":
            self.show_ledger(answer)
        else:
            self.show(answer, prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say why there is no stream to be drawn."""
        self.show(None, prompt)
        self.ledger.value = str(error)

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self.show(None, prompt)


def _sheets(grid: ResidualGrid) -> list[Sheet]:
    """What the grid can show."""
    sheets = [
        Sheet(f"norm: {NAMES[name]}", _above_zero(grid.norm(name)), "", "log", digits=3, detail="L2 norm · log scale")
        for name in reversed(grid.components)
    ]
    turns = {"cosine with the layer before": grid.cos_previous, "cosine with the final stream": grid.cos_final}
    sheets += [Sheet(name, values, "", "signed", 1.0, detail="cosine, -1 to 1") for name, values in turns.items()]
    detail = "input plus additions against output: max|difference| / max|x|"
    return [*sheets, Sheet("error", grid.error, "", "one-sided", _LARGEST_ERROR, detail=detail)]


def _above_zero(norms: FloatArray) -> FloatArray:
    """Norms that a logarithmic scale can show; of nothing, and of zeros, there is none."""
    above: FloatArray = np.where(norms > 0, norms, np.nan).astype(np.float32)
    return above


def _decades(norms: FloatArray) -> Scale:
    """From the power of ten below the smallest norm to the one above the largest."""
    finite = norms[np.isfinite(norms)]
    if not len(finite):
        return Scale(1.0, 10.0, log=True)
    low, high = np.floor(np.log10(finite.min())), np.ceil(np.log10(finite.max()))
    high = max(high, low + 1)
    ticks = tuple(float(10.0**power) for power in range(int(low), int(high) + 1))
    return Scale(ticks[0], ticks[-1], log=True, ticks=ticks, tick_format=".0~e" if low < -3 or high > 5 else "~g")
