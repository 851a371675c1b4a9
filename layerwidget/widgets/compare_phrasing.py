"""How a question of a comparison's first run is put to the second: of the same token, of B's own layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from layerwidget.errors import QuestionError
from layerwidget.layers import parse_layers
from layerwidget.questions import TraceQuestion
from layerwidget.questions.attention import Attention
from layerwidget.questions.attention_flow import AttentionRollout, ValueWeightedAttention
from layerwidget.questions.attribution import AttributionGrid, DirectLogitAttribution
from layerwidget.questions.comparing import Match, check_depths, layer_beside
from layerwidget.questions.neurons import NeuronActivations
from layerwidget.questions.tuned_lens import TunedLens

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel


def phrased(
    question: TraceQuestion[Any], own: HookedModel, other: HookedModel, match: Match, attribution: object
) -> TraceQuestion[Any]:
    """A question as the second run is asked it.

    Args:
        question: as the first run is asked it.
        own: the first run's model.
        other: the second run's.
        match: which layers stand beside each other.
        attribution: the first run's answer where it is about a logit: of one token in both runs, the one that it
            predicts where none is chosen.

    Raises:
        QuestionError: where the second model cannot be asked it.
    """
    if isinstance(question, DirectLogitAttribution) and isinstance(attribution, AttributionGrid):
        return replace(question, token=attribution.token)
    if isinstance(question, TunedLens):
        _check_trained_for(own, other, question.translators.model_name)
    if isinstance(question, NeuronActivations):
        return replace(question, layer=_beside(own, other, question.layer, match))
    if isinstance(question, Attention | ValueWeightedAttention | AttentionRollout):
        layers = parse_layers(question.layers, own.anatomy.n_layers)
        return replace(question, layers=tuple(dict.fromkeys(_beside(own, other, one, match) for one in layers)))
    return question


def _check_trained_for(own: HookedModel, other: HookedModel, trained_for: str) -> None:
    """Raise unless another model is the page's own, or has its weights: translators are made for one model."""
    # Not above: the views of a file are drawn where there is no torch.
    from layerwidget.model.fingerprint import fingerprint

    if other is own or fingerprint(other).digest == fingerprint(own).digest:
        return
    raise QuestionError(
        f"The translators of this tuned lens were made for {trained_for or own.name}: they say nothing "
        f"of {other.name} (B), whose weights are others. Train a tuned lens for each of the two and compare their "
        "answers in Python: lw.difference(lw.TunedLens(own).run(trace), lw.TunedLens(other).run(other_trace))."
    )


def _beside(own: HookedModel, other: HookedModel, layer: int, match: Match) -> int:
    """The layer of another model that one of the page's own is compared with."""
    n_layers, n_layers_b = own.anatomy.n_layers, other.anatomy.n_layers
    check_depths((own.name, n_layers), (other.name, n_layers_b), match)
    return layer_beside(layer, n_layers, n_layers_b, match)
