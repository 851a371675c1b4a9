"""What differs between two results: of two prompts, or of two models that read the same tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from layerwidget.errors import QuestionError
from layerwidget.layers import depth
from layerwidget.questions.alignment import aligned, in_columns
from layerwidget.questions.attention import AttentionGrid
from layerwidget.questions.attention_flow import HeadScoreGrid, RolloutGrid, ValueWeightedGrid
from layerwidget.questions.attribution import AttributionGrid
from layerwidget.questions.compared import (
    AttentionDifference,
    ColumnDifference,
    Compared,
    Difference,
    MatrixDifference,
    TwoResults,
)
from layerwidget.questions.comparing_heads import of_attention, of_scores
from layerwidget.questions.comparing_layers import of_angles, of_influence, of_rollout, of_skip
from layerwidget.questions.comparing_parts import of_attribution, of_neurons
from layerwidget.questions.depth import AngleGrid, DepthGrid, InfluenceGrid
from layerwidget.questions.lens import LensGrid
from layerwidget.questions.neurons import ActivationGrid
from layerwidget.questions.position import LossGrid
from layerwidget.questions.residual import ResidualGrid
from layerwidget.questions.skip_effect import SkipGrid
from layerwidget.results import FloatArray, Grid

#: Which layers of two models are compared: those of the same number, or those at the same share of the depth.
Match = Literal["layer", "depth"]
#: What `difference` returns.
AnyDifference: TypeAlias = Difference | AttentionDifference | ColumnDifference | MatrixDifference


def difference(a: Grid, b: Grid, match: Match = "layer") -> AnyDifference:
    """What differs between two results of one kind.

    By layer and token: of the logit or the tuned lens (`LensGrid`), the stream (`ResidualGrid`), where predictions
    settle (`DepthGrid`), the loss of each token (`LossGrid`), and what is lost without a layer (`SkipGrid`). Of
    attention (`AttentionGrid`, `ValueWeightedGrid`), and of its rollout (`RolloutGrid`). By layer and head or part: of
    `AttributionGrid` and `HeadScoreGrid`. By layer: of `InfluenceGrid` and `AngleGrid`. By neuron: of `ActivationGrid`.

    Args:
        a: a result.
        b: another one, of another prompt, or of another model that reads the same tokens.
        match: which layers are compared: those of the same number (`layer`); or, of models of different depth, those
            at the nearest share of the depth (`depth`).

    Returns:
        A `Difference`, an `AttentionDifference`, a `ColumnDifference`, or of rollout a `MatrixDifference`; always `b`
        against `a`.

    Raises:
        QuestionError: when the results are of different kinds, when the models number their tokens differently, when
            one has more layers than the other and `match` is `layer`, or when there is nothing in common to compare.
    """
    if type(a) is not type(b) or type(a) not in _COMPARED:
        known = ", ".join(f"two {kind.__name__}s" for kind in _COMPARED)
        kinds = f"{type(a).__name__} and {type(b).__name__}"
        raise QuestionError(f"Expected two results of one kind to compare: {known}; got {kinds}.")
    _check_tokens(a, b)
    layers = _layers(a, b, match)
    two = TwoResults(a, b, aligned(a.token_ids, b.token_ids), *map(tuple, zip(*layers, strict=True)))
    return _COMPARED[type(a)](two)


def layer_beside(layer: int, n_layers: int, n_layers_b: int, match: Match) -> int:
    """The layer of the second model that a layer of the first one is compared with.

    Args:
        layer: of the first model.
        n_layers: how many layers the first model has.
        n_layers_b: how many the second one has.
        match: as `difference` says; see `check_depths`, too.
    """
    return round(depth(layer, n_layers) * (n_layers_b - 1)) if match == "depth" else layer


def check_depths(a: tuple[str, int], b: tuple[str, int], match: Match) -> None:
    """Raise unless the layers of two models, each its name and how many layers it has, can stand beside each other.

    Raises:
        QuestionError: when one has more layers than the other and `match` is `layer`.
    """
    if match == "layer" and a[1] != b[1]:
        raise QuestionError(
            f"{a[0]} has {a[1]} layers, {b[0]} has {b[1]}: no layer of the one is that of the other. "
            "Compare those at the same share of the depth with match='depth'."
        )


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
    check_depths((a.model_name, a.n_layers), (b.model_name, b.n_layers), match)
    places = [(layer, layer_beside(layer, a.n_layers, b.n_layers, match)) for layer in a.layers]
    found = [(layer, other) for layer, other in places if other in b.layers]
    if not found:
        raise QuestionError(f"The results hold no layer in common: {a.layers} and {b.layers}.")
    return found


# What is compared

_Measure = Callable[[TwoResults], Compared]


def _measure(name: str, unit: str, kind: Any, of: Callable[[Any], FloatArray], two: TwoResults) -> Compared:
    """A quantity of each result alone, shape [layer, pos], and its difference."""
    a = in_columns(of(two.a)[[two.a.row_of(layer) for layer in two.layers]], two.alignment.a)
    b = in_columns(of(two.b)[[two.b.row_of(layer) for layer in two.layers_b]], two.alignment.b)
    if kind != "log":
        return Compared.by_difference(name, unit, kind, a, b)
    a, b = (np.where(values > 0, values, np.nan).astype(np.float32) for values in (a, b))
    return Compared(name, unit, kind, a, b, np.log2(b / a).astype(np.float32), "log2(B / A)")


def _compared(measures: Callable[[Any, Any], Iterator[_Measure]], two: TwoResults) -> Difference:
    quantities = {one.name: one for one in (measure(two) for measure in measures(two.a, two.b))}
    return Difference(**vars(two), quantities=quantities)


def _of_lens(a: LensGrid, b: LensGrid) -> Iterator[_Measure]:
    if a.component != b.component:
        raise QuestionError(f"The one lens decodes {a.component}, the other {b.component}: ask both for the same.")
    yield partial(_measure, "entropy", "nats", "one-sided", lambda grid: grid.entropy_nats)
    yield partial(_measure, "KL to the final prediction", "nats", "one-sided", lambda grid: grid.kl_to_final_nats)
    if a.jsd_nats is not None and b.jsd_nats is not None:
        name = "Jensen-Shannon divergence from the final prediction"
        yield partial(_measure, name, "nats", "one-sided", lambda grid: grid.jsd_nats)
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


def _agreement(two: TwoResults) -> Compared:
    """1 where both predict the same token, 0 where they do not."""
    tops = [
        np.where(positions >= 0, grid.top_ids[[grid.row_of(layer) for layer in layers]][:, positions, 0], -1)
        for grid, layers, positions in _both(two)
    ]
    same = np.where(np.minimum(*tops) < 0, np.nan, tops[0] == tops[1]).astype(np.float32)
    return Compared("same top-1 token", "", "one-sided", None, None, same, "1 = the same", *tops)


def _both(two: TwoResults) -> tuple[tuple[Any, tuple[int, ...], Any], ...]:
    return (two.a, two.layers, two.alignment.a), (two.b, two.layers_b, two.alignment.b)


def _of_residual(a: ResidualGrid, b: ResidualGrid) -> Iterator[_Measure]:
    for name in reversed(a.components):
        if name in b.components:
            yield partial(_measure, f"norm of {name}", "", "log", partial(_norms, name))
    yield partial(_measure, "cosine with the layer before", "", "signed", lambda grid: grid.cos_previous)
    yield partial(_measure, "cosine with the final stream", "", "signed", lambda grid: grid.cos_final)


def _norms(component: str, grid: ResidualGrid) -> FloatArray:
    return grid.norm(component)


def _of_depth(a: DepthGrid, b: DepthGrid) -> Iterator[_Measure]:
    if a.k != b.k:
        raise QuestionError(f"The one looked among {a.k} tokens, the other among {b.k}: ask both for the same.")
    yield _reached
    yield partial(_measure, "settle depth" if a.k == 1 else "emergence depth", "layers", "one-sided", _everywhere)


def _reached(two: TwoResults) -> Compared:
    """1 from the layer on that was asked for, 0 before."""
    a, b = (
        in_columns((np.array(layers)[:, None] >= grid.layer).astype(np.float32), positions)
        for grid, layers, positions in _both(two)
    )
    name = "settled" if two.a.k == 1 else f"among the {two.a.k} most probable"  # type: ignore[attr-defined]
    return Compared.by_difference(name, "", "one-sided", a, b)


def _everywhere(grid: DepthGrid) -> FloatArray:
    """The layer that was asked for, the same in every row."""
    return np.broadcast_to(grid.layer.astype(np.float32), grid.final_ranks.shape)


def _of_loss(_a: LossGrid, _b: LossGrid) -> Iterator[_Measure]:
    yield partial(_measure, "loss of the token", "nats", "one-sided", _in_every_layer)


def _in_every_layer(grid: LossGrid) -> FloatArray:
    """The loss, which belongs to no layer, the same in every row."""
    return np.broadcast_to(grid.nats, (len(grid.layers), len(grid.nats)))


#: Kind of results -> their difference. One more that is compared needs a line here.
_COMPARED: Mapping[type, Callable[[TwoResults], AnyDifference]] = {
    LensGrid: partial(_compared, _of_lens),
    ResidualGrid: partial(_compared, _of_residual),
    DepthGrid: partial(_compared, _of_depth),
    LossGrid: partial(_compared, _of_loss),
    AttentionGrid: of_attention,
    ValueWeightedGrid: of_attention,
    AttributionGrid: of_attribution,
    HeadScoreGrid: of_scores,
    ActivationGrid: of_neurons,
    InfluenceGrid: of_influence,
    AngleGrid: of_angles,
    SkipGrid: of_skip,
    RolloutGrid: of_rollout,
}
