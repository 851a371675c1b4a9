"""What would be lost if a layer were skipped?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from layerwidget.axes import along, extra
from layerwidget.errors import PromptError
from layerwidget.layers import LayerSelection, frozen_selection, parse_layers
from layerwidget.questions.base import ModelQuestion
from layerwidget.results import FloatArray, Grid

if TYPE_CHECKING:
    import pandas as pd

    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.tokens import Tokens


@dataclass(frozen=True, eq=False)
class SkipGrid(Grid):
    """The answer to `SkipEffect`: every layer of `.layers` was skipped alone, beside what is changed anyway.

    Attributes:
        kl_nats: KL(full || skipped) of the predictions, shape [layer, pos], >= 0.
        nats: negative log likelihood of each token, nothing skipped, shape [pos]; NaN at position 0, and everywhere in
            models whose positions see what comes after them.
        skipped_nats: the same with the layer skipped, shape [layer, pos].
        block_influence: how much the layer turns the stream (`BlockInfluence`), shape [layer]: the two disagree.
        changed: what was changed in all passes, the full one too, in a few words, such as `skipping 5`; mostly nothing.

    Source: science.md, "Depth of a prediction".
    """

    kl_nats: FloatArray = field(metadata=along("layer pos", "nats"))
    nats: FloatArray = field(metadata=along("pos", "nats"))
    skipped_nats: FloatArray = field(metadata=along("layer pos", "nats"))
    block_influence: FloatArray = field(metadata=along("layer"))
    changed: str = ""

    @property
    def mean_kl_nats(self) -> FloatArray:
        """KL(full || skipped), mean over the positions, shape [layer]."""
        mean: FloatArray = self.kl_nats.mean(axis=1)
        return mean

    @property
    def last_kl_nats(self) -> FloatArray:
        """KL(full || skipped) at the last position, shape [layer]."""
        last: FloatArray = self.kl_nats[:, -1]
        return last

    @property
    def cross_entropy_nats(self) -> float:
        """Mean negative log likelihood of the tokens after the first, nothing skipped; NaN for a prompt of one."""
        return float(self.nats[1:].mean()) if len(self.nats) > 1 else float("nan")

    @property
    def cross_entropy_change_nats(self) -> FloatArray:
        """By how much that rises when the layer is skipped, shape [layer]; NaN for a prompt of one token."""
        if len(self.nats) < 2:
            return np.full(len(self.layers), np.nan, np.float32)
        change: FloatArray = (self.skipped_nats - self.nats)[:, 1:].mean(axis=1)
        return change

    @property
    def rank_correlation(self) -> float:
        """Spearman's rank correlation of `mean_kl_nats` and `block_influence`, -1 to 1.

        NaN where there are fewer than two layers, or one of the two is the same everywhere.
        """
        ranks = np.stack([_ranks(self.mean_kl_nats), _ranks(self.block_influence)])
        centred = ranks - ranks.mean(axis=1, keepdims=True)
        size = float(np.sqrt((centred**2).sum(axis=1).prod()))
        return float((centred[0] * centred[1]).sum()) / size if size else float("nan")

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer: KL (mean and last), change of cross-entropy, block influence."""
        pd = extra("pandas")

        return pd.DataFrame(
            {
                "layer": list(self.layers),
                "mean_kl_nats": self.mean_kl_nats,
                "last_kl_nats": self.last_kl_nats,
                "cross_entropy_change_nats": self.cross_entropy_change_nats,
                "block_influence": self.block_influence,
            }
        )


def _ranks(values: FloatArray) -> npt.NDArray[np.float64]:
    """The rank of each value from 0; equal ones share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = (ends - (counts + 1) / 2)[place]
    return ranks


@dataclass(frozen=True)
class SkipEffect(ModelQuestion[SkipGrid]):
    """How the predictions change when a layer returns its input, for each layer alone.

    Attributes:
        prompt: text, or token ids.
        layers: which layers are skipped, one at a time; see `layerwidget.layers`. Of an encoder-decoder, those of the
            decoder.
        interventions: what is changed in all passes, the full one too, such as `(SkipLayers("5"),)`. Nothing more is
            lost without a layer that they skip.
        target: of an encoder-decoder, what its decoder reads, as `HookedModel.trace` takes it: text or token ids.
        extrapolate: whether the prompt may be longer than the model was trained for.
    """

    prompt: str | tuple[int, ...]
    layers: LayerSelection = "all"
    interventions: tuple[object, ...] = ()
    target: str | tuple[int, ...] | None = None
    extrapolate: bool = False

    def __post_init__(self) -> None:
        """Make the question hashable.

        Raises:
            PromptError: when the prompt, or the target, is neither text nor a row of token ids.
        """
        object.__setattr__(self, "layers", frozen_selection(self.layers))
        object.__setattr__(self, "interventions", tuple(self.interventions))
        object.__setattr__(self, "prompt", _read(self.prompt))
        if self.target is not None:
            object.__setattr__(self, "target", _read(self.target))

    @classmethod
    def of_tokens(cls, tokens: Tokens, interventions: tuple[object, ...] = ()) -> SkipEffect:
        """Of what is on screen, read as it was read there: of an encoder-decoder source and target."""
        ids = tuple(tokens.ids.tolist())
        if tokens.source is None:
            return cls(ids, interventions=interventions, extrapolate=tokens.extrapolate)
        source = tuple(tokens.source.ids.tolist())
        return cls(source, interventions=interventions, target=ids, extrapolate=tokens.extrapolate)

    def n_passes(self, model: HookedModel) -> int:
        """One pass in full and one for each layer, less those for layers that the interventions skip anyway."""
        return 1 + len(parse_layers(self.layers, model.anatomy.n_layers))


def _read(text: object) -> str | tuple[int, ...]:
    """Text as it is, or token ids as a tuple."""
    if isinstance(text, str):
        return text
    try:
        return tuple(int(token) for token in text)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise PromptError(f"SkipEffect takes text or a row of token ids; got {text!r}.") from error
