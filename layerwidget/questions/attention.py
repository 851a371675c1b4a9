"""Where does every head look?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from layerwidget.axes import along, naming
from layerwidget.errors import SelectionError
from layerwidget.layers import LayerSelection, frozen_selection
from layerwidget.questions.base import TraceQuestion
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray, Piece


@dataclass(frozen=True, eq=False)
class HeadGrid(Grid):
    """What every answer carries that has one matrix for each layer and head: query tokens down, key tokens across.

    Attributes:
        heads: query-head numbers, ascending.
        kv_heads: the key/value head that each of `heads` reads, same length; equal to `heads` without grouping.
        causal: whether no position attends to a later one.
        attention_layers: all layers of the model that have such matrices, ascending.
        quantity: what the numbers are, in a few words; empty where they are plain attention weights.
        unit: of the numbers; empty where they are shares of 1.
    """

    heads: tuple[int, ...] = field(metadata=naming("head"))
    kv_heads: tuple[int, ...] = field(metadata=naming("head", "kv_head"))
    causal: bool
    attention_layers: tuple[int, ...]

    quantity: ClassVar[str] = ""
    unit: ClassVar[str] = ""

    @property
    def matrices(self) -> FloatArray:
        """The numbers, shape [layer, head, query_pos, key_pos], >= 0."""
        raise NotImplementedError

    def key_pieces(self) -> list[Piece]:
        """The piece at each position that is looked at."""
        return self.prompt_pieces()

    def goes_on_with(self, before: HeadGrid | None, n_same: int) -> None:
        """Note that its first rows are those of an earlier result."""
        known = () if before is None else _marks.get(before, ())[:n_same]
        _marks[self] = (*known, *(object() for _ in range(len(self.token_ids) - len(known))))

    def n_alike(self, other: HeadGrid) -> int:
        """How many of the first rows of both are known to be the same numbers: one was made of the other by an edit."""
        if not self.causal or (self.layers, self.heads) != (other.layers, other.heads):
            return 0
        marks, others = _marks.get(self, ()), _marks.get(other, ())
        pairs = enumerate(zip(marks, others, strict=False))
        return next((row for row, (a, b) in pairs if a is not b), min(len(marks), len(others)))


#: Of results that an edit may go on with, one for each row: where two have the same one, they have the same numbers.
_marks: WeakKeyDictionary[HeadGrid, tuple[object, ...]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class AttentionGrid(HeadGrid):
    """The answer to `Attention`.

    Attributes:
        pattern: attention weights, shape [layer, head, query_pos, key_pos], 0 to 1, rows sum to 1.

    Source: science.md, "Attention".
    """

    pattern: FloatArray = field(metadata=along("layer head query_pos key_pos"))

    @property
    def matrices(self) -> FloatArray:
        """The pattern."""
        return self.pattern

    def mean(self, over: tuple[str, ...] = ("layer", "head")) -> FloatArray:
        """Mean pattern over the named axes (`layer`, `head`), e.g. shape [query_pos, key_pos]."""
        mean: FloatArray = self.pattern.mean(axis=_axes(over))
        return mean

    def max(self, over: tuple[str, ...] = ("layer", "head")) -> FloatArray:
        """Largest weight over the named axes (`layer`, `head`), e.g. shape [query_pos, key_pos]."""
        largest: FloatArray = self.pattern.max(axis=_axes(over))
        return largest


def rows_to_one(weights: np.ndarray) -> np.ndarray:
    """Weights, shape [..., query, key], each row scaled to sum to 1; a row without any weight stays empty."""
    total = weights.sum(-1, keepdims=True)
    scaled: np.ndarray = weights / np.where(total > 0, total, 1)
    return scaled


def _axes(over: tuple[str, ...]) -> tuple[int, ...]:
    names = ("layer", "head")
    unknown = [name for name in over if name not in names]
    if unknown or isinstance(over, str):
        raise SelectionError(f"Attention is averaged over a tuple of {names}; got {over!r}.")
    return tuple(names.index(name) for name in over)


@dataclass(frozen=True)
class HeadSelection:
    """Which heads a question is about.

    Attributes:
        layers: layer selection, e.g. `"10-12"`; those without attention are left out.
        heads: head selection in the same grammar.
    """

    layers: LayerSelection = "all"
    heads: LayerSelection = "all"

    def __post_init__(self) -> None:
        """Make the question hashable."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))
        object.__setattr__(self, "heads", frozen_selection(self.heads))


@dataclass(frozen=True)
class Attention(HeadSelection, TraceQuestion[AttentionGrid]):
    """Where every head looks: attention weights after the softmax."""


@dataclass(frozen=True, eq=False)
class CrossAttentionGrid(HeadGrid):
    """The answer to `CrossAttention`; `token_ids` are the target, which the decoder reads.

    Attributes:
        source_ids: the source, which the encoder reads, shape [source_pos].
        pattern: attention weights, shape [layer, head, target_pos, source_pos], 0 to 1, rows sum to 1.

    Source: science.md, "Attention".
    """

    source_ids: IntArray = field(metadata=naming("source_pos", "source_token_id"))
    pattern: FloatArray = field(metadata=along("layer head target_pos source_pos"))

    quantity: ClassVar[str] = "cross-attention"

    @property
    def matrices(self) -> FloatArray:
        """The pattern."""
        return self.pattern

    def key_pieces(self) -> list[Piece]:
        """The piece at each position of the source."""
        return [self.pieces[int(token_id)] for token_id in self.source_ids]

    def _ids_along(self, axis: str) -> IntArray | None:
        return self.source_ids if axis == "source_pos" else super()._ids_along(axis)


@dataclass(frozen=True)
class CrossAttention(HeadSelection, TraceQuestion[CrossAttentionGrid]):
    """Where every head of an encoder-decoder's decoder looks in the source: attention weights after the softmax."""
