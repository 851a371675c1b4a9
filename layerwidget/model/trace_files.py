"""Traces in files: one safetensors file with a JSON manifest. Read back beside its model, one answers as before.

Besides the activations it holds what attention was computed from (queries, keys, values, masks), so that weights are
computed again when somebody looks, exactly as from the trace that was saved.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

from layerwidget.array_files import read_arrays, write_arrays
from layerwidget.errors import RecordingError
from layerwidget.ledger import LedgerEntry
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.fingerprint import Fingerprint, fingerprint
from layerwidget.model.interventions import SkipLayers
from layerwidget.model.patterns import CrossPattern, SplicedPattern
from layerwidget.model.running import input_device
from layerwidget.plain import packed, registered, unpacked
from layerwidget.tokens import Tokens
from layerwidget.trace import Trace

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel


@registered
@dataclass(frozen=True, eq=False)
class HeldStack:
    """What a trace holds of one stack of layers.

    Attributes:
        tokens: the positions of its stream.
        logits: shape [pos, d_vocab]; None for an encoder.
        activations: component -> layer -> shape [pos, d_model].
        ledgers: layer -> what happens to the stream in it.
        patterns: layer -> what its attention weights are computed from.
        cross_patterns: the same of attention to an encoder.
    """

    tokens: Tokens
    logits: torch.Tensor | None
    activations: Mapping[str, Mapping[int, torch.Tensor]]
    ledgers: Mapping[int, tuple[LedgerEntry, ...]]
    patterns: Mapping[int, SplicedPattern]
    cross_patterns: Mapping[int, CrossPattern]

    @classmethod
    def of(cls, trace: Trace) -> HeldStack:
        """From a trace, put together where it came from several passes."""
        return cls(
            trace.tokens,
            None if trace.held_logits is None else trace.logits,
            {name: {layer: held[layer] for layer in held} for name, held in trace.activations.items()},
            {layer: trace.ledger(layer) for layer in trace.ledgers},
            {layer: trace.patterns[layer] for layer in trace.patterns},  # type: ignore[misc]  # all are spliced
            {layer: trace.cross_patterns[layer] for layer in trace.cross_patterns},  # type: ignore[misc]
        )

    def trace(
        self, model: HookedModel, anatomy: Anatomy, interventions: tuple[object, ...], encoder: Trace | None = None
    ) -> Trace:
        """The trace that it was."""
        return Trace(
            model, self.tokens, self.logits, self.activations, self.patterns, interventions=interventions,
            ledgers=self.ledgers, anatomy=anatomy, encoder=encoder, cross_patterns=self.cross_patterns,
        )  # fmt: skip

    def misfit_with(self, anatomy: Anatomy) -> str:
        """What of it cannot be of this stack of layers; empty where all fits."""
        shape = (len(self.tokens), anatomy.d_model)
        for name, held in self.activations.items():
            for layer, rows in held.items():
                if not 0 <= layer < anatomy.n_layers or tuple(rows.shape) != shape:
                    return f"{name} of layer {layer} has shape {list(rows.shape)}, expected {list(shape)}"
        logits = shape if self.logits is None else tuple(self.logits.shape)
        if self.logits is not None and logits != (shape[0], anatomy.d_vocab):
            return f"its logits have shape {list(logits)}, expected {[shape[0], anatomy.d_vocab]}"
        layers = [*self.ledgers, *self.patterns, *self.cross_patterns]
        return "" if all(0 <= layer < anatomy.n_layers for layer in layers) else "it has layers that the model has not"


@registered
@dataclass(frozen=True, eq=False)
class HeldTrace:
    """What a file of a trace holds.

    Attributes:
        fingerprint: of the model that made it.
        interventions: what was changed during the pass.
        decoder: the stack before the logits.
        encoder: the other stack of an encoder-decoder, or None.
    """

    fingerprint: Fingerprint
    interventions: tuple[SkipLayers, ...]
    decoder: HeldStack
    encoder: HeldStack | None


def save_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a trace to a file, which is replaced as a whole.

    Raises:
        RecordingError: for an encoder's stack alone, or interventions that have no place in a file.
        OSError: when the file cannot be written.
    """
    model = trace.model
    if trace.anatomy is not model.anatomy and trace.held_logits is None:
        raise RecordingError("This is the encoder's stack. Save the trace that it belongs to: it holds both.")
    encoder = HeldStack.of(trace.stack("encoder")) if model.anatomy.encoder else None
    held = HeldTrace(fingerprint(model), trace.interventions, HeldStack.of(trace), encoder)  # type: ignore[arg-type]
    tensors = _Tensors()
    content = packed(held, tensors.keep)
    about = {
        "model": model.name,
        "fingerprint": held.fingerprint.digest,
        "token_ids": trace.tokens.ids.tolist(),
        "dtype": str(trace.activations["resid_post"][model.anatomy.n_layers - 1].dtype).removeprefix("torch."),
    }
    write_arrays(path, "trace", {**about, "content": content}, tensors.held, save_file)


