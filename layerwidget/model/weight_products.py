"""What the weights cost: the floating-point operations of a layer's matrix products, counted in the watched pass."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from layerwidget.model.dataflow import Node
from layerwidget.model.watched import WatchedPass

#: Matrix products: the last two tensors that go in are the factors. `_grouped_mm` also takes where its groups end.
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "mv", "addmv", "_grouped_mm"})
_PRODUCTS_IN_PLACE = frozenset({"addmm_", "baddbmm_", "addmv_"})
_CHOOSES = frozenset({"index", "index_select", "gather", "slice", "select", "split", "chunk", "unbind", "expand"})
#: Operations that put weights somewhere and multiply nothing.
_PLACES = frozenset({"cat", "stack", "embedding", "copy_", "write through a view", "index_put_", "where"})


@dataclass(frozen=True)
class WeightFlops:
    """What one token costs in products with weights, each multiplication and each addition counted as one.

    A token that is multiplied with a matrix of so many parameters costs twice as many operations; with experts, those
    that it is sent to. Norms, activations, biases and what a recurrent layer does to its state are no such products.

    Attributes:
        per_token: floating-point operations for each token; None where `trouble` says why they were not counted.
        per_source_token: for each token that the encoder of an encoder-decoder read: the keys and values made of it.
        trouble: why they were not counted, or "".
    """

    per_token: int | None = None
    per_source_token: int = 0
    trouble: str = ""


UNCOUNTED = WeightFlops(trouble="not counted")


class ProductCounter:
    """Counts products with weights in ranges of a watched pass.

    Args:
        watched: the pass; that of an encoder for the encoder's layers.
    """

    def __init__(self, watched: WatchedPass) -> None:
        self._watched = watched
        self._nodes = watched.flow.nodes

    @cached_property
    def _of_tokens(self) -> list[bool]:
        """For every node, whether it was computed from the ids at the stream's positions."""
        return self._descend(self._watched.ids)

    @cached_property
    def of_source(self) -> list[bool]:
        """For every node, whether it was computed from the ids that the encoder read."""
        source = self._watched.source
        return [False] * len(self._nodes) if source is None else self._descend(source)

    def flops(self, numbers: Iterable[int]) -> WeightFlops:
        """What these nodes cost, for each token."""
        if self._watched.n_rows:
            return WeightFlops(trouble="its stream has rows besides the positions")
        own = source = 0
        for number in numbers:
            step = self._nodes[number]
            if is_product(step):
                if self._has_weight(step):
                    flops = product_flops(step, self._nodes)
                    reads_tokens = any(self._of_tokens[parent] for parent in step.parents)
                    own, source = (own + flops, source) if reads_tokens else (own, source + flops)
            elif (weight := self._unknown_product(step)) is not None:
                return WeightFlops(trouble=f"{weight} goes through `{step.op}`, whose operations are not counted")
        n_tokens, n_source = self._watched.n_batch * self._watched.n_pos, self._watched.n_batch * self._watched.n_source
        if own % n_tokens or (source and source % n_source):
            return WeightFlops(trouble="not every token takes part in its products")
        return WeightFlops(own // n_tokens, source // n_source if source else 0)

    def _descend(self, ids: object) -> list[bool]:
        origin = self._watched.flow.node_of(ids)  # type: ignore[arg-type]
        found = [False] * len(self._nodes)
        for number, step in enumerate(self._nodes):
            found[number] = number == origin or any(found[parent] for parent in step.parents if parent < number)
        return found

    def depends(self, node: int) -> bool:
        """Whether a node was computed from token ids."""
        return self._of_tokens[node] or self.of_source[node]

    def _has_weight(self, step: Node) -> bool:
        """Whether one factor was computed from tokens and the other was not, or was only chosen by them (experts)."""
        factors = _factors(step)
        return any(self.depends(node) for node in factors) and any(self._is_weight(node) for node in factors)

    def _is_weight(self, node: int) -> bool:
        while self.depends(node) and (self._nodes[node].moves or self._nodes[node].op in _CHOOSES):
            node = self._nodes[node].parents[0]
        return not self.depends(node)

    def _unknown_product(self, step: Node) -> str | None:
        """Path of a matrix that an operation reads together with tokens, where that may be a product."""
        if step.op in _PLACES | _CHOOSES or not any(self.depends(parent) for parent in step.parents):
            return None
        shapes = [self._nodes[parent].shape for parent in step.parents]
        if step.shape == _broadcast(shapes):
            return None
        for parent in step.parents:
            leaf = self._nodes[parent]
            while leaf.moves:
                parent, leaf = leaf.parents[0], self._nodes[leaf.parents[0]]
            path = self._watched.weights.get(id(self._watched.flow.tensors[parent]))
            if path is not None and not leaf.op and len(leaf.shape) > 1:
                return path
        return None


def is_product(step: Node) -> bool:
    """Whether an operation is a matrix product, or a convolution."""
    return step.op in _PRODUCTS or step.op in _PRODUCTS_IN_PLACE or step.op == "convolution"


def product_flops(step: Node, nodes: list[Node]) -> int:
    """Floating-point operations of a product: twice its multiplications.

    Those of a convolution are of the positions that it was given, not of those that its padding adds.
    """
    one, other = (nodes[node].shape for node in _factors(step))
    if step.op == "convolution":
        return 2 * one[0] * min(math.prod(one[2:]), math.prod(step.shape[2:])) * math.prod(other)
    return 2 * math.prod(one) * (other[-2] if step.op == "linear" else other[-1] if len(other) > 1 else 1)


def _factors(step: Node) -> tuple[int, int]:
    """The two that are multiplied, the one with rows first."""
    if step.op in ("_grouped_mm", "convolution", "linear"):
        return step.parents[0], step.parents[1]
    return step.parents[-2], step.parents[-1]


def _broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape of a result that is made element by element; () where there is none."""
    n_axes = max(map(len, shapes))
    padded = [(1,) * (n_axes - len(shape)) + shape for shape in shapes]
    sizes = [{size for size in axis if size != 1} for axis in zip(*padded, strict=True)]
    return () if any(len(axis) > 1 for axis in sizes) else tuple(axis.pop() if axis else 1 for axis in sizes)
