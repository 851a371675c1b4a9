"""From an anatomy to the map of the model that a view draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import takewhile
from typing import TYPE_CHECKING, TypeAlias

from layerwidget.model.facts import LayerFacts
from layerwidget.model.parts import LayerAnatomy, Part, Passage
from layerwidget.model_map import MapElement, MapLayer, MapStep, MapWeight, ModelMap

if TYPE_CHECKING:
    from layerwidget.model.anatomy import Anatomy

_Shapes: TypeAlias = Iterable[tuple[str, tuple[int, ...]]]

_TITLES = {"attention": "attention", "cross_attention": "attention to the encoder", "mixer": "mixer", "bias": "bias"}
_FFN_TITLES = {"plain": "FFN", "gated": "gated FFN", "experts": "mixture of experts"}


def model_map(anatomy: Anatomy) -> ModelMap:
    """The model as a stack of layers with what is inside them."""
    facts = anatomy.facts
    after = [_named("norm", anatomy.final_norm, anatomy)] if anatomy.final_norm else []
    if anatomy.d_vocab:
        after.append(_head(anatomy))
    return ModelMap(
        name=anatomy.name,
        before=(_named("embedding", anatomy.embedding, anatomy),) if anatomy.embedding else (),
        layers=tuple(_layer(layer, anatomy, own) for layer, own in zip(anatomy.layers, facts.layers, strict=True)),
        after=tuple(after),
        n_params=anatomy.n_params,
        d_model=anatomy.d_model,
        d_vocab=anatomy.d_vocab,
        tied=anatomy.tied,
        encoder=model_map(anatomy.encoder) if anatomy.encoder else None,
        flops_per_token=facts.flops_per_token,
        flops_per_key=facts.flops_per_key,
        cache_bytes_per_token=facts.cache_bytes_per_token,
    )


def _named(kind: str, path: str | None, anatomy: Anatomy) -> MapElement:
    title = "token embedding" if kind == "embedding" else _norm_title(path or "", anatomy)
    held = _weights(anatomy.weights, [path] if path else [])
    return MapElement(kind, title, (), path or "", held, _count(held))


def _norm_title(path: str, anatomy: Anatomy) -> str:
    """The name of the norm's class without that of the model: `RMSNorm` of a `LlamaRMSNorm`."""
    name = anatomy.classes.get(path, "norm")
    model = anatomy.classes.get("", "")
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, model, strict=False)))
    rest = name[shared:]
    return rest if shared and rest[:1].isupper() else name


def _head(anatomy: Anatomy) -> MapElement:
    held = _weights(anatomy.weights, [anatomy.head] if anatomy.head else [])
    tied = ("weights of the embedding",) if anatomy.tied else ()
    details = (f"{anatomy.d_vocab:,} logits", *anatomy.transform, *tied)
    return MapElement("head", "head", details, anatomy.head or "", held, _count(held))


def _layer(layer: LayerAnatomy, anatomy: Anatomy, facts: LayerFacts) -> MapLayer:
    return MapLayer(
        layer=layer.layer,
        module=layer.where,
        norms=layer.norms,
        steps=tuple(_steps(layer, anatomy)),
        n_params=layer.n_params,
        device=layer.device,
        trouble=layer.trouble,
        flops_per_token=facts.flops_per_token,
        flops_per_key=facts.flops_per_key,
        cache_bytes_per_token=facts.cache_bytes_per_token,
        state_bytes=facts.state_bytes,
        cache_limit=facts.cache_limit,
        notes=facts.reasons,
    )


def _steps(layer: LayerAnatomy, anatomy: Anatomy) -> Iterable[MapStep]:
    if layer.parallel:
        # They read the same stream, so they can be drawn in the usual order.
        parts = sorted(layer.parts, key=lambda part: part.kind in ("mlp", "bias"))
        yield from (MapStep("branch", tuple(_branch(part, layer, anatomy)), part is not parts[0]) for part in parts)
        return
    for number in range(len(layer.parts) + 1):
        for passage in layer.passages:
            if passage.after == number:
                yield MapStep("trunk", (_passage(passage, layer, anatomy),))
        if number < len(layer.parts):
            yield MapStep("branch", tuple(_branch(layer.parts[number], layer, anatomy)))


def _passage(passage: Passage, layer: LayerAnatomy, anatomy: Anatomy) -> MapElement:
    if not passage.module:
        return MapElement("scale", _factors(passage.factors), ("the stream itself is scaled",))
    return _inside("norm", _norm_title(passage.module, anatomy), passage.module, layer)


def _branch(part: Part, layer: LayerAnatomy, anatomy: Anatomy) -> Iterable[MapElement]:
    if part.norm_before:
        yield _inside("norm", _norm_title(part.norm_before, anatomy), part.norm_before, layer)
    own = [*part.weights, f"{part.sublayer}."] if part.module else [str(factor) for factor in part.factors]
    norms = (part.norm_before, part.norm_after, *(passage.module for passage in layer.passages))
    around = tuple(f"{name}." for name in norms if name)
    held = tuple(one for one in _matching(layer.weights, own) if not (around and one.path.startswith(around)))
    kind = "scale" if part.kind == "bias" else part.kind
    yield MapElement(kind, _title(part), _details(part, layer), part.sublayer or part.module, held, _count(held))
    if part.norm_after:
        yield _inside("norm", _norm_title(part.norm_after, anatomy), part.norm_after, layer)
    if part.gate:
        yield MapElement("scale", "× gate", ("weights from another module",), part.gate.module)
    if part.factors and part.module:
        yield MapElement("scale", _factors(part.factors))


def _title(part: Part) -> str:
    if part.kind == "mlp":
        return _FFN_TITLES[part.feed_forward.kind if part.feed_forward else "plain"]
    return f"windowed {_TITLES[part.kind]}" if part.window else _TITLES[part.kind]


def _details(part: Part, layer: LayerAnatomy) -> tuple[str, ...]:
    sites = {"attention": layer.attention_sites, "cross_attention": layer.cross_sites}.get(part.kind, ())
    found = []
    for site in sites:
        shared = f" ({site.n_kv_heads} key/value)" if site.n_kv_heads != site.n_heads else ""
        width = f" of width {site.d_head}" if site.d_head else ""
        found.append(f"{site.n_heads} heads{shared}{width}")
        if site.n_sinks:
            found.append("learned sinks")
    if part.window:
        found.append(f"window of {part.window:,} positions")
    ffn = part.feed_forward
    if ffn and ffn.n_experts:
        found.append(f"{ffn.n_active} of {ffn.n_experts} experts{', gated' if ffn.gated else ''}")
    if ffn:
        found.append(f"{ffn.n_neurons:,} neurons")
    return tuple(found)


def _factors(factors: Iterable[float | str]) -> str:
    return " ".join(f"× {factor:g}" if isinstance(factor, float) else "× learned vector" for factor in factors)


def _inside(kind: str, title: str, path: str, layer: LayerAnatomy) -> MapElement:
    held = _weights(layer.weights, [path])
    return MapElement(kind, title, (), path, held, _count(held))


def _weights(known: _Shapes, modules: Iterable[str]) -> tuple[MapWeight, ...]:
    return _matching(known, [f"{module}." for module in modules])


def _matching(known: _Shapes, paths: Iterable[str]) -> tuple[MapWeight, ...]:
    """The parameters with these paths, or below those that end in a dot."""
    exact = {path for path in paths if not path.endswith(".")}
    below = tuple(path for path in paths if path.endswith("."))
    return tuple(MapWeight(name, shape) for name, shape in known if name in exact or name.startswith(below))


def _count(weights: Iterable[MapWeight]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)
