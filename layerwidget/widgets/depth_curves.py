"""Curves over all layers at the chosen position: probability, rank, entropy, KL and JSD to the final prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import traitlets as t

from layerwidget.figures.curves import DATA_COLOUR, Curves, Quantity, Scale
from layerwidget.questions.lens import LensGrid
from layerwidget.results import FloatArray
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.logit_lens_view import followed_arrays
from layerwidget.widgets.traits import MAX_PINNED, PIN_COLOURS

QUANTITIES = {
    "probability": Quantity("probability", "probability", "probability of the words"),
    "rank": Quantity("rank", "rank + 1", "rank of the words + 1, log scale"),
    "entropy": Quantity("entropy", "nats", "entropy in nats"),
    "kl": Quantity("KL", "nats", "KL(final || layer) in nats"),
    "jsd": Quantity("JSD", "nats", "Jensen-Shannon divergence of the final prediction and the layer's, 0 to ln 2 nats"),
}
_NO_JSD = "the Jensen-Shannon divergence is not known: LogitLens(jsd=True) asks for it"


class DepthCurves(LayerFigure):
    """A figure whose x axis is the layer; the layers in view are shaded, the chosen layer is marked.

    `probability` and `rank` follow the pinned tokens, or the model's own answer where none is pinned.

    Attributes:
        quantity: one of `probability`, `rank`, `entropy`, `kl`, `jsd`; the last one needs a lens that was asked for it.
        driver: carries the shared selection traits (`layers`, `layer`, `position`, `tokens`, `group`).
        lines: the bqplot lines; read their `x` and `y`.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = QUANTITIES
    follows: ClassVar[tuple[str, ...]] = ("position", "tokens")
    labelled: ClassVar[bool] = False

    quantity = t.Enum(tuple(QUANTITIES), "probability")

    def __init__(self, lens: LensGrid | None = None, *, quantity: str = "probability", **selection: Any) -> None:
        self._lens: LensGrid | None = None
        if lens is not None and lens.tokens:
            selection = {"tokens": list(lens.tokens[:MAX_PINNED]), **selection}
        super().__init__(title="Over layers", quantity=quantity, **selection)
        self.add_class("lw-depth")
        if lens is not None:
            self.show(lens)

    def show(self, lens: LensGrid | None, prompt: str | None = None) -> None:
        """Draw a result of all layers, perhaps in part; None clears the figure; `prompt` is the text it is about."""
        with self._drawing:
            self._lens = lens
            self._renew(None if lens is None else lens.n_layers, prompt)

    def recorded_words(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The words that are pinned, at every position, and those that were followed, at theirs."""
        lens = self._lens
        if lens is None:
            return {}, {}
        arrays = followed_arrays(lens)
        ids = {*lens.tokens, *(() if lens.followed_ids is None else np.unique(lens.followed_ids).tolist())}
        words = {
            "visible": {str(token): lens.pieces[token].visible for token in sorted(ids)},
            "tokens": list(lens.tokens), "layers": list(lens.layers), "n_pos": len(lens.token_ids),
            "colours": list(PIN_COLOURS), "quantities": ["probability", "rank"],
        }  # fmt: skip
        pinned = {"token_ranks": lens.token_ranks.astype(np.uint32), "token_log_probs": lens.token_log_probs}
        return words, {**arrays, **pinned}

    def _curves(self) -> Curves | None:
        lens = self._at_hand()
        if lens is None:
            return None
        position = min(self.driver.position, len(lens.token_ids) - 1)
        values, names, colours = self._followed(lens, position)
        word = lens.prompt_pieces()[position].visible
        what = "" if lens.component == "resid_post" else f" · {lens.decoded}"
        detail = f"{QUANTITIES[self.quantity].axis} after “{word}”{what}"
        if self.quantity == "jsd" and lens.jsd_nats is None:
            detail = _NO_JSD
        return Curves(lens.layers, values, names, colours, self._scale(lens, values), detail)

    def _at_hand(self) -> LensGrid | None:
        """The result, where all layers are computed at the chosen position."""
        lens = self._lens
        if lens is None or lens.done is None:
            return lens
        return lens if lens.done[:, min(self.driver.position, len(lens.token_ids) - 1)].all() else None

    def _followed(self, lens: LensGrid, position: int) -> tuple[FloatArray, list[str], list[str]]:
        """Values of shape [curve, layer], names and colours."""
        if self.quantity == "entropy":
            return lens.entropy_nats[None, :, position], ["entropy of each layer's prediction"], [DATA_COLOUR]
        if self.quantity == "kl":
            return lens.kl_to_final_nats[None, :, position], ["KL(final || layer)"], [DATA_COLOUR]
        if self.quantity == "jsd":
            jsd = np.full_like(lens.entropy_nats, np.nan) if lens.jsd_nats is None else lens.jsd_nats
            return jsd[None, :, position], ["JSD(final, layer)"], [DATA_COLOUR]
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

    def _scale(self, lens: LensGrid, values: FloatArray) -> Scale:
        if self.quantity == "rank":
            return Scale.ranks(lens.d_vocab)
        if self.quantity == "jsd":
            # Its bound is at hand: ln 2 = 0.69.
            return Scale.fitting(values, at_least=0.7)
        return Scale.shares() if self.quantity == "probability" else Scale.fitting(values, at_least=1.0)
