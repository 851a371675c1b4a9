"""How surprised is the model at every position, and how long are the prompts that it was made for?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from layerwidget.axes import along, extra
from layerwidget.questions.base import TraceQuestion
from layerwidget.results import BoolArray, FloatArray, Grid

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LossGrid(Grid):
    """The answer to `PositionLoss`.

    Attributes:
        nats: negative log likelihood of each token after those before it, shape [pos], >= 0; NaN at position 0, which
            nothing predicts, and for tokens that have no logit.
        n_ctx: the longest prompt that the model was trained for; None where it knows no limit.
        windows: how many positions the attention of each layer looks back at most, as its module says, shape [layer];
            None without a limit, and without attention.
        causal: whether it was seen that no position attends to a later one; None without attention, where it is taken
            on trust that none sees one.

    Source: science.md, "Position and length".
    """

    nats: FloatArray = field(metadata=along("pos", "nats"))
    n_ctx: int | None
    windows: tuple[int | None, ...] = field(metadata=along("layer", "positions", name="window"))
    causal: bool | None

    @property
    def n_extrapolated(self) -> int:
        """How many positions lie past the trained length."""
        return 0 if self.n_ctx is None else max(0, len(self.token_ids) - self.n_ctx)

    @property
    def extrapolated(self) -> BoolArray:
        """Which positions lie past the trained length, shape [pos]."""
        n_pos = len(self.token_ids)
        past: BoolArray = np.arange(n_pos) >= n_pos - self.n_extrapolated
        return past

    def to_pandas(self) -> pd.DataFrame:
        """One row per position: its token, its negative log likelihood, whether it is extrapolation."""
        pd = extra("pandas")

        return pd.DataFrame(
            {
                "pos": np.arange(len(self.token_ids)),
                "token": [piece.visible for piece in self.prompt_pieces()],
                "nats": self.nats,
                "extrapolated": self.extrapolated,
            }
        )


@dataclass(frozen=True)
class PositionLoss(TraceQuestion[LossGrid]):
    """How unlikely the model finds each token of the prompt, by position."""
