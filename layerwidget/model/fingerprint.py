"""Which model it is: how it is built, and samples of every weight. Quick, and different for every training step."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import torch

from layerwidget.errors import RecordingError
from layerwidget.model.anatomy import Anatomy
from layerwidget.plain import registered

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

#: How many numbers of each parameter are looked at, spread over it.
_SAMPLES = 64


@registered
@dataclass(frozen=True)
class Fingerprint:
    """What tells one model from another.

    Attributes:
        model: its name, which says nothing certain.
        anatomy: of how it is built, 32 hexadecimal digits.
        weights: of samples of all its weights, and their dtypes, 32 hexadecimal digits.
    """

    model: str
    anatomy: str
    weights: str

    @property
    def digest(self) -> str:
        """Both in one."""
        return self.anatomy + self.weights

    def check_is(self, model: HookedModel, path: str | os.PathLike[str]) -> None:
        """Raise unless it is that of a model.

        Raises:
            RecordingError: when it is that of another one.
        """
        here = fingerprint(model)
        if self.anatomy != here.anatomy:
            raise RecordingError(
                f"{path} is a trace of {self.model}, which is built otherwise than {model.name}. "
                "Load it with the model that made it."
            )
        if self.weights != here.weights:
            raise RecordingError(
                f"{path} is a trace of {self.model}, whose weights are others than those of {model.name}: another "
                "checkpoint, or another dtype. Load it with the model that made it."
            )


def fingerprint(model: HookedModel) -> Fingerprint:
    """The fingerprint of a model as it is now; weights that are not in memory count by their shapes."""
    weights = blake2b(digest_size=16)
    with model.lock, torch.no_grad():
        for path, weight in model.hf_model.named_parameters():
            weights.update(f"{path} {tuple(weight.shape)} {weight.dtype};".encode())
            if not weight.is_meta and weight.numel():
                flat = weight.detach().reshape(-1)
                some = flat[:: max(1, flat.numel() // _SAMPLES)]
                weights.update(some.double().cpu().numpy().tobytes())
    built = repr((type(model.hf_model).__name__, _built(model.anatomy)))
    return Fingerprint(model.name, blake2b(built.encode(), digest_size=16).hexdigest(), weights.hexdigest())


def _built(anatomy: Anatomy | None) -> tuple[object, ...]:
    if anatomy is None:
        return ()
    layers = [(one.module, one.n_heads, [(part.kind, part.module) for part in one.parts]) for one in anatomy.layers]
    ends = (anatomy.embedding, anatomy.final_norm, anatomy.head, anatomy.d_model, anatomy.d_vocab)
    return (*ends, layers, _built(anatomy.encoder))
