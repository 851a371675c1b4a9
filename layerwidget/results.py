"""Results: frozen numpy arrays with names and units, free of torch. Views draw them and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from layerwidget.errors import SelectionError
from layerwidget.tokens import IntArray, Piece

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

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


@dataclass(frozen=True, eq=False)
class LensGrid(Grid):
    """The answer to `LogitLens`. `L` rows (`.layers`), `T` positions.

    Attributes:
        d_vocab: size of the vocabulary.
        component: the activation that was decoded.
        top_ids: most probable token ids, best first, shape [layer, pos, k].
        top_probs: their probabilities, shape [layer, pos, k], 0 to 1.
        entropy_nats: entropy of the whole distribution, shape [layer, pos], 0 to ln d_vocab.
        kl_to_final_nats: KL(final || layer), shape [layer, pos], >= 0.
        final_ids: the model's own most probable next token, shape [pos].
        final_probs: the probability that each row gives to `final_ids`, shape [layer, pos].
        final_ranks: the rank that each row gives to `final_ids`, shape [layer, pos], 0 = most probable.
        tokens: the token ids that were asked for.
        token_ranks: how many logits are strictly larger than the token's, shape [layer, pos, token].
        token_log_probs: natural log of the token's probability, shape [layer, pos, token].
        done: which cells are computed, shape [layer, pos]; None when all are. The others hold nothing.

    Source: science.md, "Logit lens".
    """

    d_vocab: int
    component: str
    top_ids: IntArray
    top_probs: FloatArray
    entropy_nats: FloatArray
    kl_to_final_nats: FloatArray
    final_ids: IntArray
    final_probs: FloatArray
    final_ranks: IntArray
    tokens: tuple[int, ...]
    token_ranks: IntArray
    token_log_probs: FloatArray
    done: BoolArray | None = None

    @property
    def complete(self) -> bool:
        """Whether all cells are computed."""
        return self.done is None

    @property
    def max_prob(self) -> FloatArray:
        """Probability of the most probable token, shape [layer, pos]."""
        return self.top_probs[..., 0]

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer and position: the top token, its probability, entropy and KL to the final prediction."""
        import pandas as pd

        n_layers, n_pos = self.entropy_nats.shape
        prompt = [piece.visible for piece in self.prompt_pieces()]
        columns: dict[str, Any] = {
            "layer": np.repeat(self.layers, n_pos),
            "pos": np.tile(np.arange(n_pos), n_layers),
            "token": prompt * n_layers,
            "top_id": self.top_ids[..., 0].ravel(),
            "top_token": [self.pieces[int(token)].visible for token in self.top_ids[..., 0].ravel()],
            "top_prob": self.max_prob.ravel(),
            "entropy_nats": self.entropy_nats.ravel(),
            "kl_to_final_nats": self.kl_to_final_nats.ravel(),
            "final_prob": self.final_probs.ravel(),
            "final_rank": self.final_ranks.ravel(),
        }
        for index, token in enumerate(self.tokens):
            columns[f"rank_{token}"] = self.token_ranks[..., index].ravel()
            columns[f"log_prob_{token}"] = self.token_log_probs[..., index].ravel()
        return pd.DataFrame(columns)

    def to_xarray(self) -> xr.Dataset:
        """The same arrays with named axes `layer, pos, k, token`."""
        import xarray as xr

        grid = ("layer", "pos")
        return xr.Dataset(
            {
                "top_ids": ((*grid, "k"), self.top_ids),
                "top_probs": ((*grid, "k"), self.top_probs),
                "entropy_nats": (grid, self.entropy_nats, {"units": "nats"}),
                "kl_to_final_nats": (grid, self.kl_to_final_nats, {"units": "nats"}),
                "final_probs": (grid, self.final_probs),
                "final_ranks": (grid, self.final_ranks),
                "token_ranks": ((*grid, "token"), self.token_ranks),
                "token_log_probs": ((*grid, "token"), self.token_log_probs),
            },
            coords={
                "layer": list(self.layers),
                "pos": np.arange(len(self.token_ids)),
                "token_id": ("pos", self.token_ids),
                "token": list(self.tokens),
            },
            attrs={"model": self.model_name, "component": self.component},
        )


@dataclass(frozen=True, eq=False)
class AttentionGrid(Grid):
    """The answer to `Attention`.

    Attributes:
        heads: query-head numbers, ascending.
        kv_heads: the key/value head that each of `heads` reads, same length; equal to `heads` without grouping.
        pattern: attention weights, shape [layer, head, query_pos, key_pos], 0 to 1, rows sum to 1.
        causal: whether no position attends to a later one.
        attention_layers: all layers of the model that have attention weights, ascending.

    Source: science.md, "Attention".
    """

    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    pattern: FloatArray
    causal: bool
    attention_layers: tuple[int, ...]

    def mean(self, over: tuple[str, ...] = ("layer", "head")) -> FloatArray:
        """Mean pattern over the named axes (`layer`, `head`), e.g. shape [query_pos, key_pos]."""
        mean: FloatArray = self.pattern.mean(axis=_axes(over))
        return mean

    def max(self, over: tuple[str, ...] = ("layer", "head")) -> FloatArray:
        """Largest weight over the named axes (`layer`, `head`), e.g. shape [query_pos, key_pos]."""
        largest: FloatArray = self.pattern.max(axis=_axes(over))
        return largest

    def to_xarray(self) -> xr.DataArray:
        """The pattern with named axes `layer, head, query_pos, key_pos`."""
        import xarray as xr

        return xr.DataArray(
            self.pattern,
            dims=("layer", "head", "query_pos", "key_pos"),
            coords={"layer": list(self.layers), "head": list(self.heads)},
            attrs={"model": self.model_name},
        )


def _axes(over: tuple[str, ...]) -> tuple[int, ...]:
    names = ("layer", "head")
    unknown = [name for name in over if name not in names]
    if unknown or isinstance(over, str):
        raise SelectionError(f"Attention is averaged over a tuple of {names}; got {over!r}.")
    return tuple(names.index(name) for name in over)
