"""Take a layer apart: what is added to the stream, what the stream itself passes through, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from layerwidget.model.paths import Path
from layerwidget.model.watched import Call, WatchedPass

#: A plain number, or the path of a parameter or buffer that the contribution is multiplied by.
Factor = float | str


@dataclass(frozen=True)
class Contribution:
    """One addend of the stream.

    Attributes:
        call: the call whose output it is, before the factors; None for a constant, which is its factors alone.
        output: where it sits in that output.
        factors: what it is multiplied by on the way to the stream, in order.
        node: node of the addend in that output.
        addend: number of the addition that brought it; several outputs may be summed before they reach the stream.
        gate: the call whose output it is multiplied by, and where that sits in it: as wide as the contribution, or with
            one weight for each of several parallel streams.
    """

    call: Call | None
    output: Path
    factors: tuple[Factor, ...]
    node: int
    addend: int
    gate: tuple[Call, Path] | None = None


@dataclass(frozen=True)
class Passage:
    """Something that the stream itself passes through: a norm (post-norm layers), or a factor.

    Attributes:
        call: the norm's call; None for a factor.
        input: where the stream sits in `{"args": args, "kwargs": kwargs}` of the norm.
        output: where it sits in the norm's output.
        factors: what the stream is multiplied by, without a norm.
        before, after: nodes of the stream.
    """

    call: Call | None
    input: Path
    output: Path
    factors: tuple[Factor, ...]
    before: int
    after: int


@dataclass
class LayerSum:
    """A layer as what happens to its stream.

    Attributes:
        items: in the order in which they happen.
        trunk: nodes that are the stream, on its way through the layer.
        trouble: why the layer could not be written so, or "".
    """

    items: list[Contribution | Passage] = field(default_factory=list)
    trunk: frozenset[int] = frozenset()
    trouble: str = ""

    @property
    def contributions(self) -> list[Contribution]:
        """The addends besides the stream itself."""
        return [item for item in self.items if isinstance(item, Contribution)]


class _TroubleError(Exception):
    """The layer is no such sum."""


def take_apart(watched: WatchedPass, layer: Call, entry: int, leaving: int, weights: dict[int, str]) -> LayerSum:
    """Write a layer's output as its input plus contributions of its parts, with norms on the stream where needed.

    Args:
        watched: the pass.
        layer: the layer's call.
        entry: node of the stream where it enters.
        leaving: node of the stream where it leaves.
        weights: `id` of every parameter and buffer -> its path.
    """
    troubles: list[str] = []
    for through_norms in (False, True):
        try:
            return _Walk(watched, layer, entry, weights, through_norms).result(leaving)
        except _TroubleError as trouble:
            troubles.append(str(trouble))
    return LayerSum(trouble=troubles[-1])


class _Walk:
    """Follows the stream back from where it leaves to where it enters."""

    def __init__(
        self, watched: WatchedPass, layer: Call, entry: int, weights: dict[int, str], through_norms: bool
    ) -> None:
        self.watched = watched
        self.flow = watched.flow
        self.layer = layer
        self.entry = entry
        self.weights = weights
        self.through_norms = through_norms
        self.trunk: dict[int, bool] = {entry: True}
        self.inner = [call for call in watched.calls if layer.encloses(call)]

    def result(self, leaving: int) -> LayerSum:
        if not self._is_trunk(leaving):
            raise _TroubleError("the layer's output is not its input plus something: the stream is rebuilt")
        items: list[Contribution | Passage] = []
        node = leaving
        while node != self.entry:
            node, found = self._step(node)
            items.extend(found)
        return LayerSum(items[::-1], frozenset(node for node, linked in self.trunk.items() if linked))

    def _is_trunk(self, node: int) -> bool:
        if node not in self.trunk:
            self.trunk[node] = False
            step = self.flow.nodes[node]
            if node >= self.layer.start and (step.moves or step.adds or step.multiplies):
                parents = step.parents[:1] if step.moves else step.parents
                self.trunk[node] = any(self._is_trunk(parent) for parent in parents)
                if step.multiplies and self.trunk[node]:
                    self.trunk[node] = self._factor(node)[1] is not None
            if not self.trunk[node] and self.through_norms:
                self.trunk[node] = self._norm_into(node) is not None
        return self.trunk[node]

    def _step(self, node: int) -> tuple[int, list[Contribution | Passage]]:
        """The stream before the operation that made this node, and what the operation did to it, last thing first."""
        step = self.flow.nodes[node]
        norm = self._norm_into(node) if self.through_norms else None
        if norm is not None:
            return norm.before, [norm]
        if step.adds:
            return self._addition(node)
        if step.multiplies:
            value, factor = self._factor(node)
            assert factor is not None, "a product of two activations is no trunk"
            return value, [] if factor == 1.0 else [Passage(None, (), (), (factor,), value, node)]
        return step.parents[0], []

    def _addition(self, node: int) -> tuple[int, list[Contribution | Passage]]:
        step = self.flow.nodes[node]
        addends = list(zip(step.parents, (1.0, step.scale), strict=True))
        stream = [addend for addend in addends if self._is_trunk(addend[0])]
        if len(stream) != 1:
            raise _TroubleError("the stream is added to itself inside the layer")
        (before, scale), *_ = stream
        found: list[Contribution | Passage] = []
        for parent, factor in addends:
            if parent != before:
                found.extend(self._attributed(parent, () if factor == 1.0 else (factor,), node))
        if not self.through_norms and all(isinstance(one, Contribution) and one.call is None for one in found):
            raise _TroubleError("a constant is added to the stream")
        found.reverse()
        if scale != 1.0:
            found.append(Passage(None, (), (), (scale,), before, node))
        return before, found

    def _attributed(self, node: int, factors: tuple[Factor, ...], addend: int) -> Iterator[Contribution]:
        """The outermost modules whose outputs an addend is made of; sums that no module returns are split."""
        owner = self._owner(node)
        step = self.flow.nodes[node]
        constant = self._constant(node)
        if owner is not None:
            yield Contribution(*owner, factors, node, addend)
        elif constant is not None:
            yield Contribution(None, (), (constant, *factors), node, addend)
        elif step.moves:
            yield from self._attributed(step.parents[0], factors, addend)
        elif step.adds:
            for parent, scale in zip(step.parents, (1.0, step.scale), strict=True):
                yield from self._attributed(parent, factors if scale == 1.0 else (scale, *factors), addend)
        elif step.multiplies and self._factor(node)[1] is not None:
            value, factor = self._factor(node)
            kept = factors if factor is None or factor == 1.0 else (factor, *factors)
            yield from self._attributed(value, kept, addend)
        elif step.multiplies and (pair := self._gated(node)) is not None:
            (value, call, path), (_, gate, gate_path) = pair
            yield Contribution(call, path, factors, value, addend, (gate, gate_path))
        else:
            raise _TroubleError(f"something is added to the stream ({step.op or 'an input'}) that no module returns")

    def _owner(self, node: int) -> tuple[Call, Path] | None:
        owners: Iterable[tuple[Call, Path]] = (
            (call, path) for call in self.inner for path, output in call.outputs.items() if output == node
        )
        return min(owners, key=lambda owner: (owner[0].depth, -owner[0].n_ops), default=None)

    def _gated(self, node: int) -> list[tuple[int, Call, Path]] | None:
        """A product of two modules' outputs as (node, call, path) of each, the wider first."""
        found = []
        for factor in self.flow.nodes[node].parents:
            while self._owner(factor) is None and self.flow.nodes[factor].moves:
                factor = self.flow.nodes[factor].parents[0]
            owner = self._owner(factor)
            if owner is None:
                return None
            found.append((factor, *owner))
        return sorted(found, key=lambda one: -self.flow.tensors[one[0]].numel()) if len(found) == 2 else None

    def _constant(self, node: int) -> str | None:
        """Path of the parameter that a node is, perhaps repeated along other axes."""
        step = self.flow.nodes[node]
        while step.parents and (step.moves or step.op == "expand"):
            node = step.parents[0]
            step = self.flow.nodes[node]
        return self.weights.get(id(self.flow.tensors[node])) if not step.op else None

    def _norm_into(self, node: int) -> Passage | None:
        """The norm that made a node of the stream: it reads nothing else, and has gains and biases, no matrices."""
        for call in self.inner:
            paths = [path for path, output in call.outputs.items() if output == node]
            if not paths or not call.start <= node < call.end or any(w.dim() > 1 for w in call.module.parameters()):
                continue
            past = self.watched.ancestors(node, start=min(call.start, *call.inputs.values()))
            read = [(path, entering) for path, entering in call.inputs.items() if entering in past]
            shape = self.flow.nodes[node].shape
            if len({entering for _, entering in read}) != 1 or self.flow.nodes[read[0][1]].shape != shape:
                continue
            if self._is_trunk(read[0][1]):
                return Passage(call, read[0][0], paths[0], (), read[0][1], node)
        return None

    def _factor(self, node: int) -> tuple[int, Factor | None]:
        """A product as (the node that is scaled, its factor); the factor is None for a product of two activations."""
        step = self.flow.nodes[node]
        inverse = step.op.startswith("div")
        if len(step.parents) == 1:
            return step.parents[0], 1.0 / step.scale if inverse else step.scale
        value, other = step.parents
        for scaled, by in ((value, other), (other, value)):
            leaf = self.flow.nodes[by]
            tensor = self.flow.tensors[by]
            if leaf.op or (inverse and by == value):
                continue
            if tensor.numel() == 1 and id(tensor) not in self.weights:
                number = float(tensor)
                return scaled, 1.0 / number if inverse else number
            if id(tensor) in self.weights and not inverse:
                return scaled, self.weights[id(tensor)]
        return value, None
