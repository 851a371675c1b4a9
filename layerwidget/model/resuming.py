"""Run a prompt again from the first layer that an intervention changes: the layers below it are as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from layerwidget.model.anatomy import Anatomy
from layerwidget.model.tail import Returned, stand_in, twin_with
from layerwidget.rows import Layered, below
from layerwidget.trace import LaterLogits, Trace

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel


def twin_at_rest(
    model: nn.Module, anatomy: Anatomy, returned: Mapping[str, Returned], resting: Mapping[int, torch.Tensor]
) -> tuple[nn.Module, Anatomy]:
    """A shallow twin of a model in which some layers do not run, and the anatomy of those that do.

    Args:
        model: the model; it is not touched.
        anatomy: where its layers are.
        returned: path of each layer's modules -> something it returned, whose structure the stand-ins imitate.
        resting: number of a layer -> what leaves it all the same, shape [pos, d_model].
    """
    stand_ins = {
        path: stand_in(model.get_submodule(path), returned[path], anatomy.layout, rows.clone)
        for number, rows in resting.items()
        for path in anatomy.layers[number].modules
        if path in returned
    }
    running = tuple(layer for layer in anatomy.layers if layer.layer not in resting)
    return twin_with(model, stand_ins), replace(anatomy, layers=running)


def left_by(trace: Trace, layers: Sequence[int]) -> dict[int, torch.Tensor]:
    """What left some layers, each of shape [pos, d_model]."""
    return {layer: trace.rows("resid_post", layer, 0, len(trace.tokens)) for layer in layers}


def resumed(
    model: HookedModel, before: Trace, layer: int, interventions: Sequence[object], cache: Any | None = None
) -> Trace:
    """The trace of the same prompt under other interventions, of which only the layers from one on are run.

    Args:
        model: the model.
        before: a trace whose layers below that one hold.
        layer: the first layer that the interventions change.
        interventions: what to change during the pass.
        cache: an empty cache of transformers, or None; the layers that are run add their positions to it.

    Raises:
        Cancelled: at a layer boundary, when the pass is no longer wanted.
    """
    resting = left_by(before, range(layer))
    after = model.pass_over(before.tokens, None, interventions, cache=cache, resting=resting, with_logits=False)
    logits = after.held_logits
    held = before.activations
    return Trace(
        model,
        before.tokens,
        # Where a model is spread over devices, the twin may leave its logits on another one.
        logits if isinstance(logits, LaterLogits) else after.logits.to(before.logits_device),
        {name: Layered(below(held[name], layer), layer, values) for name, values in after.activations.items()},
        {**below(before.patterns, layer), **after.patterns},
        interventions=interventions,
        ledgers=Layered(below(before.ledgers, layer), layer, after.ledgers),
        anatomy=before.anatomy,
    )
