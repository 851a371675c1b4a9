"""What heads do otherwise in a second result: where they look, what they take from there, and what they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwidget.errors import QuestionError
from layerwidget.questions.attention import HeadGrid
from layerwidget.questions.attention_flow import HeadScoreGrid
from layerwidget.questions.compared import AttentionDifference, ColumnDifference, Compared, TwoResults, matrix
from layerwidget.results import FloatArray


def of_attention(two: TwoResults) -> AttentionDifference:
    """Two `AttentionGrid`s, or two `ValueWeightedGrid`s."""
    a: Any = two.a
    b: Any = two.b
    heads = tuple(head for head in a.heads if head in b.heads)
    if not heads:
        raise QuestionError(f"The results hold no head in common: {a.heads} and {b.heads}.")
    moved = [
        [_moved(two, layer, layer_b, head) for head in heads]
        for layer, layer_b in zip(two.layers, two.layers_b, strict=True)
    ]
    return AttentionDifference(**vars(two), heads=heads, moved=np.array(moved, np.float32), sink=_sink(two, heads))


def _sink(two: TwoResults, heads: tuple[int, ...]) -> Compared:
    """As `SinkGrid.share` has it."""
    a, b = (
        np.array([[_on_first(grid, layer, head) for head in heads] for layer in layers], np.float32)
        for grid, layers in ((two.a, two.layers), (two.b, two.layers_b))
    )
    unit = two.a.unit if isinstance(two.a, HeadGrid) else ""
    return Compared.by_difference("taken from the first token" if unit else "sink share", unit, "one-sided", a, b)


def _on_first(grid: Any, layer: int, head: int) -> float:
    """What token 0 gets, mean over queries from 1 on; of a single token, everything."""
    column = grid.matrices[grid.row_of(layer), grid.heads.index(head), :, 0]
    return float(column[min(1, len(column) - 1) :].mean())


def _moved(two: TwoResults, layer: int, layer_b: int, head: int) -> float:
    both = (two.alignment.a >= 0) & (two.alignment.b >= 0)
    if not both.any():
        return float("nan")
    a = np.nan_to_num(matrix(two.a, layer, head, two.alignment.a)[both])
    b = np.nan_to_num(matrix(two.b, layer_b, head, two.alignment.b)[both])
    return float(np.abs(b - a).sum(axis=-1).mean() / 2)


def of_scores(two: TwoResults) -> ColumnDifference:
    """Two `HeadScoreGrid`s of one kind, on one sequence."""
    a: Any = two.a
    b: Any = two.b
    if a.kind != b.kind:
        raise QuestionError(f"The one result scores {a.kind}, the other {b.kind}: ask both for the same.")
    if not np.array_equal(a.token_ids, b.token_ids):
        raise QuestionError("The heads were scored on two sequences: ask both with the same n_tokens and seed.")
    heads = tuple(range(min(a.values.shape[1], b.values.shape[1])))
    values = (_rows(grid, layers)[:, : len(heads)] for grid, layers in ((a, two.layers), (b, two.layers_b)))
    scores = Compared.by_difference(a.kind, "", "one-sided", *values)
    return ColumnDifference(
        **vars(two), columns=tuple(map(str, heads)), heads=heads, quantities={a.kind: scores}, about=""
    )


def _rows(grid: HeadScoreGrid, layers: tuple[int, ...]) -> FloatArray:
    return grid.values[[grid.row_of(layer) for layer in layers]]
