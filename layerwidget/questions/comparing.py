"""What differs between two results: of two prompts, or of two models that read the same tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from layerwidget.axes import Along, Series, Tabular, along, extra, naming
from layerwidget.errors import QuestionError, SelectionError
from layerwidget.layers import depth
from layerwidget.questions.alignment import Alignment, aligned, in_columns
from layerwidget.questions.attention import AttentionGrid
from layerwidget.questions.lens import LensGrid
from layerwidget.questions.residual import ResidualGrid
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray

if TYPE_CHECKING:
    import pandas as pd

#: Which layers of two models are compared: those of the same number, or those at the same share of the depth.
Match = Literal["layer", "depth"]


@dataclass(frozen=True, eq=False)
class Compared(Tabular):
    """One quantity of two results, in the columns that both share. All have shape [layer, column].

    Attributes:
        name: what it is.
        unit: of `a` and `b`.
        kind: what it can be: `one-sided` (from 0), `signed`, or `log` (above 0).
        a, b: its values in both results; NaN where the result has no such token; None for what both have together.
        change: `b - a`; of a `log` quantity log2(b / a); NaN where one of them has no value.
        change_unit: of `change`.
        ids_a, ids_b: the token ids that it is about, int64; -1 where the result has no such token; None where it is
            about none.
    """

    name: str
    unit: str
    kind: Literal["one-sided", "signed", "log"]
    a: FloatArray | None = field(metadata=along("row column"))
    b: FloatArray | None = field(metadata=along("row column"))
    change: FloatArray = field(metadata=along("row column"))
    change_unit: str
    ids_a: IntArray | None = field(default=None, metadata=along("row column"))
    ids_b: IntArray | None = field(default=None, metadata=along("row column"))

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for values in (self.a, self.b, self.change, self.ids_a, self.ids_b):
            if values is not None:
                values.setflags(write=False)


@dataclass(frozen=True, eq=False)
class _Two(Tabular):
    """Two results of one kind. `L` rows (`.layers`), as many columns as `.alignment` has.

    Attributes:
        a, b: the results.
        alignment: which of their tokens stand beside each other.
        layers, layers_b: the layers of both that are compared, row by row; in models of the same depth,
            the same numbers.
    """

    a: Grid
    b: Grid
    alignment: Alignment
    layers: tuple[int, ...] = field(metadata=naming("layer"))
    layers_b: tuple[int, ...] = field(metadata=naming("layer", "layer_b"))

    def row_of(self, layer: int) -> int:
        """Index of the row of a layer of the first result.

        Raises:
            SelectionError: when that layer is not compared.
        """
        if layer not in self.layers:
            raise SelectionError(f"The layers {self.layers} are compared; layer {layer} is not among them.")
        return self.layers.index(layer)


@dataclass(frozen=True, eq=False)
class Difference(_Two):
    """What differs between two results by layer and token.

    Attributes:
        quantities: name -> both values and their difference.
    """

    quantities: Mapping[str, Compared]

    def __getitem__(self, name: str) -> Compared:
        """One of `quantities`.

        Raises:
            SelectionError: when there is none of that name.
        """
        if name not in self.quantities:
            raise SelectionError(f"There is no quantity {name!r}. There are: {', '.join(self.quantities)}.")
        return self.quantities[name]

    def series(self) -> Iterator[Series]:
        """Both tokens of every column, and of every quantity its values in both results and their difference."""
        yield from super().series()
        for name, grid, positions in (("A", self.a, self.alignment.a), ("B", self.b, self.alignment.b)):
            words = [piece.visible for piece in grid.prompt_pieces()]
            told = Along(("column",), is_coordinate=True)
            yield Series(f"pos {name}", told, positions)
            yield Series(f"token {name}", told, np.array([words[at] if at >= 0 else "" for at in positions], dtype=str))
        for one in self.quantities.values():
            values = {"A": (one.a, one.unit), "B": (one.b, one.unit), "change": (one.change, one.change_unit)}
            for key, (array, unit) in values.items():
                if array is not None:
                    yield Series(f"{one.name} ({key})", Along(("layer", "column"), unit), array)

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer and column: both tokens, and of every quantity `(A)`, `(B)` and `(change)`."""
        pd = extra("pandas")

        size = len(self.alignment)
        columns: dict[str, Any] = {"layer": np.repeat(self.layers, size)}
        for name, grid, positions in (("A", self.a, self.alignment.a), ("B", self.b, self.alignment.b)):
            words = [piece.visible for piece in grid.prompt_pieces()]
            columns[f"pos {name}"] = np.tile(positions, len(self.layers))
            columns[f"token {name}"] = [words[at] if at >= 0 else None for at in positions] * len(self.layers)
        for one in self.quantities.values():
            values = {"A": one.a, "B": one.b, "change": one.change}
            columns |= {f"{one.name} ({key})": array.ravel() for key, array in values.items() if array is not None}
        return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class AttentionDifference(_Two):
    """What differs between the attention of two results.

    Attributes:
        heads: the heads that are compared, ascending.
        moved: how much of its weight each head puts elsewhere in the second result, shape [layer, head], 0 to 1: the
            mean, over the queries that stand beside each other, of half the sum of |difference| over all keys. A token
            that is not there gets no weight. NaN where no queries stand beside each other.
        sink: the share of its weight that each head rests on token 0, in both results, shape [layer, head]: the mean
            over queries from 1 on.
    """

    heads: tuple[int, ...] = field(metadata=naming("head"))
    moved: FloatArray = field(metadata=along("layer head"))
    sink: Compared

    def head(self, layer: int, head: int) -> Compared:
        """One head's weights in both results and their difference, shape [query column, key column].

        Raises:
            SelectionError: when that head is not compared.
        """
        if head not in self.heads:
            raise SelectionError(f"The heads {self.heads} are compared; head {head} is not among them.")
        row = self.row_of(layer)
        a = _matrix(self.a, self.layers[row], head, self.alignment.a)
        b = _matrix(self.b, self.layers_b[row], head, self.alignment.b)
        return Compared(f"layer {layer}, head {head}", "", "one-sided", a, b, b - a, "")


