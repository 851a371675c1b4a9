"""Direct logit attribution: which parts, heads and source tokens make a logit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import numpy as np

from layerwidget.errors import LayerWidgetError
from layerwidget.figures.sheets import HeatColumns, Sheet
from layerwidget.questions import TraceQuestion
from layerwidget.questions.attribution import AttributionGrid, DirectLogitAttribution, HeadSources, SourceGrid
from layerwidget.tokens import Piece
from layerwidget.widgets.attribution_figure import AttributionFigure
from layerwidget.widgets.attribution_panel import AttributionPanel
from layerwidget.widgets.heat_grid import HeatGrid
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.source_bars import SourceBars
from layerwidget.widgets.traits import SelectionTraits

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

_EMPTY = "Type a prompt, and what makes its next token appears here."
_NO_HEADS = "No layer of this model has attention heads."


class AttributionView(Page):
    """Heads by layer, the largest parts, the sum over the layers, and the source tokens of the chosen head.

    Attributes:
        heads, parts, curves, sources: its views. `parts.minus` is the token whose logit is taken off.
    """

    page_name = "attribution"
    page_title = "Attribution"
    choices: ClassVar[Mapping[str, str]] = {"minus": "parts.minus"}
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "attribution": (AttributionGrid,),
        "head_sources": (SourceGrid,),
    }

    def __init__(
        self,
        grid: AttributionGrid | None = None,
        sources: SourceGrid | None = None,
        *,
        pieces: Callable[[Iterable[int]], Mapping[int, Piece]] | None = None,
        **selection: Any,
    ) -> None:
        # Results come from the model's thread, pinned tokens from the reader's.
        self._offering = threading.RLock()
        self._pieces = pieces
        self._grid: AttributionGrid | None = None
        self._drawn: dict[str, tuple[Any, str | None]] = {}
        self.heads = HeatGrid(title="What each head gives", **selection)
        self.parts = AttributionPanel(answered=pieces is not None, **selection)
        self.curves = AttributionFigure(**selection)
        self.curves.layout = ipywidgets.Layout(flex="1 1 0", min_width="0")
        self.curves.talk_size = (298, 160)
        self.sources = SourceBars(**selection)
        row = ipywidgets.Layout(align_items="flex-start", width="100%", min_width="0", flex="1 1 auto")
        super().__init__(
            ipywidgets.HBox([self.heads, self.parts], layout=row).add_class("lw-row"),
            ipywidgets.HBox([self.curves, self.sources], layout=row).add_class("lw-row").add_class("lw-side"),
        )
        self.parts.observe(self._offer_words, ["tokens", "token", "minus"])
        if grid is not None:
            self.show(grid)
        if sources is not None:
            self.show_sources(sources)

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> AttributionView:
        """With a choice of tokens."""
        return cls(pieces=model.pieces, **shared)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return self.heads, self.parts, self.curves.driver, self.sources

    def show(self, grid: AttributionGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the page; `prompt` is the text it is about."""
        self._grid = grid
        self._offer_words(None)
        if grid is None:
            self._show_nothing(_EMPTY, prompt)
            return
        if grid.heads.shape[1]:
            sheet = Sheet("head", grid.heads, "logits", "signed", detail=_whose(grid))
            columns = HeatColumns.heads(range(grid.heads.shape[1]))
            self.heads.show([sheet], columns, layers=grid.layers, n_layers=grid.n_layers, prompt=prompt)
        else:
            self.heads.placeholder = _NO_HEADS
            self.heads.show(None, prompt=prompt)
        self.parts.show(grid, prompt)
        self.curves.show(grid, prompt)

    def show_sources(self, grid: SourceGrid | None, prompt: str | None = None) -> None:
        """Draw what a head takes from each token; None clears it."""
        self.sources.show(grid, prompt)

    @property
    def places(self) -> Mapping[str, tuple[ipywidgets.Widget, ...]]:
        """Parts and heads; and the sources of one head."""
        return {"attribution": (self.heads, self.parts, self.curves), "head_sources": (self.sources,)}

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """The parts and heads; and apart from them, so that another head costs no more, the sources of one head."""
        position = min(standpoint.position, len(standpoint.tokens) - 1)
        token, minus = standpoint.token, self.parts.minus
        return {
            "attribution": DirectLogitAttribution(token, minus, position),
            "head_sources": HeadSources(standpoint.layer, standpoint.head, token, minus, position),
        }

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw the parts and heads; or the sources; unless they are there already."""
        if self._drawn.get(name) == (answer, prompt):
            return
        self._drawn[name] = (answer, prompt)
        if name == "head_sources":
            self.show_sources(answer, prompt)
        else:
            self.show(answer, prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say why this model has no such sum, or this head cannot be told from the others."""
        self._drawn.pop(name, None)
        if name == "head_sources":
            self.sources.placeholder = str(error)
            self.sources.show(None, prompt)
        else:
            self._grid = None
            self._show_nothing(str(error), prompt)

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self._drawn.clear()
        self.show(None, prompt)
        self.sources.placeholder = _EMPTY
        self.sources.show(None, prompt)

    def _show_nothing(self, why: str, prompt: str | None) -> None:
        self.heads.placeholder = self.parts.placeholder = why
        self.heads.show(None, prompt=prompt)
        self.parts.show(None, prompt)
        self.curves.show(None, prompt)

    def _offer_words(self, _change: object) -> None:
        """The tokens to choose from: those that are pinned, and what the model itself thinks probable."""
        with self._offering:
            grid = self._grid
            if grid is not None:
                self.parts.words = self._words(grid)

    def _words(self, grid: AttributionGrid) -> list[tuple[int, str]]:
        chosen = [token for token in (grid.token, grid.minus, self.parts.minus) if token is not None]
        ids = list(dict.fromkeys([*self.parts.tokens, *grid.top_ids.tolist(), *chosen]))
        pieces = {**grid.pieces, **(self._pieces(ids) if self._pieces else {})}
        return [(token, pieces[token].visible) for token in ids if token in pieces]


def _whose(grid: AttributionGrid) -> str:
    word = f"to “{grid.pieces[grid.token].visible}”"
    word = word if grid.minus is None else f"{word} minus “{grid.pieces[grid.minus].visible}”"
    biases = grid.projection_biases[np.isfinite(grid.projection_biases)]
    return f"{word}; biases beside the heads give {biases.sum():+.3f}" if biases.any() else word
