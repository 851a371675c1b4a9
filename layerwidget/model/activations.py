"""From what was captured to a trace: the field's components, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch

from layerwidget.ledger import Added, LedgerEntry, replayed, rows_of
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.capture import Capture
from layerwidget.model.parts import LayerAnatomy
from layerwidget.model.patterns import CrossPattern, PatternRows, Source, SplicedPattern
from layerwidget.rows import Rowwise, below
from layerwidget.tokens import Tokens
from layerwidget.trace import LaterLogits, Trace

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

_ADDED = {"attention": "attn_out", "cross_attention": "cross_attn_out", "mlp": "mlp_out"}


def trace_of(
    model: HookedModel,
    anatomy: Anatomy,
    capture: Capture,
    tokens: Tokens,
    logits: torch.Tensor | LaterLogits | None,
    interventions: Sequence[object],
    encoder: Trace | None = None,
    first: int = 0,
) -> Trace:
    """What a pass left behind in one stack of layers.

    Args:
        model: the model that ran.
        anatomy: the stack's.
        capture: what was recorded of it.
        tokens: the positions of its stream.
        logits: shape [pos, d_vocab], or that they come later; None for an encoder.
        interventions: what was changed.
        encoder: the encoder's trace of the same pass.
        first: the first position that the pass ran through; what is held has rows from there on.
    """
    ledgers = {layer.layer: capture.ledger(layer) for layer in anatomy.layers}
    n_pos = len(tokens)
    n_rows = n_pos - first
    own = _grouped(capture.attention.own, [(layer.layer, len(layer.attention_sites)) for layer in anatomy.layers])
    cross = _grouped(capture.attention.cross, [(layer.layer, len(layer.cross_sites)) for layer in anatomy.layers])
    n_source = len(encoder.tokens) if encoder else 0
    return Trace(
        model,
        tokens,
        logits,
        _components(anatomy, capture, ledgers),
        {layer: SplicedPattern((PatternRows(tuple(sources), first, n_rows),)) for layer, sources in own.items()},
        interventions=interventions,
        ledgers=ledgers,
        anatomy=anatomy,
        encoder=encoder,
        cross_patterns={layer: CrossPattern(tuple(sources), n_pos, n_source) for layer, sources in cross.items()},
    )


def _grouped(held: Mapping[tuple[int, int], Source], counts: list[tuple[int, int]]) -> dict[int, list[Source]]:
    """Layer -> its operations; a layer of which one is missing was skipped."""
    found = {layer: [held[layer, number] for number in range(n) if (layer, number) in held] for layer, n in counts}
    return {layer: found[layer] for layer, n in counts if n and len(found[layer]) == n}


def _components(
    anatomy: Anatomy, capture: Capture, ledgers: Mapping[int, tuple[LedgerEntry, ...]]
) -> dict[str, Mapping[int, torch.Tensor]]:
    components: dict[str, Mapping[int, torch.Tensor]] = {
        "resid_pre": capture.resid_pre,
        "resid_post": capture.resid_post,
    }
    for kind, component in _ADDED.items():
        values = {
            number: [entry.value for entry in ledger if isinstance(entry, Added) and entry.kind == kind]
            for number, ledger in ledgers.items()
        }
        components[component] = {number: sum(added[1:], start=added[0]) for number, added in values.items() if added}
    n_entries = {layer.layer: n for layer in anatomy.layers if (n := _middle(layer, ledgers[layer.layer]))}
    components["resid_mid"] = _Middles(capture.resid_pre, ledgers, n_entries)
    return components


class _Middles(Rowwise):
    """Layer -> the stream between attention and FFN, shape [pos, d_model].

    Args:
        entered: layer -> what entered it, shape [pos, d_model].
        ledgers: layer -> what happened to that.
        n_entries: layer -> how much of it before the FFN.
    """

    def __init__(
        self,
        entered: Mapping[int, torch.Tensor],
        ledgers: Mapping[int, tuple[LedgerEntry, ...]],
        n_entries: Mapping[int, int],
    ) -> None:
        self._entered, self._ledgers, self._n_entries = entered, ledgers, n_entries

    def __getitem__(self, layer: int) -> torch.Tensor:
        """The stream of a layer."""
        return self.between(layer, 0, len(self._entered[layer]))

    def between(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """The stream of a layer at some positions."""
        rows = slice(start, stop)
        entries = [rows_of(entry, rows) for entry in self._ledgers[layer][: self._n_entries[layer]]]
        return next(islice(replayed(self._entered[layer][rows], entries), len(entries) - 1, None))

    def __iter__(self) -> Iterator[int]:
        """The layers that have one, ascending."""
        return iter(self._n_entries)

    def __len__(self) -> int:
        """How many layers there are."""
        return len(self._n_entries)

    def below(self, layer: int) -> _Middles:
        """That of the layers below one."""
        n_entries = {number: n for number, n in self._n_entries.items() if number < layer}
        return _Middles(below(self._entered, layer), below(self._ledgers, layer), n_entries)


def _middle(layer: LayerAnatomy, ledger: tuple[LedgerEntry, ...]) -> int:
    """How many entries come before the FFN, norms on the stream included; 0 where no such stream exists."""
    n_parts = len(layer.parts_before_mid)
    if not n_parts:
        return 0
    added = [index for index, entry in enumerate(ledger) if isinstance(entry, Added)]
    return added[n_parts]
