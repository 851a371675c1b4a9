"""What one head takes from each token to a logit, as bars over the prompt."""

from __future__ import annotations

from typing import ClassVar

import traitlets as t

from layerwidget.figures.source_figure import Sources, source_picture, source_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.questions.attribution import SourceGrid
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured, place_of


class SourceBars(Pictured, View, module="source_bars"):
    """One bar for each position of the prompt; they sum to what the head gives.

    Attributes:
        placeholder: what stands in place of the bars while there is nothing to show.
    """

    heeds: ClassVar[tuple[str, ...]] = ("position",)

    placeholder = t.Unicode("Choose a head, and what it takes from each token appears here.").tag(sync=True)

    def show(self, grid: SourceGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the bars; `prompt` is the text it is about."""
        if grid is None:
            self._publish({"layers": [], "prompt": prompt}, {})
            return
        meta = {
            "prompt": prompt,
            "layers": list(grid.layers),
            "head": grid.head[1],
            "token": grid.pieces[grid.token].visible,
            "minus": None if grid.minus is None else grid.pieces[grid.minus].visible,
            "labels": [piece.visible for piece in grid.prompt_pieces()],
            "total": grid.total,
        }
        self._publish(meta, {"sources": grid.sources})

    def to_text(self) -> str:
        """The bars as a table: a row per token."""
        return source_text(Sources(self.shown, place_of(self)), self.placeholder)

    def _picture(self, theme: Theme, width: float) -> Picture:
        return source_picture(Sources(self.shown, place_of(self)), self.placeholder, width, theme)
