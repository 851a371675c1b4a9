"""Figures over layers: how much each turns the stream, and what is lost without it."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log10
from typing import Any, ClassVar

import bqplot
import ipywidgets
import numpy as np
import traitlets as t

from layerwidget.figures.curves import DATA_COLOUR, Curves, Overlay, Quantity, Scale
from layerwidget.questions.depth import AngleGrid, InfluenceGrid
from layerwidget.questions.skip_effect import SkipGrid
from layerwidget.results import FloatArray
from layerwidget.widgets.layer_figure import LayerFigure

#: The longest blocks that can be compared.
LONGEST_BLOCK = 8
_DROP_COLOUR = "#009e73"


class InfluenceFigure(LayerFigure):
    """Block influence of every layer.

    Attributes:
        quantity: `influence`, or `log`: the same on a logarithmic scale, for the layers that do little.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "influence": Quantity("linear", "1 − mean cosine", "1 − mean cosine of what enters and what leaves a layer"),
        "log": Quantity("log scale", "1 − mean cosine, log scale", "the same on a logarithmic scale"),
    }
    follows: ClassVar[tuple[str, ...]] = ()

    def __init__(self, influence: InfluenceGrid | None = None, **selection: Any) -> None:
        self._influence: InfluenceGrid | None = None
        super().__init__(title="Block influence", **selection)
        if influence is not None:
            self.show(influence)

    def show(self, influence: InfluenceGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the figure; `prompt` is the text it is about."""
        with self._drawing:
            self._influence = influence
            self._renew(None if influence is None else influence.n_layers, prompt)

    def _curves(self) -> Curves | None:
        if self._influence is None:
            return None
        values = self._influence.values
        if self.quantity == "influence":
            return _one_curve(self._influence.layers, values, Scale.fitting(values))
        # What does nothing at all has no place on it.
        above = np.where(values > 0, values, np.nan)
        return _one_curve(self._influence.layers, above, _log_scale(above))


class AngleFigure(LayerFigure):
    """Angular distance over blocks of `n` layers, by the first of them; the block to drop is marked.

    Attributes:
        n: how many layers a block has; whoever answers hears of a change.
        longest: the largest choice of it.
        choice: the drop-down for it.
        dropped: the mark of the block to drop.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "angle": Quantity(
            "angle",
            "half turns, at the end",
            "between what enters and what leaves a block, at the last position",
        )
    }
    follows: ClassVar[tuple[str, ...]] = ()

    n = t.Int(1, min=1)

    def __init__(self, angles: AngleGrid | None = None, *, longest: int = LONGEST_BLOCK, **selection: Any) -> None:
        self._angles: AngleGrid | None = None
        self.longest = longest
        super().__init__(title="Angular distance", **selection)
        self.dropped = bqplot.Lines(
            x=[0, 1], y=[0, 0], visible=False, colors=[_DROP_COLOUR], stroke_width=4, display_legend=False,
            labels_visibility="none", scales={"x": self._x, "y": self._linear},
        )  # fmt: skip
        self._put_on_top(self.dropped)
        if angles is not None:
            self.show(angles)

    def show(self, angles: AngleGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the figure; `prompt` is the text it is about."""
        with self._drawing:
            self._angles = angles
            self._renew(None if angles is None else angles.n_layers, prompt)

    def _build_choice(self) -> ipywidgets.Dropdown:
        sizes = range(1, self.longest + 1)
        choice = ipywidgets.Dropdown(
            options=[(f"{n} layer{'s' if n > 1 else ''}", n) for n in sizes], value=self.n, description="blocks of",
            style={"description_width": "auto"}, layout=ipywidgets.Layout(width="160px", margin="3px 0 1px"),
        )  # fmt: skip
        t.link((self, "n"), (choice, "value"))
        self.choice = choice
        return choice

    def _curves(self) -> Curves | None:
        angles = self._angles
        if angles is None:
            return None
        least = angles.values[angles.row_of(angles.drop)]
        detail = f"least {least:.3f}: {_block(angles)}"
        block = self._block_to_drop(angles)
        return Curves(
            angles.layers,
            angles.values[None],
            [""],
            [DATA_COLOUR],
            Scale.fitting(angles.values),
            detail,
            overlays=(block,),
        )

    @staticmethod
    def _block_to_drop(angles: AngleGrid) -> Overlay:
        height = float(angles.values[angles.row_of(angles.drop)])
        ends = (angles.drop - 0.4, angles.drop + angles.n - 0.6)
        return Overlay(ends, (height, height), _DROP_COLOUR, f"the block to drop: {_block(angles)}", 4)

    def _show_marks(self, curves: Curves | None) -> None:
        super()._show_marks(curves)
        angles = self._angles
        self.dropped.visible = angles is not None and curves is not None
        if angles is not None:
            block = self._block_to_drop(angles)
            with self.dropped.hold_sync():
                self.dropped.x, self.dropped.y = list(block.x), list(block.y)

    def _name(self, curves: Curves | None) -> None:
        label, angles = self._names[0], self._angles
        shown = curves is not None and angles is not None
        label.value = f"━ the block to drop: {_block(angles)}" if angles is not None and shown else ""
        label.layout.display = None if shown else "none"
        label.style.text_color = _DROP_COLOUR


def _block(angles: AngleGrid) -> str:
    """The layers that turn the stream least."""
    return f"layers {angles.drop}–{angles.drop + angles.n - 1}" if angles.n > 1 else f"layer {angles.drop}"


class SkipFigure(LayerFigure):
    """What is lost without each layer. Look at its block influence, too: they disagree.

    Attributes:
        quantity: `kl` (mean over the positions), `last` (at the last one) or `loss` (change of cross-entropy).
        placeholder: what stands in place of the figure while there is nothing to show.
        changed: what is changed in the run that is on screen, in a few words: a result about another run says so. None
            where the figure stands alone.
    """

    changed = t.Unicode(None, allow_none=True)

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "kl": Quantity("KL", "nats", "KL(full || skipped), mean over the positions"),
        "last": Quantity("KL at the end", "nats", "KL(full || skipped) at the last position"),
        "loss": Quantity("loss", "nats", "by how much the cross-entropy of the prompt rises"),
    }
    follows: ClassVar[tuple[str, ...]] = ()
    nothing_drawn: ClassVar[str] = "On request: the model is run without each layer."

    def __init__(self, skipped: SkipGrid | None = None, **selection: Any) -> None:
        self._skipped: SkipGrid | None = None
        self.placeholder = ipywidgets.Label(
            self.nothing_drawn,
            layout=ipywidgets.Layout(width="100%", height="270px", margin="-270px 0 0"),
        )
        for name in ("lw", "lw-placeholder"):
            self.placeholder.add_class(name)
        super().__init__(title="Skip effect", **selection)
        *above, legend = self.children
        self.children = [*above, self.placeholder, legend]
        self.observe(self._entitle, "changed")
        self.show(skipped)

    @property
    def shown(self) -> SkipGrid | None:
        """What is drawn."""
        return self._skipped

    def show(self, skipped: SkipGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the figure; `prompt` is the text it is about."""
        with self._drawing:
            self._skipped = skipped
            self._renew(None if skipped is None else skipped.n_layers, prompt)
            # Not taken out of the page: bqplot would not know its size.
            self.figure.layout.visibility = "hidden" if skipped is None else None
            self.placeholder.layout.display = None if skipped is None else "none"
            self._entitle(None)

    def _entitle(self, _change: object) -> None:
        """Say what was changed in the full run and the skipped ones alike, and whether that is what is on screen."""
        changed = (self.changed or "") if self._skipped is None else self._skipped.changed
        if self.changed is not None and changed != self.changed:
            self.driver.title = f"Skip effect, earlier run ({changed or 'nothing changed'})"
        else:
            self.driver.title = f"Skip effect while {changed}" if changed else "Skip effect"

    def _curves(self) -> Curves | None:
        skipped = self._skipped
        if skipped is None:
            return None
        values = {
            "kl": skipped.mean_kl_nats, "last": skipped.last_kl_nats, "loss": skipped.cross_entropy_change_nats,
        }[self.quantity]  # fmt: skip
        return _one_curve(skipped.layers, values, Scale.fitting(values))


def agreement(skipped: SkipGrid) -> str:
    """In words: whether most is lost where the stream is turned most."""
    rho = skipped.rank_correlation
    if not np.isfinite(rho):
        return ""
    lost, turned = (
        skipped.layers[int(np.argmax(values))] for values in (skipped.mean_kl_nats, skipped.block_influence)
    )
    where = f"most is lost without layer {lost}, layer {turned} turns the stream most"
    return f"Rank correlation of skip effect (KL) and block influence: {rho:.3f} · {where}."


def _one_curve(layers: tuple[int, ...], values: FloatArray, scale: Scale) -> Curves:
    detail = "no value for a prompt of one token"
    if np.isfinite(values).any():
        place = int(np.nanargmax(values))
        detail = f"most at layer {layers[place]}: {values[place]:.3f}"
    return Curves(layers, values[None], [""], [DATA_COLOUR], scale, detail)


def _log_scale(values: FloatArray) -> Scale:
    """Whole decades around the values; one around 1 without any."""
    there = values[np.isfinite(values)]
    ends = (there.min(), there.max()) if len(there) else (1.0, 1.0)
    low, high = floor(log10(ends[0])), max(ceil(log10(ends[1])), floor(log10(ends[0])) + 1)
    ticks = tuple(10.0**power for power in range(low, high + 1))
    return Scale(10.0**low, 10.0**high, log=True, ticks=ticks, tick_format="~g")
