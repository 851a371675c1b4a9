"""Record the attention operations of a pass: those that the model calls by name are heard, others are watched for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import torch

from layerwidget.model.attention_shape import AttentionSite, Moment
from layerwidget.model.fused_calls import hearing_fused_attention
from layerwidget.model.hooking import AttentionCatcher, Hooks, listens
from layerwidget.model.parts import LayerAnatomy
from layerwidget.model.patterns import FusedAttention, PaddedAttention, SoftmaxAttention, Source
from layerwidget.model.stream import StreamLayout

#: Whether an attention operation looks at the encoder, under which key to keep it, and which one it is.
_Wanted: TypeAlias = tuple[bool, tuple[int, int], AttentionSite]


def listen_for_attention(layer: LayerAnatomy, hooks: Hooks) -> None:
    """Let whoever listens wait for a layer's operations: by its `attention`, an `AttentionCapture`.

    Those without a name are watched for between the calls next to them: that slows all operations down.
    """
    wanted: dict[tuple[bool, Moment, Moment], list[_Wanted]] = {}
    for crosses, sites in ((False, layer.attention_sites), (True, layer.cross_sites)):
        for number, site in enumerate(sites):
            wanted.setdefault((site.by_name, *site.between), []).append((crosses, (layer.layer, number), site))
    for (by_name, first, last), here in wanted.items():
        wait = _hear if by_name else _catch
        hooks.at(first, partial(wait, here))
        hooks.at(last, partial(wait, []))


class AttentionCapture:
    """What the attention weights of a pass can be computed from, when it is done.

    Attributes:
        own: (layer, number of the operation) -> what its self-attention weights can be computed from.
        cross: the same for attention to the encoder.
        attended: (layer, number of the operation) -> value and output of fused attention; only with `keep_values`.

    Args:
        listener: who has to listen in the thread that runs the pass.
        layout: where the positions are in the stream.
        keep_values: also keep what verifies the attention weights.
    """

    def __init__(self, listener: object, layout: StreamLayout, keep_values: bool) -> None:
        self._listener, self._layout, self._keeps_values = listener, layout, keep_values
        self._catching = ExitStack()
        # What is waited for at the moment, and how many operations there were since that began.
        self._watched: list[_Wanted] = []
        self._n_watched: dict[str, int] = {}
        self._named: list[_Wanted] = []
        self._n_named = 0
        # Calls by name, looked at when the pass is done: what was waited for, which one it is, and what it was given.
        self._heard: list[tuple[list[_Wanted], int, tuple[Any, ...], dict[str, Any], torch.Tensor | None]] = []
        self._forgotten: set[int] = set()
        self.own: dict[tuple[int, int], Source] = {}
        self.cross: dict[tuple[int, int], Source] = {}
        self.attended: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    @contextmanager
    def listening(self, by_name: bool) -> Iterator[None]:
        """For the time of a pass, once.

        Args:
            by_name: whether any operation is called by its name.
        """
        try:
            with self._catching, hearing_fused_attention(self._hear) if by_name else nullcontext():
                yield
            for wanted, nth, args, kwargs, out in self._heard:
                self._keep(wanted, "sdpa", nth, args, kwargs, out)
            for held in (self.own, self.cross):
                for key in [one for one in held if one[0] in self._forgotten]:
                    del held[key]
        finally:
            self._heard.clear()
            # It may be the one who holds this: they would keep each other in memory.
            self._listener = None

    def forget(self, layer: LayerAnatomy) -> None:
        """Let go of the operations of a layer, when the pass is done."""
        self._forgotten.add(layer.layer)

    def hear(self, wanted: list[_Wanted]) -> None:
        """From now on, keep operations called by their name that are among these."""
        self._named, self._n_named = wanted, 0

    def catch(self, wanted: list[_Wanted]) -> None:
        """From now on, look at all operations, and keep those that are among these; none, and look no more."""
        self._catching.close()
        if wanted:
            self._n_watched.clear()
            self._watched = wanted
            self._catching.enter_context(AttentionCatcher(self._catch))

    def _hear(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> None:
        if listens(self._listener):
            # What it returned is as large as what it was given, and is not held without need.
            if self._named:
                self._heard.append((self._named, self._n_named, args, kwargs, out if self._keeps_values else None))
            self._n_named += 1

    def _catch(self, kernel: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> None:
        if listens(self._listener):
            nth = self._n_watched.get(kernel, 0)
            self._n_watched[kernel] = nth + 1
            self._keep(self._watched, kernel, nth, args, kwargs, out)

    def _keep(
        self,
        wanted: list[_Wanted],
        kernel: str,
        nth: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: torch.Tensor | None,
    ) -> None:
        """Keep an operation if it is one that is waited for."""
        for crosses, key, site in wanted:
            if site.nth == nth and site.kernel == kernel:
                source = _source(kernel, args, kwargs, out)
                held = self.cross if crosses else self.own
                held[key] = PaddedAttention(source, self._layout) if site.padded else source
                if self._keeps_values and kernel == "sdpa" and not crosses and out is not None:
                    self.attended[key] = (args[2] if len(args) > 2 else kwargs["value"], out)


def _hear(wanted: list[_Wanted], listener: Any, _value: Any) -> None:
    listener.attention.hear(wanted)


def _catch(wanted: list[_Wanted], listener: Any, _value: Any) -> None:
    listener.attention.catch(wanted)


def _source(
    kernel: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor | None
) -> FusedAttention | SoftmaxAttention:
    if kernel != "softmax":
        return FusedAttention.from_call(*args, **kwargs)
    assert out is not None, "a softmax returns the weights"
    return SoftmaxAttention(out)
