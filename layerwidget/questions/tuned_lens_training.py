"""Translators that are trained on a text of the user's."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwidget.axes import Tabular, along, extra
from layerwidget.errors import PromptError, QuestionError
from layerwidget.questions.base import ModelQuestion
from layerwidget.questions.passages import SHORTEST, cut_up, framed, spread
from layerwidget.questions.translators import Translators
from layerwidget.results import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from layerwidget.model.hooked_model import HookedModel

#: Most that the streams of the text may take.
_HELD_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class TunedLensTraining(Tabular):
    """The answer to `TrainTunedLens`.

    The held-out positions also choose which state of a layer is kept, so its KL is a little flattered.

    Attributes:
        translators: what was trained.
        untrained_kl_nats: mean KL(final || layer) of the logit lens on `resid_pre` over the held-out positions,
            shape [layer], >= 0.
        kl_nats: the same with the trained translators, shape [layer]; never larger.
        curves: the same after each epoch, shape [layer, epoch], the first before any; NaN after training stopped.
        n_train: how many positions it was trained on.
        held_out: the token ids of the passages that were held out; `n_held_out` positions in all.

    Source: science.md, "Tuned lens".
    """

    translators: Translators
    untrained_kl_nats: FloatArray = field(metadata=along("layer", "nats"))
    kl_nats: FloatArray = field(metadata=along("layer", "nats"))
    curves: FloatArray = field(metadata=along("layer epoch", "nats"))
    n_train: int
    held_out: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def n_held_out(self) -> int:
        """How many positions were held out."""
        return sum(map(len, self.held_out))

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer: held-out KL untrained and trained, and how many epochs were run."""
        pd = extra("pandas")

        return pd.DataFrame(
            {
                "layer": np.arange(len(self.kl_nats)),
                "untrained_kl_nats": self.untrained_kl_nats,
                "kl_nats": self.kl_nats,
                "epochs": np.isfinite(self.curves).sum(axis=1) - 1,
            }
        )


@dataclass(frozen=True)
class TrainTunedLens(ModelQuestion[TunedLensTraining]):
    """Translators that are trained on a text to minimise KL(final || layer), by Adam from zero, layer by layer.

    The text is cut into passages; some are held out. Of each layer the state with the smallest held-out KL is kept,
    be it the untrained one.

    Attributes:
        texts: a text, or several texts or rows of token ids.
        epochs: how often each layer sees the text at most. Of an epoch that does not make the held-out KL smaller a
            part is kept, or nothing, and steps get shorter; after three such epochs the layer is left.
        max_positions: of a longer text, passages of about so many tokens in all are taken, spread over it. Their stream
            is held in memory, `4 * (n_layers + 1) * d_model` bytes each; where that would be more than 1 GiB, fewer are
            taken.
        held_out: the share of the passages that is held out, above 0 and below 1.
        learning_rate: of the biases, in standard deviations of the stream per step; weights have it divided by the root
            of the width. It falls to zero over the epochs.
        weight_decay: by which share of the learning rate weights shrink at each step.
        seed: of what is held out and of the order of the positions; the same seed gives the same translators.

    Source: science.md, "Tuned lens".
    """

    texts: str | tuple[str | tuple[int, ...], ...]
    epochs: int = 3
    max_positions: int = 2048
    held_out: float = 0.2
    learning_rate: float = 0.05
    weight_decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Make the question hashable, and check what can be checked without a model.

        Raises:
            PromptError: when the texts are neither texts nor rows of token ids.
            QuestionError: when a number is out of its range.
        """
        texts = (self.texts,) if isinstance(self.texts, str) else self.texts
        object.__setattr__(self, "texts", _frozen_texts(texts))
        for name, fits, wanted in (
            ("epochs", self.epochs >= 1, ">= 1"),
            ("max_positions", self.max_positions >= 2, ">= 2"),
            ("held_out", 0 < self.held_out < 1, "above 0 and below 1"),
            ("learning_rate", self.learning_rate > 0, "> 0"),
            ("weight_decay", self.weight_decay >= 0, ">= 0"),
        ):
            if not fits:
                raise QuestionError(f"TrainTunedLens expects {name} {wanted}; got {getattr(self, name)}.")

    def n_passes(self, model: HookedModel) -> int:
        """How many passages of the text are run through the model, one pass each; training comes after them.

        Raises:
            QuestionError: for a text that is too short, or an encoder-decoder.
            PromptError: when the model cannot read the text.
        """
        return len(self.passages(model))

    def cost(self, model: HookedModel) -> str:
        """The passes, and the training that comes after them.

        Raises:
            What `n_passes` raises.
        """
        passages, n_layers = self.passages(model), model.anatomy.n_layers
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        layers = "the layer" if n_layers == 1 else f"each of {n_layers} layers"
        return f"{len(passages)} forward passes, then {epochs} over {sum(map(len, passages))} tokens for {layers}"

    def passages(self, model: HookedModel) -> list[tuple[int, ...]]:
        """The token ids of the passages that are used, in the text's order.

        Raises:
            What `n_passes` raises.
        """
        if model.anatomy.encoder is not None:
            raise QuestionError(f"TrainTunedLens reads one text; {model.name} is an encoder-decoder, which reads two.")
        texts = [framed(text, model) for text in self.texts]
        per_position = 4 * (model.anatomy.n_layers + 1) * model.anatomy.d_model
        most = min(self.max_positions, _HELD_BYTES // per_position)
        cut = spread(cut_up(texts, model.n_ctx, most), most)
        if len(cut) < 2:
            n_tokens = sum(len(text.ids) for text in texts)
            raise QuestionError(
                f"A tuned lens is trained on some passages and judged on others, so it takes a text of {2 * SHORTEST} "
                f"tokens or more; this one has {n_tokens}. A few thousand are better."
            )
        for passage in cut:
            model.check_tokens(model.tokenize(list(passage)))
        return cut


def _frozen_texts(texts: Any) -> tuple[str | tuple[int, ...], ...]:
    try:
        return tuple(text if isinstance(text, str) else tuple(int(token) for token in text) for text in texts)
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"TrainTunedLens takes a text, or texts and rows of token ids; got {repr(texts)[:80]}."
        ) from error
