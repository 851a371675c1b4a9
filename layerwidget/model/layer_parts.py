"""Take a layer apart: which modules' outputs are added to the stream, and with what factors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from layerwidget.model.paths import Path
from layerwidget.model.tracing import Call, WatchedPass

#: A plain number, or the path of a parameter or buffer that the contribution is multiplied by.
Factor = float | str


@dataclass(frozen=True)
class Contribution:
    """One addend of the stream.

    Attributes:
        call: the call whose output it is, before the factors.
        output: where it sits in that output.
        factors: what it is multiplied by on the way to the stream, in order.
        node: node of the addend in that output.
        order: grows in the order in which the stream takes its addends.
    """

    call: Call
    output: Path
    factors: tuple[Factor, ...]
    node: int
    order: int


@dataclass
class LayerSum:
    """A layer's output as a sum.

    Attributes:
        contributions: the addends besides the stream itself, in order.
        trunk: nodes that are the stream, on its way through the layer.
        trouble: why the layer is no such sum, or "".
    """

    contributions: list[Contribution] = field(default_factory=list)
    trunk: frozenset[int] = frozenset()
    trouble: str = ""


def take_apart(watched: WatchedPass, layer: Call, entry: int, leaving: int, weights: dict[int, str]) -> LayerSum:
    """Write a layer's output as its input plus contributions of its parts.

    Args:
        watched: the pass.
        layer: the layer's call.
        entry: node of the stream where it enters.
        leaving: node of the stream where it leaves.
        weights: `id` of every parameter and buffer -> its path.
    """
    return _Sum(watched, layer, entry, weights).result(leaving)


class _Sum:
    def __init__(self, watched: WatchedPass, layer: Call, entry: int, weights: dict[int, str]) -> None:
        self.watched = watched
        self.flow = watched.flow
        self.layer = layer
        self.entry = entry
        self.weights = weights
        self.trunk: dict[int, bool] = {entry: True}
        self.inner = [call for call in watched.calls if layer.encloses(call)]
        self.found: list[Contribution] = []
        self.trouble = ""
        self.trunk_factors: list[tuple[Factor, ...]] = []

    def result(self, leaving: int) -> LayerSum:
        if not self._is_trunk(leaving):
            trouble = "the layer's output is not its input plus something (a norm sits on the stream, or it is rebuilt)"
            return LayerSum(trouble=trouble)
        self._split(leaving, ())
        if self.trunk_factors != [()] and not self.trouble:
            self.trouble = "the stream itself is scaled, or added to itself, inside the layer"
        trunk = frozenset(node for node, linked in self.trunk.items() if linked)
        contributions = sorted(self.found, key=lambda contribution: contribution.order)
        return LayerSum(contributions, trunk, self.trouble)

    def _is_trunk(self, node: int) -> bool:
        if node not in self.trunk:
            self.trunk[node] = False
            step = self.flow.nodes[node]
            if node >= self.layer.start and (step.moves or step.adds or step.multiplies):
                parents = step.parents[:1] if step.moves else step.parents
                self.trunk[node] = any(self._is_trunk(parent) for parent in parents)
                if step.multiplies and self.trunk[node]:
                    self.trunk[node] = self._factor(node)[1] is not None
        return self.trunk[node]

    def _split(self, node: int, factors: tuple[Factor, ...]) -> None:
        """Follow the stream back from where it leaves to where it enters."""
        step = self.flow.nodes[node]
        if node == self.entry:
            self.trunk_factors.append(factors)
        elif step.adds:
            for parent, scale in zip(step.parents, (1.0, step.scale), strict=True):
                inner = factors if scale == 1.0 else (scale, *factors)
                if self._is_trunk(parent):
                    self._split(parent, inner)
                else:
                    self._attribute(parent, inner, order=node)
        elif step.multiplies:
            value, factor = self._factor(node)
            self._split(value, factors if factor is None else (factor, *factors))
        else:
            self._split(step.parents[0], factors)

    def _attribute(self, node: int, factors: tuple[Factor, ...], order: int) -> None:
        """Find the outermost module whose output an addend is; split sums that no module returns."""
        owner = self._owner(node)
        step = self.flow.nodes[node]
        if owner is not None:
            self.found.append(Contribution(*owner, factors, node, order))
        elif step.moves:
            self._attribute(step.parents[0], factors, order)
        elif step.adds:
            for parent, scale in zip(step.parents, (1.0, step.scale), strict=True):
                self._attribute(parent, factors if scale == 1.0 else (scale, *factors), order)
        elif step.multiplies and self._factor(node)[1] is not None:
            value, factor = self._factor(node)
            self._attribute(value, (factor, *factors) if factor is not None else factors, order)
        else:
            self.trouble = f"something is added to the stream ({step.op or 'an input'}) that no module returns"

    def _owner(self, node: int) -> tuple[Call, Path] | None:
        owners: Iterable[tuple[Call, Path]] = (
            (call, path) for call in self.inner for path, output in call.outputs.items() if output == node
        )
        return min(owners, key=lambda owner: (owner[0].depth, -owner[0].n_ops), default=None)

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
