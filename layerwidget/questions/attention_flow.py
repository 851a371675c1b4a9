"""What attention carries: weights times the size of what is read, attention through all layers, and what heads do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from layerwidget.axes import along, extra
from layerwidget.errors import QuestionError
from layerwidget.layers import LayerSelection, frozen_selection
from layerwidget.questions.attention import HeadGrid, HeadSelection
from layerwidget.questions.base import ModelQuestion, TraceQuestion
from layerwidget.results import FloatArray, Grid

if TYPE_CHECKING:
    import pandas as pd

    from layerwidget.model.hooked_model import HookedModel

#: What `HeadScores` measures.
KINDS = ("induction", "previous", "duplicate")


@dataclass(frozen=True, eq=False)
class ValueWeightedGrid(HeadGrid):
    """The answer to `ValueWeightedAttention`.

    Attributes:
        norms: length of what each head writes of each position, shape [layer, head, query_pos, key_pos], >= 0, in units
            of the raw attention output (before a post-norm or multiplier).

    Source: Kobayashi et al. 2020, arXiv 2004.10102; science.md, "Attention".
    """

    norms: FloatArray = field(metadata=along("layer head query_pos key_pos", "units of the raw attention output"))

    quantity: ClassVar[str] = "value-weighted"
    unit: ClassVar[str] = "units"

    @property
    def matrices(self) -> FloatArray:
        """The norms."""
        return self.norms


@dataclass(frozen=True, eq=False)
class SinkGrid(Grid):
    """The answer to `AttentionSink`; `layers` are those that have attention.

    Attributes:
        on_first: each position's weight on token 0, shape [layer, head, query_pos], 0 to 1; NaN where a layer has no
            such head.
        on_learned: each position's weight on learned sinks, extra columns of the softmax that are no position (as in
            GPT-OSS): what its row of the pattern lacks, shape [layer, head, query_pos], 0 to 1; zeros without.

    Source: science.md, "Attention".
    """

    on_first: FloatArray = field(metadata=along("layer head query_pos"))
    on_learned: FloatArray = field(metadata=along("layer head query_pos"))

    @property
    def share(self) -> FloatArray:
        """The share of all attention that rests on token 0, shape [layer, head], 0 to 1: mean over queries from 1 on.

        NaN where a layer has no such head. Of a single token, everything: it sees nothing else.
        """
        return _mean_after_the_first(self.on_first)

    @property
    def learned_share(self) -> FloatArray:
        """The share of all attention that goes to learned sinks, shape [layer, head], 0 to 1: over the same queries."""
        return _mean_after_the_first(self.on_learned)


def _mean_after_the_first(weights: FloatArray) -> FloatArray:
    """Mean over queries from 1 on, or the only one; [layer, head, query_pos] -> [layer, head]."""
    mean: FloatArray = weights[:, :, min(1, weights.shape[-1] - 1) :].mean(-1)
    return mean


@dataclass(frozen=True, eq=False)
class RolloutGrid(Grid):
    """The answer to `AttentionRollout`; `layers` are those that were multiplied.

    Attributes:
        rollout: how much of each position's stream comes from each position, by attention and the stream alone,
            shape [query_pos, key_pos], 0 to 1. Rows sum to 1; with `hides_first`, row 0 of a causal
            model is zeros.
        hides_first: whether attention to token 0 was taken out, and the rest made to sum to 1 again.
        hidden_mass: how much attention was taken out, mean over heads, shape [layer, query_pos], 0 to 1; zeros when
            nothing was.

    Source: Abnar & Zuidema 2020, arXiv 2005.00928; science.md, "Attention".
    """

    rollout: FloatArray = field(metadata=along("query_pos key_pos"))
    hides_first: bool
    hidden_mass: FloatArray = field(metadata=along("layer query_pos"))

    @property
    def note(self) -> str:
        """What must be said beside the picture; empty when nothing was hidden."""
        if not self.hides_first:
            return ""
        mass = float(self.hidden_mass[:, 1:].mean()) if self.hidden_mass.shape[1] > 1 else 1.0
        return f"Attention to token 0 is left out ({mass:.0%} of it all)."


@dataclass(frozen=True, eq=False)
class HeadScoreGrid(Grid):
    """The answer to `HeadScores`; `token_ids` are the random sequence, repeated twice.

    Attributes:
        kind: what was measured.
        values: mean attention weight, shape [layer, head], 0 to 1; NaN where a layer has no such head.
    """

    of_prompt: ClassVar[bool] = False

    kind: str
    values: FloatArray = field(metadata=along("layer head", name="score"))

    def largest(self, k: int) -> tuple[tuple[int, int, float], ...]:
        """The k heads with the highest scores, as (layer, head, score), the highest first."""
        cells = [
            (layer, head, float(score))
            for layer, row in zip(self.layers, self.values, strict=True)
            for head, score in enumerate(row)
            if score == score
        ]
        return tuple(sorted(cells, key=lambda cell: -cell[2])[:k])

    def to_pandas(self) -> pd.DataFrame:
        """One row per head: columns `layer`, `head`, `score`."""
        pd = extra("pandas")

        return pd.DataFrame(self.largest(self.values.size), columns=["layer", "head", "score"])


@dataclass(frozen=True)
class ValueWeightedAttention(HeadSelection, TraceQuestion[ValueWeightedGrid]):
    """How much each head really takes from where: `|| alpha_ij f(x_j) ||_2`, `f(x)` = value through the head's W_O."""


