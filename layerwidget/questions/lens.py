"""What would the model predict if it stopped at each layer?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwidget.axes import along, extra, naming
from layerwidget.errors import QuestionError
from layerwidget.layers import LayerSelection, frozen_selection
from layerwidget.questions.base import TraceQuestion
from layerwidget.results import BoolArray, FloatArray, Grid
from layerwidget.tokens import IntArray

if TYPE_CHECKING:
    import pandas as pd

    from layerwidget.model.anatomy import Anatomy

#: The component that is one head's output.
HEAD = "head_out"
#: The component that is one neuron's output: its activation times its value vector.
NEURON = "neuron_out"


def decodable(anatomy: Anatomy) -> tuple[str, ...]:
    """What a lens can decode of a model, as `LogitLens.component`."""
    heads = (HEAD,) if anatomy.n_heads else ()
    neurons = (NEURON,) if any(one.mlp and one.mlp.feed_forward for one in anatomy.layers) else ()
    return (*anatomy.components, *heads, *neurons)


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
        jsd_nats: Jensen-Shannon divergence of the final prediction and each row's: the mean of the KL of either to the
            mean of both, shape [layer, pos], 0 to ln 2; None where nobody asked for it.
        final_ids: the model's own most probable next token, shape [pos].
        final_probs: the probability that each row gives to `final_ids`, shape [layer, pos].
        final_ranks: the rank that each row gives to `final_ids`, shape [layer, pos], 0 = most probable.
        tokens: the token ids that were asked for.
        token_ranks: how many logits are strictly larger than the token's, shape [layer, pos, token].
        token_log_probs: natural log of the token's probability, shape [layer, pos, token].
        followed_ids: the model's own most probable next tokens, best first, shape [pos, followed]; None where nobody
            asked for them.
        followed_ranks, followed_log_probs: the same of these tokens, shape [layer, pos, followed].
        done: which cells are computed, shape [layer, pos]; None when all are. The others hold nothing.
        head: whose output was decoded; None for the activations that are the layer's.
        neurons: of `neuron_out`, which neuron was decoded in each cell, shape [layer, pos], numbers as `NeuronGrid` has
            them, -1 where its expert was not chosen; None for the others.

    Source: science.md, "Logit lens".
    """

    d_vocab: int
    component: str
    top_ids: IntArray = field(metadata=along("layer pos k"))
    top_probs: FloatArray = field(metadata=along("layer pos k"))
    entropy_nats: FloatArray = field(metadata=along("layer pos", "nats"))
    kl_to_final_nats: FloatArray = field(metadata=along("layer pos", "nats"))
    final_ids: IntArray = field(metadata=along("pos"))
    final_probs: FloatArray = field(metadata=along("layer pos"))
    final_ranks: IntArray = field(metadata=along("layer pos"))
    tokens: tuple[int, ...] = field(metadata=naming("token"))
    token_ranks: IntArray = field(metadata=along("layer pos token"))
    token_log_probs: FloatArray = field(metadata=along("layer pos token", "nats"))
    done: BoolArray | None = field(default=None, metadata=along("layer pos"))
    followed_ids: IntArray | None = field(default=None, metadata=along("pos followed"))
    followed_ranks: IntArray | None = field(default=None, metadata=along("layer pos followed"))
    followed_log_probs: FloatArray | None = field(default=None, metadata=along("layer pos followed", "nats"))
    jsd_nats: FloatArray | None = field(default=None, metadata=along("layer pos", "nats"))
    head: int | None = None
    neurons: IntArray | None = field(default=None, metadata=along("layer pos"))

    @property
    def complete(self) -> bool:
        """Whether all cells are computed."""
        return self.done is None

    @property
    def decoded(self) -> str:
        """What was decoded: the component, and of `head_out` the number of the head."""
        return self.component if self.head is None else f"{self.component} {self.head}"

    @property
    def max_prob(self) -> FloatArray:
        """Probability of the most probable token, shape [layer, pos]."""
        return self.top_probs[..., 0]

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer and position: top token, probability, entropy, how far the final prediction is from it."""
        pd = extra("pandas")

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
            **({} if self.jsd_nats is None else {"jsd_nats": self.jsd_nats.ravel()}),
            "final_prob": self.final_probs.ravel(),
            "final_rank": self.final_ranks.ravel(),
        }
        for index, token in enumerate(self.tokens):
            columns[f"rank_{token}"] = self.token_ranks[..., index].ravel()
            columns[f"log_prob_{token}"] = self.token_log_probs[..., index].ravel()
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class LogitLens(TraceQuestion[LensGrid]):
    """What the model would predict if it stopped at each layer (nostalgebraist 2020).

    Attributes:
        layers: layer selection, e.g. `"10-20"`; see `layerwidget.layers`.
        component: the activation that is decoded: `resid_pre`, `resid_mid`, `resid_post`, `attn_out`, `mlp_out`, or
            `head_out`: what one head adds to the stream, after a post-norm and a multiplier, without any bias; or
            `neuron_out`: what one neuron of the FFN adds, its activation times its value vector, after the same and the
            router's weight. It is the neuron that contributes most in each cell.
        k: how many of the most probable tokens to keep per cell.
        tokens: token ids whose rank and log-probability are wanted in every cell.
        follow: of how many of the model's own most probable next tokens, at each position, rank and log-probability are
            wanted in every layer: what was the answer there on its way up? 0 for none.
        head: number of the head, the same in every layer, for `head_out`; None for the others.
        neuron: for `neuron_out`, layer and number of a neuron that is decoded in its layer at every position, in the
            place of the strongest ones; or None.
        jsd: whether the Jensen-Shannon divergence is wanted, too. It takes a second look at all logits, because it is
            known of none before all are: the lens is slower for it.
    """

    layers: LayerSelection = "all"
    component: str = "resid_post"
    k: int = 5
    tokens: tuple[int, ...] = ()
    head: int | None = None
    follow: int = 0
    neuron: tuple[int, int] | None = None
    jsd: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))
        object.__setattr__(self, "tokens", tuple(int(token) for token in self.tokens))
        if (self.head is None) == (self.component == HEAD):
            raise QuestionError(f"A head goes with component={HEAD!r}; got {self.component!r} and head={self.head}.")
        if self.neuron is not None and self.component != NEURON:
            raise QuestionError(
                f"A neuron goes with component={NEURON!r}; got {self.component!r} and neuron={self.neuron}."
            )
        if self.follow < 0:
            raise QuestionError(
                f"LogitLens follows the first few next tokens: expected follow >= 0, got {self.follow}."
            )
        if self.k < 1:
            raise QuestionError(f"LogitLens keeps the k most probable tokens: expected k >= 1, got {self.k}.")
