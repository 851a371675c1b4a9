"""Where each next token is decided: a bar per token over the layers, and over all tokens the share that is decided."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.figures.settle_figure import Settled, settle_picture, settle_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.layers import BANDS, band_layers
from layerwidget.questions.depth import DepthGrid
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured, place_of


class SettleStrip(Pictured, View, module="settle_strip"):
    """Columns are the tokens, rows the layers in view (last one on top).

    A cell is coloured where the layer's logit lens has the model's own next token among its `k` most probable, more
    where it is the most probable, and most where it is that for good. Beside it stands, for all layers, the share of
    positions whose prediction is settled by then, on the bands early, middle and late.

    Attributes:
        title: the name in the title line.
        placeholder: what stands in place of the picture while there is nothing to show.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer", "position")

    title = t.Unicode("Where predictions settle").tag(sync=True)
    placeholder = t.Unicode("Type a prompt, and where each next token is decided appears here.").tag(sync=True)

    def __init__(self, settled: DepthGrid | None = None, emerged: DepthGrid | None = None, **traits: Any) -> None:
        super().__init__(**traits)
        if settled is not None and emerged is not None:
            self.show(settled, emerged)

    def show(self, settled: DepthGrid | None, emerged: DepthGrid | None, prompt: str | None = None) -> None:
        """Draw the answers to `SettleDepth` and `Emergence` about one prompt; None clears the picture.

        Args:
            settled: from which layer on each prediction is made for good.
            emerged: at which layer it is among the `k` most probable first.
            prompt: the text they are about, by which the browser knows what is stale.

        Raises:
            ValueError: when they are about two prompts.
        """
        if settled is None or emerged is None:
            self._publish({"layers": [], "prompt": prompt}, {})
            return
        if not np.array_equal(settled.token_ids, emerged.token_ids):
            raise ValueError("Expected where predictions settle and emerge in one prompt; got two prompts.")
        self._bound_to(settled.n_layers, None)
        self._keep_within(len(settled.token_ids))
        bands = {name: band_layers(name, settled.n_layers) for name in BANDS}
        meta = {
            "prompt": prompt,
            "layers": list(settled.layers),
            "labels": [piece.visible for piece in settled.prompt_pieces()],
            "words": [settled.pieces[int(token)].visible for token in settled.final_ids],
            "k": emerged.k,
            "bands": {name: [layers[0], layers[-1]] for name, layers in bands.items() if layers},
            "shares": settled.shares(),
        }
        arrays = {
            "ranks": settled.final_ranks.astype(np.uint32),
            "settled": settled.layer.astype(np.int32),
            "emerged": emerged.layer.astype(np.int32),
        }
        self._publish(meta, arrays)

    def to_text(self) -> str:
        """How far each prediction is made, as a table: layers by tokens."""
        return settle_text(Settled(self.shown, place_of(self), self.title), self.placeholder)

    def _picture(self, theme: Theme, width: float) -> Picture:
        return settle_picture(Settled(self.shown, place_of(self), self.title), self.placeholder, width, theme)
