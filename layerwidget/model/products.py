"""Matrix products with parameters in a data-flow graph, and what is computed from them element by element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from layerwidget.model.dataflow import DataFlow

_MATRIX_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "_grouped_mm", "convolution"})
_PICKS = frozenset({"select", "slice", "index", "index_select", "expand"})
_SPLITS = frozenset({"split", "split_with_sizes", "chunk", "slice", "select", "unbind"})
#: They keep a half of a gated FFN a straight line, within bounds.
_STRAIGHT = frozenset({"clamp", "clamp_min", "clamp_max"})


@dataclass(frozen=True)
class Product:
    """A matrix product with a parameter.

    Attributes:
        node: node of the result.
        weight: node of the parameter.
        activation: node of what it is multiplied with.
        width: how wide that is.
    """

    node: int
    weight: int
    activation: int
    width: int


class Products:
    """Reads matrix products off a graph.

    Args:
        flow: the graph.
        weights: `id` of every parameter and buffer -> its path.
        start: nothing before this node is looked at.
        stop: nothing past these nodes is looked at.
    """

    def __init__(
        self, flow: DataFlow, weights: dict[int, str], start: int = 0, stop: frozenset[int] = frozenset()
    ) -> None:
        self._flow = flow
        self._weights = weights
        self._start = start
        self._stop = stop

    def last(self, node: int) -> Iterator[Product]:
        """The last products that a node was made by, the latest first."""
        waiting, seen = [node], set()
        while waiting:
            current = max(waiting)
            waiting.remove(current)
            if current in seen or current < self._start or current in self._stop:
                continue
            seen.add(current)
            product = self.product(current)
            if product is not None:
                yield product
            else:
                waiting.extend(self._flow.nodes[current].parents)

    def product(self, node: int) -> Product | None:
        """A node as a product of a parameter with something computed; None where it is none."""
        step = self._flow.nodes[node]
        if step.op not in _MATRIX_PRODUCTS:
            return None
        for position, parent in enumerate(step.parents):
            weight = self.parameter(parent)
            others = [other for other in step.parents[:position] + step.parents[position + 1 :] if other != parent]
            computed = [other for other in others if self.parameter(other) is None and self._flow.nodes[other].op]
            if weight is not None and computed and len(self._flow.nodes[weight].shape) > 1:
                # A convolution has its channels before the positions.
                width = self._flow.nodes[computed[0]].shape[1 if step.op == "convolution" else -1]
                return Product(node, weight, computed[0], width)
        return None

    def parameter(self, node: int) -> int | None:
        """The parameter of which a node is a view or a part."""
        step = self._flow.nodes[node]
        while step.parents and (step.moves or step.op in _PICKS):
            node = step.parents[0]
            step = self._flow.nodes[node]
        return node if not step.op and id(self._flow.tensors[node]) in self._weights else None

    def path(self, weight: int) -> str:
        """Path of a parameter."""
        return self._weights[id(self._flow.tensors[weight])]

    def halves(self, node: int) -> tuple[int, int] | None:
        """Two things of its own shape, made by different weights, whose product a node is; None where it is none."""
        step = self._flow.nodes[node]
        while step.moves or step.op in _PICKS:
            node = step.parents[0]
            step = self._flow.nodes[node]
        if not (step.multiplies and len(step.parents) == 2):
            return None
        one, other = step.parents
        shapes = {self._flow.nodes[factor].shape for factor in (one, other, node)}
        sources = self._sources(one)[0], self._sources(other)[0]
        return (one, other) if len(shapes) == 1 and all(sources) and sources[0] != sources[1] else None

    def gate_and_up(self, node: int) -> tuple[int, int] | None:
        """The halves, the one that goes through an activation function first; None where not exactly one does."""
        halves = self.halves(node)
        if halves is None:
            return None
        bent = [self._sources(half)[1] for half in halves]
        if bent[0] == bent[1]:
            return None
        return halves if bent[0] else (halves[1], halves[0])

    def _sources(self, node: int) -> tuple[set[int], bool]:
        """The products, or parts of them, a node was computed from element by element, and whether it was bent."""
        found, waiting, seen, bent = set(), [node], set(), False
        while waiting:
            current = waiting.pop()
            step = self._flow.nodes[current]
            if current in seen or current < self._start or not step.op:
                continue
            seen.add(current)
            if step.op in _SPLITS or self.product(current) is not None:
                found.add(current)
            else:
                waiting.extend(step.parents)
                bent = bent or not self._is_straight(current)
        return found, bent

    def _is_straight(self, node: int) -> bool:
        """Whether an operation only moves, scales, shifts or bounds what it reads."""
        step = self._flow.nodes[node]
        if step.moves or step.op in _STRAIGHT:
            return True
        computed = [parent for parent in step.parents if self._flow.nodes[parent].op]
        return (step.op.startswith("add") or step.multiplies) and len(computed) == 1
