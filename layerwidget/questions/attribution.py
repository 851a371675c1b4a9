"""Which parts of the model make a logit?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from layerwidget.axes import along, extra, naming
from layerwidget.questions.base import TraceQuestion
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class AttributionGrid(Grid):
    """The answer to `DirectLogitAttribution`. All numbers are in units of logits, and add up.

    Attributes:
        position: at which position the next token is predicted.
        token: whose logit it is.
        minus: whose logit is taken off; None for one token alone.
        top_ids: the tokens that the model thinks most probable there, best first, shape [k].
        logit: the model's own logit, or difference of two, before its output transform.
        error: `logit` minus the sum of `values`: rounding alone. More than 1e-4 of the largest logit at this position
            is refused in fp32, and more than 8 steps of the model's own precision in any other.
        names: what the parts are: `embed` (what enters the first layer; where that begins with a norm on the stream,
            what leaves the norm), `attn0`, `mlp0`, ..., `norm_bias` (of the final norm), `head_bias`.
        part_layers: the layer of each part, or None.
        values: what each part gives, shape [part].
        heads: what each attention head gives, shape [layer, head]; NaN where a layer has no heads that can be told
            apart.
        projection_biases: what the bias of each layer's attention projection gives, with that of a norm after it, shape
            [layer]; zeros without one, NaN where heads are. A layer's heads and this make up its `attn`.
        head: layer and number of the head that is split over the positions it reads; or None.
        sources: what it takes from each position, shape [key_pos]; None without `head`.
        note: what else must be said, in whole sentences; mostly nothing.

    Source: science.md, "Direct logit attribution".
    """

    position: int
    token: int
    minus: int | None
    top_ids: IntArray = field(metadata=along("k", name="top_id"))
    logit: float
    error: float
    names: tuple[str, ...] = field(metadata=naming("part"))
    part_layers: tuple[int | None, ...] = field(metadata=naming("part", "part_layer"))
    values: FloatArray = field(metadata=along("part", "logits", name="logit"))
    heads: FloatArray = field(metadata=along("layer head", "logits", name="head_logit"))
    projection_biases: FloatArray = field(metadata=along("layer", "logits", name="projection_bias_logit"))
    head: tuple[int, int] | None
    sources: FloatArray | None = field(metadata=along("key_pos", "logits"))
    note: str

    def largest(self, k: int) -> tuple[tuple[str, float], ...]:
        """The k parts that give most, up or down, as (name, logit), the largest first."""
        order = np.argsort(-np.abs(self.values), kind="stable")[:k]
        return tuple((self.names[index], float(self.values[index])) for index in order)

    def to_pandas(self) -> pd.DataFrame:
        """One row per part, the error last: columns `part`, `layer`, `logit`."""
        pd = extra("pandas")

        return pd.DataFrame(
            {
                "part": [*self.names, "error"],
                "layer": pd.array([*self.part_layers, None], dtype="Int64"),
                "logit": [*self.values.tolist(), self.error],
            }
        )


@dataclass(frozen=True)
class DirectLogitAttribution(TraceQuestion[AttributionGrid]):
    """What every part adds to the logit of a token, with the final norm's scale frozen at the final stream.

    Attributes:
        token: a token id; None for the token that the model itself thinks most probable.
        minus: the id of another token, for the difference of the two logits; or None.
        position: where the next token is predicted; negative numbers count from the end.
        head: layer and number of a head to split over the positions that it reads; or None.
    """

    token: int | None = None
    minus: int | None = None
    position: int = -1
    head: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Make the question hashable."""
        if self.head is not None:
            layer, head = self.head
            object.__setattr__(self, "head", (int(layer), int(head)))


@dataclass(frozen=True, eq=False)
class SourceGrid(Grid):
    """The answer to `HeadSources`. All numbers are in units of logits; `layers` holds the head's layer alone.

    Attributes:
        position: at which position the next token is predicted.
        token: whose logit it is.
        minus: whose logit is taken off; None for one token alone.
        head: layer and number of the head.
        sources: what it takes from each position, shape [key_pos]. They sum to what the head gives.

    Source: science.md, "Direct logit attribution".
    """

    position: int
    token: int
    minus: int | None
    head: tuple[int, int]
    sources: FloatArray = field(metadata=along("key_pos", "logits"))

    @property
    def total(self) -> float:
        """What the head gives to the logit."""
        return float(self.sources.sum(dtype=np.float64))

    def to_pandas(self) -> pd.DataFrame:
        """One row per position: columns `pos`, `token`, `logit`."""
        pd = extra("pandas")

        words = [piece.visible for piece in self.prompt_pieces()]
        return pd.DataFrame({"pos": np.arange(len(words)), "token": words, "logit": self.sources})


@dataclass(frozen=True)
class HeadSources(TraceQuestion[SourceGrid]):
    """What one head takes from every position it reads to the logit of a token: `sources` alone, without the rest.

    Attributes:
        layer, head: which head.
        token, minus, position: as in `DirectLogitAttribution`.
    """

    layer: int
    head: int
    token: int | None = None
    minus: int | None = None
    position: int = -1
