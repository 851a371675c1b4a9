"""Which neurons of a layer's FFN are at work, and what do they promote?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwidget.axes import along, extra, naming
from layerwidget.errors import QuestionError
from layerwidget.questions.base import TraceQuestion
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class NeuronGrid(Grid):
    """The answer to `Neurons`; `layers` is the one layer.

    A neuron's value vector `v_i` is its row of the down projection, before a norm after the FFN or a multiplier. With
    experts, a neuron's number is `expert * n_neurons + its number within the expert`, and only the neurons of the
    experts that the router chose at the position take part.

    Attributes:
        position: at which position the neurons are shown.
        kind: `plain`, `gated` or `experts`.
        n_neurons: how many neurons the FFN has; of one expert, where there are several.
        n_experts: how many experts there are; 0 without.
        neurons: the neurons that contribute most, the strongest first, shape [k].
        activations: `m_i`, shape [k]: what its value vector is multiplied by, before the router's weight.
        gates: of gated FFNs, `act(g_i . x)`, shape [k]; None without, and where the two halves cannot be told apart.
        ups: `u_i . x` (shifted or clipped as the model does it), shape [k], so that `m_i = gate * up`; else None.
        contributions: `|m_i| ||v_i||`, times the router's weight with experts, shape [k], >= 0, in units of the raw FFN
            output.
        total: the sum of the contributions of all neurons that take part.
        n_half: how many of them, the strongest first, carry half of it.
        promoted_ids, promoted_logits: the largest of `W_U . v_i`, the largest first, shape [k, n_tokens]; in logits per
            unit of activation, without the final norm (neither its gain nor its scale) and before the output transform.
            What a neuron with a negative activation really does is the reverse. None where the logits are no such
            product.
        demoted_ids, demoted_logits: the smallest, the smallest first.
        lens_ids, lens_probs: the logit lens of what each neuron adds to the stream at the position, `m_i v_i` after a
            norm, multiplier and router's weight: what the model would predict from that alone, with the final norm's
            statistics computed of it, shape [k, n_tokens]. The norm takes away its length, so it hardly tells more than
            the sign of `m_i`. None in the stack of an encoder.
        error: how far the sum over all neurons and the bias is from the raw FFN output (with experts, that of the
            routed ones), as a share of its largest value: rounding alone.
        neuron: the neuron that is followed over the prompt; or None.
        by_position: its activation at every position, shape [pos]; NaN where its expert was not chosen.
        experts: which experts each position goes through, shape [pos, n_active]; None without experts.
        router_weights: by what each expert's output is multiplied, shape [pos, n_active].
        note: what else must be said, in whole sentences; mostly nothing.

    Source: Geva et al. 2021, arXiv 2012.14913; science.md, "FFN as key-value memory".
    """

    position: int
    kind: str
    n_neurons: int
    n_experts: int
    neurons: IntArray = field(metadata=naming("neuron"))
    activations: FloatArray = field(metadata=along("neuron", name="activation"))
    gates: FloatArray | None = field(metadata=along("neuron", name="gate"))
    ups: FloatArray | None = field(metadata=along("neuron", name="up"))
    contributions: FloatArray = field(metadata=along("neuron", "units of the raw FFN output", name="contribution"))
    total: float
    n_half: int
    promoted_ids: IntArray | None = field(metadata=along("neuron k"))
    promoted_logits: FloatArray | None = field(metadata=along("neuron k", "logits per unit of activation"))
    demoted_ids: IntArray | None = field(metadata=along("neuron k"))
    demoted_logits: FloatArray | None = field(metadata=along("neuron k", "logits per unit of activation"))
    lens_ids: IntArray | None = field(metadata=along("neuron k"))
    lens_probs: FloatArray | None = field(metadata=along("neuron k"))
    error: float
    neuron: int | None
    by_position: FloatArray | None = field(metadata=along("pos", name="activation_by_position"))
    experts: IntArray | None = field(metadata=along("pos active"))
    router_weights: FloatArray | None = field(metadata=along("pos active"))
    note: str

    @property
    def share(self) -> float:
        """Which share of the total contribution the shown neurons carry, 0 to 1."""
        return float(self.contributions.sum()) / self.total if self.total else 0.0

    def to_pandas(self) -> pd.DataFrame:
        """One row per neuron, the strongest first: number, activation, gate, up, contribution, promoted and demoted."""
        pd = extra("pandas")

        columns: dict[str, Any] = {"layer": self.layers[0], "neuron": self.neurons}
        if self.n_experts:
            columns["expert"] = self.neurons // self.n_neurons
        columns["activation"] = self.activations
        if self.gates is not None:
            columns |= {"gate": self.gates, "up": self.ups}
        columns["contribution"] = self.contributions
        for name, ids in (("promotes", self.promoted_ids), ("demotes", self.demoted_ids)):
            if ids is not None:
                columns[name] = [[self.pieces[int(token)].visible for token in row] for row in ids]
        return pd.DataFrame(columns, index=np.arange(len(self.neurons)))


@dataclass(frozen=True, eq=False)
class ActivationGrid(Grid):
    """The answer to `NeuronActivations`; `layers` is the one layer.

    Attributes:
        position: at which position.
        neurons: the numbers of all neurons that take part there, as `NeuronGrid` has them, shape [neuron].
        activations: `m_i`, shape [neuron].
        contributions: `|m_i| ||v_i||`, times the router's weight with experts, shape [neuron], >= 0.

    Source: Geva et al. 2021, arXiv 2012.14913; science.md, "FFN as key-value memory".
    """

    position: int
    neurons: IntArray = field(metadata=naming("neuron"))
    activations: FloatArray = field(metadata=along("neuron", name="activation"))
    contributions: FloatArray = field(metadata=along("neuron", "units of the raw FFN output", name="contribution"))


@dataclass(frozen=True)
class NeuronActivations(TraceQuestion[ActivationGrid]):
    """All neurons of a layer's FFN at one position, without what they promote.

    Attributes:
        layer: layer number; negative numbers count from the end.
        position: at which position; negative numbers count from the end.
    """

    layer: int
    position: int = -1


@dataclass(frozen=True)
class Neurons(TraceQuestion[NeuronGrid]):
    """The FFN of a layer as key-value memory: what each neuron adds, `m_i v_i` (Geva et al. 2021, 2022).

    Attributes:
        layer: layer number; negative numbers count from the end.
        position: at which position; negative numbers count from the end.
        k: how many neurons to show, the strongest first.
        neuron: the number of a neuron to follow over the whole prompt; or None.
        n_tokens: how many tokens to show that each promotes and demotes.
    """

    layer: int
    position: int = -1
    k: int = 20
    neuron: int | None = None
    n_tokens: int = 8

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if self.k < 1 or self.n_tokens < 1:
            raise QuestionError(f"Neurons shows 1 or more of each; got k={self.k}, n_tokens={self.n_tokens}.")
