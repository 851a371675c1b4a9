"""Describe one layer of a located stack: its parts, what kind each is, and its attention."""

from __future__ import annotations

from layerwidget.errors import StructureError
from layerwidget.model.anatomy import LayerAnatomy, Part, Port
from layerwidget.model.attention_shape import AttentionSite, attention_site, is_self_attention
from layerwidget.model.layer_parts import Contribution, LayerSum, take_apart
from layerwidget.model.locality import mixes_positions
from layerwidget.model.paths import Path
from layerwidget.model.stack import Stack
from layerwidget.model.tracing import AttentionOp, Call, WatchedPass


class LayerDescriber:
    """Reads layers off a watched pass.

    Args:
        watched: the pass.
        stack: the layer stack that was found in it.
        weights: `id` of every parameter and buffer -> its path.
    """

    def __init__(self, watched: WatchedPass, stack: Stack, weights: dict[int, str]) -> None:
        self._watched = watched
        self._stack = stack
        self._weights = weights
        self._mixing: dict[object, bool] = {}

    def layer(self, index: int) -> LayerAnatomy:
        """One layer.

        Raises:
            StructureError: when its stream enters or leaves in another way than that of the other layers.
        """
        stack, call = self._stack, self._stack.calls[index]
        if stack.input not in call.inputs or stack.output not in call.outputs:
            raise StructureError(f"Layer {index} ({call.name}) takes or returns its stream unlike the other layers.")
        entry, leaving = call.inputs[stack.input], call.outputs[stack.output]
        total = take_apart(self._watched, call, entry, leaving, self._weights)
        attention = [op for op in self._watched.attention if call.start <= op.output < call.end]
        kinds = [self._kind(one, call, total, attention) for one in total.contributions]
        parts = tuple(self._part(one, kind) for one, kind in zip(total.contributions, kinds, strict=True))
        return LayerAnatomy(
            layer=index,
            module=call.name,
            call=call.nth,
            input=self._port(stack.input, entry),
            output=self._port(stack.output, leaving),
            parts=() if total.trouble else parts,
            parallel=None if total.trouble else self._is_parallel(total.contributions, kinds, call),
            attention_site=self._site(call, leaving, attention),
            n_params=sum(weight.numel() for weight in call.module.parameters()),
            trouble=total.trouble,
        )

    def _kind(self, one: Contribution, layer: Call, total: LayerSum, attention: list[AttentionOp]) -> str:
        past = self._watched.ancestors(one.node, start=layer.start, stop=total.trunk)
        if any(op.output in past and is_self_attention(self._watched, op) for op in attention):
            return "attention"
        # Layers of the same build answer alike: ask once.
        names = [other.call.name.removeprefix(layer.name) for other in (one, *total.contributions)]
        key = (type(layer.module), *names, one.output)
        if key not in self._mixing:
            self._mixing[key] = mixes_positions(layer, self._stack, one, total.contributions)
        return "mixer" if self._mixing[key] else "mlp"

    def _part(self, one: Contribution, kind: str) -> Part:
        return Part(kind, one.call.name, one.call.nth, self._port(one.output, one.node), one.factors)

    def _port(self, path: Path, node: int) -> Port:
        return Port(path, overwritten=node in self._watched.flow.overwritten)

    def _site(self, layer: Call, leaving: int, attention: list[AttentionOp]) -> AttentionSite | None:
        """The first self-attention on which the layer's output depends."""
        past = self._watched.ancestors(leaving, start=layer.start)
        used = (op for op in attention if op.output in past and is_self_attention(self._watched, op))
        chosen = next(used, None)
        return attention_site(self._watched, attention, chosen) if chosen else None

    def _is_parallel(self, contributions: list[Contribution], kinds: list[str], layer: Call) -> bool | None:
        mixing = {one.node for one, kind in zip(contributions, kinds, strict=True) if kind != "mlp"}
        local = [one.node for one, kind in zip(contributions, kinds, strict=True) if kind == "mlp"]
        if not mixing or not local:
            return None
        return not any(mixing & self._watched.ancestors(node, start=layer.start) for node in local)
