"""What is lost when a layer is skipped. Source: science.md, "Depth of a prediction"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.analysis.depth import influence
from layerwidget.analysis.log_probs import log_probs
from layerwidget.analysis.position import position_chunks, token_nats
from layerwidget.cancellation import checkpoint
from layerwidget.layers import parse_layers
from layerwidget.model.continuation import Continuation
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.interventions import SkipLayers, canonical, described
from layerwidget.questions import answers
from layerwidget.questions.skip_effect import SkipEffect, SkipGrid
from layerwidget.results import FloatArray
from layerwidget.trace import Trace


@answers(SkipEffect)
@torch.no_grad()
def skip_effect(question: SkipEffect, model: HookedModel, progress: Callable[[int, int], None]) -> SkipGrid:
    """One pass in full, then one for each layer; of those before, what comes below the skipped layer is kept.

    Raises:
        SelectionError: when layers are out of range.
        QuestionError: for anything among the interventions that is none.
        PromptError: when the model cannot read the prompt or the target.
        Cancelled: between two layers, when the answer is no longer wanted.
    """
    layers = parse_layers(question.layers, model.anatomy.n_layers)
    tokens = model.with_target(
        model.tokenize(_given(question.prompt), extrapolate=question.extrapolate), _given(question.target)
    )
    continuation, n_passes = Continuation(model), question.n_passes(model)
    changes = canonical(question.interventions, model.anatomy.n_layers)
    full = continuation.trace(tokens, changes)
    progress(1, n_passes)
    kl, nats = np.zeros((2, len(layers), len(tokens)), np.float32)
    # From the last layer down: then everything below the skipped layer is as it was in the pass before.
    for done, index in enumerate(reversed(range(len(layers))), 2):
        checkpoint(f"skipping layer {layers[index]}")
        with_it = canonical((*changes, SkipLayers(layers[index])), model.anatomy.n_layers)
        skipped = full if with_it == changes else continuation.trace(tokens, with_it)
        kl[index], nats[index] = kl_nats(full, skipped), _nats(skipped)
        progress(done, n_passes)
    return SkipGrid(
        **about(full, layers),
        kl_nats=kl,
        nats=_nats(full),
        skipped_nats=nats,
        block_influence=np.array([influence(full, layer) for layer in layers], np.float32),
        changed=described(changes, model.anatomy.n_layers),
    )


def _given(text: str | tuple[int, ...] | None) -> Any:
    """Text, or token ids, as a model takes them."""
    return list(text) if isinstance(text, tuple) else text


def kl_nats(one: Trace, other: Trace) -> FloatArray:
    """KL(one || other) of the predictions of two traces of one prompt, shape [pos], nats, >= 0."""
    n_pos = len(one.tokens)
    kl = np.zeros(n_pos, np.float32)
    for start, stop in position_chunks(0, n_pos, one.anatomy.d_vocab):
        checkpoint(f"the divergence at position {start}")
        p, q = (log_probs(trace.logits_between(start, stop)) for trace in (one, other))
        found = (p.exp() * (p - q.to(p.device))).sum(-1)
        # Rounding can leave it a hair below its bound of zero.
        kl[start:stop] = found.clamp(min=0).cpu().numpy()
    return kl


def _nats(trace: Trace) -> FloatArray:
    """Negative log likelihood of the tokens, shape [pos]; NaN where positions see what comes after them."""
    return token_nats(trace) if trace.anatomy.causal is not False else np.full(len(trace.tokens), np.nan, np.float32)
