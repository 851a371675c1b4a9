"""Attention rollout: through all layers of a range, which token has to do with which."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.figures.attention_figure import Rollout, rollout_picture, rollout_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.layers import format_layers
from layerwidget.questions.attention_flow import RolloutGrid
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured, place_of


class RolloutView(Pictured, View, module="rollout_view"):
    """One matrix: query tokens down, key tokens across; the colour says how much of the one comes from the other.

    Attributes:
        hide_first: whether attention to token 0 is taken out; whoever answers hears of a change.
        can_hide: whether somebody answers, so that there is a switch for it.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "position")

    hide_first = t.Bool(True).tag(sync=True)
    can_hide = t.Bool(False).tag(sync=True)

    def __init__(self, rollout: RolloutGrid | None = None, **traits: Any) -> None:
        if rollout is not None:
            first = {"layers": format_layers(rollout.layers), "layer": rollout.layers[-1]}
            traits = {**first, "hide_first": rollout.hides_first, **traits}
        super().__init__(**traits)
        if rollout is not None:
            self.show(rollout)

    def show(self, rollout: RolloutGrid | None, prompt: str | None = None, note: str = "") -> None:
        """Draw a result, or `note` in its place; `prompt` is the text it answers."""
        if rollout is None:
            self._publish({"layers": [], "n_pos": 0, "prompt": prompt, "note": note}, {})
            return
        self._bound_to(rollout.n_layers, None)
        self._keep_within(len(rollout.token_ids))
        weights = rollout.rollout
        causal = not np.triu(weights, 1).any()
        meta = {
            "prompt": prompt,
            "layers": list(rollout.layers),
            "n_pos": len(rollout.token_ids),
            "causal": causal,
            "hides_first": rollout.hides_first,
            "note": rollout.note,
            "prompt_visible": [piece.visible for piece in rollout.prompt_pieces()],
        }
        rows = weights[np.tri(len(weights), dtype=bool)] if causal else weights
        self._publish(meta, {"rollout": rows})

    kept_width: ClassVar[float | None] = 440

    def to_text(self) -> str:
        """The matrix as a table: queries down, keys across."""
        return rollout_text(Rollout(self.shown, place_of(self)))

    def _picture(self, theme: Theme, width: float) -> Picture:
        return rollout_picture(Rollout(self.shown, place_of(self)), width, theme)

    def recorded_traits(self) -> dict[str, Any]:
        """Without a switch for the first token, and with the layers that it stays at."""
        return {**super().recorded_traits(), "can_hide": False, "recorded": self.layers}
