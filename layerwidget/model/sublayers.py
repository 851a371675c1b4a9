"""What a sublayer is made of: the norms around it, and of an FFN its neurons, gate, experts and router."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from torch import nn

from layerwidget.model.layer_parts import Contribution
from layerwidget.model.parts import FeedForward, Step
from layerwidget.model.products import Product, Products
from layerwidget.model.watched import Call, WatchedPass

_CHOICES = frozenset({"topk", "argmax"})


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
        self._products = Products(watched.flow, weights, layer.start, trunk)
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
        norm = self._norm_call(one)
        if norm is None:
            return "", ""
        call, read = norm
        makers = [other for other in self._inner if read in other.outputs.values() and other is not call]
        return call.name, min(makers, key=lambda maker: maker.depth).name if makers else ""

    def _norm_call(self, one: Contribution) -> tuple[Call, int | None] | None:
        """The call of the norm through which a contribution is added, and the node that it reads."""
        call = one.call
        if call is None or not is_norm(call.module) or not any(True for _ in call.module.parameters()):
            return None
        return call, next((node for node in call.inputs.values() if self._same_shape(node, one.node)), None)

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
        products = list(self._products.last(one.node))
        if not products:
            return None
        choices = [node for node in self._past(one.node) if self._flow.nodes[node].op in _CHOICES]
        choice = max(choices, key=self._n_choices, default=None)
        scores = None if choice is None else next(self._products.last(self._flow.nodes[choice].parents[0]), None)
        down = self._down([product for product in products if product != scores] or products)
        gated = self._products.halves(down.activation) is not None
        ffn = FeedForward(down.width, gated, self._products.path(down.weight), steps=self._steps(one))
        if choice is None:
            return ffn
        router = "" if scores is None else self._products.path(scores.weight).rpartition(".")[0]
        n_active = self._flow.nodes[choice].shape[-1] if self._flow.nodes[choice].op == "topk" else 1
        return replace(ffn, n_experts=self._n_choices(choice), n_active=n_active, router=router)

    def _steps(self, one: Contribution) -> tuple[Step, ...]:
        """The modules that lead from the stream to an FFN's output, before a norm after it; empty without such a row.

        Each reads nothing but what the one before it returned.
        """
        norm = self._norm_call(one)
        node, steps = one.node if norm is None or norm[1] is None else norm[1], list[Step]()
        while node not in self._trunk:
            step = self._step(node)
            if step is None and not self._flow.nodes[node].moves:
                return ()
            if step is not None:
                steps.append(step[0])
            node = self._flow.nodes[node].parents[0] if step is None else step[1]
        return tuple(reversed(steps))

    def _step(self, node: int) -> tuple[Step, int] | None:
        """The outermost call that returned a node and read one tensor alone, and that tensor's node."""
        for call in sorted(self._inner, key=lambda call: call.depth):
            place = next((path for path, output in call.outputs.items() if output == node), None)
            if place is not None and len(call.inputs) == 1 and node not in call.inputs.values():
                ((read, before),) = call.inputs.items()
                return Step(call.name, read, place), before
        return None

    def projection(self, one: Contribution, heads: int) -> str:
        """Path of the matrix through which an attention operation's output is added; empty without such a single one.

        Args:
            one: what is added.
            heads: node of the operation's output.
        """
        products = list(self._products.last(one.node))
        if len(products) != 1 or not self._is_moved(products[0].activation, heads):
            return ""
        return self._products.path(products[0].weight)

    def _is_moved(self, node: int, origin: int) -> bool:
        """Whether a node holds the values of another, arranged in another way."""
        while node != origin and self._flow.nodes[node].moves:
            node = self._flow.nodes[node].parents[0]
        return node == origin

    def _down(self, products: list[Product]) -> Product:
        """Of routed and shared experts together, the routed: they lie in one block of three dimensions, or are many."""
        nodes = self._flow.nodes
        stacked = [product for product in products if len(nodes[product.weight].shape) > 2]
        widths = Counter(product.width for product in products)
        return (stacked or sorted(products, key=lambda one: -widths[one.width]))[0]

    def _n_choices(self, choice: int) -> int:
        nodes = self._flow.nodes
        return nodes[nodes[choice].parents[0]].shape[-1]

    def _past(self, node: int) -> set[int]:
        return self._watched.ancestors(node, start=self._layer.start, stop=self._trunk)

    def _same_shape(self, one: int, other: int) -> bool:
        return self._flow.nodes[one].shape == self._flow.nodes[other].shape


def window_of(module: nn.Module) -> int | None:
    """How many positions attention in a module looks back at most, as the module itself says."""
    said: list[Any] = [getattr(one, "sliding_window", None) for one in module.modules()]
    return next((size for size in said if isinstance(size, int) and not isinstance(size, bool) and size > 0), None)


def is_norm(module: nn.Module) -> bool:
    """Whether a module has at most gains and biases, no matrices."""
    return all(weight.dim() <= 1 for weight in module.parameters())
