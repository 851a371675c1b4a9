"""The largest parts of a logit as bars, with the choice of its tokens."""

from __future__ import annotations

from typing import Any, ClassVar

import traitlets as t

from layerwidget.figures.source_figure import Parts, parts_picture, parts_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.questions.attribution import AttributionGrid
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured, place_of

#: How many parts have a bar of their own.
N_PARTS = 12


class AttributionPanel(Pictured, View, module="attribution_panel"):
    """Whose logit it is, its largest parts, all others in one, and the error: together they are the logit.

    Attributes:
        minus: the id of the token whose logit is taken off, or None; whoever answers hears of a change.
        answered: whether somebody answers; else the tokens cannot be chosen.
        words: the tokens to choose from, as (id, text).
        placeholder: what stands there while there is nothing to show.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layer", "token")

    minus = t.Int(None, allow_none=True).tag(sync=True)
    answered = t.Bool(False).tag(sync=True)
    words = t.List(t.Tuple(t.Int(), t.Unicode())).tag(sync=True)
    placeholder = t.Unicode().tag(sync=True)

    def show(self, grid: AttributionGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the panel; `prompt` is the text it is about."""
        if grid is None:
            self._publish({"layers": [], "prompt": prompt}, {})
            return
        self._bound_to(grid.n_layers, None)
        layers = dict(zip(grid.names, grid.part_layers, strict=True))
        largest = grid.largest(N_PARTS)
        n_others = len(grid.names) - len(largest)
        meta = {
            "prompt": prompt,
            "layers": list(grid.layers),
            "after": grid.prompt_pieces()[grid.position].visible,
            "position": grid.position,
            "token": grid.pieces[grid.token].visible,
            "minus": None if grid.minus is None else grid.pieces[grid.minus].visible,
            "own": grid.pieces[int(grid.top_ids[0])].visible,
            "logit": grid.logit,
            "error": grid.error,
            "parts": [{"name": name, "layer": layers[name], "logit": value} for name, value in largest],
            "n_others": n_others,
            # What is left of the logit when the parts above and the error are taken off.
            "others": grid.logit - grid.error - sum(value for _, value in largest) if n_others else 0.0,
            "note": grid.note,
        }
        self._publish(meta, {})

    picture_width: ClassVar[float] = 320
    kept_width: ClassVar[float | None] = 320

    def to_text(self) -> str:
        """The parts as a table: a row for each."""
        return parts_text(Parts(self.shown, place_of(self)), self.placeholder)

    def _picture(self, theme: Theme, width: float) -> Picture:
        return parts_picture(Parts(self.shown, place_of(self)), self.placeholder, theme, width)

    def recorded_traits(self) -> dict[str, Any]:
        """Without a choice of tokens."""
        return {**super().recorded_traits(), "answered": False}
