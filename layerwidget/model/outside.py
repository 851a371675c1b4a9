"""What a model has outside its layers: on which side of them each parameter works, and what a token costs there."""

from __future__ import annotations

from functools import cached_property

from layerwidget.model.parts import LayerAnatomy
from layerwidget.model.watched import WatchedPass
from layerwidget.model.weight_products import ProductCounter, WeightFlops


class Outside:
    """Reads the parameters and products outside the layers off a watched pass.

    Args:
        watched: the pass.
        layers: the layers of the stack.
        encoder: those of its encoder; none without one.
    """

    def __init__(
        self, watched: WatchedPass, layers: tuple[LayerAnatomy, ...], encoder: tuple[LayerAnatomy, ...]
    ) -> None:
        self._watched = watched
        self._counter = ProductCounter(watched)
        spans = {(call.name, call.nth): (call.start, call.end) for call in watched.calls}
        self._inside = [(spans[layer.module, layer.call][0], spans[layer.last][1]) for layer in (*encoder, *layers)]
        self._first_of_encoder = self._inside[0][0]
        self._first = self._inside[len(encoder)][0]
        self._roots = tuple(f"{path}." for layer in (*encoder, *layers) for path in layer.modules)

    @property
    def flops(self) -> WeightFlops:
        """What one token costs outside the layers: mostly the head."""
        inside = {node for first, stop in self._inside for node in range(first, stop)}
        return self._counter.flops(number for number in range(len(self._watched.flow.nodes)) if number not in inside)

    @property
    def ends(self) -> dict[str, str]:
        """Path of a parameter -> `before` or `after` the layers of the stack."""
        found = {}
        for path, node in self._first_uses.items():
            if node > self._first:
                found[path] = "after"
            elif not self._serves_encoder(node):
                found[path] = "before"
        return found

    @property
    def ends_of_encoder(self) -> dict[str, str]:
        """Path of a parameter -> `before` or `after` the layers of the encoder."""
        own = {path: node for path, node in self._first_uses.items() if node < self._first}
        return {
            path: "before" if node < self._first_of_encoder else "after"
            for path, node in own.items()
            if self._serves_encoder(node)
        }

    @cached_property
    def _first_uses(self) -> dict[str, int]:
        """Path of a parameter outside the layers -> the node that it became when it was first used."""
        flow, weights = self._watched.flow, self._watched.weights
        found: dict[str, int] = {}
        for number, step in enumerate(flow.nodes):
            path = weights.get(id(flow.tensors[number]), "") if not step.op else ""
            if path and not path.startswith(self._roots):
                found.setdefault(path, number)
        return found

    def _serves_encoder(self, leaf: int) -> bool:
        """Whether what a parameter is first used for has to do with what the encoder read."""
        if self._watched.source is None:
            return False
        same = {leaf}
        for number in range(leaf + 1, len(self._watched.flow.nodes)):
            if not same.isdisjoint(self._watched.flow.nodes[number].parents):
                if self._counter.depends(number):
                    return self._counter.of_source[number]
                same.add(number)
        return False
