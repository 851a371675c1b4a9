"""What a layer is made of: frozen descriptions, without any tensor."""

from __future__ import annotations

from dataclasses import dataclass

from layerwidget.model.attention_shape import AttentionSite
from layerwidget.model.layer_parts import Factor
from layerwidget.model.paths import Path, show
from layerwidget.model.weight_products import UNCOUNTED, WeightFlops


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
class Gate:
    """A module whose output a contribution is multiplied by: as wide, or one weight for each of several streams.

    Attributes:
        module: its path.
        call: which call of that module within a pass, from 0.
        output: where the gate sits in its output.
    """

    module: str
    call: int
    output: Port


@dataclass(frozen=True)
class Step:
    """A module that reads one tensor alone, so that it can be called again.

    Attributes:
        module: its path.
        input: where that tensor sits in `{"args": args, "kwargs": kwargs}`.
        output: where what it is called for sits in its output.
    """

    module: str
    input: Path
    output: Path


@dataclass(frozen=True)
class FeedForward:
    """What an FFN is made of.

    Attributes:
        n_neurons: width of what the last matrix reads; of one expert where there are several.
        gated: whether a product of two halves makes the neurons.
        down: path of the matrix that turns neurons into what is added to the stream.
        n_experts: how many experts a router chooses from; 0 without.
        n_active: how many of them each token goes through.
        router: path of the module that scores them.
        steps: the modules that lead from the stream to its output, before a norm after it: each reads what the one
            before it returned. Empty where there is no such row of modules.
    """

    n_neurons: int
    gated: bool
    down: str
    n_experts: int = 0
    n_active: int = 0
    router: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def kind(self) -> str:
        """`plain`, `gated` or `experts`."""
        return "experts" if self.n_experts else "gated" if self.gated else "plain"


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
        gate: another module's output by which it is multiplied, or None.
        norm_before: path of the norm through which it reads the stream; empty without one.
        norm_after: path of the norm through which its output goes before it is added; empty without one.
        sublayer: path of the module that did the work before that norm, or of what holds all modules that did.
        weights: paths of the parameters that did the work, norms left out.
        feed_forward: what an FFN is made of; None for other kinds, and where it could not be told.
        window: how many positions attention looks back at most, as its module says; None without a limit.
        projection: path of the matrix through which the heads of attention write (W_O); empty where it was not found.
    """

    kind: str
    module: str
    call: int
    output: Port
    factors: tuple[Factor, ...] = ()
    gate: Gate | None = None
    norm_before: str = ""
    norm_after: str = ""
    sublayer: str = ""
    weights: tuple[str, ...] = ()
    feed_forward: FeedForward | None = None
    window: int | None = None
    projection: str = ""

    def __str__(self) -> str:
        """Path, place in the output and factors, as code."""
        factors = "".join(f" * {factor:g}" if isinstance(factor, float) else f" * {factor}" for factor in self.factors)
        if not self.module:
            return factors.removeprefix(" * ")
        factors += f" * {self.gate.module}" if self.gate else ""
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
        module: path of its module; where no module is the layer, of the first of those that it is made of.
        call: which call of that module within a pass, from 0 (a shared module is several layers).
        input: where the stream enters.
        output: where the stream leaves.
        parts: what is added to the stream, in order; empty where `trouble` says why it could not be told.
        parallel: whether attention and FFN read the same stream; None without both.
        attention_sites: its self-attention operations, in order; most layers with attention have one.
        cross_sites: its operations of attention to the encoder.
        n_params: parameters of its modules.
        trouble: why the layer's output could not be written as input plus parts, or "".
        passages: what the stream itself passes through inside the layer: norms of post-norm layers, factors.
        weights: path and shape of each of its parameters.
        device: where they are: `cpu`, `cuda:0`; `offloaded` when they are brought in only for their own call.
        carried: where else the layer takes something from the layer before and hands on its own: (output, input).
        further: where no module is the layer, the modules after the first, in order, and which call of each: (path,
            call). The stream leaves at the last.
        flops: what one token costs in products with its weights.
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
    weights: tuple[tuple[str, tuple[int, ...]], ...] = ()
    device: str = "cpu"
    further: tuple[tuple[str, int], ...] = ()
    flops: WeightFlops = UNCOUNTED

    @property
    def modules(self) -> tuple[str, ...]:
        """Paths of its modules: mostly one."""
        return self.module, *(path for path, _ in self.further)

    @property
    def where(self) -> str:
        """Path of its module; where there are several, of the first and the last."""
        return f"{self.module} … {self.last[0]}" if self.further else self.module

    @property
    def last(self) -> tuple[str, int]:
        """Path and call of the module in whose output the stream leaves."""
        return self.further[-1] if self.further else (self.module, self.call)

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

    @property
    def norms(self) -> str:
        """Where norms sit.

        `pre` (a sublayer reads the stream through one), `output` (its output goes through one before it is added),
        `sandwich` (both), `post` (on the stream itself), `none`; empty where it could not be told.
        """
        if not self.parts:
            return ""
        if any(passage.module for passage in self.passages):
            return "post"
        before, after = any(part.norm_before for part in self.parts), any(part.norm_after for part in self.parts)
        return {(True, True): "sandwich", (True, False): "pre", (False, True): "output", (False, False): "none"}[
            before, after
        ]
