"""Interventions: frozen values that say what is changed during a pass. Together with the prompt they determine it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerwidget.errors import QuestionError
from layerwidget.layers import LayerSelection, format_layers, frozen_selection, parse_layers
from layerwidget.plain import registered


@registered
@dataclass(frozen=True)
class SkipLayers:
    """Each of these layers returns its input, as if the model had been built without it.

    What a skipped layer adds to the stream is zero, and it has no attention weights.
    Source: science.md, "Interventions".

    Attributes:
        layers: layer selection, e.g. `"5"` or `"10-12"`.
    """

    layers: LayerSelection

    def __post_init__(self) -> None:
        """Make the value hashable."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))

    def describe(self, n_layers: int) -> str:
        """What it does to a model of so many layers, in a few words."""
        return f"skipping {format_layers(parse_layers(self.layers, n_layers))}"


def skipped_layers(interventions: Sequence[object], n_layers: int) -> frozenset[int]:
    """The layer numbers that these interventions skip.

    Raises:
        QuestionError: for anything that is no intervention.
        SelectionError: for layers that the model does not have.
    """
    skipped: set[int] = set()
    for one in interventions:
        if not isinstance(one, SkipLayers):
            raise QuestionError(f"An intervention is a SkipLayers(...); got {one!r} of type {type(one).__name__}.")
        skipped.update(parse_layers(one.layers, n_layers))
    return frozenset(skipped)


def canonical(interventions: Sequence[object], n_layers: int) -> tuple[object, ...]:
    """The same interventions in one spelling: two are equal if and only if they do the same.

    Raises:
        QuestionError: for anything that is no intervention.
        SelectionError: for layers that the model does not have.
    """
    skipped = skipped_layers(interventions, n_layers)
    return (SkipLayers(tuple(sorted(skipped))),) if skipped else ()


def described(interventions: Sequence[object], n_layers: int) -> str:
    """What they do to a model of so many layers, in a few words; nothing where there are none.

    Raises:
        What `canonical` raises.
    """
    changes = canonical(interventions, n_layers)
    return ", ".join(one.describe(n_layers) for one in changes if isinstance(one, SkipLayers))


def first_changed(one: Sequence[object], other: Sequence[object], n_layers: int) -> int | None:
    """The first layer that does something else under other interventions; None where all do the same."""
    changed = skipped_layers(one, n_layers) ^ skipped_layers(other, n_layers)
    return min(changed, default=None)
