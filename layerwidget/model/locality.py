"""Does a sublayer mix positions? Measured: change the stream at the first position and look at the others."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from transformers.cache_utils import Cache

from layerwidget.model.hooking import Hooks
from layerwidget.model.layer_parts import Contribution
from layerwidget.model.paths import Path, tensor_at, with_tensor_at
from layerwidget.model.stack import Stack
from layerwidget.model.stream import StreamLayout
from layerwidget.model.watched import Call, WatchedPass

#: A change at other positions below this share of the change at the first is rounding.
_ROUNDING = 1e-4


def mixes_positions(
    watched: WatchedPass, layer: Call, stack: Stack, part: Contribution, parts: Iterable[Contribution]
) -> bool:
    """Whether a part's output at one position depends on the stream at another.

    The layer, or where no module is the layer, the module that calls its modules, is called again with the stream
    changed at position 0; all other parts return what they returned before, so that their mixing is not taken for this
    part's.
    """
    assert part.call is not None, "a constant mixes nothing"
    place = stack.inputs[stack.calls.index(layer)]
    again = _Again(watched, layer, place, part.call, part.output, [one.call for one in parts if one.call is not None])
    stream = tensor_at({"args": layer.args, "kwargs": layer.kwargs}, place)
    before = again.output(stream.clone())
    changed = stream.clone()
    first = _by_position(changed, stack.layout, changed.shape)[0]
    first.add_(torch.linspace(-1.0, 1.0, first.shape[-1], dtype=first.dtype, device=first.device) * first.abs().mean())
    after = again.output(changed)
    change = _by_position((after - before).abs().float(), stack.layout, changed.shape).flatten(1).amax(1)
    return bool(change[1:].amax() > _ROUNDING * change[0])


def _by_position(value: torch.Tensor, layout: StreamLayout, stream: torch.Size) -> torch.Tensor:
    """The positions first, shape [pos, ...]: of the stream itself a view, of what a part returned from its rows."""
    if layout.axes.startswith("batch*pos"):
        return value.reshape(stream[0], -1)[: stream[0] // 2]
    if layout.axes.endswith("pos"):
        last: torch.Tensor = value.movedim(-1, 0)
        return last
    if layout.axes.startswith("streams"):
        moved: torch.Tensor = value.movedim(2, 0) if value.dim() == 4 else value.reshape(*stream[1:3], -1).movedim(1, 0)
        return moved
    rows = value if value.shape == stream else value.reshape(*stream[:2], -1)
    positions: torch.Tensor = rows if layout.axes.startswith("pos") else rows.movedim(1, 0)
    return positions


class _Again:
    """Calls a layer again, with all parts but one as they were."""

    def __init__(
        self, watched: WatchedPass, layer: Call, place: Path, chosen: Call, path: Path, parts: list[Call]
    ) -> None:
        self.model = watched.calls[0].module
        self.layer = layer
        self.place = place
        self.chosen = chosen
        self.path = path
        self.frozen = [call for call in parts if call is not chosen]
        # How often each module had been called before, in what is called again.
        inner = [call for call in watched.calls if layer.runner.encloses(call)]
        self.nth = {
            id(part): sum(call.module is part.module and call.start < part.start for call in inner)
            for part in (*parts, chosen, layer)
        }

    def output(self, stream: torch.Tensor) -> torch.Tensor:
        """What the chosen part returns when the layer's stream is this one."""
        caught: list[torch.Tensor] = []
        runner = self.layer.runner
        kwargs = {key: None if isinstance(value, Cache) else value for key, value in runner.kwargs.items()}
        args = [None if isinstance(value, Cache) else value for value in runner.args]
        hooks = Hooks()
        first = self.nth[id(self.layer)]
        hooks.before(self.layer.name, first, lambda _, named: with_tensor_at(named, self.place, stream))
        hooks.after(
            self.chosen.name,
            self.nth[id(self.chosen)],
            lambda _, output: caught.append(tensor_at(output, self.path).clone()),
        )
        for call in self.frozen:
            hooks.after(call.name, self.nth[id(call)], partial(_as_before, call.output))
        with torch.no_grad(), hooks.on(self.model, self):
            runner.module(*args, **kwargs)
        return caught[0]


def _as_before(output: Any, listener: Any, computed: Any) -> Any:
    return output
