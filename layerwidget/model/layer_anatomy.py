"""Describe one layer of a located stack: its parts, what kind each is, and its attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import takewhile

from torch import nn

from layerwidget.errors import StructureError
from layerwidget.model.attention_shape import AttentionSite, attention_site
from layerwidget.model.layer_parts import Contribution, LayerSum, take_apart
from layerwidget.model.locality import mixes_positions
from layerwidget.model.parts import Gate, LayerAnatomy, Part, Passage, Port
from layerwidget.model.paths import Path
from layerwidget.model.running import device_name
from layerwidget.model.stack import Stack
from layerwidget.model.sublayers import SublayerReader, window_of
from layerwidget.model.watched import AttentionOp, Call, WatchedPass
from layerwidget.model.weight_products import ProductCounter


class LayerDescriber:
    """Reads layers off a watched pass.

    Args:
        watched: the pass.
        stack: the layer stack that was found in it.
        weights: `id` of every parameter and buffer -> its path.
    """

    def __init__(self, watched: WatchedPass, stack: Stack, weights: dict[int, str]) -> None:
        self._watched = replace(watched, n_rows=stack.n_rows)
        self._stack = stack
        self._weights = weights
        self._mixing: dict[object, bool] = {}
        self._counter = ProductCounter(self._watched)

    def layer(self, index: int) -> LayerAnatomy:
        """One layer.

        Raises:
            StructureError: when its stream enters or leaves in another way than that of the other layers.
        """
        stack, call, place = self._stack, self._stack.calls[index], self._stack.inputs[index]
        if place not in call.inputs or stack.output not in call.outputs:
            raise StructureError(f"Layer {index} ({call.name}) takes or returns its stream unlike the other layers.")
        entry, leaving = call.inputs[place], call.outputs[stack.output]
        total = take_apart(self._watched, call, entry, leaving, self._weights)
        attention = [op for op in self._watched.attention if call.start <= op.output < call.end]
        module = _module_of(call)
        contributions = total.contributions
        kinds = self._kinds(call, total, attention)
        return LayerAnatomy(
            layer=index,
            module=call.name,
            call=call.nth,
            input=self._port(place, entry),
            output=self._port(stack.output, leaving),
            parts=self._parts(call, total, kinds, attention),
            parallel=self._is_parallel(contributions, kinds, call),
            attention_sites=self._sites(call, leaving, attention, self._watched.is_self_attention),
            n_params=sum(weight.numel() for weight in module.parameters()),
            trouble=total.trouble,
            passages=tuple(self._passages(total)),
            weights=tuple(_weights_of(call)),
            device=device_name(module),
            carried=tuple((out, place) for out, place in stack.carried if out in call.outputs and place in call.inputs),
            cross_sites=self._sites(call, leaving, attention, self._watched.is_cross_attention),
            further=tuple((one.name, one.nth) for one in call.members[1:]),
            flops=self._counter.flops(range(call.start, call.end)),
        )

    def _kinds(self, layer: Call, total: LayerSum, attention: list[AttentionOp]) -> list[str]:
        """The kind of each contribution; a constant belongs to what it was added to on the way to the stream."""
        kinds = {id(one): self._kind(one, layer, total, attention) for one in total.contributions if one.call}
        by_addend = {one.addend: kinds[id(one)] for one in total.contributions if one.call}
        return [kinds.get(id(one)) or by_addend.get(one.addend, "bias") for one in total.contributions]

    def _kind(self, one: Contribution, layer: Call, total: LayerSum, attention: list[AttentionOp]) -> str:
        watched = self._watched
        past = watched.ancestors(one.node, start=layer.start, stop=total.trunk)
        if any(op.output in past and watched.is_self_attention(op) for op in attention):
            return "attention"
        if any(op.output in past and watched.is_cross_attention(op) for op in attention):
            return "cross_attention"
        # Layers of the same build answer alike: ask once.
        names = [_name_within(other.call, layer) for other in (one, *total.contributions) if other.call]
        key = (*(type(member.module) for member in layer.members), *names, one.output)
        if key not in self._mixing:
            self._mixing[key] = mixes_positions(watched, layer, self._stack, one, total.contributions)
        return "mixer" if self._mixing[key] else "mlp"

    def _parts(self, layer: Call, total: LayerSum, kinds: list[str], attention: list[AttentionOp]) -> tuple[Part, ...]:
        reader = SublayerReader(self._watched, layer, total.trunk, self._weights)
        own = [op.output for op in attention if self._watched.is_self_attention(op)]
        return tuple(
            self._part(one, kind, layer, reader, own) for one, kind in zip(total.contributions, kinds, strict=True)
        )

    def _part(self, one: Contribution, kind: str, layer: Call, reader: SublayerReader, heads: list[int]) -> Part:
        if one.call is None:
            return Part(kind, "", 0, Port(()), one.factors)
        gate = None
        if one.gate is not None:
            call, path = one.gate
            gate = Gate(call.name, call.nth, self._port(path, call.outputs[path]))
        norm_before, (norm_after, sublayer) = reader.norm_before(one), reader.norm_after(one)
        weights = reader.weights(one, (norm_before, norm_after))
        return Part(
            kind,
            one.call.name,
            one.call.nth,
            self._port(one.output, one.node),
            one.factors,
            gate,
            norm_before=norm_before,
            norm_after=norm_after,
            sublayer=_holder([*weights, f"{sublayer or one.call.name}.*"], layer) or sublayer or one.call.name,
            weights=weights,
            feed_forward=reader.feed_forward(one) if kind == "mlp" else None,
            window=window_of(_module_of(layer)) if kind == "attention" else None,
            projection=reader.projection(one, heads[0]) if kind == "attention" and len(heads) == 1 else "",
        )

    def _passages(self, total: LayerSum) -> Iterator[Passage]:
        n_parts = 0
        for item in total.items:
            if isinstance(item, Contribution):
                n_parts += 1
            elif item.call is None:
                yield Passage(n_parts, factors=item.factors)
            else:
                entering, leaving = self._port(item.input, item.before), self._port(item.output, item.after)
                yield Passage(n_parts, item.call.name, item.call.nth, entering, leaving)

    def _port(self, path: Path, node: int) -> Port:
        return Port(path, overwritten=node in self._watched.flow.overwritten)

    def _sites(
        self, layer: Call, leaving: int, attention: list[AttentionOp], wanted: Callable[[AttentionOp], bool]
    ) -> tuple[AttentionSite, ...]:
        """The operations of one kind on which the layer's output depends."""
        past = self._watched.ancestors(leaving, start=layer.start)
        used = [op for op in attention if op.output in past and wanted(op)]
        return tuple(attention_site(self._watched, layer, attention, op) for op in used)

    def _is_parallel(self, contributions: list[Contribution], kinds: list[str], layer: Call) -> bool | None:
        mixing = {one.node for one, kind in zip(contributions, kinds, strict=True) if kind not in ("mlp", "bias")}
        local = [one.node for one, kind in zip(contributions, kinds, strict=True) if kind == "mlp"]
        if not mixing or not local:
            return None
        return not any(mixing & self._watched.ancestors(node, start=layer.start) for node in local)


def _module_of(layer: Call) -> nn.Module:
    """The layer's module; where no module is the layer, a list of those that it is made of."""
    members = [one.module for one in layer.members]
    return members[0] if len(members) == 1 else nn.ModuleList(members)


def _weights_of(layer: Call) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Path and shape of each parameter."""
    for path, module in {one.name: one.module for one in layer.members}.items():
        yield from ((f"{path}.{name}", tuple(weight.shape)) for name, weight in module.named_parameters())


def _name_within(call: Call, layer: Call) -> str:
    """The path of a module inside a layer, the same in all layers of the same build."""
    places = (place for place, one in enumerate(layer.members) if f"{call.name}.".startswith(f"{one.name}."))
    place = next(places, None)
    return call.name if place is None else f"{place}{call.name.removeprefix(layer.members[place].name)}"


def _holder(paths: list[str], layer: Call) -> str:
    """The innermost module inside a layer that holds all of these; empty when that is the layer itself."""
    roots = tuple(f"{one.name}." for one in layer.members)
    inside = [path.split(".")[:-1] for path in paths if path.startswith(roots)]
    shared = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*inside, strict=False))]
    holder = ".".join(shared)
    return holder if (holder if len(roots) == 1 else f"{holder}.").startswith(roots) else ""
