"""Record one forward pass: plain hooks that are there only while it runs, and only listen to who asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, TypeAlias

import torch
from torch import nn

from layerwidget.cancellation import checkpoint
from layerwidget.ledger import Added, LedgerEntry, Normed, Scaled
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.attention_capture import AttentionCapture, listen_for_attention
from layerwidget.model.crowding import look_around
from layerwidget.model.hooking import Hooks
from layerwidget.model.parts import LayerAnatomy, Port
from layerwidget.model.paths import Path, tensor_at, value_at, with_tensor_at
from layerwidget.model.running import weight_at

#: Number of a layer, and of one of its parts, or of its passages.
_Key: TypeAlias = tuple[int, int]


class CapturePlan:
    """Where captures listen, in every pass through a stack of layers.

    Args:
        anatomy: the stack's.

    Attributes:
        anatomy: the stack's.
        hooks: what a capture does at which calls.
        by_name: whether it hears attention by its name.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self.hooks = Hooks()
        self.by_name = any(
            site.by_name for layer in anatomy.layers for site in (*layer.attention_sites, *layer.cross_sites)
        )
        for layer in anatomy.layers:
            self._listen_to(layer)

    def _listen_to(self, layer: LayerAnatomy) -> None:
        hooks = self.hooks
        hooks.before(layer.module, layer.call, partial(Capture.enter, layer=layer))
        listen_for_attention(layer, hooks)
        for number, part in enumerate(layer.parts):
            key = layer.layer, number
            if part.module:
                hooks.after(part.module, part.call, partial(_keep_narrow if part.gate else _keep, key, part.output))
            if part.gate:
                hooks.after(part.gate.module, part.gate.call, partial(_keep_gate, key, part.gate.output))
        for number, passage in enumerate(layer.passages):
            key = layer.layer, number
            if passage.module:
                hooks.before(passage.module, passage.call, partial(_norm_enter, key, passage.input))
                hooks.after(passage.module, passage.call, partial(_norm_leave, key, passage.output))
        hooks.after(*layer.last, partial(Capture.leave, layer=layer))


