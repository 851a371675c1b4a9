"""Results: frozen numpy arrays with names and units, free of torch. Views draw them and nothing else.

Each stands beside its question in `questions/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from layerwidget.errors import SelectionError
from layerwidget.tokens import IntArray, Piece

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Grid:
    """What every result carries.

    Attributes:
        layers: layer numbers of the rows, ascending; need not be contiguous.
        n_layers: how many layers the model has.
        token_ids: the prompt, shape [pos].
        pieces: how every token id that occurs in this result is shown.
        model_name: which model answered.
    """

    layers: tuple[int, ...]
    n_layers: int
    token_ids: IntArray
    pieces: Mapping[int, Piece]
    model_name: str

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def row_of(self, layer: int) -> int:
        """Index of a layer's row.

        Raises:
            SelectionError: when this result does not hold the layer.
        """
        if layer not in self.layers:
            raise SelectionError(f"This result holds the layers {self.layers}; layer {layer} is not among them.")
        return self.layers.index(layer)

    def prompt_pieces(self) -> list[Piece]:
        """The piece at each position of the prompt."""
        return [self.pieces[int(token_id)] for token_id in self.token_ids]
