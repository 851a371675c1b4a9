"""Anatomy: where everything is in a model, found by structure. Prints as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from layerwidget.model.attention_shape import AttentionSite
from layerwidget.model.layer_parts import Factor
from layerwidget.model.paths import Path, show
from layerwidget.model.stream import StreamLayout


@dataclass(frozen=True)
class Port:
    """A place where the stream can be read.

    Attributes:
        path: where the tensor sits in the module's output, or in `{"args": args, "kwargs": kwargs}` of its input.
        overwritten: whether the model later writes into that tensor, so that whoever reads it must copy it.
    """

    path: Path
    overwritten: bool = False


@dataclass(frozen=True)
class Part:
    """A sublayer: a module whose output is added to the stream.

    Attributes:
        kind: `attention`, `cross_attention` (to the encoder), `mlp` (works on each position alone) or `mixer` (mixes
            positions without attention), or `bias` (a constant).
        module: path of the module whose output is added: the sublayer itself, or its post-norm. Empty for a constant,
            which is its factors alone.
        call: which call of that module within a pass, from 0.
        output: where the addend sits in the module's output.
        factors: numbers, or paths of parameters, by which the output is multiplied before it is added.
    """

    kind: str
    module: str
    call: int
    output: Port
    factors: tuple[Factor, ...] = ()

    def __str__(self) -> str:
        """Path, place in the output and factors, as code."""
        factors = "".join(f" * {factor:g}" if isinstance(factor, float) else f" * {factor}" for factor in self.factors)
        if not self.module:
            return factors.removeprefix(" * ")
        place = show(self.output.path)
        return f"{self.module}{place if place.startswith('[') or not place else '.' + place}{factors}"


@dataclass(frozen=True)
class Passage:
    """Something that the stream itself passes through: a norm, as in post-norm layers, or factors.

    Attributes:
        after: how many of the layer's parts come before it.
        module: path of the norm; empty for factors alone.
        call: which call of that module within a pass, from 0.
        input: where the stream enters the norm.
        output: where it leaves.
        factors: numbers, or paths of parameters, by which the stream is multiplied.
    """

    after: int
    module: str = ""
    call: int = 0
    input: Port = Port(())
    output: Port = Port(())
    factors: tuple[Factor, ...] = ()


@dataclass(frozen=True)
class LayerAnatomy:
    """One layer of the stack.

    Attributes:
        layer: its number, from 0.
        module: path of its module.
        call: which call of that module within a pass, from 0 (a shared module is several layers).
        input: where the stream enters.
        output: where the stream leaves.
        parts: what is added to the stream, in order; empty where `trouble` says why it could not be told.
        parallel: whether attention and FFN read the same stream; None without both.
        attention_sites: its self-attention operations, in order; most layers with attention have one.
        cross_sites: its operations of attention to the encoder.
        n_params: parameters of the module.
        trouble: why the layer's output could not be written as input plus parts, or "".
        passages: what the stream itself passes through inside the layer: norms of post-norm layers, factors.
        carried: where else the layer takes something from the layer before and hands on its own: (output, input).
    """

    layer: int
    module: str
    call: int
    input: Port
    output: Port
    parts: tuple[Part, ...]
    parallel: bool | None
    attention_sites: tuple[AttentionSite, ...]
    n_params: int
    trouble: str = ""
    passages: tuple[Passage, ...] = ()
    cross_sites: tuple[AttentionSite, ...] = ()
    carried: tuple[tuple[Path, Path], ...] = ()

    def parts_of(self, kind: str) -> tuple[Part, ...]:
        """The parts of one kind."""
        return tuple(part for part in self.parts if part.kind == kind)

    @property
    def attention_site(self) -> AttentionSite | None:
        """The first self-attention operation, or None."""
        return next(iter(self.attention_sites), None)

    @property
    def n_heads(self) -> int:
        """Query heads of all its self-attention operations."""
        return sum(site.n_heads for site in self.attention_sites)

    @property
    def attention(self) -> Part | None:
        """The attention part, or None."""
        return next(iter(self.parts_of("attention")), None)

    @property
    def mlp(self) -> Part | None:
        """The first FFN part, or None."""
        return next(iter(self.parts_of("mlp")), None)

    @property
    def parts_before_mid(self) -> tuple[Part, ...]:
        """The parts that the stream between mixing and FFN already holds; empty where there is no such stream."""
        kinds = [part.kind for part in self.parts]
        if self.parallel is not False or "mlp" not in kinds:
            return ()
        first = kinds.index("mlp")
        return self.parts[:first] if all(kind in ("mlp", "bias") for kind in kinds[first:]) else ()


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

    def why_absent(self, component: str) -> str:
        """The reason why no layer has a component, as `" (...)"`, or "" where none is known."""
        reason = self.absent.get(component, "")
        return f" ({reason})" if reason else ""

    def __repr__(self) -> str:
        """A table: the model in four lines, then one line for every run of like layers."""
        shared = f" ({self.n_kv_heads} key/value)" if self.n_kv_heads != self.n_heads else ""
        heads = f"{self.n_heads} heads{shared} of width {self.d_head}" if self.n_heads else "no attention"
        lines = [
            f"{self.name}: {self.n_layers} layers, d_model {self.d_model}, {heads}, "
            f"d_vocab {self.d_vocab:,}, {self.n_params:,} parameters",
            f"  embedding   {self.embedding or 'not identified'}",
            f"  final norm  {self.final_norm or 'not identified (the tail is replayed as a whole)'}",
            f"  head        {self.head or 'not identified (the tail is replayed as a whole)'}",
        ]
        absent = {name: why for name, why in self.absent.items() if name != "cross_attn_out"}
        lines += [f"  no {component}: {reason}" for component, reason in absent.items()]
        lines += _table([_HEADINGS, *_rows(self.layers)])
        return "\n".join([*lines, repr(self.encoder)] if self.encoder else lines)


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


_HEADINGS = ("layer", "module", "block", "attention adds", "FFN adds", "parameters")


def _rows(layers: tuple[LayerAnatomy, ...]) -> list[tuple[str, ...]]:
    """One row for every run of layers that differ in nothing but their number."""
    runs = [list(run) for _, run in groupby(layers, key=lambda layer: _row(layer)[2:])]
    return [_row(run[0]) if len(run) == 1 else _run(run[0], run[-1]) for run in runs]


def _run(first: LayerAnatomy, last: LayerAnatomy) -> tuple[str, ...]:
    module = first.module if first.module == last.module else f"{first.module} … {last.module}"
    return f"{first.layer}-{last.layer}", module, *_row(first)[2:]


def _row(layer: LayerAnatomy) -> tuple[str, ...]:
    block = {True: "parallel", False: "sequential", None: "-"}[layer.parallel]
    mixing = ", ".join(_within(part, layer) for part in layer.parts if part.kind != "mlp")
    mlp = ", ".join(_within(part, layer) for part in layer.parts_of("mlp"))
    return str(layer.layer), layer.module, block, mixing or layer.trouble or "-", mlp or "-", f"{layer.n_params:,}"


def _within(part: Part, layer: LayerAnatomy) -> str:
    return str(part).replace(f"{layer.module}.", "") + (" (mixer)" if part.kind == "mixer" else "")


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
