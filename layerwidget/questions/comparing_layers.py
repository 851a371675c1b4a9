"""What layers do otherwise in a second result: how far they turn the stream, what is lost without each, and rollout."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwidget.errors import QuestionError
from layerwidget.layers import format_layers
from layerwidget.questions.alignment import in_columns
from layerwidget.questions.compared import ColumnDifference, Compared, Difference, MatrixDifference, TwoResults
from layerwidget.results import FloatArray


def of_influence(two: TwoResults) -> ColumnDifference:
    """Two `InfluenceGrid`s: one column."""
    return _one_column(two, "block influence", "", "mean over the tokens of each prompt")


def of_angles(two: TwoResults) -> ColumnDifference:
    """Two `AngleGrid`s of blocks of as many layers: one column."""
    a: Any = two.a
    b: Any = two.b
    if a.n != b.n:
        raise QuestionError(f"The one result has blocks of {a.n} layers, the other of {b.n}: ask both for the same n.")
    about = "at the last token of each prompt"
    return _one_column(two, _angle_name(a.n), "half turns", about)


def _angle_name(n: int) -> str:
    return "angular distance" if n == 1 else f"angular distance of {n} layers"


def _one_column(two: TwoResults, name: str, unit: str, about: str) -> ColumnDifference:
    """One number per layer."""
    sides: Any = ((two.a, two.layers), (two.b, two.layers_b))
    a, b = (grid.values[[grid.row_of(layer) for layer in layers], None].astype(np.float32) for grid, layers in sides)
    compared = Compared.by_difference(name, unit, "one-sided", a, b)
    return ColumnDifference(**vars(two), columns=("layer",), heads=(-1,), quantities={name: compared}, about=about)


def of_skip(two: TwoResults) -> Difference:
    """Two `SkipGrid`s: by layer and token, what is lost without the layer; and by layer, its block influence."""
    a: Any = two.a
    b: Any = two.b
    if a.changed != b.changed:
        said = " and ".join(repr(one.changed or "nothing changed") for one in (a, b))
        raise QuestionError(f"The skip effects are of different runs ({said}): ask both with the same interventions.")
    quantities = {
        "KL without the layer": ("one-sided", lambda grid: grid.kl_nats),
        "rise of the loss without the layer": ("signed", lambda grid: grid.skipped_nats - grid.nats),
    }
    found = {
        name: Compared.by_difference(name, "nats", kind, *_by_token(two, of))  # type: ignore[arg-type]
        for name, (kind, of) in quantities.items()
    }
    # It is one number for the whole prompt, the same in every column.
    influence = _by_token(two, lambda grid: np.broadcast_to(grid.block_influence[:, None], grid.kl_nats.shape))
    found["block influence"] = Compared.by_difference("block influence", "", "one-sided", *influence)
    return Difference(**vars(two), quantities=found)


def _by_token(two: TwoResults, of: Any) -> list[FloatArray]:
    sides: Any = ((two.a, two.layers, two.alignment.a), (two.b, two.layers_b, two.alignment.b))
    return [in_columns(of(grid)[[grid.row_of(layer) for layer in layers]], at) for grid, layers, at in sides]


def of_rollout(two: TwoResults) -> MatrixDifference:
    """Two `RolloutGrid`s through the same layers: queries down, keys across."""
    a: Any = two.a
    b: Any = two.b
    if (a.layers, b.layers) != (two.layers, two.layers_b):
        raise QuestionError(
            f"The one rollout is through layers {format_layers(a.layers)}, the other through "
            f"{format_layers(b.layers)}: ask both for the same."
        )
    if a.hides_first != b.hides_first:
        raise QuestionError("One of the rollouts leaves out attention to token 0: ask both with the same hide_first.")
    values = [
        in_columns(in_columns(grid.rollout, at).T, at).T for grid, at in ((a, two.alignment.a), (b, two.alignment.b))
    ]
    first = " · attention to the first token is left out" if a.hides_first else ""
    other = "" if two.layers == two.layers_b else f" (B: layers {format_layers(two.layers_b)})"
    return MatrixDifference(
        **vars(two),
        matrix=Compared.by_difference("attention rollout", "", "one-sided", *values),
        about=f"layers {format_layers(two.layers)}{other}{first}",
    )
