"""What a sublayer is made of: the norms around it, and of an FFN its neurons, gate, experts and router."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from layerwidget.model.layer_parts import Contribution
from layerwidget.model.parts import FeedForward
from layerwidget.model.watched import Call, WatchedPass

_MATRIX_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "_grouped_mm", "convolution"})
_PICKS = frozenset({"select", "slice", "index", "index_select", "expand"})
_SPLITS = frozenset({"split", "split_with_sizes", "chunk", "slice", "select", "unbind"})
_CHOICES = frozenset({"topk", "argmax"})


@dataclass(frozen=True)
class _Product:
    """A matrix product with a parameter.

    Attributes:
        weight: node of the parameter.
        activation: node of what it is multiplied with.
        width: how wide that is.
    """

    weight: int
    activation: int
    width: int


class SublayerReader:
    """Reads sublayers of one layer off a watched pass.

    Args:
        watched: the pass.
        layer: the layer's call.
        trunk: nodes that are the stream on its way through the layer.
        weights: `id` of every parameter and buffer -> its path.
    """

    def __init__(self, watched: WatchedPass, layer: Call, trunk: frozenset[int], weights: dict[int, str]) -> None:
        self._watched = watched
        self._flow = watched.flow
        self._layer = layer
        self._trunk = trunk
        self._weights = weights
        self._inner = [call for call in watched.calls if layer.encloses(call) and call.n_ops > 0]

    def norm_before(self, one: Contribution) -> str:
        """Path of the norm through which a contribution reads the stream; empty without one."""
        past = self._past(one.node)
        for call in self._inner:
            reads = [node for node in call.inputs.values() if node in self._trunk]
            makes = [node for node in call.outputs.values() if node in past and node not in self._trunk]
            if reads and makes and is_norm(call.module) and self._same_shape(reads[0], makes[0]):
                return call.name
        return ""

    def norm_after(self, one: Contribution) -> tuple[str, str]:
        """Paths of the norm through which a contribution is added, and of the sublayer before it; empty without."""
        call = one.call
        if call is None or not is_norm(call.module) or not any(True for _ in call.module.parameters()):
            return "", ""
        read = next((node for node in call.inputs.values() if self._same_shape(node, one.node)), None)
        makers = [other for other in self._inner if read in other.outputs.values() and other is not call]
        return call.name, min(makers, key=lambda maker: maker.depth).name if makers else ""

    def weights(self, one: Contribution, norms: tuple[str, ...]) -> tuple[str, ...]:
        """Paths of the parameters that a contribution is made with, those of the norms around it left out, in order."""
        past = self._past(one.node)
        leaves = {
            parent for node in past for parent in self._flow.nodes[node].parents if not self._flow.nodes[parent].op
        }
        paths = {path for leaf in leaves if (path := self._weights.get(id(self._flow.tensors[leaf])))}
        around = tuple(f"{name}." for name in norms if name)
        return tuple(sorted(path for path in paths if not path.startswith(around)))

    def feed_forward(self, one: Contribution) -> FeedForward | None:
        """What an FFN is made of, or None where no matrix makes it."""
        products = list(self._products(one.node))
        if not products:
            return None
        choices = [node for node in self._past(one.node) if self._flow.nodes[node].op in _CHOICES]
        choice = max(choices, key=self._n_choices, default=None)
        scores = None if choice is None else next(self._products(self._flow.nodes[choice].parents[0]), None)
        down = self._down([product for product in products if product != scores] or products)
        ffn = FeedForward(down.width, self._is_gated(down.activation), self._path(down.weight))
        if choice is None:
            return ffn
        router = "" if scores is None else self._path(scores.weight).rpartition(".")[0]
        n_active = self._flow.nodes[choice].shape[-1] if self._flow.nodes[choice].op == "topk" else 1
        return replace(ffn, n_experts=self._n_choices(choice), n_active=n_active, router=router)

    def projection(self, one: Contribution, heads: int) -> str:
        """Path of the matrix through which an attention operation's output is added; empty without such a single one.

        Args:
            one: what is added.
            heads: node of the operation's output.
        """
        products = list(self._products(one.node))
        if len(products) != 1 or not self._is_moved(products[0].activation, heads):
            return ""
        return self._path(products[0].weight)

    def _is_moved(self, node: int, origin: int) -> bool:
        """Whether a node holds the values of another, arranged in another way."""
        while node != origin and self._flow.nodes[node].moves:
            node = self._flow.nodes[node].parents[0]
        return node == origin

    def _down(self, products: list[_Product]) -> _Product:
        """Of routed and shared experts together, the routed: they lie in one block of three dimensions, or are many."""
        nodes = self._flow.nodes
        stacked = [product for product in products if len(nodes[product.weight].shape) > 2]
        widths = Counter(product.width for product in products)
        return (stacked or sorted(products, key=lambda one: -widths[one.width]))[0]

    def _n_choices(self, choice: int) -> int:
        nodes = self._flow.nodes
        return nodes[nodes[choice].parents[0]].shape[-1]

    def _path(self, weight: int) -> str:
        return self._weights[id(self._flow.tensors[weight])]

    def _past(self, node: int) -> set[int]:
        return self._watched.ancestors(node, start=self._layer.start, stop=self._trunk)

    def _same_shape(self, one: int, other: int) -> bool:
        return self._flow.nodes[one].shape == self._flow.nodes[other].shape

    def _products(self, node: int) -> Iterator[_Product]:
        """The last matrix products with parameters that a node was made by, the latest first."""
        todo, seen = [node], set()
        while todo:
            current = max(todo)
            todo.remove(current)
            if current in seen or current < self._layer.start or current in self._trunk:
                continue
            seen.add(current)
            product = self._product(current)
            if product is not None:
                yield product
            else:
                todo.extend(self._flow.nodes[current].parents)

    def _product(self, node: int) -> _Product | None:
        step = self._flow.nodes[node]
        if step.op not in _MATRIX_PRODUCTS:
            return None
        for position, parent in enumerate(step.parents):
            weight = self._parameter(parent)
            others = [other for other in step.parents[:position] + step.parents[position + 1 :] if other != parent]
            computed = [other for other in others if self._parameter(other) is None and self._flow.nodes[other].op]
            if weight is not None and computed and len(self._flow.nodes[weight].shape) > 1:
                # A convolution has its channels before the positions.
                width = self._flow.nodes[computed[0]].shape[1 if step.op == "convolution" else -1]
                return _Product(weight, computed[0], width)
        return None

    def _parameter(self, node: int) -> int | None:
        """The parameter of which a node is a view or a part."""
        step = self._flow.nodes[node]
        while step.parents and (step.moves or step.op in _PICKS):
            node = step.parents[0]
            step = self._flow.nodes[node]
        return node if not step.op and id(self._flow.tensors[node]) in self._weights else None

    def _is_gated(self, node: int) -> bool:
        """Whether a node is the product of two things of its own shape that were made by different weights."""
        step = self._flow.nodes[node]
        while step.moves or step.op in _PICKS:
            node = step.parents[0]
            step = self._flow.nodes[node]
        if not (step.multiplies and len(step.parents) == 2):
            return False
        halves = [self._halves(factor) for factor in step.parents if self._same_shape(factor, node)]
        return len(halves) == 2 and all(halves) and halves[0] != halves[1]

    def _halves(self, node: int) -> set[int]:
        """The matrix products, or parts of them, from which a node was computed element by element."""
        found, todo, seen = set(), [node], set()
        while todo:
            current = todo.pop()
            step = self._flow.nodes[current]
            if current in seen or current < self._layer.start or not step.op:
                continue
            seen.add(current)
            if step.op in _SPLITS or self._product(current) is not None:
                found.add(current)
            else:
                todo.extend(step.parents)
        return found


def window_of(module: nn.Module) -> int | None:
    """How many positions attention in a module looks back at most, as the module itself says."""
    said: list[Any] = [getattr(one, "sliding_window", None) for one in module.modules()]
    return next((size for size in said if isinstance(size, int) and not isinstance(size, bool) and size > 0), None)


def is_norm(module: nn.Module) -> bool:
    """Whether a module has at most gains and biases, no matrices."""
    return all(weight.dim() <= 1 for weight in module.parameters())
