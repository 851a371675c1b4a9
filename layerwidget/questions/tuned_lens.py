"""What would the model predict if it stopped at each layer, and that layer spoke the last one's language?"""

from __future__ import annotations

from dataclasses import dataclass

from layerwidget.errors import QuestionError
from layerwidget.layers import LayerSelection, frozen_selection
from layerwidget.questions.base import TraceQuestion
from layerwidget.questions.lens import LensGrid
from layerwidget.questions.translators import Translators


@dataclass(frozen=True)
class TunedLens(TraceQuestion[LensGrid]):
    """The logit lens on what translators make of each layer's input (Belrose et al. 2023).

    The answer is a `LensGrid` whose component is `tuned resid_pre`; its `kl_to_final_nats` says how far to trust it.

    Attributes:
        translators: one per layer: trained (`TrainTunedLens`), or read from a folder (`load_translators`).
        layers: layer selection, e.g. `"10-20"`; see `layerwidget.layers`. A row is about what *enters* its layer.
        k: how many of the most probable tokens to keep per cell.
        tokens: token ids whose rank and log-probability are wanted in every cell.
        jsd: whether the Jensen-Shannon divergence is wanted, too, as `LogitLens.jsd` says.

    Source: science.md, "Tuned lens".
    """

    translators: Translators
    layers: LayerSelection = "all"
    k: int = 5
    tokens: tuple[int, ...] = ()
    jsd: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if not isinstance(self.translators, Translators):
            raise QuestionError(
                f"TunedLens takes translators; got {type(self.translators).__name__}. "
                "Train them with TrainTunedLens, or read a folder with load_translators."
            )
        object.__setattr__(self, "layers", frozen_selection(self.layers))
        object.__setattr__(self, "tokens", tuple(int(token) for token in self.tokens))
        if self.k < 1:
            raise QuestionError(f"TunedLens keeps the k most probable tokens: expected k >= 1, got {self.k}.")
