"""The neurons of an FFN: which are at work, what they promote, and one of them over the whole prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.errors import LayerWidgetError
from layerwidget.figures.neuron_figure import NeuronRows, neuron_picture, neuron_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.questions import TraceQuestion
from layerwidget.questions.neurons import NeuronGrid, Neurons
from layerwidget.results import FloatArray
from layerwidget.tokens import IntArray
from layerwidget.widgets.base import View
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.picture import Pictured, place_of
from layerwidget.widgets.traits import SelectionTraits

_SHOWN = 24
_WORDS = 6


class NeuronTable(Pictured, View, module="neuron_table"):
    """A row for each of the strongest neurons, and the tokens of the prompt in the colours of the followed one.

    Attributes:
        neuron: the neuron that is followed over the prompt; None while there is none.
        answered: whether somebody answers which neuron is followed; else it cannot be chosen.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layer", "position")

    neuron = t.Int(None, allow_none=True).tag(sync=True)
    answered = t.Bool(True).tag(sync=True)

    def __init__(self, grid: NeuronGrid | None = None, **traits: Any) -> None:
        if grid is not None:
            traits = {"layer": grid.layers[0], "position": grid.position, "neuron": grid.neuron, **traits}
        super().__init__(**traits)
        # Another layer has other neurons.
        self.observe(self._forget, "layer")
        if grid is not None:
            self.show(grid)

    def show(self, grid: NeuronGrid | None, prompt: str | None = None, note: str = "") -> None:
        """Draw a result, or `note` in its place; `prompt` is the text it is about."""
        if grid is None:
            self._publish({"layers": [], "prompt": prompt, "note": note}, {})
            return
        meta = {
            "prompt": prompt,
            "layers": list(grid.layers),
            "position": grid.position,
            "kind": grid.kind,
            "n_neurons": grid.n_neurons,
            "n_experts": grid.n_experts,
            "share": grid.share,
            "n_half": grid.n_half,
            "error": grid.error,
            "note": grid.note,
            "neurons": grid.neurons.tolist(),
            "promotes": _words(grid, grid.promoted_ids),
            "demotes": _words(grid, grid.demoted_ids),
            "lens": _words(grid, grid.lens_ids),
            "followed": grid.neuron,
            "prompt_visible": [piece.visible for piece in grid.prompt_pieces()],
            "experts": None if grid.experts is None else grid.experts.tolist(),
        }
        arrays: dict[str, FloatArray | None] = {
            "activations": grid.activations, "contributions": grid.contributions, "gates": grid.gates, "ups": grid.ups,
            "by_position": grid.by_position, "router_weights": grid.router_weights,
        }  # fmt: skip
        self._publish(
            meta, {name: np.asarray(array, np.float32) for name, array in arrays.items() if array is not None}
        )

    def recorded_traits(self) -> dict[str, Any]:
        """With the neuron that is followed as it is."""
        return {**super().recorded_traits(), "answered": False}

    def _forget(self, _change: object) -> None:
        self.neuron = None

    def to_text(self) -> str:
        """The neurons as a table: a row for each."""
        return neuron_text(NeuronRows(self.shown, place_of(self)))

    def _picture(self, theme: Theme, width: float) -> Picture:
        return neuron_picture(NeuronRows(self.shown, place_of(self)), width, theme)


def _words(grid: NeuronGrid, ids: IntArray | None) -> list[list[str]] | None:
    return None if ids is None else [[grid.pieces[int(token)].visible for token in row] for row in ids]


class NeuronsView(Page):
    """The strongest neurons of the chosen layer at the chosen position.

    Attributes:
        table: its view; `table.neuron` is the neuron that is followed over the prompt.
    """

    page_name = "neurons"
    page_title = "Neurons"
    choices: ClassVar[Mapping[str, str]] = {"neuron": "table.neuron"}
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {"neurons": (NeuronGrid,)}

    def __init__(self, grid: NeuronGrid | None = None, **selection: Any) -> None:
        self.table = NeuronTable(grid, **selection)
        super().__init__(self.table)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return (self.table,)

    @property
    def followed(self) -> tuple[int, int] | None:
        """Layer and number of the neuron that is followed; None while there is none."""
        return None if self.table.neuron is None else (self.table.layer, self.table.neuron)

    def show(self, grid: NeuronGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the page; `prompt` is the text it is about."""
        self.table.show(grid, prompt)

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """The neurons of the chosen layer."""
        # Of the last position -1 is asked, the same question after every edit: its answer goes on with the one before.
        position = standpoint.position if standpoint.position < len(standpoint.tokens) - 1 else -1
        question = Neurons(standpoint.layer, position, k=_SHOWN, neuron=self.table.neuron, n_tokens=_WORDS)
        return {"neurons": question}

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw the neurons."""
        self.show(answer, prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say why this layer has no neurons to be shown."""
        self.table.show(None, prompt, str(error))

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self.table.show(None, prompt)