@dataclass(frozen=True)
class AttentionSink(TraceQuestion[SinkGrid]):
    """How much of its attention each head rests on token 0.

    Attributes:
        layers: layer selection; those without attention are left out.
    """

    layers: LayerSelection = "all"

    def __post_init__(self) -> None:
        """Make the question hashable."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))


@dataclass(frozen=True)
class AttentionRollout(TraceQuestion[RolloutGrid]):
    """Attention through a range of layers: `A' = 0.5 mean_h A + 0.5 I`, rows renormalised, `R = A'_b ... A'_a`.

    Attributes:
        layers: layer selection; those without attention pass the stream on as it is.
        hide_first: whether to take out attention to token 0; None to do so for causal models, whose rollout otherwise
            collapses onto it.
    """

    layers: LayerSelection = "all"
    hide_first: bool | None = None

    def __post_init__(self) -> None:
        """Make the question hashable."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))


@dataclass(frozen=True)
class HeadScores(ModelQuestion[HeadScoreGrid]):
    """What heads do on a random sequence that is repeated twice: mean attention weight at one offset.

    Attributes:
        kind: `induction` (in the second half, to what came after the same token: offset n_tokens - 1), `duplicate`
            (in the second half, to the same token: offset n_tokens) or `previous` (everywhere, offset 1).
        n_tokens: length of the sequence before it is repeated.
        seed: of the sequence.
    """

    kind: str = "induction"
    n_tokens: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if self.kind not in KINDS:
            raise QuestionError(f"HeadScores measures one of {KINDS}; got kind={self.kind!r}.")
        if self.n_tokens < 2:
            raise QuestionError(f"HeadScores repeats a sequence of 2 or more tokens; got n_tokens={self.n_tokens}.")

    def n_passes(self, model: HookedModel) -> int:
        """One."""
        return 1


@dataclass(frozen=True)
class AllHeadScores(ModelQuestion[tuple[HeadScoreGrid, ...]]):
    """All `KINDS` of `HeadScores` from one pass, in that order.

    Attributes:
        n_tokens: length of the sequence before it is repeated.
        seed: of the sequence.
    """

    n_tokens: int = 50
    seed: int = 0

    def of_kind(self, kind: str) -> HeadScores:
        """The question for one of them."""
        return HeadScores(kind, self.n_tokens, self.seed)

    def n_passes(self, model: HookedModel) -> int:
        """One."""
        return 1
