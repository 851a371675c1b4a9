"""How deep in the model is a prediction made, and how much does each layer do?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwidget.axes import along, extra
from layerwidget.errors import QuestionError
from layerwidget.layers import BANDS, band_layers
from layerwidget.questions.base import DerivedQuestion, TraceQuestion
from layerwidget.questions.lens import LogitLens
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class DepthGrid(Grid):
    """The answer to `SettleDepth` and `Emergence`.

    Attributes:
        k: among how many most probable tokens the final one was looked for; 1 for `SettleDepth`.
        layer: the layer that was asked for at each position, shape [pos], 0 to `n_layers` - 1.
        final_ids: the model's own most probable next token, shape [pos].
        final_ranks: the rank that each layer's logit lens gives to `final_ids`, shape [layer, pos], 0 = most probable.

    Source: science.md, "Depth of a prediction".
    """

    k: int
    layer: IntArray = field(metadata=along("pos", name="found_layer"))
    final_ids: IntArray = field(metadata=along("pos"))
    final_ranks: IntArray = field(metadata=along("layer pos"))

    def shares(self) -> dict[str, float]:
        """At which share of the positions the layer lies in each band; sums to 1.

        Bands that hold no layer are left out.
        """
        bands = {name: band_layers(name, self.n_layers) for name in BANDS}
        return {name: float(np.isin(self.layer, layers).mean()) for name, layers in bands.items() if layers}

    def to_pandas(self) -> pd.DataFrame:
        """One row per position: its token, the token that is predicted there, and the layer."""
        pd = extra("pandas")

        return pd.DataFrame(
            {
                "pos": np.arange(len(self.token_ids)),
                "token": [piece.visible for piece in self.prompt_pieces()],
                "final_id": self.final_ids,
                "final_token": [self.pieces[int(token)].visible for token in self.final_ids],
                "layer": self.layer,
            }
        )


@dataclass(frozen=True, eq=False)
class InfluenceGrid(Grid):
    """The answer to `BlockInfluence`.

    Attributes:
        values: 1 - mean over positions of the cosine of what enters and what leaves the layer, shape [layer], 0 to 2.

    Source: science.md, "Depth of a prediction".
    """

    values: FloatArray = field(metadata=along("layer", name="block_influence"))

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer."""
        pd = extra("pandas")

        return pd.DataFrame({"layer": list(self.layers), "block_influence": self.values})


@dataclass(frozen=True, eq=False)
class AngleGrid(Grid):
    """The answer to `AngularDistance`. `.layers` are the layers at which a block of `n` can start.

    Attributes:
        n: how many layers a block has.
        values: angle between what enters and what leaves the block that starts at each layer, at the last position,
            as a share of half a turn, shape [layer], 0 to 1.

    Source: science.md, "Depth of a prediction".
    """

    n: int
    values: FloatArray = field(metadata=along("layer", "half turns", name="angular_distance"))

    @property
    def drop(self) -> int:
        """The first layer of the block that turns the stream least: the one to drop."""
        return self.layers[int(np.argmin(np.where(np.isnan(self.values), np.inf, self.values)))]

    def to_pandas(self) -> pd.DataFrame:
        """One row per block: its first layer, its last layer, and the angle."""
        pd = extra("pandas")

        first = np.array(self.layers)
        return pd.DataFrame({"layer": first, "last_layer": first + self.n - 1, "angular_distance": self.values})


class _OfLens(DerivedQuestion[DepthGrid]):
    """A question that any logit lens of all layers' streams answers."""

    @property
    def source(self) -> LogitLens:
        """The smallest of them."""
        return LogitLens(k=1)

    def reads(self, other: TraceQuestion[Any]) -> bool:
        """Whether it is one of them, whatever else it asks for."""
        return isinstance(other, LogitLens) and (other.layers, other.component) == ("all", "resid_post")


@dataclass(frozen=True)
class SettleDepth(_OfLens):
    """The first layer from which the logit lens names the model's own prediction for good, at every position."""


@dataclass(frozen=True)
class Emergence(_OfLens):
    """The first layer whose logit lens has the model's own prediction among its `k` most probable tokens.

    Attributes:
        k: how many; at least 1.
    """

    k: int = 10

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if self.k < 1:
            raise QuestionError(f"Emergence looks among the k most probable tokens: expected k >= 1, got {self.k}.")


@dataclass(frozen=True)
class BlockInfluence(TraceQuestion[InfluenceGrid]):
    """How much every layer turns the stream (ShortGPT, arXiv 2403.03853). Look at `SkipEffect` too: they disagree."""


@dataclass(frozen=True)
class AngularDistance(TraceQuestion[AngleGrid]):
    """How much every block of `n` layers turns the stream at the last position (arXiv 2403.17887).

    Attributes:
        n: how many layers a block has; at least 1.
    """

    n: int = 1

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if self.n < 1:
            raise QuestionError(f"AngularDistance compares blocks of n layers: expected n >= 1, got {self.n}.")
