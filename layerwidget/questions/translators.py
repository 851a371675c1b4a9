"""Translators: per layer an affine map that makes of its input what the final norm and head can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np

from layerwidget.errors import QuestionError
from layerwidget.results import FloatArray


@dataclass(frozen=True, eq=False)
class Translators:
    """One translator per layer: `x + weights[layer] @ x + biases[layer]`, where `x` is `resid_pre` of that layer.

    Two are equal when their numbers are: they are compared by `fingerprint`, so a question that names them is a value.
    The arrays are copied where they can be written to, and frozen.

    Attributes:
        weights: shape [layer, d_model, d_model], fp32; of all layers of the model.
        biases: shape [layer, d_model], fp32.
        model_name: the model that they were trained for.
        model_revision: which version of it, or None.
        unembed_hash: what the `tuned-lens` package wrote of the model's head into a file that was read; kept as it is.

    Raises:
        QuestionError: when the arrays do not fit each other, or hold what is no finite number.

    Source: science.md, "Tuned lens".
    """

    weights: FloatArray
    biases: FloatArray
    model_name: str = ""
    model_revision: str | None = None
    unembed_hash: str | None = None

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        weights, biases = _frozen(self.weights), _frozen(self.biases)
        if weights.ndim != 3 or weights.shape[1] != weights.shape[2] or biases.shape != weights.shape[:2]:
            raise QuestionError(
                "Translators take weights of shape [layer, d_model, d_model] and biases of shape [layer, d_model]; got "
                f"{list(weights.shape)} and {list(biases.shape)}."
            )
        if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
            raise QuestionError("Translators take finite numbers; some of these are infinite or no numbers.")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)

    @classmethod
    def untrained(cls, n_layers: int, d_model: int, model_name: str = "") -> Translators:
        """Translators that change nothing: with them the tuned lens is the logit lens on `resid_pre`."""
        weights = np.broadcast_to(np.zeros(1, np.float32), (n_layers, d_model, d_model))
        return cls(weights, np.zeros((n_layers, d_model), np.float32), model_name)

    @property
    def n_layers(self) -> int:
        """How many layers the model has."""
        return int(self.weights.shape[0])

    @property
    def d_model(self) -> int:
        """The width of its stream."""
        return int(self.weights.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """What identifies the numbers, 32 hexadecimal digits."""
        digest = blake2b(repr(self.weights.shape).encode(), digest_size=16)
        for array in (*self.weights, self.biases):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Translators) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Translators({self.model_name!r}, {self.n_layers} layers, d_model {self.d_model}, {self.fingerprint})"

    def check_fits(self, n_layers: int, d_model: int, model_name: str) -> None:
        """Raise unless they are for a model of this shape.

        Raises:
            QuestionError: when the model has another number of layers or another width.
        """
        if (self.n_layers, self.d_model) != (n_layers, d_model):
            raise QuestionError(
                f"These translators are for {self.n_layers} layers of width {self.d_model} (trained for "
                f"{self.model_name or 'an unnamed model'}); {model_name} has {n_layers} layers of width {d_model}."
            )


def _frozen(array: FloatArray | Sequence[float]) -> FloatArray:
    """An fp32 array that nobody can write to: the same one, or a copy."""
    frozen: FloatArray = np.asarray(array, dtype=np.float32)
    if frozen.flags.writeable:
        frozen = frozen.copy()
        frozen.setflags(write=False)
    return frozen
