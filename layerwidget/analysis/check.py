"""`lw.check`: measures on the spot, on a prompt of its own, that what is shown of a model is true."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from layerwidget.errors import StructureError
from layerwidget.grades import CheckReport, Grade
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.interventions import SkipLayers
from layerwidget.model.locate import random_ids
from layerwidget.model.removal import without_layer
from layerwidget.trace import Trace

_N_POS = 13
_ALLOWED = 1e-4


def check(model: HookedModel) -> CheckReport:
    """Grades of one model: lens, residual identity, attention rows, skip == layer removed, hooks leave no mark.

    Args:
        model: the hooked model; it is the same afterwards.

    Returns:
        One grade for each check; prints as a table.
    """
    n_pos = min(_N_POS, model.n_ctx or _N_POS)
    ids = random_ids(n_pos, model.anatomy.n_embeddings, seed=11).tolist()
    hooks = _hooks(model.hf_model)
    plain = model.plain_logits(ids)
    trace = model.trace(ids)
    return CheckReport(
        model.name,
        {
            "lens": _lens(trace, plain),
            "residual": _residual(trace),
            "attention": _attention(trace),
            "skip": _skip(model, ids),
            "clean": _clean(trace, plain, _hooks(model.hf_model) - hooks),
        },
    )


@torch.no_grad()
def _lens(trace: Trace, plain: torch.Tensor) -> Grade:
    last = trace.model.tail(trace.activations["resid_post"][trace.model.anatomy.n_layers - 1])
    error = _difference(last.log_softmax(-1), plain.float().log_softmax(-1))
    return Grade.of(error, _tolerance(plain), "last layer against the model's own log-probabilities, relative")


def _residual(trace: Trace) -> Grade:
    anatomy = trace.model.anatomy
    troubled = [layer for layer in anatomy.layers if not layer.parts]
    if troubled:
        return Grade("n/a", None, f"layer {troubled[0].layer}: {troubled[0].trouble or 'no parts were found'}")
    errors = []
    for layer in anatomy.layers:
        entered, left = (trace.activations[name][layer.layer].float() for name in ("resid_pre", "resid_post"))
        added = [part.float() for part in trace.added(layer.layer)]
        errors.append(_difference(sum(added, start=entered), left))
    return Grade.of(
        max(errors), _tolerance(trace.logits), "input plus parts against the output of every layer, relative"
    )


def _attention(trace: Trace) -> Grade:
    anatomy = trace.model.anatomy
    sites = {layer.layer: layer.attention_site for layer in anatomy.layers if layer.attention_site}
    if not sites:
        return Grade("n/a", None, "no softmax attention was seen in any layer")
    errors = []
    for layer, site in sites.items():
        sums = trace.pattern(layer).sum(-1)
        # Learned sinks take their share of a row.
        errors.append(float((sums - 1).clamp_min(0).max() if site.n_sinks else (sums - 1).abs().max()))
    return Grade.of(max(errors), _tolerance(trace.logits), f"rows sum to 1 in {len(sites)} layers, absolute")


def _skip(model: HookedModel, ids: list[int]) -> Grade:
    layer = model.anatomy.n_layers // 2
    try:
        shorter = without_layer(model.hf_model, model.anatomy, layer)
    except StructureError as error:
        return Grade("n/a", None, str(error))
    try:
        expected = model.plain_logits(ids, shorter)
    except Exception as error:
        return Grade("n/a", None, f"the model without layer {layer} does not run: {type(error).__name__}: {error}")
    skipped = model.trace(ids, interventions=(SkipLayers(layer),)).logits
    off = _difference(skipped.float().log_softmax(-1), expected.float().log_softmax(-1))
    return Grade.of(off, _tolerance(expected), f"layer {layer} skipped against the model without it, relative")


def _clean(trace: Trace, plain: torch.Tensor, hooks_left: int) -> Grade:
    if hooks_left:
        return Grade("fail", float(hooks_left), "hooks are left behind")
    return Grade.of(float((trace.logits - plain).abs().nan_to_num().max()), 0.0, "logits with hooks on against without")


def _difference(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    finite = expected.isfinite()
    return float((got - expected)[finite].abs().max() / expected[finite].abs().max().clamp_min(1e-30))


def _tolerance(logits: torch.Tensor) -> float:
    return max(_ALLOWED, 8 * torch.finfo(logits.dtype).eps)


def _hooks(model: nn.Module) -> int:
    kinds: tuple[Callable[[nn.Module], int], ...] = (
        lambda module: len(module._forward_hooks),
        lambda module: len(module._forward_pre_hooks),
    )
    return sum(kind(module) for module in model.modules() for kind in kinds)
