"""Sizes, turns and the ledger of the residual stream. Source: science.md, "Residual stream"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.analysis.cosine import cosine
from layerwidget.cancellation import checkpoint
from layerwidget.layers import format_layers, parse_layers
from layerwidget.ledger import Added, LedgerEntry, Normed, Scaled, ledger_errors, rows_of
from layerwidget.questions import OnScreen, steps
from layerwidget.questions.residual import ResidualGrid, ResidualStream
from layerwidget.results import FloatArray
from layerwidget.rounding import row_errors
from layerwidget.trace import Trace

#: Kind of an addition -> what it is called.
_ADDED = {
    "attention": "attn_out",
    "cross_attention": "cross_attn_out",
    "mixer": "mixer_out",
    "mlp": "mlp_out",
    "bias": "bias",
}
_WHY_NO_SUM = {
    "post-norm": "the stream itself passes through a norm",
    "scaled": "the stream itself is scaled",
    "unknown": "what it adds is not known",
}


@steps(ResidualStream)
@torch.no_grad()
def residual_steps(
    question: ResidualStream, trace: Trace, before: ResidualGrid | None, n_same: int, on_screen: OnScreen
) -> Iterator[ResidualGrid]:
    """Norms, cosines and errors of every chosen layer.

    The first positions are taken from an earlier answer: they see nothing of the rest.

    Raises:
        SelectionError: when layers are out of range.
    """
    layers = parse_layers(question.layers, trace.anatomy.n_layers)
    # Something is always computed: of a prompt that was shortened, its last position.
    kept = 0 if before is None else min(n_same, len(trace.tokens) - 1)
    span = _Span(trace, layers, kept)
    cells = {name: _array(rows) for name, rows in span.cells().items()}
    forms = tuple(_form(trace, layer) for layer in layers)
    why = _why_no_sum(layers, forms)
    sums = None if why else _array(span.range_error())
    if before is not None:
        cells = {name: _joined(getattr(before, name), kept, array) for name, array in cells.items()}
        sums = None if sums is None or before.range_error is None else _joined(before.range_error, kept, sums)
    yield ResidualGrid(
        **(about(trace, layers) | cells),
        components=span.components,
        forms=forms,
        range_error=sums,
        range_reason=why,
    )


class _Span:
    """The stream of some layers, at the positions from one on.

    Attributes:
        components: what can be measured.
    """

    def __init__(self, trace: Trace, layers: tuple[int, ...], first: int) -> None:
        self._trace, self._layers, self._first = trace, layers, first
        kinds = {part.kind for layer in trace.anatomy.layers for part in layer.parts}
        added = [name for kind, name in _ADDED.items() if kind in kinds]
        self.components = ("resid_pre", *added, "resid_post")

    def cells(self) -> dict[str, torch.Tensor]:
        """The arrays of `ResidualGrid` that have a cell for every layer and position."""
        final = self._rows("resid_post", self._trace.anatomy.n_layers - 1)
        norms, previous, finals, errors = [], [], [], []
        for layer in self._layers:
            checkpoint(f"the stream of layer {layer}")
            entered, left, ledger = self._rows("resid_pre", layer), self._rows("resid_post", layer), self._ledger(layer)
            norms.append(self._norms(entered, ledger, left))
            previous.append(cosine(left, entered).cpu())
            finals.append(cosine(final, left).cpu())
            taken_apart = bool(self._trace.anatomy.layers[layer].parts)
            unknown = torch.full(left.shape[:1], float("nan"))
            errors.append(ledger_errors(entered, ledger, left).cpu() if taken_apart else unknown)
        return {
            "norms": torch.stack(norms, 1),
            "cos_previous": torch.stack(previous),
            "cos_final": torch.stack(finals),
            "error": torch.stack(errors),
        }

    def range_error(self) -> torch.Tensor:
        """What enters the first layer plus all additions against what leaves the last one, shape [pos]."""
        stream = self._rows("resid_pre", self._layers[0]).float()
        for layer in self._layers:
            for entry in self._ledger(layer):
                if isinstance(entry, Added):
                    stream = stream + entry.value.to(stream.device, torch.float32)
        left = self._rows("resid_post", self._layers[-1])
        return row_errors(stream, left.to(stream.device))

    def _norms(self, entered: torch.Tensor, ledger: Sequence[LedgerEntry], left: torch.Tensor) -> torch.Tensor:
        """L2 norms of everything, shape [component, pos]."""
        found = {"resid_pre": entered, "resid_post": left}
        for kind, name in _ADDED.items():
            values = [entry.value for entry in ledger if isinstance(entry, Added) and entry.kind == kind]
            if values:
                found[name] = torch.stack(values).float().sum(0)
        absent = torch.full(left.shape[:1], float("nan"))
        return torch.stack(
            [found[name].float().norm(dim=-1).cpu() if name in found else absent for name in self.components]
        )

    def _rows(self, component: str, layer: int) -> torch.Tensor:
        return self._trace.rows(component, layer, self._first, len(self._trace.tokens))

    def _ledger(self, layer: int) -> tuple[LedgerEntry, ...]:
        return tuple(rows_of(entry, slice(self._first, None)) for entry in self._trace.ledger(layer))


def _form(trace: Trace, layer: int) -> str:
    ledger = trace.ledger(layer)
    if not trace.anatomy.layers[layer].parts:
        return "unknown"
    if any(isinstance(entry, Normed) for entry in ledger):
        return "post-norm"
    return "scaled" if any(isinstance(entry, Scaled) for entry in ledger) else "sum"


def _why_no_sum(layers: tuple[int, ...], forms: tuple[str, ...]) -> str:
    if layers[-1] - layers[0] >= len(layers):
        return f"The layers {format_layers(layers)} do not follow each other: between them something else is added."
    for layer, form in zip(layers, forms, strict=True):
        if form != "sum":
            return f"The output of layer {layer} is not its input plus what it adds: {_WHY_NO_SUM[form]}."
    return ""


def _array(rows: torch.Tensor) -> FloatArray:
    array: FloatArray = rows.cpu().numpy().astype(np.float32)
    return array


def _joined(before: FloatArray, n_same: int, after: FloatArray) -> FloatArray:
    return np.concatenate([before[..., :n_same], after], axis=-1)
