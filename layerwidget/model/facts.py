"""Anatomy facts: how large each layer is, and what a token costs in it. Measured, or absent with a reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from layerwidget.axes import extra
from layerwidget.errors import MissingComponentError
from layerwidget.model.attention_shape import AttentionSite
from layerwidget.model.cache_size import LayerCache
from layerwidget.model.parts import LayerAnatomy

if TYPE_CHECKING:
    import pandas as pd

    from layerwidget.model.anatomy import Anatomy


@dataclass(frozen=True)
class LayerFacts:
    """Size and cost of one layer.

    A floating-point operation (FLOP) is one multiplication or one addition. What could not be measured is None, and
    `reasons` says why.

    Attributes:
        layer: its number.
        n_params: its parameters.
        flops_per_token: FLOPs of one token in products with the layer's weights: two for each parameter of a matrix
            that it is multiplied with; with experts, of those that it is sent to. Norms, activation functions, biases
            and what a recurrent layer does to its state come on top, and so do the products of attention.
        flops_per_source_token: the same for each token that the encoder of an encoder-decoder read, once for a prompt:
            the keys and values that cross-attention makes of it.
        flops_per_key: FLOPs of attention (query with key, weight with value) for each position that a token looks at.
        flops_per_source_key: the same for each position of an encoder that it looks at.
        window: how many positions a token looks at at most, itself included; None without a limit.
        cache_bytes_per_token: bytes that each token adds to the cache that the model makes for itself, in the dtype in
            which it runs: of attention 2 x key/value heads x width x bytes of a number; 0 where only a state is kept.
        cache_limit: of how many tokens the cache keeps something between passes; None without a limit.
        cache_bytes_per_source_token: bytes that each token adds which an encoder read.
        state_bytes: bytes of a recurrent state, the same for a prompt of any length.
        reasons: why numbers are missing, or what they leave out.
    """

    layer: int
    n_params: int
    flops_per_token: int | None
    flops_per_source_token: int | None
    flops_per_key: int | None
    flops_per_source_key: int | None
    window: int | None
    cache_bytes_per_token: int | None
    cache_limit: int | None
    cache_bytes_per_source_token: int | None
    state_bytes: int | None
    reasons: tuple[str, ...] = ()

    def attention_flops(self, context: int, n_source: int = 0) -> int | None:
        """FLOPs of attention for one token that has `context` positions to look at, itself included.

        Args:
            context: the token's position + 1. Where a window is shorter, the window counts.
            n_source: how many positions the encoder read.
        """
        if self.flops_per_key is None or self.flops_per_source_key is None:
            return None
        n_keys = context if self.window is None else min(context, self.window)
        return self.flops_per_key * n_keys + self.flops_per_source_key * n_source

    def cache_bytes(self, n_tokens: int, n_source: int = 0) -> int | None:
        """Bytes that the layer keeps after so many tokens, its state included.

        Args:
            n_tokens: how many tokens were read.
            n_source: how many the encoder read.
        """
        kept = self.cache_bytes_per_token, self.cache_bytes_per_source_token, self.state_bytes
        if kept[0] is None or kept[1] is None or kept[2] is None:
            return None
        n_kept = n_tokens if self.cache_limit is None else min(n_tokens, self.cache_limit)
        return kept[0] * n_kept + kept[1] * n_source + kept[2]


@dataclass(frozen=True)
class AnatomyFacts:
    """Size and cost of every layer of a stack, and of what is outside the layers.

    Attributes:
        model_name: the model's name.
        layers: one for each layer, first layer first.
        n_params: parameters of the whole model, shared ones counted once.
        outside_flops_per_token: FLOPs of one token in products with weights outside the layers: mostly the head, where
            a token is decoded; None where `reason` says why they were not counted.
        reason: why they were not counted, or "".
    """

    model_name: str
    layers: tuple[LayerFacts, ...]
    n_params: int
    outside_flops_per_token: int | None
    reason: str = ""

    @property
    def flops_per_token(self) -> int | None:
        """FLOPs of one token in products with all weights, the head included; None where a layer's are not known."""
        return _sum([*(layer.flops_per_token for layer in self.layers), self.outside_flops_per_token])

    @property
    def cache_bytes_per_token(self) -> int | None:
        """Bytes that each token adds to the cache as long as no window is full; None where they were not measured."""
        return _sum([layer.cache_bytes_per_token for layer in self.layers])

    @property
    def flops_per_key(self) -> int | None:
        """FLOPs of attention in all layers for each position that a token looks at, as long as no window is full."""
        return _sum([layer.flops_per_key for layer in self.layers])

    def attention_flops(self, context: int, n_source: int = 0) -> int:
        """FLOPs of attention in all layers for one token that has `context` positions to look at, itself included.

        Args:
            context: the token's position + 1.
            n_source: how many positions the encoder of an encoder-decoder read.

        Raises:
            MissingComponentError: when a layer has attention whose products could not be told.
        """
        return self._total([layer.attention_flops(context, n_source) for layer in self.layers])

    def cache_bytes(self, n_tokens: int, n_source: int = 0) -> int:
        """Bytes that all layers keep after so many tokens: full windows and recurrent states are taken into account.

        Args:
            n_tokens: how many tokens were read.
            n_source: how many the encoder of an encoder-decoder read.

        Raises:
            MissingComponentError: when what a layer keeps was not measured.
        """
        return self._total([layer.cache_bytes(n_tokens, n_source) for layer in self.layers])

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer; integers that may be missing."""
        pd = extra("pandas")

        frame = pd.DataFrame([asdict(layer) for layer in self.layers])
        numbers = [name for name in frame.columns if name != "reasons"]
        frame["reasons"] = ["; ".join(layer.reasons) for layer in self.layers]
        return frame.astype(dict.fromkeys(numbers, "Int64"))

    def _total(self, found: list[int | None]) -> int:
        total = _sum(found)
        if total is None:
            layer = self.layers[found.index(None)]
            raise MissingComponentError(f"Not known of layer {layer.layer}: {'; '.join(layer.reasons)}.")
        return total


def anatomy_facts(anatomy: Anatomy) -> AnatomyFacts:
    """What was seen of a model when it was hooked, and what its cache is measured to hold."""
    sizes = anatomy.cache_sizes()
    layers = tuple(_facts(layer, sizes.of(place), sizes.trouble) for place, layer in enumerate(anatomy.layers))
    outside = anatomy.flops_outside
    return AnatomyFacts(anatomy.name, layers, anatomy.n_params, outside.per_token, outside.trouble)


def _facts(layer: LayerAnatomy, cache: LayerCache | None, no_cache: str) -> LayerFacts:
    flops = layer.flops
    per_key = _per_key(layer.attention_sites, layer, "attention")
    per_source_key = _per_key(layer.cross_sites, layer, "cross_attention")
    counted = flops.per_token is not None
    return LayerFacts(
        layer=layer.layer,
        n_params=layer.n_params,
        flops_per_token=flops.per_token,
        flops_per_source_token=flops.per_source_token if counted else None,
        flops_per_key=per_key,
        flops_per_source_key=per_source_key,
        window=next((part.window for part in layer.parts_of("attention")), None),
        cache_bytes_per_token=None if cache is None else cache.bytes_per_token,
        cache_limit=None if cache is None else cache.at_most,
        cache_bytes_per_source_token=None if cache is None else cache.bytes_per_source_token,
        state_bytes=None if cache is None else cache.state_bytes,
        reasons=tuple(_reasons(layer, cache, no_cache, None in (per_key, per_source_key))),
    )


def _per_key(sites: tuple[AttentionSite, ...], layer: LayerAnatomy, kind: str) -> int | None:
    """Of all operations of a layer; None where one is not known, or could not be proved."""
    if not sites and (layer.trouble or layer.parts_of(kind)):
        return None
    return _sum([site.flops_per_key for site in sites])


def _reasons(layer: LayerAnatomy, cache: LayerCache | None, no_cache: str, no_attention: bool) -> list[str]:
    found = []
    if layer.flops.per_token is None:
        found.append(f"FLOPs: {layer.flops.trouble}")
    elif layer.parts_of("mixer"):
        found.append("FLOPs: without what it does to its state")
    if no_attention:
        found.append("attention: its products could not be told")
    if cache is None:
        found.append(f"cache: {no_cache}")
    elif cache.state_bytes and not cache.bytes_per_token:
        found.append("cache: a state of constant size, nothing for each token")
    return found


def _sum(found: list[int | None]) -> int | None:
    known = [one for one in found if one is not None]
    return sum(known) if len(known) == len(found) else None
