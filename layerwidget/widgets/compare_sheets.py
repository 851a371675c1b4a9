"""What is compared, as sheets of heat grids: A, B, or what differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from typing import Literal, TypeAlias

import numpy as np

from layerwidget.figures.sheets import HeatColumns, Sheet, TextArray
from layerwidget.questions.compared import AttentionDifference, ColumnDifference, Compared, Difference
from layerwidget.questions.depth import DepthGrid
from layerwidget.questions.neurons import ActivationGrid
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray

Mode: TypeAlias = Literal["change", "a", "b"]
#: Names of sheets.
TOP = "top-1 token"
#: The name of the quantity that the words are taken from.
_SAME = "same top-1 token"


def columns_of(found: Difference | ColumnDifference, mode: Mode) -> HeatColumns:
    """The columns of what differs: tokens of both prompts; or heads, and parts that cannot be chosen."""
    if isinstance(found, Difference):
        return shared_columns(found, mode)
    kind = "neuron " if isinstance(found.a, ActivationGrid) else ""
    columns = zip(found.columns, found.heads, strict=True)
    names = tuple(f"{kind}{one}" if head < 0 else f"head {head}" for one, head in columns)
    if not any(head >= 0 for head in found.heads):
        return HeatColumns(found.columns, "column", names=names)
    return HeatColumns(found.columns, "head", found.heads, names)


def sheets_of(found: Difference | ColumnDifference, mode: Mode) -> Iterator[Sheet]:
    """All quantities that both results have; what differs of the lens, in words, too."""
    if isinstance(found, ColumnDifference):
        yield from (_sheet(one, mode, found.about) for one in found.quantities.values())
    elif isinstance(found.a, DepthGrid):
        yield _depth_sheet(found, mode)
    else:
        if _SAME in found.quantities:
            yield _words_sheet(found, mode)
        yield from (_sheet(one, mode) for one in found.quantities.values() if one.a is not None)


def head_sheets(found: AttentionDifference, mode: Mode) -> Iterator[Sheet]:
    """How much each head moves, and what rests on the first token."""
    if mode == "change":
        detail = f"{found.quantity or 'weight'} moved"
        limit = None if found.unit else 1.0
        yield Sheet("moved attention", found.moved, found.unit, "one-sided", limit, detail=detail)
    yield _sheet(found.sink, mode, "" if found.unit else "weight on the first token")


def score_sheet(found: ColumnDifference, mode: Mode, layers: tuple[int, ...], heads: tuple[int, ...]) -> Sheet:
    """What heads are, in the rows and columns of a map of heads; NaN where they were not scored."""
    (one,) = found.quantities.values()
    sheet = _sheet(one, mode, "on a repeated random sequence")
    values = np.full((len(layers), len(heads)), np.nan, np.float32)
    rows = [row for row, layer in enumerate(layers) if layer in found.layers]
    columns = [column for column, head in enumerate(heads) if head in found.heads]
    there = np.ix_([found.row_of(layers[row]) for row in rows], [found.heads.index(heads[at]) for at in columns])
    values[np.ix_(rows, columns)] = sheet.values[there]
    return Sheet(sheet.name, values, sheet.unit, sheet.kind, sheet.limits, detail=sheet.detail)


def in_rows(sheet: Sheet, layers: tuple[int, ...], of: tuple[int, ...]) -> Sheet:
    """A sheet with the rows of more layers; NaN where it has none."""
    if layers == of:
        return sheet
    values = np.full((len(of), sheet.values.shape[1]), np.nan, np.float32)
    values[[of.index(layer) for layer in layers if layer in of]] = sheet.values[[layer in of for layer in layers]]
    return replace(sheet, values=values)


def shared_columns(found: Difference, mode: Mode) -> HeatColumns:
    """The columns of both prompts; a click picks the position in the first one, where it has one."""
    words_a, words_b = ([piece.visible for piece in grid.prompt_pieces()] for grid in (found.a, found.b))
    labels, names = [], []
    for at_a, at_b in zip(found.alignment.a.tolist(), found.alignment.b.tolist(), strict=True):
        word_a, word_b = words_a[at_a] if at_a >= 0 else "", words_b[at_b] if at_b >= 0 else ""
        label = (word_b or word_a) if mode == "b" else (word_a or word_b)
        labels.append(f"{word_a}→{word_b}" if mode == "change" and word_a and word_b and word_a != word_b else label)
        place_a = f"“{word_a}” ({at_a})" if word_a else "no token"
        names.append(f"A {place_a}, B {f'“{word_b}” ({at_b})' if word_b else 'no token'}")
    return HeatColumns(tuple(labels), "position", tuple(found.alignment.a.tolist()), tuple(names))


def _sheet(one: Compared, mode: Mode, detail: str = "") -> Sheet:
    """A quantity that both results have."""
    assert one.a is not None
    assert one.b is not None
    if mode == "change":
        return Sheet(one.name, one.change, one.change_unit, "signed", detail=detail)
    limits = _limits(one, one.a, one.b)
    return Sheet(one.name, one.a if mode == "a" else one.b, one.unit, one.kind, limits, detail=detail)


def _words_sheet(found: Difference, mode: Mode) -> Sheet:
    """What each layer would predict, by its probability; of the change, what B predicts where that is another token."""
    same, probability = found[_SAME], found["top-1 probability"]
    ids_a, ids_b, prob_a, prob_b = same.ids_a, same.ids_b, probability.a, probability.b
    assert ids_a is not None
    assert ids_b is not None
    assert prob_a is not None
    assert prob_b is not None
    words_a, words_b = _words_of(found.a, ids_a), _words_of(found.b, ids_b)
    if mode != "change":
        words, values = (words_a, prob_a) if mode == "a" else (words_b, prob_b)
        in_full = np.where(np.isnan(values), "", _joined("“", words, "”"))
        return Sheet(TOP, values, limits=1.0, words=words, in_full=in_full)
    other = same.change == 0
    values = np.where(np.isnan(same.change), np.nan, np.where(other, prob_b, 0)).astype(np.float32)
    changed = _joined("A “", words_a, "”, B “", words_b, "”, probability in B")
    in_full = np.where(np.isnan(values), "", np.where(other, changed, _joined("“", words_a, "” in both")))
    detail = "B’s word where A has another one, by its probability"
    return Sheet(TOP, values, limits=1.0, detail=detail, words=np.where(other, words_b, ""), in_full=in_full)


def _depth_sheet(found: Difference, mode: Mode) -> Sheet:
    """From which layer on a prediction is settled, as steps; the line below says the layers."""
    reached, layer = found.quantities.values()
    sheet = _sheet(reached, mode)
    assert layer.a is not None
    assert layer.b is not None
    # The layer is one of the token: the same in every row.
    said = [_from_layer(a, b, mode) for a, b in zip(layer.a[0].tolist(), layer.b[0].tolist(), strict=True)]
    in_full = np.where(np.isfinite(sheet.values), np.array(said, np.str_), "")
    k = found.a.k if isinstance(found.a, DepthGrid) else 1
    names = "names the model’s own next token for good"
    detail = f"whether the lens {names if k == 1 else f'has had the model’s own next token among its first {k}'}"
    return Sheet(reached.name, sheet.values, "", sheet.kind, 1.0, detail=detail, in_full=in_full)


def _from_layer(a: float, b: float, mode: Mode) -> str:
    if mode == "change":
        return f"A from layer {a:.0f} on, B from layer {b:.0f} on, B − A {b - a:+.0f}"
    return f"from layer {a if mode == 'a' else b:.0f} on"


def _joined(*parts: str | TextArray) -> TextArray:
    joined: TextArray = np.asarray(reduce(np.char.add, parts))
    return joined


def _words_of(grid: Grid, ids: IntArray) -> TextArray:
    """The token of each id; nothing where there is none."""
    known, at = np.unique(ids, return_inverse=True)
    words = np.array(["" if one < 0 else grid.pieces[int(one)].visible for one in known], dtype=np.str_)
    laid: TextArray = words[at].reshape(ids.shape)
    return laid


def _limits(one: Compared, a: FloatArray, b: FloatArray) -> float | tuple[float, float]:
    """The same ends for both, so that equal colours are equal numbers."""
    ends = [Sheet(one.name, values, kind=one.kind).ends for values in (a, b)]
    high = max(end[1] for end in ends)
    return (min(end[0] for end in ends), high) if one.kind == "log" else high
