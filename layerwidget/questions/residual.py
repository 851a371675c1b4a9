"""What does every layer add to the residual stream?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwidget.axes import along, extra, naming
from layerwidget.errors import MissingComponentError
from layerwidget.layers import LayerSelection, frozen_selection
from layerwidget.questions.base import TraceQuestion
from layerwidget.results import FloatArray, Grid

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ResidualGrid(Grid):
    """The answer to `ResidualStream`. `L` rows (`.layers`), `T` positions.

    Attributes:
        components: what is measured: `resid_pre`, what the model's layers add (`attn_out`, `cross_attn_out`, `mlp_out`,
            `mixer_out`, `bias`), `resid_post`.
        norms: their L2 norms, shape [component, layer, pos], >= 0; NaN in layers without that addition.
        cos_previous: cosine of what enters and what leaves the layer, shape [layer, pos], -1 to 1; NaN for zeros.
        cos_final: cosine of what leaves the layer and what leaves the last one, shape [layer, pos], -1 to 1.
        error: how far the layer is from input plus additions, shape [layer, pos]: max|difference| / max|x|; NaN where
            `forms` is `unknown`.
        forms: what `error` is about, for every layer: `sum` (input plus additions), `post-norm` (the stream itself
            passes through a norm, too), `scaled` (it is multiplied, too), `unknown` (the layer was not taken apart).
        range_error: the same from the first of `layers` to the last, shape [pos]: the input of the first plus all
            additions against the output of the last; None where `range_reason` says why there is no such sum.
        range_reason: why, in a sentence; empty otherwise.

    Source: science.md, "Residual stream".
    """

    components: tuple[str, ...] = field(metadata=naming("component"))
    norms: FloatArray = field(metadata=along("component layer pos"))
    cos_previous: FloatArray = field(metadata=along("layer pos"))
    cos_final: FloatArray = field(metadata=along("layer pos"))
    error: FloatArray = field(metadata=along("layer pos"))
    forms: tuple[str, ...] = field(metadata=naming("layer", "form"))
    range_error: FloatArray | None = field(metadata=along("pos"))
    range_reason: str

    def norm(self, component: str) -> FloatArray:
        """L2 norms of one of `components`, shape [layer, pos].

        Raises:
            MissingComponentError: when the model has no such addition.
        """
        if component not in self.components:
            have = ", ".join(self.components)
            raise MissingComponentError(f"The layers of {self.model_name} add no {component!r}. There is: {have}.")
        norms: FloatArray = self.norms[self.components.index(component)]
        return norms

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer and position: the norms (`norm_...`), both cosines and the error."""
        pd = extra("pandas")

        n_layers, n_pos = self.error.shape
        columns: dict[str, Any] = {
            "layer": np.repeat(self.layers, n_pos),
            "pos": np.tile(np.arange(n_pos), n_layers),
            "token": [piece.visible for piece in self.prompt_pieces()] * n_layers,
            **{f"norm_{name}": norms.ravel() for name, norms in zip(self.components, self.norms, strict=True)},
            "cos_previous": self.cos_previous.ravel(),
            "cos_final": self.cos_final.ravel(),
            "error": self.error.ravel(),
        }
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class ResidualStream(TraceQuestion[ResidualGrid]):
    """How large the stream is, what every layer adds to it, and how far it turns.

    Attributes:
        layers: layer selection, e.g. `"10-20"`; see `layerwidget.layers`.
    """

    layers: LayerSelection = "all"

    def __post_init__(self) -> None:
        """Make the question hashable."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))