def difference(a: Grid, b: Grid, match: Match = "layer") -> Difference | AttentionDifference:
    """What differs between two results of one kind: `LensGrid`, `ResidualGrid` or `AttentionGrid`.

    Args:
        a: a result.
        b: another one, of another prompt, or of another model that reads the same tokens.
        match: which layers are compared: those of the same number (`layer`); or, of models of different depth, those
            at the nearest share of the depth (`depth`).

    Returns:
        A `Difference`, or of attention an `AttentionDifference`; always `b` against `a`.

    Raises:
        QuestionError: when the results are of different kinds, when the models number their tokens differently, when
            one has more layers than the other and `match` is `layer`, or when there is nothing in common to compare.
    """
    if type(a) is not type(b) or type(a) not in _COMPARED:
        kinds = f"{type(a).__name__} and {type(b).__name__}"
        raise QuestionError(f"Expected two LensGrids, two ResidualGrids or two AttentionGrids to compare; got {kinds}.")
    _check_tokens(a, b)
    layers = _layers(a, b, match)
    two = _Two(a, b, aligned(a.token_ids, b.token_ids), *map(tuple, zip(*layers, strict=True)))
    return _COMPARED[type(a)](two)


def _check_tokens(a: Grid, b: Grid) -> None:
    """Token ids must mean the same to both models."""
    for number in a.pieces.keys() & b.pieces.keys():
        one, other = a.pieces[number].visible, b.pieces[number].visible
        if one != other:
            raise QuestionError(
                f"{a.model_name} and {b.model_name} number their tokens differently: id {number} is “{one}” in the "
                f"one, “{other}” in the other. Models are compared when they have the same tokenizer."
            )


def _layers(a: Grid, b: Grid, match: Match) -> list[tuple[int, int]]:
    """The layers that are compared: of `a`, and beside each the one of `b`."""
    if match == "depth":
        places = [(layer, round(depth(layer, a.n_layers) * (b.n_layers - 1))) for layer in a.layers]
    elif a.n_layers == b.n_layers:
        places = [(layer, layer) for layer in a.layers]
    else:
        raise QuestionError(
            f"{a.model_name} has {a.n_layers} layers, {b.model_name} has {b.n_layers}: no layer of the one is that of "
            "the other. Compare those at the same share of the depth with match='depth'."
        )
    found = [(layer, other) for layer, other in places if other in b.layers]
    if not found:
        raise QuestionError(f"The results hold no layer in common: {a.layers} and {b.layers}.")
    return found


# What is compared

_Measure = Callable[[_Two], Compared]


def _measure(name: str, unit: str, kind: Any, of: Callable[[Any], FloatArray], two: _Two) -> Compared:
    """A quantity of each result alone, shape [layer, pos], and its difference."""
    a = in_columns(of(two.a)[[two.a.row_of(layer) for layer in two.layers]], two.alignment.a)
    b = in_columns(of(two.b)[[two.b.row_of(layer) for layer in two.layers_b]], two.alignment.b)
    if kind != "log":
        return Compared(name, unit, kind, a, b, b - a, unit)
    a, b = (np.where(values > 0, values, np.nan).astype(np.float32) for values in (a, b))
    return Compared(name, unit, kind, a, b, np.log2(b / a).astype(np.float32), "log2(B / A)")


