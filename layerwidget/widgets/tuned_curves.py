"""Curves over layers about a tuned lens: how far to trust it here, and what training has done on held-out text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from layerwidget.figures.curves import DATA_COLOUR, Curves, Quantity, Scale
from layerwidget.questions.lens import LensGrid
from layerwidget.questions.tuned_lens_training import TunedLensTraining
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.traits import PIN_COLOURS

#: What is drawn of the tuned lens; of the logit lens it is `DATA_COLOUR`.
TUNED_COLOUR = PIN_COLOURS[1]
_PLAIN, _TUNED = "logit lens", "tuned lens"


class TrustCurves(LayerFigure):
    """How far each layer's prediction is from the model's own, at the chosen position, by the logit and tuned lens."""

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "kl": Quantity("KL to final", "KL(final || layer), nats", "0: the lens says what the model says"),
        "probability": Quantity("final word", "probability", "probability of the model's own most probable word"),
    }

    def __init__(self, **selection: Any) -> None:
        self._plain: LensGrid | None = None
        self._tuned: LensGrid | None = None
        super().__init__(title="How far to trust the lens here", **selection)

    def show(self, plain: LensGrid | None, tuned: LensGrid | None, prompt: str | None = None) -> None:
        """Draw the logit lens on `resid_pre` of all layers, and the tuned lens where there is one.

        Either may be there in part. `prompt` is the text that both are about.
        """
        with self._drawing:
            self._plain, self._tuned = plain, tuned
            grid = plain or tuned
            self._renew(None if grid is None else grid.n_layers, prompt)

    def _curves(self) -> Curves | None:
        lenses = ((_PLAIN, DATA_COLOUR, self._plain), (_TUNED, TUNED_COLOUR, self._tuned))
        drawn = [(name, colour, lens) for name, colour, lens in lenses if lens is not None and self._is_done(lens)]
        if not drawn:
            return None
        names, colours, grids = zip(*drawn, strict=True)
        position = self._position(grids[0])
        kl = self.quantity == "kl"
        values = np.stack([(lens.kl_to_final_nats if kl else lens.final_probs)[:, position] for lens in grids])
        scale = Scale.fitting(values, at_least=1.0) if kl else Scale.shares()
        final = grids[0].pieces[int(grids[0].final_ids[position])].visible
        word = grids[0].prompt_pieces()[position].visible
        detail = f"after “{word}”" + ("" if kl else f", probability of “{final}”")
        return Curves(grids[0].layers, values, names, colours, scale, f"{detail} · what enters each layer")

    def _position(self, lens: LensGrid) -> int:
        return min(self.driver.position, len(lens.token_ids) - 1)

    def _is_done(self, lens: LensGrid) -> bool:
        return lens.done is None or bool(lens.done[:, self._position(lens)].all())


class HeldOutCurves(LayerFigure):
    """Mean KL to the final prediction on text that was held out, before and after training."""

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "kl": Quantity("KL to final", "mean KL(final || layer), nats", "mean over the held-out positions"),
    }
    follows: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **selection: Any) -> None:
        self._training: TunedLensTraining | None = None
        super().__init__(title="Held-out text", **selection)

    def show(self, training: TunedLensTraining | None) -> None:
        """Draw what training has done; None clears the figure."""
        with self._drawing:
            self._training = training
            self._renew(None if training is None else len(training.kl_nats), None)

    def _curves(self) -> Curves | None:
        training = self._training
        if training is None:
            return None
        values = np.stack([training.untrained_kl_nats, training.kl_nats])
        detail = f"{training.n_held_out:,} positions that were not trained on"
        names = [f"before: {_PLAIN}", f"after: {_TUNED}"]
        scale = Scale.fitting(values, at_least=0.1)
        return Curves(range(len(values[0])), values, names, [DATA_COLOUR, TUNED_COLOUR], scale, detail)
