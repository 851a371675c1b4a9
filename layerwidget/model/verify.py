"""Prove a located structure on another prompt, with the plain hooks that will be used from then on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from layerwidget.errors import StructureError
from layerwidget.model.anatomy import Anatomy, LayerAnatomy, absent_components
from layerwidget.model.capture import Capture
from layerwidget.model.locate import random_ids
from layerwidget.model.paths import tensor_at
from layerwidget.model.running import input_device, run_model

_N_POS = 17

Replay = Callable[[torch.Tensor], torch.Tensor]


def verified(model: nn.Module, anatomy: Anatomy, n_ctx: int | None, replay: Replay) -> Anatomy:
    """The anatomy as far as it holds on a new prompt. What does not hold is absent, with what was measured.

    Args:
        model: the model, in inference mode.
        anatomy: what was located.
        n_ctx: the longest prompt, or None.
        replay: residual vectors, shape [n, d_model], to logits, shape [n, d_vocab].

    Raises:
        StructureError: when the logits are NaN, hooks change them, or the last layer's output does not lead to them.
    """
    n_pos = min(_N_POS, n_ctx or _N_POS)
    ids = random_ids(n_pos, anatomy.n_embeddings, seed=2)[None].to(input_device(model))
    plain = tensor_at(run_model(model, ids), anatomy.logits)[0]
    with Capture(model, anatomy, keep_values=True) as capture:
        hooked = tensor_at(run_model(model, ids), anatomy.logits)[0]
    _check_logits(anatomy, capture, plain, hooked, replay)
    patterns = {layer: source.pattern(n_pos) for layer, source in capture.attention.items()}
    layers = tuple(_verified_layer(layer, capture, patterns.get(layer.layer)) for layer in anatomy.layers)
    ahead = [bool(patterns[layer.layer].triu(1).any()) for layer in layers if layer.attention_site]
    causal = not any(ahead) if ahead else None
    return replace(anatomy, layers=layers, causal=causal, absent=absent_components(layers))


def tolerance(dtype: torch.dtype) -> float:
    """The largest relative error that rounding explains."""
    return max(1e-4, 8 * torch.finfo(dtype).eps)


def _check_logits(
    anatomy: Anatomy, capture: Capture, plain: torch.Tensor, hooked: torch.Tensor, replay: Replay
) -> None:
    if plain.isnan().any():
        raise StructureError(
            f"{anatomy.name} returns NaN without any hooks. Numbers too large for its dtype? Then load it in float32."
        )
    if not torch.equal(plain, hooked):
        raise StructureError(
            f"{anatomy.name} gave other logits with hooks on (difference {_error(hooked, plain):.1e}). "
            f"Does it draw random numbers, or do hooks of others change it?"
        )
    missing = [layer.layer for layer in anatomy.layers if layer.layer not in capture.resid_post]
    if missing:
        raise StructureError(
            f"The hooks on layers {missing} of {anatomy.name} did not fire. Is it compiled? Then give the original "
            f"module (`model._orig_mod`)."
        )
    error = _error(replay(capture.resid_post[anatomy.n_layers - 1]), plain)
    if not error <= tolerance(plain.dtype):
        raise StructureError(
            f"The layers of {anatomy.name} seemed to be {anatomy.layers[0].module} to {anatomy.layers[-1].module}, "
            f"but the last one's output leads to other logits than the model's (relative error {error:.1e}, "
            f"allowed {tolerance(plain.dtype):.0e})."
        )


def _verified_layer(layer: LayerAnatomy, capture: Capture, pattern: torch.Tensor | None) -> LayerAnatomy:
    trouble = layer.trouble or _residual_trouble(layer, capture)
    if trouble:
        layer = replace(layer, parts=(), parallel=None, trouble=trouble)
    if layer.attention_site and (pattern is None or not _pattern_holds(layer, pattern, capture)):
        layer = replace(layer, attention_site=None)
    return layer


def _residual_trouble(layer: LayerAnatomy, capture: Capture) -> str:
    added = [capture.added.get((layer.layer, number)) for number in range(len(layer.parts))]
    if not added or any(one is None or one.shape != capture.resid_pre[layer.layer].shape for one in added):
        return "its parts could not be read with hooks"
    total = sum((one for one in added if one is not None), start=capture.resid_pre[layer.layer])
    error = _error(total, capture.resid_post[layer.layer])
    if not error <= tolerance(total.dtype):
        return f"input plus parts is not its output (relative error {error:.1e})"
    return ""


def _pattern_holds(layer: LayerAnatomy, pattern: torch.Tensor, capture: Capture) -> bool:
    """Rows sum to 1 (at most, with sinks); for fused attention, pattern times value is what the kernel returned."""
    site, n_pos = layer.attention_site, pattern.shape[-1]
    if site is None or pattern.shape != (site.n_heads, n_pos, n_pos):
        return False
    sums = pattern.sum(-1)
    if not bool((sums <= 1 + 1e-2).all()) or (not site.n_sinks and not bool((sums >= 1 - 1e-2).all())):
        return False
    if layer.layer not in capture.attended:
        return True
    value, out = capture.attended[layer.layer]
    value = value.float().reshape(-1, n_pos, value.shape[-1])
    value = value.repeat_interleave(site.n_heads // value.shape[0], dim=0)
    return _error(pattern @ value, out.float().reshape(-1, n_pos, out.shape[-1])) <= tolerance(out.dtype)


def _error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, as a share of the largest value; some models forbid tokens with minus infinity."""
    got, expected = got.float(), expected.float()
    difference = torch.where(got == expected, 0.0, got - expected).abs().max()
    return float(difference / expected[expected.isfinite()].abs().max().clamp_min(1e-30))