def _compared(measures: Callable[[Any, Any], Iterator[_Measure]], two: _Two) -> Difference:
    quantities = {one.name: one for one in (measure(two) for measure in measures(two.a, two.b))}
    return Difference(**vars(two), quantities=quantities)


def _of_lens(a: LensGrid, b: LensGrid) -> Iterator[_Measure]:
    if a.component != b.component:
        raise QuestionError(f"The one lens decodes {a.component}, the other {b.component}: ask both for the same.")
    yield partial(_measure, "entropy", "nats", "one-sided", lambda grid: grid.entropy_nats)
    yield partial(_measure, "KL to the final prediction", "nats", "one-sided", lambda grid: grid.kl_to_final_nats)
    yield partial(_measure, "top-1 probability", "", "one-sided", lambda grid: grid.max_prob)
    yield partial(_measure, "probability of the final prediction", "", "one-sided", lambda grid: grid.final_probs)
    yield _agreement
    for token in a.tokens:
        if token in b.tokens:
            name = f"log-probability of “{a.pieces[token].visible}”"
            yield partial(_measure, name, "nats", "signed", partial(_log_probs, token))


def _log_probs(token: int, grid: LensGrid) -> FloatArray:
    log_probs: FloatArray = grid.token_log_probs[..., grid.tokens.index(token)]
    return log_probs


def _agreement(two: _Two) -> Compared:
    """1 where both predict the same token, 0 where they do not."""
    tops = [
        np.where(positions >= 0, grid.top_ids[[grid.row_of(layer) for layer in layers]][:, positions, 0], -1)
        for grid, layers, positions in _both(two)
    ]
    same = np.where(np.minimum(*tops) < 0, np.nan, tops[0] == tops[1]).astype(np.float32)
    return Compared("same top-1 token", "", "one-sided", None, None, same, "1 = the same", *tops)


def _both(two: _Two) -> tuple[tuple[Any, tuple[int, ...], Any], ...]:
    return (two.a, two.layers, two.alignment.a), (two.b, two.layers_b, two.alignment.b)


def _of_residual(a: ResidualGrid, b: ResidualGrid) -> Iterator[_Measure]:
    for name in reversed(a.components):
        if name in b.components:
            yield partial(_measure, f"norm of {name}", "", "log", partial(_norms, name))
    yield partial(_measure, "cosine with the layer before", "", "signed", lambda grid: grid.cos_previous)
    yield partial(_measure, "cosine with the final stream", "", "signed", lambda grid: grid.cos_final)


def _norms(component: str, grid: ResidualGrid) -> FloatArray:
    return grid.norm(component)


def _of_attention(two: _Two) -> AttentionDifference:
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


def _sink(two: _Two, heads: tuple[int, ...]) -> Compared:
    """As `SinkGrid.share` has it."""
    a, b = (
        np.array([[_on_first(grid, layer, head) for head in heads] for layer in layers], np.float32)
        for grid, layers, _ in _both(two)
    )
    return Compared("sink share", "", "one-sided", a, b, b - a, "")


def _on_first(grid: AttentionGrid, layer: int, head: int) -> float:
    """The share on token 0, mean over queries from 1 on; of a single token, everything."""
    column = grid.pattern[grid.row_of(layer), grid.heads.index(head), :, 0]
    return float(column[min(1, len(column) - 1) :].mean())


def _moved(two: _Two, layer: int, layer_b: int, head: int) -> float:
    both = (two.alignment.a >= 0) & (two.alignment.b >= 0)
    if not both.any():
        return float("nan")
    a = np.nan_to_num(_matrix(two.a, layer, head, two.alignment.a)[both])
    b = np.nan_to_num(_matrix(two.b, layer_b, head, two.alignment.b)[both])
    return float(np.abs(b - a).sum(axis=-1).mean() / 2)


def _matrix(grid: Any, layer: int, head: int, positions: Any) -> FloatArray:
    """A head's weights in columns, shape [query column, key column]; NaN where there is no such query or key."""
    keys = in_columns(grid.pattern[grid.row_of(layer), grid.heads.index(head)], positions)
    return in_columns(keys.T, positions).T


#: Kind of results -> their difference.
_COMPARED: Mapping[type, Callable[[_Two], Difference | AttentionDifference]] = {
    LensGrid: partial(_compared, _of_lens),
    ResidualGrid: partial(_compared, _of_residual),
    AttentionGrid: _of_attention,
}