def load_trace(path: str | os.PathLike[str], model: HookedModel) -> Trace:
    """Read a trace that `save_trace` wrote.

    Args:
        path: the file.
        model: the model that made it: its final norm and head, and its weights, are needed to answer questions.

    Raises:
        RecordingError: when there is no such file, it is damaged, of another version, or of another model.
    """
    device = str(input_device(model.hf_model))
    manifest, tensors = read_arrays(path, "trace", "pt", device)
    held = unpacked(manifest.get("content"), lambda reference: _fetched(reference, tensors, path), str(path))
    if not isinstance(held, HeldTrace):
        raise RecordingError(f"{path} holds no trace.")
    held.fingerprint.check_is(model, path)
    encoder, anatomy = None, model.anatomy
    for stack, of in ((held.decoder, anatomy), (held.encoder, anatomy.encoder)):
        whole = (stack is None) == (of is None)
        misfit = stack.misfit_with(of) if stack is not None and of is not None else ""
        if misfit or not whole:
            raise RecordingError(f"{path} is damaged: {misfit or 'it lacks a stack of layers, or has one too many'}.")
    if held.encoder is not None and anatomy.encoder is not None:
        encoder = held.encoder.trace(model, anatomy.encoder, held.interventions)
    return held.decoder.trace(model, anatomy, held.interventions, encoder)


class _Tensors:
    """Tensors by name; those that are the same are held once, what is only expanded is held as small as it is."""

    def __init__(self) -> None:
        self.held: dict[str, torch.Tensor] = {}
        self._same: dict[tuple[Any, ...], str] = {}

    def keep(self, value: Any, at: str) -> dict[str, Any] | None:
        """Hold a tensor, or the ids of a prompt."""
        if hasattr(value, "setflags"):
            return {"ids": value.tolist()}
        if not isinstance(value, torch.Tensor):
            return None
        shape = list(value.shape)
        for axis, stride in enumerate(value.stride()):
            if not stride and value.shape[axis] > 1:
                value = value.narrow(axis, 0, 1)
        # As it lies in memory: products of what lies otherwise differ by rounding.
        order = sorted(range(value.dim()), key=lambda axis: -value.stride(axis))
        key = (value.device, value.dtype, value.data_ptr(), tuple(value.shape), value.stride())
        if key not in self._same:
            self._same[key] = f"{len(self.held)}{at}"
            self.held[self._same[key]] = value.detach().permute(order).cpu().contiguous().clone()
        return {"name": self._same[key], "shape": shape, "order": order}


def _fetched(reference: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], path: object) -> Any:
    if "ids" in reference:
        ids = reference["ids"]
        if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids):
            raise RecordingError(f"{path} has token ids that are no numbers.")
        return np.array(ids, dtype=np.int64)
    name, shape = reference.get("name"), reference.get("shape")
    found = tensors.get(name) if isinstance(name, str) else None
    order = reference.get("order")
    if found is None or not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(found.dim()))):
        raise RecordingError(f"{path} refers to an array {str(name)[:60]!r} that it does not hold.")
    found = found.permute([order.index(axis) for axis in range(found.dim())])
    if not isinstance(shape, list) or len(shape) != found.dim() or not all(type(one) is int for one in shape):
        raise RecordingError(f"{path} holds {name!r} in another shape than it says.")
    if (
        any(one != there and there != 1 for one, there in zip(shape, found.shape, strict=True))
        or min(shape, default=0) < 0
    ):
        raise RecordingError(f"{path} holds {name!r} in another shape than it says.")
    return found.expand(shape)
