"""What a model remembers of the tokens before: the bytes of its own cache, measured in short passes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from layerwidget.model.paths import tensors_in
from layerwidget.model.running import ModelInput

if TYPE_CHECKING:
    from layerwidget.model.parts import LayerAnatomy

_SHORT, _LONG = 2, 3


@dataclass(frozen=True)
class LayerCache:
    """What one layer keeps for the tokens that come next.

    Attributes:
        bytes_per_token: bytes of keys and values that each token adds; 0 for a layer that keeps none.
        at_most: how many tokens' keys and values it keeps between passes, where a window limits them; None without one.
        bytes_per_source_token: bytes that each token adds which the encoder of an encoder-decoder read.
        state_bytes: bytes of a recurrent state, which are the same for a prompt of any length.
    """

    bytes_per_token: int
    at_most: int | None = None
    bytes_per_source_token: int = 0
    state_bytes: int = 0


@dataclass(frozen=True)
class CacheSizes:
    """What the layers of a model keep.

    Attributes:
        layers: one for each layer; empty where `trouble` says why they could not be measured.
        trouble: the reason, or "".
    """

    layers: tuple[LayerCache, ...] = ()
    trouble: str = ""

    def of(self, place: int) -> LayerCache | None:
        """What the layer at this place of the stack keeps; None where it is not known."""
        return None if self.trouble else self.layers[place]


def not_measured() -> CacheSizes:
    """Of a stack of which nobody has said how."""
    return CacheSizes(trouble="not measured")


def of_an_encoder() -> CacheSizes:
    """Of a stack that runs once."""
    return CacheSizes(trouble="an encoder runs once and keeps nothing")


def measured_cache(
    model: nn.Module, layers: tuple[LayerAnatomy, ...], read: ModelInput, n_ctx: int | None
) -> CacheSizes:
    """Run a few tokens, and one more, and see how much the cache that the model makes for itself has grown.

    Args:
        model: the model, in inference mode.
        layers: its layers.
        read: any token ids.
        n_ctx: the longest prompt, or None.
    """
    if "use_cache" not in inspect.signature(type(model).forward).parameters:
        return CacheSizes(trouble="the model is run without a cache")
    if n_ctx is not None and n_ctx < _LONG:
        return CacheSizes(trouble=f"the model reads no {_LONG} tokens")
    try:
        short, long = (_entries(model, read.of_length(n_pos)) for n_pos in (_SHORT, _LONG))
        source = short if read.source is None else _entries(model, _with_more_source(read.of_length(_SHORT)))
    except Exception as trouble:  # whatever a model raises that cannot be run in this way
        return CacheSizes(trouble=f"no cache could be measured ({type(trouble).__name__}: {trouble})")
    if not len(short) == len(long) == len(source) == len(layers):
        return CacheSizes(trouble=f"the model's cache has {len(long)} entries for {len(layers)} layers")
    windows = [window for window in (_window(entry) for entry in long) if window is not None]
    if windows and min(windows) <= _LONG:
        return CacheSizes(trouble=f"a window of {min(windows)} positions is too short to see the cache grow")
    found = tuple(_layer_cache(*entries) for entries in zip(short, long, source, strict=True))
    for layer, kept in zip(layers, found, strict=True):
        if kept.bytes_per_token and layer.parts and not layer.attention:
            return CacheSizes(trouble="the entries of the model's cache are not those of its layers")
    return CacheSizes(found)


def _entries(model: nn.Module, read: ModelInput) -> list[tuple[Any, ...]]:
    """What a pass leaves for each layer: one entry, or in an encoder-decoder one of its own and one of the encoder."""
    if read.source is None:
        output = model(input_ids=read.ids, use_cache=True)
    else:
        output = model(input_ids=read.source, decoder_input_ids=read.ids, use_cache=True)
    cache = getattr(output, "past_key_values", None)
    cache = getattr(output, "cache_params", None) if cache is None else cache
    if cache is None:
        return []
    both = [getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
    kinds = [getattr(one, "layers", []) for one in (both if both[0] is not None else [cache])]
    return list(zip(*kinds, strict=True))


def _with_more_source(read: ModelInput) -> ModelInput:
    assert read.source is not None
    return ModelInput(read.ids, read.source.repeat(1, 2))


def _layer_cache(short: tuple[Any, ...], long: tuple[Any, ...], source: tuple[Any, ...]) -> LayerCache:
    window = _window(long)
    per_token, per_source = _size(long) - _size(short), _size(source) - _size(short)
    n_source = 1 if per_source else 0
    state = _size(short) - _SHORT * per_token - n_source * per_source
    return LayerCache(per_token, None if window is None else window - 1, per_source, state)


def _size(entry: tuple[Any, ...]) -> int:
    """Bytes of the numbers in the entries of a layer."""
    held: list[torch.Tensor] = [tensor for one in entry for _, tensor in tensors_in(vars(one))]
    return sum(tensor.numel() * tensor.element_size() for tensor in held if tensor.is_floating_point())


def _window(entry: tuple[Any, ...]) -> int | None:
    """How many positions a layer's entry lets a token see, itself included; one less stays for the next."""
    size = getattr(entry[0], "sliding_window", None)
    return size if isinstance(size, int) else None
