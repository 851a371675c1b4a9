"""The checks are hard to fool: whatever is dropped from layerwidget's computation, or changed in it, makes one fail."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from transformers import DynamicCache

import layerwidget as lw
from layerwidget.model import continuation, prefix_cache
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.parts import LayerAnatomy
from tests.conformance.build import entry, quiet
from tests.conformance.checks import CHECKS, Subject
from tests.conformance.compare import DisagreementError, NotApplicableError

MODELS = (
    "causal/gpt2",
    "causal/llama",
    "causal/granite",
    "causal/gemma2",
    "causal/cohere",
    "masked/bert",
    "seq2seq/bart",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Models as small as these only wait for several."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@cache
def _measured(name: str) -> Subject:
    subject = Subject(entry(name))
    with quiet():
        subject.built()
        subject.located()
    return subject


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """A model that passes; what a test does to it, another test does not see."""
    return copy.copy(_measured(request.param))


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("subject", names, indirect=True)


def _fails(subject: Subject, check: str) -> None:
    with quiet(), pytest.raises(DisagreementError):
        getattr(subject, check)()


#: The stream passes through norms itself: a logit is not the sum of what parts give to it. Both see what comes after.
NO_SUM = ("masked/bert", "seq2seq/bart")


@pytest.mark.parametrize("check", CHECKS[1:])
@of(*MODELS)
def test_unchanged(subject: Subject, check: str) -> None:
    why = {"attribution": "post-norm", "edits": "computed anew"}.get(check) if subject.one.name in NO_SUM else None
    with quiet(), pytest.raises(NotApplicableError, match=why) if why else nullcontext():
        getattr(subject, check)()


# --- the tail


def _set(path: str, value: float) -> Callable[[Any], None]:
    """Fill a parameter."""

    def change(model: nn.Module) -> None:
        model.get_parameter(path).data.fill_(value)

    return change


def _put(path: str, name: str, value: object) -> Callable[[Any], None]:
    """Set an attribute, of a module or its configuration."""

    def change(model: nn.Module) -> None:
        holder: Any = model.get_submodule(path)
        setattr(holder if hasattr(holder, name) else holder.config, name, value)

    return change


TAILS = {
    "gpt2, gain of the norm": ("causal/gpt2", _set("transformer.ln_f.weight", 1)),
    "gpt2, bias of the norm": ("causal/gpt2", _set("transformer.ln_f.bias", 0)),
    "gpt2, epsilon of the norm": ("causal/gpt2", _put("transformer.ln_f", "eps", 1e-2)),
    "gpt2, the norm": ("causal/gpt2", lambda model: setattr(model.transformer, "ln_f", nn.Identity())),
    "llama, gain of the norm": ("causal/llama", _set("model.norm.weight", 1)),
    "granite, gain of the norm": ("causal/granite", _set("model.norm.weight", 1)),
    "granite, scale of the logits": ("causal/granite", _put("", "logits_scaling", 1.0)),
    "gemma2, gain of the norm": ("causal/gemma2", _set("model.norm.weight", 0)),
    "gemma2, soft-cap": ("causal/gemma2", _put("", "final_logit_softcapping", None)),
    "cohere, gain of the norm": ("causal/cohere", _set("model.norm.weight", 1)),
    "cohere, scale of the logits": ("causal/cohere", _put("", "logit_scale", 1.0)),
    "bert, bias of the head": ("masked/bert", _set("cls.predictions.bias", 0)),
    "bert, bias inside the head": ("masked/bert", _set("cls.predictions.transform.dense.bias", 0)),
    "bert, gain inside the head": ("masked/bert", _set("cls.predictions.transform.LayerNorm.weight", 1)),
    "bert, activation of the head": ("masked/bert", _put("cls.predictions.transform", "transform_act_fn", nn.ReLU())),
    "bart, bias of the logits": ("seq2seq/bart", lambda model: model.final_logits_bias.zero_()),
}


@pytest.mark.parametrize("name", TAILS)
def test_something_dropped_from_the_tail(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, change = TAILS[name]
    subject = _measured(config)
    changed = copy.deepcopy(subject.model)
    change(changed)
    with quiet():
        monkeypatch.setattr(subject.hooked, "tail", lw.HookedModel(changed).tail)
    _fails(subject, "lens")


@of(*MODELS)
def test_the_stream_before_the_last_layer(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    assert subject.trace is not None
    last = subject.hooked.anatomy.n_layers - 1
    earlier = {last: subject.trace.activations["resid_pre"][last]}
    monkeypatch.setattr(subject.trace, "activations", {**subject.trace.activations, "resid_post": earlier})
    _fails(subject, "lens")


# --- the stream


def _with_layers(anatomy: Anatomy, change: Callable[[LayerAnatomy], LayerAnatomy], only: int | None = None) -> Anatomy:
    layers = (change(one) if only in (None, one.layer) else one for one in anatomy.layers)
    return replace(anatomy, layers=tuple(layers))


def _anatomy(subject: Subject, monkeypatch: pytest.MonkeyPatch, anatomy: Anatomy) -> None:
    monkeypatch.setattr(subject.hooked, "anatomy", anatomy)


@of("causal/granite")
def test_multipliers_dropped_from_what_is_added(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(layer: LayerAnatomy) -> LayerAnatomy:
        assert all(part.factors for part in layer.parts)
        return replace(layer, parts=tuple(replace(part, factors=()) for part in layer.parts))

    _anatomy(subject, monkeypatch, _with_layers(subject.hooked.anatomy, drop))
    _fails(subject, "residual")


@pytest.mark.parametrize("part", [0, -1])
@of(*MODELS)
def test_a_part_dropped(subject: Subject, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(layer: LayerAnatomy) -> LayerAnatomy:
        dropped = layer.parts[part]
        return replace(layer, parts=tuple(one for one in layer.parts if one is not dropped))

    _anatomy(subject, monkeypatch, _with_layers(subject.hooked.anatomy, drop, only=2))
    _fails(subject, "residual")


@of("masked/bert", "seq2seq/bart")
def test_a_norm_on_the_stream_dropped(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(layer: LayerAnatomy) -> LayerAnatomy:
        assert layer.passages
        return replace(layer, passages=layer.passages[:-1])

    _anatomy(subject, monkeypatch, _with_layers(subject.hooked.anatomy, drop, only=2))
    _fails(subject, "residual")


@of("causal/gemma2")
def test_the_sublayer_instead_of_its_norm(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def before_the_norm(layer: LayerAnatomy) -> LayerAnatomy:
        *others, mlp = layer.parts
        return replace(layer, parts=(*others, replace(mlp, module=f"{layer.module}.mlp")))

    _anatomy(subject, monkeypatch, _with_layers(subject.hooked.anatomy, before_the_norm, only=2))
    _fails(subject, "residual")


@of("causal/llama")
def test_parts_that_add_nothing(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def split(layer: LayerAnatomy) -> LayerAnatomy:
        nothing = replace(layer.parts[0], factors=(*layer.parts[0].factors, 0.0))
        return replace(layer, parts=(*layer.parts, nothing))

    _anatomy(subject, monkeypatch, _with_layers(subject.hooked.anatomy, split, only=2))
    _fails(subject, "residual")


# --- attribution


@pytest.mark.parametrize("part", [0, -1])
@of(*(name for name in MODELS if name not in NO_SUM))
def test_parts_that_do_not_sum_to_the_logit_are_refused(
    subject: Subject, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert subject.trace is not None
    ledger = subject.trace.ledger(2)
    kept = tuple(entry for entry in ledger if entry is not ledger[part])
    monkeypatch.setattr(subject.trace, "ledgers", {**subject.trace.ledgers, 2: kept})
    with quiet(), pytest.raises(NotApplicableError, match="they sum to"):
        subject.attribution()


OTHER_LOGITS: dict[str, Callable[[Any], Any]] = {
    "another token": lambda asked: replace(asked, token=asked.token + 1),
    "another position": lambda asked: replace(asked, position=asked.position - 1),
    "without what is taken off": lambda asked: replace(asked, minus=None),
}


@pytest.mark.parametrize("other", OTHER_LOGITS)
@of(*(name for name in MODELS if name not in NO_SUM))
def test_a_sum_that_is_another_logit(subject: Subject, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = lw.DirectLogitAttribution.run
    monkeypatch.setattr(lw.DirectLogitAttribution, "run", lambda asked, trace: own(OTHER_LOGITS[other](asked), trace))
    _fails(subject, "attribution")


# --- the layers


def _rotated(anatomy: Anatomy) -> Anatomy:
    places = [*anatomy.layers[1:], anatomy.layers[0]]
    return replace(anatomy, layers=tuple(replace(one, layer=number) for number, one in enumerate(places)))


def _swapped(anatomy: Anatomy) -> Anatomy:
    first, second, third, *others = anatomy.layers
    return replace(anatomy, layers=(first, replace(third, layer=1), replace(second, layer=2), *others))


def _without_last(anatomy: Anatomy) -> Anatomy:
    return replace(anatomy, layers=anatomy.layers[:-1])


def _without_first(anatomy: Anatomy) -> Anatomy:
    return replace(anatomy, layers=tuple(replace(one, layer=one.layer - 1) for one in anatomy.layers[1:]))


@pytest.mark.parametrize("change", [_rotated, _swapped, _without_last, _without_first])
@of(*MODELS)
def test_other_layers(subject: Subject, change: Callable[[Anatomy], Anatomy], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = lw.HookedModel(subject.model)
    wrong.anatomy = change(wrong.anatomy)
    monkeypatch.setattr(subject, "hook", lambda: wrong)
    _fails(subject, "located")


@of("seq2seq/bart")
def test_other_layers_of_the_encoder(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = lw.HookedModel(subject.model)
    assert wrong.anatomy.encoder is not None
    wrong.anatomy = replace(wrong.anatomy, encoder=_rotated(wrong.anatomy.encoder))
    monkeypatch.setattr(subject, "hook", lambda: wrong)
    _fails(subject, "located")


# --- attention


def _uniform(pattern: torch.Tensor) -> torch.Tensor:
    pattern[1] = pattern[1].gt(0) / pattern[1].gt(0).sum(-1, keepdim=True)
    return pattern


def _zero(pattern: torch.Tensor) -> torch.Tensor:
    pattern[1] = 0
    return pattern


def _fewer_heads(pattern: torch.Tensor) -> torch.Tensor:
    return pattern[:-1]


def _other_heads(pattern: torch.Tensor) -> torch.Tensor:
    return pattern.roll(1, dims=0)


PATTERNS = (_uniform, _zero, _fewer_heads, _other_heads)


def _changed(
    original: Callable[[int], torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[int], torch.Tensor]:
    """Of one layer only."""
    return lambda layer: change(original(layer).clone()) if layer == 2 else original(layer)


@pytest.mark.parametrize("change", PATTERNS)
@of(*MODELS)
def test_one_heads_pattern(
    subject: Subject, change: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert subject.trace is not None
    monkeypatch.setattr(subject.trace, "pattern", _changed(subject.trace.pattern, change))
    _fails(subject, "attention")


@pytest.mark.parametrize("change", PATTERNS)
@of("seq2seq/bart")
def test_one_heads_pattern_over_the_source(
    subject: Subject, change: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert subject.trace is not None
    encoder = subject.trace.stack("encoder")
    with monkeypatch.context() as changed:
        changed.setattr(encoder, "pattern", _changed(encoder.pattern, change))
        _fails(subject, "attention")
    monkeypatch.setattr(subject.trace, "cross_pattern", _changed(subject.trace.cross_pattern, change))
    _fails(subject, "attention")


@of("causal/gpt2")
def test_a_layer_without_pattern(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(subject.trace), "attention_layers", (0, 1, 3))
    _fails(subject, "attention")


@of("causal/gpt2")
def test_no_patterns_at_all_is_not_a_lack_of_attention(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(subject.trace), "attention_layers", ())
    _fails(subject, "attention")


ATTENTION: dict[str, tuple[str, Callable[[nn.Module], Iterable[tuple[nn.Module, str, object]]]]] = {
    "gemma2, soft-cap": ("causal/gemma2", lambda m: [(one, "attn_logit_softcapping", None) for one in m.modules()]),
    "granite, scale": ("causal/granite", lambda m: [(one, "scaling", 16**-0.5) for one in m.modules()]),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_something_dropped_from_the_scores(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, changes = ATTENTION[name]
    subject = _measured(config)
    assert subject.trace is not None
    changed = copy.deepcopy(subject.model)
    applied = [one for one in changes(changed) if hasattr(one[0], one[1])]
    assert applied
    for module, attribute, value in applied:
        setattr(module, attribute, value)
    with quiet():
        monkeypatch.setattr(subject.trace, "pattern", lw.HookedModel(changed).trace(subject.ids[0]).pattern)
    _fails(subject, "attention")


# --- interventions and hooks


@pytest.mark.parametrize("skipped", ["", "1", "2-3"])
@of(*MODELS)
def test_other_layers_skipped(subject: Subject, skipped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = subject.hooked.trace

    def trace(prompt: Any, interventions: Any = (), **options: Any) -> Any:
        others = (lw.SkipLayers(skipped),) if skipped and interventions else ()
        return original(prompt, interventions=others, **options)

    monkeypatch.setattr(subject.hooked, "trace", trace)
    _fails(subject, "skip")


@pytest.mark.parametrize("subject", ["causal/llama", "causal/jamba"], indirect=True)
def test_a_wrong_way_of_going_back(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions that stay in the cache; a recurrent state that goes on by several tokens."""
    way = prefix_cache.CroppedCache if subject.one.config == "llama" else prefix_cache.CopiedCache
    monkeypatch.setattr(prefix_cache.CroppedCache, "rewind", lambda self, n_pos: None)
    monkeypatch.setattr(continuation, "WAYS", (lambda config: way(DynamicCache(config=config)),))
    monkeypatch.setattr(continuation.Continuation, "_is_right", lambda self, way: True)
    subject.hooked = lw.HookedModel(subject.model)
    _fails(subject, "edits")


@of("causal/llama")
def test_a_hook_left_behind(subject: Subject) -> None:
    handle = subject.model.model.layers[1].register_forward_hook(lambda *inside: None)
    _fails(subject, "clean")
    handle.remove()


@of("causal/llama")
def test_logits_with_hooks_on_that_differ_in_one_bit(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    assert subject.trace is not None
    other = subject.trace.logits.clone()
    other[3, 5] = torch.nextafter(other[3, 5], torch.tensor(torch.inf))
    monkeypatch.setattr(type(subject.trace), "logits", other)
    _fails(subject, "clean")
