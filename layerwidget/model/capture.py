"""Record one forward pass: plain hooks that are there only while it runs, and only listen to who asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from layerwidget.cancellation import checkpoint
from layerwidget.ledger import Added, LedgerEntry, Normed, Scaled
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.attention_capture import AttentionCapture
from layerwidget.model.crowding import look_around
from layerwidget.model.hooking import Act, Hooks
from layerwidget.model.parts import Gate, LayerAnatomy, Part, Passage, Port
from layerwidget.model.paths import Path, tensor_at, value_at, with_tensor_at
from layerwidget.model.running import weight_at


class Capture:
    """Context manager; whatever the model computes inside, in this thread, is recorded.

    Attributes:
        resid_pre: layer -> what entered it, shape [pos, d_model].
        resid_post: layer -> what left it.
        added: (layer, number of the part) -> what its module returned, before gate and factors.
        gates: (layer, number of the part) -> what it is multiplied by before that, where another module says so.
        normed: (layer, number of the passage) -> the stream before and after a norm on it.
        attention: what its attention weights can be computed from.

    Args:
        model: the model.
        anatomy: where to listen.
        keep_values: also keep what verifies the attention weights.
        skipped: these layers return their input.
        beside: captures of other stacks in the same pass, which go on listening.
        n_pos: how many positions the prompt has; without it, all rows of the stream are kept, also those of padding.
    """

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        keep_values: bool = False,
        skipped: frozenset[int] = frozenset(),
        beside: tuple[Capture, ...] = (),
        n_pos: int | None = None,
    ) -> None:
        self._model = model
        self._anatomy = anatomy
        self._exit = ExitStack()
        self._hooks = Hooks(self)
        self._skipped = skipped
        self._n_pos = n_pos
        self._entered: torch.Tensor | None = None
        self._together = (*beside, self)
        self._carried: dict[Path, Any] = {}
        self.resid_pre: dict[int, torch.Tensor] = {}
        self.resid_post: dict[int, torch.Tensor] = {}
        self.added: dict[tuple[int, int], torch.Tensor] = {}
        self.gates: dict[tuple[int, int], torch.Tensor] = {}
        self.normed: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
        self.attention = AttentionCapture(self, anatomy.layout, keep_values)
        for layer in anatomy.layers:
            self._plan(layer)

    def __enter__(self) -> Capture:
        """Put the hooks on; once for each capture."""
        self._exit.enter_context(self._hooks.on(self._model, self._together))
        self._together = ()
        self._exit.enter_context(self.attention.listening())
        return self

    def __exit__(self, *exception: object) -> None:
        """Take exactly these hooks off."""
        self._exit.close()

    def _plan(self, layer: LayerAnatomy) -> None:
        def enter(named: Any) -> None:
            checkpoint(f"layer {layer.layer} of {self._anatomy.name}")
            look_around()
            self.resid_pre[layer.layer] = self._rows(named, layer.input)
            if layer.layer in self._skipped:
                # A copy, because the layer may write into it.
                self._entered = tensor_at(named, layer.input.path).clone()
                self._carried = {out: value_at(named, place) for out, place in layer.carried}

        def leave(output: Any) -> Any:
            if layer.layer in self._skipped:
                output = self._skip(layer, output)
            self.resid_post[layer.layer] = self._rows(output, layer.output)
            return output

        self._hooks.before(layer.module, layer.call, enter)
        self.attention.plan(layer, self._hooks)
        for number, part in enumerate(layer.parts):
            if part.module:
                self._hooks.after(part.module, part.call, self._keep(layer, number, part))
            if part.gate:
                self._hooks.after(part.gate.module, part.gate.call, self._keep_gate(layer, number, part.gate))
        for number, passage in enumerate(layer.passages):
            if passage.module:
                self._hooks.before(passage.module, passage.call, self._norm_enter(layer, number, passage))
                self._hooks.after(passage.module, passage.call, self._norm_leave(layer, number, passage))
        self._hooks.after(*layer.last, leave)

    def _skip(self, layer: LayerAnatomy, output: Any) -> Any:
        """The layer's output with its input as the stream: it has added nothing, and nobody saw where it looked."""
        self.attention.forget(layer)
        for path, value in self._carried.items():
            output = with_tensor_at(output, path, value) if value is not None else output
        assert self._entered is not None, "a layer is left that was not entered"
        self.resid_pre[layer.layer] = self._anatomy.layout.rows(self._entered, self._n_pos).clone()
        return with_tensor_at(output, layer.output.path, self._entered)

    def ledger(self, layer: LayerAnatomy) -> tuple[LedgerEntry, ...]:
        """What happened to the stream in a layer, in order; the parts of a layer that was skipped added zeros."""
        if layer.layer in self._skipped:
            nothing = torch.zeros_like(self.resid_pre[layer.layer])
            return tuple(Added(part.kind, nothing) for part in layer.parts)
        return tuple(self._entries(layer))

    def _entries(self, layer: LayerAnatomy) -> Iterator[LedgerEntry]:
        for number in range(len(layer.parts) + 1):
            for index, passage in enumerate(layer.passages):
                if passage.after == number and passage.module:
                    yield Normed(*self.normed[layer.layer, index])
                elif passage.after == number:
                    yield from (Scaled(self._factor(factor)) for factor in passage.factors)
            if number < len(layer.parts):
                yield Added(layer.parts[number].kind, self._added(layer, number))

    def _added(self, layer: LayerAnatomy, number: int) -> torch.Tensor:
        """What a part added to the stream, after gate and factors, shape [pos, d_model]."""
        part = layer.parts[number]
        stream = self.resid_pre[layer.layer]
        value = self.added[layer.layer, number] if part.module else torch.ones_like(stream)
        gate = self.gates.get((layer.layer, number))
        if gate is not None and gate.shape != value.shape:
            value = (gate[:, :, None] * value[:, None, :]).flatten(1)
        elif gate is not None:
            value = gate * value
        for factor in part.factors:
            value = value * self._factor(factor)
        return value

    def _keep(self, layer: LayerAnatomy, number: int, part: Part) -> Act:
        def keep(output: Any) -> None:
            rows = _narrow_rows if part.gate else self._rows
            self.added[layer.layer, number] = rows(output, part.output)

        return keep

    def _keep_gate(self, layer: LayerAnatomy, number: int, gate: Gate) -> Act:
        def keep(output: Any) -> None:
            self.gates[layer.layer, number] = _narrow_rows(output, gate.output)

        return keep

    def _norm_enter(self, layer: LayerAnatomy, number: int, passage: Passage) -> Act:
        def enter(named: Any) -> None:
            before = self._rows(named, passage.input)
            self.normed[layer.layer, number] = (before, before)

        return enter

    def _norm_leave(self, layer: LayerAnatomy, number: int, passage: Passage) -> Act:
        def leave(output: Any) -> None:
            before, _ = self.normed[layer.layer, number]
            self.normed[layer.layer, number] = (before, self._rows(output, passage.output))

        return leave

    def _rows(self, value: Any, port: Port) -> torch.Tensor:
        rows = self._anatomy.layout.rows(tensor_at(value, port.path), self._n_pos)
        return rows.clone() if port.overwritten else rows

    def _factor(self, factor: float | str) -> torch.Tensor | float:
        return weight_at(self._model, factor) if isinstance(factor, str) else factor


def _narrow_rows(output: Any, port: Port) -> torch.Tensor:
    """Rows of something that is not as wide as the stream, shape [pos, width]."""
    value = tensor_at(output, port.path)
    rows = value.reshape(-1, value.shape[-1])
    return rows.clone() if port.overwritten else rows
