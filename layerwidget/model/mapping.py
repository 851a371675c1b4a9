"""From an anatomy to the map of the model that a view draws."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from layerwidget.model.anatomy_table import describe
from layerwidget.model.parts import LayerAnatomy, Part, Passage
from layerwidget.model_map import MapElement, MapLayer, MapStep, MapWeight, ModelMap

if TYPE_CHECKING:
    from layerwidget.model.anatomy import Anatomy

_TITLES = {"attention": "attention", "cross_attention": "attention to the encoder", "mixer": "mixer", "bias": "bias"}
_FFN_TITLES = {"plain": "FFN", "gated": "gated FFN", "experts": "mixture of experts"}


def model_map(anatomy: Anatomy) -> ModelMap:
    """The model as a stack of layers with what is inside them."""
    after = [_named("norm", anatomy.final_norm, anatomy)] if anatomy.final_norm else []
    if anatomy.d_vocab:
        after.append(_head(anatomy))
    return ModelMap(
        name=anatomy.name,
        before=(_named("embedding", anatomy.embedding, anatomy),) if anatomy.embedding else (),
        layers=tuple(_layer(layer, anatomy) for layer in anatomy.layers),
        after=tuple(after),
        n_params=anatomy.n_params,
        d_model=anatomy.d_model,
        d_vocab=anatomy.d_vocab,
        tied=anatomy.tied,
        encoder=model_map(anatomy.encoder) if anatomy.encoder else None,
    )


def _named(kind: str, path: str | None, anatomy: Anatomy) -> MapElement:
    title = "token embedding" if kind == "embedding" else anatomy.classes.get(path or "", kind)
    held = _weights(anatomy.weights, [path] if path else [])
    return MapElement(kind, title, (), path or "", held, _count(held))


def _head(anatomy: Anatomy) -> MapElement:
    held = _weights(anatomy.weights, [anatomy.head] if anatomy.head else [])
    tied = ("weights of the embedding",) if anatomy.tied else ()
    details = (f"{anatomy.d_vocab:,} logits", *anatomy.transform, *tied)
    return MapElement("head", "head", details, anatomy.head or "", held, _count(held))


def _layer(layer: LayerAnatomy, anatomy: Anatomy) -> MapLayer:
    return MapLayer(
        layer=layer.layer,
        module=layer.module,
        norms=layer.norms,
        steps=tuple(_steps(layer, anatomy)),
        n_params=layer.n_params,
        device=layer.device,
        trouble=layer.trouble,
    )


def _steps(layer: LayerAnatomy, anatomy: Anatomy) -> Iterable[MapStep]:
    seen_mixing = False
    for number in range(len(layer.parts) + 1):
        for passage in layer.passages:
            if passage.after == number:
                yield MapStep("trunk", (_passage(passage, layer, anatomy),))
        if number < len(layer.parts):
            part = layer.parts[number]
            parallel = bool(layer.parallel) and seen_mixing
            seen_mixing = True
            yield MapStep("branch", tuple(_branch(part, layer, anatomy)), parallel)


def _passage(passage: Passage, layer: LayerAnatomy, anatomy: Anatomy) -> MapElement:
    if not passage.module:
        return MapElement("scale", _factors(passage.factors), ("the stream itself is scaled",))
    return _inside("norm", anatomy.classes.get(passage.module, "norm"), (), passage.module, layer)


def _branch(part: Part, layer: LayerAnatomy, anatomy: Anatomy) -> Iterable[MapElement]:
    if part.norm_before:
        title = anatomy.classes.get(part.norm_before, "norm")
        yield _inside("norm", title, (), part.norm_before, layer)
    ffn = part.feed_forward
    title = _FFN_TITLES[ffn.kind if ffn else "plain"] if part.kind == "mlp" else _TITLES[part.kind]
    kind = "scale" if part.kind == "bias" else part.kind
    yield _inside(kind, title, _details(part, layer), part.sublayer or part.module, layer)
    if part.norm_after:
        yield _inside("norm", anatomy.classes.get(part.norm_after, "norm"), (), part.norm_after, layer)
    if part.gate:
        yield MapElement("scale", "× gate", ("weights from another module",), part.gate.module)
    if part.factors and part.module:
        yield MapElement("scale", _factors(part.factors))


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
    if ffn:
        found.append(describe(ffn))
        found += [f"router {ffn.router}"] if ffn.router else []
    return tuple(found)


def _factors(factors: Iterable[float | str]) -> str:
    return " ".join(f"× {factor:g}" if isinstance(factor, float) else "× learned vector" for factor in factors)


def _inside(kind: str, title: str, details: tuple[str, ...], path: str, layer: LayerAnatomy) -> MapElement:
    held = _weights(layer.weights, [path])
    return MapElement(kind, title, details, path, held, _count(held))


def _weights(known: Iterable[tuple[str, tuple[int, ...]]], paths: list[str]) -> tuple[MapWeight, ...]:
    return tuple(MapWeight(name, shape) for name, shape in known if any(name.startswith(f"{path}.") for path in paths))


def _count(weights: Iterable[MapWeight]) -> int:
    total = 0
    for weight in weights:
        size = 1
        for length in weight.shape:
            size *= length
        total += size
    return total
