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

#: Where to keep an attention operation, under which key, and which one it is.
_Wanted: TypeAlias = tuple[dict[tuple[int, int], Source], tuple[int, int], AttentionSite]


class AttentionCapture:
    """What the attention weights of a pass can be computed from.

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
        self._hears = False
        # What is waited for at the moment, and how many operations there were since that began.
        self._watched: list[_Wanted] = []
        self._n_watched: dict[str, int] = {}
        self._named: list[_Wanted] = []
        self._n_named = 0
        self.own: dict[tuple[int, int], Source] = {}
        self.cross: dict[tuple[int, int], Source] = {}
        self.attended: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    def plan(self, layer: LayerAnatomy, hooks: Hooks) -> None:
        """Wait for a layer's operations.

        Those without a name are watched for between the calls next to them: that slows all operations down.
        """
        wanted: dict[tuple[bool, Moment, Moment], list[_Wanted]] = {}
        for held, sites in ((self.own, layer.attention_sites), (self.cross, layer.cross_sites)):
            for number, site in enumerate(sites):
                wanted.setdefault((site.by_name, *site.between), []).append((held, (layer.layer, number), site))
        for (by_name, first, last), here in wanted.items():
            self._hears = self._hears or by_name
            hooks.at(first, partial(self._begin_hearing if by_name else self._begin_catching, here))
            hooks.at(last, self._end_hearing if by_name else self._end_catching)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """For the time of a pass, once."""
        try:
            with self._catching, hearing_fused_attention(self._hear) if self._hears else nullcontext():
                yield
        finally:
            # It may be the one who holds this: they would keep each other in memory.
            self._listener = None

    def forget(self, layer: LayerAnatomy) -> None:
        """Let go of the operations of a layer."""
        for held, sites in ((self.own, layer.attention_sites), (self.cross, layer.cross_sites)):
            for number in range(len(sites)):
                held.pop((layer.layer, number), None)

    def _begin_hearing(self, wanted: list[_Wanted], _value: Any) -> None:
        self._named, self._n_named = wanted, 0

    def _end_hearing(self, _value: Any) -> None:
        self._named = []

    def _hear(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> None:
        if listens(self._listener):
            nth = self._n_named
            self._n_named += 1
            self._keep(self._named, "sdpa", nth, args, kwargs, out)

    def _begin_catching(self, wanted: list[_Wanted], _value: Any) -> None:
        self._end_catching()
        self._n_watched.clear()
        self._watched = wanted
        self._catching.enter_context(AttentionCatcher(self._catch))

    def _end_catching(self, _value: Any = None) -> None:
        self._catching.close()

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
        out: torch.Tensor,
    ) -> None:
        """Keep an operation if it is one that is waited for."""
        for held, key, site in wanted:
            if (site.kernel, site.nth) == (kernel, nth):
                source = _source(kernel, args, kwargs, out)
                held[key] = PaddedAttention(source, self._layout) if site.padded else source
                if self._keeps_values and kernel == "sdpa" and held is self.own:
                    self.attended[key] = (args[2] if len(args) > 2 else kwargs["value"], out)


def _source(
    kernel: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor
) -> FusedAttention | SoftmaxAttention:
    return SoftmaxAttention(out) if kernel == "softmax" else FusedAttention.from_call(*args, **kwargs)
