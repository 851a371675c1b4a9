"""A trace whose first positions are another trace's: nothing is copied until somebody looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from layerwidget.ledger import Added, LedgerEntry, Normed, Scaled, rows_of
from layerwidget.model.patterns import SplicedPattern
from layerwidget.rows import MOST_PARTS, Pieces, Rows, first_rows
from layerwidget.tokens import Tokens
from layerwidget.trace import LaterLogits, Trace


def spliced(before: Trace, n_same: int, after: Trace | None, tokens: Tokens) -> Trace:
    """The trace of a prompt of which only the end was computed.

    Args:
        before: the trace of a prompt that begins with the same tokens.
        n_same: how many of its positions hold.
        after: a trace with rows for the positions from there on; None where there are no more.
        tokens: the whole prompt.
    """
    n_before, n_new = len(before.tokens), len(tokens) - n_same
    activations = {
        name: Rows.of(held, n_before).then(n_same, after.activations[name] if after else {}, n_new)
        for name, held in before.activations.items()
    }
    newest = {} if after is None else after.patterns
    patterns = {
        layer: cast(SplicedPattern, pattern).then(n_same, cast("SplicedPattern | None", newest.get(layer)))
        for layer, pattern in before.patterns.items()
    }
    return Trace(
        before.model,
        tokens,
        _logits(before, n_same, after, n_new),
        activations,
        patterns,
        interventions=before.interventions,
        ledgers=_Ledgers.of(before, n_before).then(n_same, after, n_new),
        anatomy=before.anatomy,
    )


def _logits(before: Trace, n_same: int, after: Trace | None, n_new: int) -> Rows | LaterLogits:
    held = before.held_logits
    if isinstance(held, LaterLogits):
        return held
    rows = held if isinstance(held, Rows) else Rows([({0: before.logits}, len(before.tokens))])
    return rows.then(n_same, {0: after.logits_between(0, n_new)} if after else {}, n_new)


class _Ledgers(Pieces[tuple[LedgerEntry, ...]]):
    """Layer -> its ledger: the rows of the first pass, then those of the next."""

    @classmethod
    def of(cls, trace: Trace, n_rows: int) -> _Ledgers:
        return trace.ledgers if isinstance(trace.ledgers, _Ledgers) else cls([(trace.ledgers, n_rows)])

    def then(self, n_same: int, after: Trace | None, n_rows: int) -> _Ledgers:
        kept = first_rows(self._parts, n_same)
        if len(kept) > MOST_PARTS:
            whole = _Ledgers(kept)
            kept = [({layer: whole[layer] for layer in whole}, n_same)]
        return _Ledgers([*kept, *([(after.ledgers, n_rows)] if after else [])])

    def __getitem__(self, layer: int) -> tuple[LedgerEntry, ...]:
        pieces = [[rows_of(entry, slice(n_rows)) for entry in held[layer]] for held, n_rows in self._parts]
        return tuple(_joined(entries) for entries in zip(*pieces, strict=True))


def _joined(entries: Sequence[LedgerEntry]) -> LedgerEntry:
    first = entries[0]
    if len(entries) == 1 or isinstance(first, Scaled):
        return first
    if isinstance(first, Added):
        return Added(first.kind, torch.cat([entry.value for entry in entries if isinstance(entry, Added)]))
    normed = [entry for entry in entries if isinstance(entry, Normed)]
    return Normed(torch.cat([entry.before for entry in normed]), torch.cat([entry.after for entry in normed]))
