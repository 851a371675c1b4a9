"""What heads do otherwise in a second result: where they look, what they take from there, and what they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from layerwidget.errors import QuestionError
from layerwidget.questions.attention import HeadGrid, rows_to_one
from layerwidget.questions.attention_flow import HeadScoreGrid
from layerwidget.questions.compared import AttentionDifference, ColumnDifference, Compared, TwoResults
from layerwidget.results import FloatArray


def of_attention(two: TwoResults) -> AttentionDifference:
    """Two `AttentionGrid`s, or two `ValueWeightedGrid`s."""
    a, b = _grids(two)
    heads = tuple(head for head in a.heads if head in b.heads)
    if not heads:
        raise QuestionError(f"The results hold no head in common: {a.heads} and {b.heads}.")
    moved = _moved(two, heads)
    return AttentionDifference(**vars(two), heads=heads, moved=moved, sink=_sink(two, heads))


def _sink(two: TwoResults, heads: tuple[int, ...]) -> Compared:
    """As `SinkGrid.share` has it."""
    a, b = (
        np.array([[_on_first(grid, layer, head) for head in heads] for layer in layers], np.float32)
        for grid, layers in zip(_grids(two), (two.layers, two.layers_b), strict=True)
    )
    unit = _grids(two)[0].unit
    return Compared.by_difference("taken from the first token" if unit else "sink share", unit, "one-sided", a, b)


def _on_first(grid: HeadGrid, layer: int, head: int) -> float:
    """What token 0 gets, mean over queries from 1 on; of a single token, everything."""
    column = grid.matrices[grid.row_of(layer), grid.heads.index(head), :, 0]
    return float(column[min(1, len(column) - 1) :].mean())


def _moved(two: TwoResults, heads: tuple[int, ...]) -> FloatArray:
    """Shape [layer, head]. Long prompts have large matrices: they are not laid into columns for it."""
    pairs, columns = two.alignment.pairs, two.alignment
    found = np.full((len(two.layers), len(heads)), np.nan, np.float32)
    if not len(pairs):
        return found
    at_a, at_b = pairs.T
    only_a, only_b = columns.a[columns.b < 0], columns.b[columns.a < 0]
    for row, layers in enumerate(zip(two.layers, two.layers_b, strict=True)):
        for place, head in enumerate(heads):
            a, b = (
                grid.matrices[grid.row_of(layer), grid.heads.index(head)][queries]
                for grid, layer, queries in zip(_grids(two), layers, (at_a, at_b), strict=True)
            )
            # A token that is not there gets nothing.
            gone = a[:, only_a].sum(dtype=np.float64) + b[:, only_b].sum(dtype=np.float64)
            moved = np.abs(b[:, at_b] - a[:, at_a]).sum(dtype=np.float64) + gone
            found[row, place] = moved / len(pairs) / 2
    return found


def _grids(two: TwoResults) -> tuple[HeadGrid, HeadGrid]:
    assert isinstance(two.a, HeadGrid)
    assert isinstance(two.b, HeadGrid)
    return two.a, two.b


def without_first(found: AttentionDifference, layer: int, head: int) -> tuple[Compared, float, float]:
    """A head's matrices without each prompt's first token, and the share of both that it had.

    The rest of each row of weights is scaled to sum to 1; lengths stay as they are. What looked at nothing else is an
    empty row. The share is over queries from 1 on, or the only one.
    """
    one = found.head(layer, head)
    sides = [
        _without_column(values, int(np.argmax(places == 0)), scaled=not found.unit)
        for values, places in ((one.a, found.alignment.a), (one.b, found.alignment.b))
        if values is not None
    ]
    (a, hidden_a), (b, hidden_b) = sides
    return replace(one, a=a, b=b, change=b - a), hidden_a, hidden_b


def _without_column(values: FloatArray, first: int, scaled: bool) -> tuple[FloatArray, float]:
    """Rows without one key, where `scaled` to sum to 1; and the share that it had in the rows of later queries."""
    gaps = np.isnan(values)
    rest = np.where(gaps, 0, values.astype(np.float64))
    later = ~gaps[:, first]
    later[first] = later.sum() == 1  # the only one
    share = float(rest[later, first].sum() / rest[later].sum())
    rest[:, first] = 0
    kept = np.where(gaps, np.nan, rows_to_one(rest) if scaled else rest)
    return kept.astype(np.float32), share


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
