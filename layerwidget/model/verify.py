"""Prove a located structure on another prompt, with the plain hooks that will be used from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import nn

from layerwidget.errors import StructureError
from layerwidget.ledger import Added, ledger_error
from layerwidget.model.anatomy import Anatomy, absent_components
from layerwidget.model.attention_shape import AttentionSite
from layerwidget.model.capture import Capture, CapturePlan
from layerwidget.model.locate import random_ids
from layerwidget.model.parts import LayerAnatomy
from layerwidget.model.paths import tensor_at
from layerwidget.model.patterns import PaddedAttention, PatternRows, Source
from layerwidget.model.running import ModelInput, input_device, run_model
from layerwidget.rounding import relative_error, tolerance

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
    read = sample(anatomy, n_pos, seed=2).to(input_device(model))
    plain = tensor_at(run_model(model, read), anatomy.logits)[0]
    with ExitStack() as hooks:
        capture = hooks.enter_context(Capture(model, CapturePlan(anatomy), keep_values=True, n_pos=n_pos))
        if anatomy.encoder:
            n_source = None if read.source is None else read.source.shape[1]
            other = Capture(model, CapturePlan(anatomy.encoder), keep_values=True, beside=(capture,), n_pos=n_source)
            encoder = hooks.enter_context(other)
        hooked = tensor_at(run_model(model, read), anatomy.logits)[0]
    _check_logits(anatomy, capture, plain, hooked, replay)
    proved = _proved(anatomy, capture, read)
    if anatomy.encoder and read.source is not None:
        _check_fired(anatomy.encoder, encoder)
        proved = replace(proved, encoder=_proved(anatomy.encoder, encoder, ModelInput(read.source)))
    return proved


def sample(anatomy: Anatomy, n_pos: int, seed: int) -> ModelInput:
    """A prompt of random tokens, shape [1, n_pos]; an encoder's is a little shorter."""
    ids = random_ids(n_pos, anatomy.n_embeddings, seed)[None]
    if anatomy.encoder is None:
        return ModelInput(ids)
    n_source = max(1, n_pos - 4)
    return ModelInput(ids, random_ids(n_source, anatomy.encoder.n_embeddings or anatomy.n_embeddings, seed + 100)[None])


def _proved(anatomy: Anatomy, capture: Capture, read: ModelInput) -> Anatomy:
    layers = tuple(_verified_layer(layer, capture, read) for layer in anatomy.layers)
    n_pos = read.ids.shape[1]
    sources = [
        tuple(capture.attention.own[layer.layer, number] for number in range(len(layer.attention_sites)))
        for layer in layers
        if layer.attention_sites
    ]
    ahead = [bool(PatternRows(one, 0, n_pos)().triu(1).any()) for one in sources]
    causal = not any(ahead) if ahead else None
    return replace(anatomy, layers=layers, causal=causal, absent=absent_components(layers))


def _check_logits(
    anatomy: Anatomy, capture: Capture, plain: torch.Tensor, hooked: torch.Tensor, replay: Replay
) -> None:
    if plain.isnan().any():
        raise StructureError(
            f"{anatomy.name} returns NaN without any hooks. Numbers too large for its dtype? Then load it in float32."
        )
    if not torch.equal(plain, hooked):
        raise StructureError(
            f"{anatomy.name} gave other logits with hooks on (difference {relative_error(hooked, plain):.1e}). "
            f"Does it draw random numbers, or do hooks of others change it?"
        )
    _check_fired(anatomy, capture)
    try:
        replayed = replay(capture.resid_post[anatomy.n_layers - 1])
    except Exception as trouble:
        raise StructureError(
            f"The layers of {anatomy.name} seemed to be {anatomy.layers[0].module} to {anatomy.layers[-1].module}, "
            f"but the model does not run with others in their place ({type(trouble).__name__}: {trouble})."
        ) from trouble
    error = relative_error(replayed, plain)
    if not error <= tolerance(plain.dtype):
        raise StructureError(
            f"The layers of {anatomy.name} seemed to be {anatomy.layers[0].module} to {anatomy.layers[-1].module}, "
            f"but the last one's output leads to other logits than the model's (relative error {error:.1e}, "
            f"allowed {tolerance(plain.dtype):.0e})."
        )


def _check_fired(anatomy: Anatomy, capture: Capture) -> None:
    missing = [layer.layer for layer in anatomy.layers if layer.layer not in capture.resid_post]
    if missing:
        raise StructureError(
            f"The hooks on layers {missing} of {anatomy.name} did not fire. Is it compiled? Then give the original "
            f"module (`model._orig_mod`)."
        )


def _verified_layer(layer: LayerAnatomy, capture: Capture, read: ModelInput) -> LayerAnatomy:
    trouble = layer.trouble or _residual_trouble(layer, capture)
    if trouble:
        layer = replace(layer, parts=(), passages=(), parallel=None, trouble=trouble)
    n_pos = read.ids.shape[1]
    own = [_weights(capture.attention.own, layer, number, n_pos) for number in range(len(layer.attention_sites))]
    holds = [
        _pattern_holds(site, weights, capture.attention.attended.get((layer.layer, number)))
        for number, (site, weights) in enumerate(zip(layer.attention_sites, own, strict=True))
    ]
    cross = [_weights(capture.attention.cross, layer, number, n_pos) for number in range(len(layer.cross_sites))]
    crossing = all(_pattern_holds(site, one, None) for site, one in zip(layer.cross_sites, cross, strict=True))
    return replace(
        layer,
        attention_sites=layer.attention_sites if all(holds) else (),
        cross_sites=layer.cross_sites if crossing else (),
    )


def _weights(
    held: Mapping[tuple[int, int], Source], layer: LayerAnatomy, number: int, n_pos: int
) -> torch.Tensor | None:
    source = held.get((layer.layer, number))
    if isinstance(source, PaddedAttention):
        return source.whole()
    return None if source is None else source.weights(n_pos)


def _residual_trouble(layer: LayerAnatomy, capture: Capture) -> str:
    entered, left = capture.resid_pre[layer.layer], capture.resid_post[layer.layer]
    try:
        entries = capture.ledger(layer)
    except KeyError:
        return "its parts could not be read with hooks"
    if not layer.parts or any(isinstance(one, Added) and one.value.shape != entered.shape for one in entries):
        return "its parts could not be read with hooks"
    error = ledger_error(entered, entries, left)
    if not error <= tolerance(left.dtype):
        return f"input plus parts is not its output (relative error {error:.1e})"
    return ""


def _pattern_holds(
    site: AttentionSite, weights: torch.Tensor | None, attended: tuple[torch.Tensor, torch.Tensor] | None
) -> bool:
    """Rows sum to 1; for fused attention, weights times value is what the kernel returned."""
    if weights is None or weights.shape[0] != site.n_heads:
        return False
    positions = weights[..., : weights.shape[-1] - site.n_sinks]
    sums = positions.sum(-1)
    if not bool((sums <= 1 + 1e-2).all()) or (not site.n_sinks and not bool((sums >= 1 - 1e-2).all())):
        return False
    if attended is None:
        return True
    value, out = attended
    value = value.float().reshape(-1, weights.shape[-1], value.shape[-1])
    value = value.repeat_interleave(site.n_heads // value.shape[0], dim=0)
    return relative_error(weights @ value, out.float().reshape(-1, weights.shape[1], out.shape[-1])) <= tolerance(
        out.dtype
    )
