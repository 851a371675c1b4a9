"""What a view shows now: what it sent to the browser last, and where the reader is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from layerwidget.errors import SelectionError
from layerwidget.layers import parse_layers
from layerwidget.results import FloatArray


@dataclass(frozen=True, eq=False)
class Shown:
    """The data of the last message to the browser, which draws the same from them.

    Attributes:
        meta: plain values by name.
        arrays: arrays by name.
    """

    meta: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers of its rows, ascending; none where there is nothing to draw."""
        return tuple(self.meta.get("layers", ()))

    def values(self, name: str) -> FloatArray:
        """An array of that name."""
        return cast(FloatArray, self.arrays[name])


@dataclass(frozen=True)
class Place:
    """Where the reader is.

    Attributes:
        layers: the layers in view, a selection text.
        layer, head, position: what is chosen.
        token: the token that is followed, or None.
        tokens: the pinned tokens.
    """

    layers: str = "all"
    layer: int = 0
    head: int = 0
    position: int = 0
    token: int | None = None
    tokens: tuple[int, ...] = ()

    def in_view(self, held: Sequence[int]) -> tuple[int, ...]:
        """Those of some layers that are in view, ascending."""
        try:
            wanted = set(parse_layers(self.layers, max(held, default=0) + 1))
        except SelectionError:
            # Layers are in view that this result does not hold.
            wanted = set(_numbers(self.layers))
        return tuple(layer for layer in held if layer in wanted)

    def row(self, held: Sequence[int]) -> int:
        """The chosen layer, or the last one where it is not held."""
        return self.layer if self.layer in held else held[-1]


def _numbers(layers: str) -> list[int]:
    """The numbers of a selection in its shortest form: `"3-5,9"`."""
    found: list[int] = []
    for part in layers.split(","):
        first, _, last = part.partition("-")
        if first.strip().isdigit():
            found += range(int(first), int(last or first) + 1)
    return found
