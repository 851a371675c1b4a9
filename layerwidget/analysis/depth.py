"""Where predictions are made, and how much layers turn the stream. Source: science.md, "Depth of a prediction"."""

from __future__ import annotations

from dataclasses import fields
from math import pi

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.analysis.cosine import cosine
from layerwidget.cancellation import checkpoint
from layerwidget.errors import SelectionError
from layerwidget.questions import answers
from layerwidget.questions.depth import (
    AngleGrid,
    AngularDistance,
    BlockInfluence,
    DepthGrid,
    Emergence,
    InfluenceGrid,
    SettleDepth,
)
from layerwidget.questions.lens import LensGrid
from layerwidget.results import Grid
from layerwidget.tokens import IntArray
from layerwidget.trace import Trace


@answers(SettleDepth)
def settle_depth(question: SettleDepth, lens: LensGrid) -> DepthGrid:
    """The first layer from which the final token is the most probable one for good."""
    return _depth(lens, 1, settled(lens.final_ranks))


@answers(Emergence)
def emergence(question: Emergence, lens: LensGrid) -> DepthGrid:
    """The first layer where the final token is among the `k` most probable ones."""
    return _depth(lens, question.k, emerged(lens.final_ranks, question.k))


def settled(ranks: IntArray) -> IntArray:
    """First layer from which a token's rank is 0 in all layers; ranks [layer, pos] -> [pos].

    The last layer makes the prediction, whatever rounding says of it.
    """
    other = (ranks > 0)[:-1]
    layers = np.arange(1, len(ranks))[:, None]
    layer: IntArray = np.where(other, layers, 0).max(axis=0, initial=0).astype(np.int64)
    return layer


def emerged(ranks: IntArray, k: int) -> IntArray:
    """First layer where a token's rank is below `k`, the last one at the latest; ranks [layer, pos] -> [pos]."""
    among = ranks < k
    among[-1] = True
    layer: IntArray = among.argmax(axis=0).astype(np.int64)
    return layer


def _depth(lens: LensGrid, k: int, layer: IntArray) -> DepthGrid:
    carried = {field.name: getattr(lens, field.name) for field in fields(Grid)}
    carried["pieces"] = {int(token): lens.pieces[int(token)] for token in (*lens.token_ids, *lens.final_ids)}
    return DepthGrid(**carried, k=k, layer=layer, final_ids=lens.final_ids, final_ranks=lens.final_ranks)


@answers(BlockInfluence)
@torch.no_grad()
def block_influence(question: BlockInfluence, trace: Trace) -> InfluenceGrid:
    """1 - mean cosine of what enters and leaves each layer."""
    layers = tuple(range(trace.anatomy.n_layers))
    values = np.array([influence(trace, layer) for layer in layers], np.float32)
    return InfluenceGrid(**about(trace, layers), values=values)


def influence(trace: Trace, layer: int) -> float:
    """1 - mean over the positions of the cosine of what enters and what leaves a layer."""
    checkpoint(f"the influence of layer {layer}")
    entered, left = (trace.rows(name, layer, 0, len(trace.tokens)) for name in ("resid_pre", "resid_post"))
    return 1.0 - float(cosine(left, entered).mean())


@answers(AngularDistance)
@torch.no_grad()
def angular_distance(question: AngularDistance, trace: Trace) -> AngleGrid:
    """Angle between what enters and what leaves each block of layers, at the last position.

    Raises:
        SelectionError: when the model has fewer layers than a block.
    """
    n, n_layers, last = question.n, trace.anatomy.n_layers, len(trace.tokens) - 1
    if n > n_layers:
        raise SelectionError(f"A block of {n} layers is too long for {trace.anatomy.name}, which has {n_layers}.")
    layers = tuple(range(n_layers - n + 1))
    # In double precision: close to 1, the arc of a cosine is sensitive. They are a few rows.
    entered = [trace.rows("resid_pre", layer, last, last + 1).cpu().double() for layer in range(n_layers)]
    states = torch.cat([*entered, trace.rows("resid_post", n_layers - 1, last, last + 1).cpu().double()])
    values = cosine(states[:-n], states[n:]).arccos() / pi
    return AngleGrid(**about(trace, layers), n=n, values=values.numpy().astype(np.float32))
