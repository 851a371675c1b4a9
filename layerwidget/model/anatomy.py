"""Anatomy: where everything is in a model, found by structure. Prints as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from layerwidget.model.anatomy_table import anatomy_table
from layerwidget.model.attention_shape import AttentionSite
from layerwidget.model.cache_size import CacheSizes, not_measured
from layerwidget.model.facts import AnatomyFacts, anatomy_facts
from layerwidget.model.mapping import model_map
from layerwidget.model.parts import LayerAnatomy
from layerwidget.model.paths import Path
from layerwidget.model.stream import StreamLayout
from layerwidget.model.weight_products import UNCOUNTED, WeightFlops
from layerwidget.model_map import ModelMap
from layerwidget.trace import COMPONENTS


@dataclass(frozen=True, repr=False)
class Anatomy:
    """Where everything is in a model.

    Attributes:
        name: the model's name.
        layers: the layer stack, first layer first.
        layout: how the stream's axes are arranged.
        logits: where the logits sit in the model's output.
        embedding: path of the token embedding, or None.
        n_embeddings: how many token ids it knows.
        final_norm: path of the module that norms the stream after the last layer, or None.
        head: path of the module that makes logits of it, or None.
        d_vocab: how many logits there are per position.
        n_params: parameters of the whole model, shared ones counted once.
        causal: whether no position attends to a later one; None without attention.
        absent: component -> why no layer has it.
        encoder: the encoder of an encoder-decoder, whose own layers and stream are described alike; else None.
        transform: what is done to the head's product with the stream, in order: `+ bias`, `× 0.0625`, `soft-cap 30`.
        tied: whether the head's weights are those of the embedding.
        classes: path of a norm, embedding or head -> name of its class.
        weights: path and shape of the parameters outside the layers.
        ends: path of a parameter outside the layers -> `before` or `after`: on which side of them it is first used.
            Those that the watched pass did not use are not there.
        flops_outside: what one token costs in products with weights outside the layers: mostly the head.
        cache_sizes: measures what the layers keep for the tokens that come next; it runs the model for a moment.
    """

    name: str
    layers: tuple[LayerAnatomy, ...]
    layout: StreamLayout
    logits: Path
    embedding: str | None
    n_embeddings: int
    final_norm: str | None
    head: str | None
    d_vocab: int
    n_params: int
    causal: bool | None
    absent: Mapping[str, str] = field(default_factory=dict)
    encoder: Anatomy | None = None
    transform: tuple[str, ...] = ()
    tied: bool = False
    classes: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[tuple[str, tuple[int, ...]], ...] = ()
    ends: Mapping[str, str] = field(default_factory=dict)
    flops_outside: WeightFlops = UNCOUNTED
    cache_sizes: Callable[[], CacheSizes] = field(default=not_measured, compare=False, repr=False)

    @property
    def n_layers(self) -> int:
        """How many layers the stack has."""
        return len(self.layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.layout.d_model

    @property
    def attention_site(self) -> AttentionSite | None:
        """The attention operation of the first layer that has one."""
        return next((layer.attention_site for layer in self.layers if layer.attention_site), None)

    @property
    def n_heads(self) -> int:
        """Query heads of the first layer with attention; 0 without attention."""
        return next((layer.n_heads for layer in self.layers if layer.attention_sites), 0)

    @property
    def n_kv_heads(self) -> int:
        """Key/value heads of the first layer with attention; 0 without attention."""
        sites = next((layer.attention_sites for layer in self.layers if layer.attention_sites), ())
        return sum(site.n_kv_heads for site in sites)

    @property
    def d_head(self) -> int:
        """Width of a head; 0 without attention."""
        return self.attention_site.d_head if self.attention_site else 0

    @property
    def verified(self) -> tuple[str, ...]:
        """What was measured to hold on a prompt of its own when the model was hooked: lens, residual, attention."""
        residual = all(layer.parts for layer in self.layers)
        return ("lens", *(["residual"] if residual else []), *(["attention"] if self.attention_site else []))

    @property
    def components(self) -> tuple[str, ...]:
        """Activations in residual space that some layer has, in the order in which a layer makes them."""
        return tuple(name for name in COMPONENTS if name not in self.absent)

    def why_absent(self, component: str) -> str:
        """The reason why no layer has a component, as `" (...)"`, or "" where none is known."""
        reason = self.absent.get(component, "")
        return f" ({reason})" if reason else ""

    @property
    def map(self) -> ModelMap:
        """The model as the stack it is, in plain values that can be drawn: what `LayerMap` shows."""
        return model_map(self)

    @property
    def facts(self) -> AnatomyFacts:
        """How large each layer is, and what a token costs in it; measured when somebody asks for the first time."""
        return anatomy_facts(self)

    def __repr__(self) -> str:
        """A table: the model in four lines, then one line for every run of like layers."""
        return anatomy_table(self)


def absent_components(layers: tuple[LayerAnatomy, ...]) -> dict[str, str]:
    """Why a component is missing from every layer."""
    trouble = next((f"in layer {layer.layer}, {layer.trouble}" for layer in layers if layer.trouble), "")
    reasons = {}
    if not any(layer.attention for layer in layers):
        reasons["attn_out"] = trouble or "nothing that is added to its stream comes from attention"
    if not any(layer.parts_of("cross_attention") for layer in layers):
        reasons["cross_attn_out"] = "it reads no encoder"
    if not any(layer.mlp for layer in layers):
        reasons["mlp_out"] = trouble or "its blocks have no FFN of their own"
    if not any(layer.parts_before_mid for layer in layers):
        parallel = any(layer.parallel for layer in layers)
        default = "its blocks have no stream between attention and FFN"
        reasons["resid_mid"] = "its blocks run attention and FFN in parallel" if parallel else trouble or default
    return reasons