class Capture:
    """Context manager; whatever the model computes inside, in this thread, is recorded.

    The attributes are filled when the pass is done; after one that failed they hold nothing of use.

    Attributes:
        resid_pre: layer -> what entered it, shape [pos, d_model].
        resid_post: layer -> what left it.
        added: (layer, number of the part) -> what its module returned, before gate and factors.
        gates: (layer, number of the part) -> what it is multiplied by before that, where another module says so.
        normed: (layer, number of the passage) -> the stream before and after a norm on it.
        attention: what its attention weights can be computed from.

    Args:
        model: the model.
        plan: where to listen.
        keep_values: also keep what verifies the attention weights.
        skipped: these layers return their input.
        beside: captures of other stacks in the same pass, which go on listening.
        n_pos: how many positions the prompt has; without it, all rows of the stream are kept, also those of padding.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: CapturePlan,
        keep_values: bool = False,
        skipped: frozenset[int] = frozenset(),
        beside: tuple[Capture, ...] = (),
        n_pos: int | None = None,
    ) -> None:
        self._model = model
        self._plan = plan
        self._anatomy = plan.anatomy
        self._exit = ExitStack()
        self._skipped = skipped
        self._n_pos = n_pos
        self._entered: torch.Tensor | None = None
        self._beside = beside
        self._carried: dict[Path, Any] = {}
        # Where to keep rows of the stream, under which key, and the stream, or its rows where they are no view of it.
        self._seen: list[tuple[dict[Any, torch.Tensor], int | _Key, torch.Tensor, bool]] = []
        self.resid_pre: dict[int, torch.Tensor] = {}
        self.resid_post: dict[int, torch.Tensor] = {}
        self.added: dict[_Key, torch.Tensor] = {}
        self.gates: dict[_Key, torch.Tensor] = {}
        self.normed: dict[_Key, tuple[torch.Tensor, torch.Tensor]] = {}
        self.attention = AttentionCapture(self, self._anatomy.layout, keep_values)

    def __enter__(self) -> Capture:
        """Put the hooks on; once for each capture."""
        self._exit.enter_context(self._plan.hooks.on(self._model, self, (*self._beside, self)))
        self._exit.enter_context(self.attention.listening(self._plan.by_name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, at: TracebackType | None
    ) -> None:
        """Take exactly these hooks off, and look at what they saw."""
        try:
            self._exit.__exit__(kind, trouble, at)
            if trouble is None:
                for held, key, seen, has_rows in self._seen:
                    held[key] = seen if has_rows else self._anatomy.layout.rows(seen, self._n_pos)
        finally:
            self._seen.clear()

    def enter(self, named: Any, layer: LayerAnatomy) -> None:
        """A layer is called: here a pass can be given up."""
        checkpoint(f"layer {layer.layer} of {self._anatomy.name}")
        look_around()
        self.keep(self.resid_pre, layer.layer, layer.input, named)
        if layer.layer in self._skipped:
            # A copy, because the layer may write into it.
            self._entered = tensor_at(named, layer.input.path).clone()
            self._carried = {out: value_at(named, place) for out, place in layer.carried}

    def leave(self, output: Any, layer: LayerAnatomy) -> Any:
        """A layer is done; what it returns, or is to return."""
        if layer.layer in self._skipped:
            output = self._skip(layer, output)
        self.keep(self.resid_post, layer.layer, layer.output, output)
        return output

    def keep(self, held: dict[Any, torch.Tensor], key: int | _Key, place: Port, value: Any) -> None:
        """Keep the rows of the stream in something, shape [pos, d_model].

        They are read when the pass is done: while it runs, what belongs to it leaves room for little else in the
        processor's caches.
        """
        at_once = place.overwritten or self._anatomy.layout.has_rows_apart
        seen = self.rows(value, place) if at_once else tensor_at(value, place.path)
        self._seen.append((held, key, seen, at_once))

    def rows(self, value: Any, place: Port) -> torch.Tensor:
        """The rows of the stream in something, shape [pos, d_model]."""
        rows = self._anatomy.layout.rows(tensor_at(value, place.path), self._n_pos)
        return rows.clone() if place.overwritten else rows

    def _skip(self, layer: LayerAnatomy, output: Any) -> Any:
        """The layer's output with its input as the stream: it has added nothing, and nobody saw where it looked."""
        self.attention.forget(layer)
        for path, value in self._carried.items():
            output = with_tensor_at(output, path, value) if value is not None else output
        assert self._entered is not None, "a layer is left that was not entered"
        rows = self._anatomy.layout.rows(self._entered, self._n_pos).clone()
        self._seen.append((self.resid_pre, layer.layer, rows, True))
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

    def _factor(self, factor: float | str) -> torch.Tensor | float:
        # A copy: the trace may be asked after somebody has changed the weight.
        return weight_at(self._model, factor).clone() if isinstance(factor, str) else factor


def _keep(key: _Key, place: Port, capture: Capture, output: Any) -> None:
    capture.keep(capture.added, key, place, output)


def _keep_narrow(key: _Key, place: Port, capture: Capture, output: Any) -> None:
    capture.added[key] = _narrow_rows(output, place)


def _keep_gate(key: _Key, place: Port, capture: Capture, output: Any) -> None:
    capture.gates[key] = _narrow_rows(output, place)


def _norm_enter(key: _Key, place: Port, capture: Capture, named: Any) -> None:
    before = capture.rows(named, place)
    capture.normed[key] = (before, before)


def _norm_leave(key: _Key, place: Port, capture: Capture, output: Any) -> None:
    before, _ = capture.normed[key]
    capture.normed[key] = (before, capture.rows(output, place))


def _narrow_rows(output: Any, port: Port) -> torch.Tensor:
    """Rows of something that is not as wide as the stream, shape [pos, width]."""
    value = tensor_at(output, port.path)
    rows = value.reshape(-1, value.shape[-1])
    return rows.clone() if port.overwritten else rows
