"""ModelMap: a model as the stack it is, in plain values that a view can draw and a file can hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MapWeight:
    """One parameter.

    Attributes:
        path: its path in the model.
        shape: its shape.
    """

    path: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class MapElement:
    """One thing inside a layer.

    Attributes:
        kind: `norm`, `attention`, `cross_attention`, `mlp`, `mixer` or `scale`; outside the layers also `embedding`
            and `head`.
        title: what it is, in a few words: `attention`, `gated FFN`, `RMSNorm`, `× 0.22`.
        details: facts about it: `9 heads (3 key/value) of width 64`, `1,536 neurons`, `window of 128 positions`.
        module: path of its module; empty for a plain number.
        weights: its parameters.
        n_params: how many numbers they are.
    """

    kind: str
    title: str
    details: tuple[str, ...] = ()
    module: str = ""
    weights: tuple[MapWeight, ...] = ()
    n_params: int = 0


@dataclass(frozen=True)
class MapStep:
    """What happens to the stream at one place: a branch reads it and adds to it, or it passes through an element.

    Attributes:
        kind: `branch` (its last element's output is added to the stream) or `trunk` (the stream passes through).
        elements: in the order in which they run: for a branch the norm before, the sublayer, the norm or factor after.
        parallel: whether this branch reads the same stream as the branch before it.
    """

    kind: str
    elements: tuple[MapElement, ...]
    parallel: bool = False

    @property
    def main(self) -> MapElement:
        """The element that gives the step its name: the sublayer of a branch."""
        sublayers = [one for one in self.elements if one.kind not in ("norm", "scale")]
        return (sublayers or list(self.elements))[0]


@dataclass(frozen=True)
class MapLayer:
    """One layer.

    Attributes:
        layer: its number, from 0.
        module: path of its module.
        norms: where norms sit: `pre`, `post`, `sandwich` or `none`; empty where it could not be told.
        steps: what happens to the stream, in order; empty where `trouble` says why that could not be told.
        n_params: parameters of the module.
        device: where its weights are: `cpu`, `cuda:0`, `disk`.
        trouble: why the layer could not be taken apart, or empty.
        flops_per_token: floating-point operations of a token in products with the weights; None where not counted.
        flops_per_key: the same in attention, for each position that the token looks at; None where not known.
        cache_bytes_per_token: bytes that each token adds to the cache; None where not measured.
        state_bytes: bytes of a recurrent state of constant size; None where not measured.
        cache_limit: of how many tokens the cache keeps something, where a window limits it; else None.
        notes: why such numbers are missing, or what they leave out.
    """

    layer: int
    module: str
    norms: str
    steps: tuple[MapStep, ...]
    n_params: int
    device: str
    trouble: str = ""
    flops_per_token: int | None = None
    flops_per_key: int | None = None
    cache_bytes_per_token: int | None = None
    state_bytes: int | None = None
    cache_limit: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelMap:
    """A model's stack of layers.

    Attributes:
        name: the model's name.
        before: what makes the stream before the first layer: the token embedding.
        layers: the layers, first layer first.
        after: what follows the last layer: final norm, head, output transform.
        n_params: parameters of the whole model, shared ones counted once.
        d_model: width of the stream.
        d_vocab: how many logits there are per position.
        tied: whether the head shares its weights with the embedding.
        encoder: the encoder's stack of an encoder-decoder, or None.
        flops_per_token: floating-point operations of a token in products with all weights; None where not counted.
        flops_per_key: the same in attention, for each position that the token looks at; None where not known.
        cache_bytes_per_token: bytes that each token adds to the cache; None where not measured.
    """

    name: str
    before: tuple[MapElement, ...]
    layers: tuple[MapLayer, ...]
    after: tuple[MapElement, ...]
    n_params: int
    d_model: int
    d_vocab: int
    tied: bool = False
    encoder: ModelMap | None = None
    flops_per_token: int | None = None
    flops_per_key: int | None = None
    cache_bytes_per_token: int | None = None
