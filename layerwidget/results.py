"""Results: frozen numpy arrays with names and units, free of torch. Views draw them and nothing else.

Each stands beside its question in `questions/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from layerwidget.axes import Along, Series, Tabular, fields_along, naming
from layerwidget.errors import SelectionError
from layerwidget.tokens import IntArray, Piece

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Grid(Tabular):
    """What every result carries.

    Attributes:
        layers: layer numbers of the rows, ascending; need not be contiguous.
        n_layers: how many layers the model has.
        token_ids: the prompt, shape [pos].
        pieces: how every token id that occurs in this result is shown.
        model_name: which model answered.
    """

    layers: tuple[int, ...] = field(metadata=naming("layer"))
    n_layers: int
    token_ids: IntArray = field(metadata=naming("pos", "token_id"))
    pieces: Mapping[int, Piece]
    model_name: str

    #: Whether the token ids are a prompt that somebody typed.
    of_prompt: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Freeze the arrays."""
        for one in fields(self):
            value = getattr(self, one.name)
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

    def series(self) -> Iterator[Series]:
        """Everything in it that runs over named axes; of the axes of positions, what stands at each."""
        yield from (one for one in super().series() if not one.name.endswith("token_id"))
        for axis in dict.fromkeys(axis for _, told in fields_along(self) for axis in told.axes):
            ids = self._ids_along(axis)
            if ids is not None:
                prefix = axis.removesuffix("pos")
                told = Along((axis,), is_coordinate=True)
                yield Series(axis, told, np.arange(len(ids)))
                yield Series(f"{prefix}token_id", told, ids)
                words = [self.pieces[int(one)].visible for one in ids]
                yield Series(f"{prefix}piece", told, np.array(words, dtype=str))

    def misfit(self) -> str:
        """What of it does not fit together: sizes, layers that there cannot be, token ids without a piece."""
        if list(self.layers) != sorted(set(self.layers) & set(range(self.n_layers))):
            return f"its layers are not ascending numbers from 0 to {self.n_layers - 1}"
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name.endswith("_ids") and value is not None:
                strange = set(value.ravel().tolist()) - self.pieces.keys()
                if strange:
                    return f"{one.name} holds the token id {min(strange)}, of which there is no piece"
        return super().misfit()

    def _ids_along(self, axis: str) -> IntArray | None:
        """The token ids along an axis of positions; None for other axes."""
        return self.token_ids if axis == "pos" or axis.endswith("_pos") else None
