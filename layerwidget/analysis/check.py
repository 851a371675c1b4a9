"""`lw.check`: measures on the spot, on a prompt of its own, that what is shown of a model is true."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from layerwidget.errors import StructureError
from layerwidget.grades import CheckReport, Grade
from layerwidget.ledger import ledger_error
from layerwidget.model.eager import eager_twin, is_fused
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.interventions import SkipLayers
from layerwidget.model.removal import without_layer
from layerwidget.model.verify import sample
from layerwidget.rounding import relative_error, tolerance
from layerwidget.trace import Trace

_N_POS = 13


def check(model: HookedModel) -> CheckReport:
    """Grades of one model: lens, residual identity, attention rows, skip == layer removed, hooks leave no mark.

    Args:
        model: the hooked model; it is the same afterwards.

    Returns:
        One grade for each check; prints as a table.
    """
    read = sample(model.anatomy, min(_N_POS, model.n_ctx or _N_POS), seed=11)
    prompt, target = (read.ids[0], None) if read.source is None else (read.source[0], read.ids[0])
    hooks = _hooks(model)
    plain = model.plain_logits(prompt, target=target)
    trace = model.trace(prompt, target=target)
    return CheckReport(
        model.name,
        {
            "lens": _lens(trace, plain),
            "residual": _residual(trace),
            "attention": _attention(trace, _eager_note(model, prompt, target, plain)),
            "skip": _skip(model, prompt, target),
            "clean": _clean(trace, plain, _hooks(model) - hooks),
        },
    )


def _stacks(trace: Trace) -> list[Trace]:
    return [trace, trace.stack("encoder")] if trace.anatomy.encoder else [trace]


@torch.no_grad()
def _lens(trace: Trace, plain: torch.Tensor) -> Grade:
    last = trace.model.tail(trace.activations["resid_post"][trace.anatomy.n_layers - 1])
    error = relative_error(last.log_softmax(-1), plain.float().log_softmax(-1))
    return Grade.of(error, tolerance(plain.dtype), "last layer against the model's own log-probabilities, relative")


def _residual(trace: Trace) -> Grade:
    errors = []
    for stack in _stacks(trace):
        for layer in stack.anatomy.layers:
            if not layer.parts:
                where = f"layer {layer.layer} of {stack.anatomy.name}"
                return Grade("n/a", None, f"{where}: {layer.trouble or 'no parts were found'}")
            entered, left = (stack.activations[name][layer.layer] for name in ("resid_pre", "resid_post"))
            errors.append(ledger_error(entered, stack.ledger(layer.layer), left))
    normed = any(layer.passages for layer in trace.anatomy.layers)
    what = "input plus parts, and what the stream itself passes through," if normed else "input plus parts"
    return Grade.of(max(errors), tolerance(trace.logits.dtype), f"{what} against the output of every layer, relative")


def _eager_note(model: HookedModel, prompt: torch.Tensor, target: torch.Tensor | None, plain: torch.Tensor) -> str:
    """Whether attention that is not fused gives the same logits; weights are always those of the kernel in use."""
    if not is_fused(model.hf_model):
        return ""
    try:
        eager = model.plain_logits(prompt, eager_twin(model.hf_model), target)
    except Exception as error:
        return f"; its eager attention does not run: {type(error).__name__}"
    off = relative_error(eager.float().log_softmax(-1), plain.float().log_softmax(-1))
    if off <= tolerance(plain.dtype):
        return f"; eager attention gives the same logits ({off:.0e})"
    return f"; its EAGER ATTENTION GIVES OTHER LOGITS ({off:.0e}), weights are those of the kernel in use"


def _attention(trace: Trace, note: str) -> Grade:
    errors = []
    for stack in _stacks(trace):
        for layer in stack.anatomy.layers:
            if layer.attention_sites:
                shared = any(site.shares_rows for site in layer.attention_sites)
                errors.append(_row_error(stack.pattern(layer.layer), shared))
            if layer.cross_sites:
                shared = any(site.shares_rows for site in layer.cross_sites)
                errors.append(_row_error(stack.cross_pattern(layer.layer), shared))
    if not errors:
        return Grade("n/a", None, "no softmax attention was seen in any layer")
    return Grade.of(
        max(errors), tolerance(trace.logits.dtype), f"rows sum to 1 in {len(errors)} patterns{note}, absolute"
    )


def _row_error(pattern: torch.Tensor, shared: bool) -> float:
    """How far rows are from summing to 1; where sinks or the like take their share, how far above it."""
    sums = pattern.sum(-1)
    return float((sums - 1).clamp_min(0).max() if shared else (sums - 1).abs().max())


def _skip(model: HookedModel, prompt: torch.Tensor, target: torch.Tensor | None) -> Grade:
    layer = model.anatomy.n_layers // 2
    try:
        with model.lock:
            shorter = without_layer(model.hf_model, model.anatomy, layer)
    except StructureError as error:
        return Grade("n/a", None, str(error))
    try:
        expected = model.plain_logits(prompt, shorter, target)
    except Exception as error:
        return Grade("n/a", None, f"the model without layer {layer} does not run: {type(error).__name__}: {error}")
    skipped = model.trace(prompt, target=target, interventions=(SkipLayers(layer),)).logits
    off = relative_error(skipped.float().log_softmax(-1), expected.float().log_softmax(-1))
    return Grade.of(off, tolerance(expected.dtype), f"layer {layer} skipped against the model without it, relative")


def _clean(trace: Trace, plain: torch.Tensor, hooks_left: int) -> Grade:
    if hooks_left:
        return Grade("fail", float(hooks_left), "hooks are left behind")
    return Grade.of(float((trace.logits - plain).abs().nan_to_num().max()), 0.0, "logits with hooks on against without")


def _hooks(model: HookedModel) -> int:
    """How many hooks there are between two passes: another thread may be in the middle of one."""
    kinds: tuple[Callable[[nn.Module], int], ...] = (
        lambda module: len(module._forward_hooks),
        lambda module: len(module._forward_pre_hooks),
    )
    with model.lock:
        return sum(kind(module) for module in model.hf_model.modules() for kind in kinds)
