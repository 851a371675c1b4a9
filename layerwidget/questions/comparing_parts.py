"""What makes something up in a second result otherwise: a logit by part and head, or what an FFN gives by neuron."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwidget.errors import QuestionError
from layerwidget.questions.attribution import AttributionGrid
from layerwidget.questions.compared import ColumnDifference, Compared, TwoResults
from layerwidget.questions.neurons import ActivationGrid
from layerwidget.results import FloatArray
from layerwidget.tokens import IntArray

#: How many neurons are compared.
MOST_NEURONS = 24

#: What the parts of an attribution that belong to no layer are called, and whether they come before the first one.
_OF_NO_LAYER = {"embed": True, "norm_bias": False, "head_bias": False}


def of_attribution(two: TwoResults) -> ColumnDifference:
    """Two `AttributionGrid`s of one token: a column for each kind of part, and one for each head.

    What enters the first layer stands in its row, the biases after the last layer in that one's.
    """
    a: Any = two.a
    b: Any = two.b
    if (a.token, a.minus) != (b.token, b.minus):
        raise QuestionError(f"The one attribution is of {_logit(a)}, the other of {_logit(b)}: ask both for the same.")
    kinds = _kinds(a, b)
    heads = tuple(range(min(a.heads.shape[1], b.heads.shape[1])))
    values = [
        np.concatenate([_parts(grid, layers, kinds), _heads(grid, layers, len(heads))], axis=1)
        for grid, layers in ((a, two.layers), (b, two.layers_b))
    ]
    return ColumnDifference(
        **vars(two),
        columns=(*kinds, *(f"h{head}" for head in heads)),
        heads=(*(-1 for _ in kinds), *heads),
        quantities={"logits": Compared.by_difference("logits", "logits", "signed", *values)},
        about=f"{_logit(a)}: A {a.logit:.3f}{_place(a)}, B {b.logit:.3f}{_place(b)}, B − A {b.logit - a.logit:+.3f}",
    )


def of_neurons(two: TwoResults) -> ColumnDifference:
    """Two `ActivationGrid`s: a column for each of the neurons that are strongest in either, the strongest first."""
    a: Any = two.a
    b: Any = two.b
    numbers = np.union1d(a.neurons, b.neurons)
    contributions = [_of_numbers(grid.contributions, grid, numbers) for grid in (a, b)]
    strongest = np.argsort(-np.nan_to_num(contributions).max(axis=0), kind="stable")[:MOST_NEURONS]
    activations = [_of_numbers(grid.activations, grid, numbers) for grid in (a, b)]
    activation, contribution = ([values[None, strongest] for values in both] for both in (activations, contributions))
    quantities = {
        "activation": Compared.by_difference("activation", "", "signed", *activation),
        "contribution": Compared.by_difference("contribution", "units", "one-sided", *contribution),
    }
    columns = tuple(str(number) for number in numbers[strongest])
    other = "" if two.layers == two.layers_b else f" / B: layer {two.layers_b[0]}"
    place = _place(a) if _place(a) == _place(b) else f"{_place(a)} / B:{_place(b)}"
    about = f"neurons of layer {two.layers[0]}{other}{place}"
    return ColumnDifference(
        **vars(two), columns=columns, heads=(-1,) * len(columns), quantities=quantities, about=about
    )


def _of_numbers(values: FloatArray, grid: ActivationGrid, numbers: IntArray) -> FloatArray:
    """Values of neurons by their numbers, shape [number]; NaN for those that take no part."""
    found = np.full(len(numbers), np.nan, np.float32)
    found[np.searchsorted(numbers, grid.neurons)] = values
    return found


def _kinds(a: AttributionGrid, b: AttributionGrid) -> tuple[str, ...]:
    """The kinds of parts, in the order in which they come; biases that give nothing in either are left out."""
    found = dict.fromkeys(_kind(name) for grid in (a, b) for name in grid.names)
    empty = {
        kind for kind, is_first in _OF_NO_LAYER.items()
        if not is_first and not any(grid.values[grid.names.index(kind)] for grid in (a, b))
    }  # fmt: skip
    return tuple(kind for kind in found if kind not in empty)


def _kind(name: str) -> str:
    return name.rstrip("0123456789")


def _parts(grid: AttributionGrid, layers: tuple[int, ...], kinds: tuple[str, ...]) -> FloatArray:
    """Shape [layer, kind]; NaN where a layer has no such part."""
    found = np.full((len(layers), len(kinds)), np.nan, np.float32)
    for name, layer, value in zip(grid.names, grid.part_layers, grid.values, strict=True):
        if layer is None:
            layer = 0 if _OF_NO_LAYER[name] else grid.n_layers - 1
        if layer in layers and _kind(name) in kinds:
            place = layers.index(layer), kinds.index(_kind(name))
            found[place] = np.nansum([found[place], value])
    return found


def _heads(grid: AttributionGrid, layers: tuple[int, ...], n_heads: int) -> FloatArray:
    return grid.heads[[grid.row_of(layer) for layer in layers], :n_heads]


def _logit(grid: AttributionGrid) -> str:
    words = [f"“{grid.pieces[one].visible}”" for one in (grid.token, grid.minus) if one is not None]
    return f"logit of {' minus '.join(words)}"


def _place(grid: AttributionGrid | ActivationGrid) -> str:
    return f" at “{grid.prompt_pieces()[grid.position].visible}” ({grid.position})"
