"""The page about attention: where every head looks, what it takes from there, and what the heads are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets

from layerwidget.engine.fitting import attention_that_fits
from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion
from layerwidget.questions.attention import Attention, AttentionGrid, CrossAttentionGrid
from layerwidget.questions.attention_flow import (
    AllHeadScores,
    AttentionRollout,
    AttentionSink,
    HeadScoreGrid,
    RolloutGrid,
    SinkGrid,
    ValueWeightedAttention,
    ValueWeightedGrid,
)
from layerwidget.widgets.attention_view import AttentionView
from layerwidget.widgets.head_map import HeadMap
from layerwidget.widgets.page import Page, Request, Standpoint
from layerwidget.widgets.request_bar import RequestBar
from layerwidget.widgets.rollout_view import RolloutView
from layerwidget.widgets.traits import SelectionTraits

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

#: What the gallery can show.
WEIGHTS, VALUE_WEIGHTED = "weights", "value-weighted"
#: Numbers of the gallery held at once; beyond it, fewer layers are computed and the page says so.
ATTENTION_BYTES = 128 * 2**20
#: Weights that are computed at most to see what rests on the first token, in bytes; of a longer prompt, fewer layers.
SINK_BYTES = 2 * 2**30

#: Rollout multiplies whole matrices: up to so many tokens, one edit does not wait for it.
ROLLOUT_TOKENS = 1024
#: Length of the random sequence that is repeated to score heads, where the model can read it twice.
SCORED_TOKENS = 50

_TOO_LONG = f"Rollout multiplies the matrices of all layers. It is not computed beyond {ROLLOUT_TOKENS:,} tokens."
_GROWING = {"flex": "1 1 0", "min_width": "0", "width": "auto"}


class AttentionPage(Page):
    """A map of all heads, and the gallery and matrix of those in view under it.

    Attributes:
        head_map, rollout_view, attention_view: its views.
        score_bar: the button that asks for the scores of all heads.
    """

    page_name = "attention"
    page_title = "Attention"
    choices: ClassVar[Mapping[str, str]] = {
        "sheet": "head_map.sheet",
        "rollout_hide_first": "rollout_view.hide_first",
        "quantity": "attention_view.quantity",
        "show_heads": "attention_view.show_heads",
        "hide_first": "attention_view.hide_first",
        "arcs": "attention_view.arcs",
    }
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "sink": (SinkGrid,),
        "rollout": (RolloutGrid,),
        "heads": (AttentionGrid, ValueWeightedGrid, CrossAttentionGrid),
        "head_scores": (HeadScoreGrid,),
    }

    def __init__(self, n_tokens: int = SCORED_TOKENS, hide_first: bool = True, **shared: Any) -> None:
        self.head_map = HeadMap(**shared)
        self.rollout_view = RolloutView(hide_first=hide_first, can_hide=True, **shared)
        self.attention_view = AttentionView(quantity=WEIGHTS, quantities=[WEIGHTS, VALUE_WEIGHTED], arcs=True, **shared)
        self.score_bar = RequestBar(label=f"Score the heads on {n_tokens} random tokens, repeated")
        beside = ipywidgets.HBox(
            [ipywidgets.VBox([self.head_map, self.score_bar], layout=ipywidgets.Layout(**_GROWING)), self.rollout_view],
            layout=ipywidgets.Layout(width="100%", min_width="0", align_items="flex-start"),
        )
        super().__init__(beside.add_class("lw-row"), self.attention_view)
        # A random sequence is read, whatever the prompt.
        self.requests = (
            Request(self.score_bar, lambda standpoint: AllHeadScores(n_tokens), self._scored, of_prompt=False),
        )
        self.attention_view.observe(self._name_head, ["layer", "head"])

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> AttentionPage:
        """With a sequence that the model can read, and the first token left out where it is a sink."""
        n_tokens = min(SCORED_TOKENS, (model.n_ctx or 2 * SCORED_TOKENS) // 2)
        return cls(n_tokens, bool(model.anatomy.causal), **shared)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return self.head_map, self.rollout_view, self.attention_view

    @property
    def places(self) -> Mapping[str, tuple[ipywidgets.Widget, ...]]:
        """The map of heads, rollout, and the gallery."""
        return {
            "sink": (self.head_map,),
            "head_scores": (self.head_map,),
            "rollout": (self.rollout_view,),
            "heads": (self.attention_view,),
        }

    @property
    def besides(self) -> Mapping[str, Any]:
        """The scores of all heads, where they were asked for."""
        return {"head_scores": self.head_map.scores} if self.head_map.scores else {}

    def stand_alone(self, names: Collection[str]) -> None:
        """Without the switches for what would have to be computed."""
        super().stand_alone(names)
        self.attention_view.quantities, self.rollout_view.can_hide = [], False

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """What rests on the first token in all layers, and as much of the matrices in view as fits into memory."""
        asked: dict[str, TraceQuestion[Any]] = {}
        held, _ = _fitting(standpoint, "all", SINK_BYTES)
        if held is not None:
            asked["sink"] = AttentionSink(held.layers)
        shown, _ = _fitting(standpoint, standpoint.layers, ATTENTION_BYTES)
        if shown is not None:
            weighted = self.attention_view.quantity == VALUE_WEIGHTED
            asked["heads"] = ValueWeightedAttention(shown.layers, shown.heads) if weighted else shown
        if shown is not None and len(standpoint.tokens) <= ROLLOUT_TOKENS:
            asked["rollout"] = AttentionRollout(standpoint.layers, self.rollout_view.hide_first)
        return asked

    def begin(self, standpoint: Standpoint, prompt: str) -> None:
        """Say what attention is left out."""
        shown, note = _fitting(standpoint, standpoint.layers, ATTENTION_BYTES)
        if shown is None:
            self.attention_view.show(None, prompt, note)
            self.rollout_view.show(None, prompt, note)
        elif len(standpoint.tokens) > ROLLOUT_TOKENS:
            self.rollout_view.show(None, prompt, _TOO_LONG)
        held, why = _fitting(standpoint, "all", SINK_BYTES)
        if held is None:
            self.head_map.show_sink(None, prompt, why)
        left_out = [note if shown else "", why.replace("attention", "sink share", 1) if held else ""]
        self.note = " · ".join(part for part in left_out if part)

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw the map, or the gallery."""
        if name == "sink":
            self.head_map.show_sink(answer, prompt)
        elif name == "rollout":
            self.rollout_view.show(answer, prompt)
        elif name == "head_scores":
            self._scored(answer if isinstance(answer, tuple) else (answer,), None)
        else:
            self.attention_view.show(answer, prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say in the picture's place why there is none."""
        if name == "sink":
            self.head_map.show_sink(None, prompt, str(error))
        elif name == "rollout":
            self.rollout_view.show(None, prompt, str(error))
        else:
            self.attention_view.show(None, prompt, str(error))

    def clear(self, prompt: str) -> None:
        """Draw nothing about a prompt; scores are about none, and stay."""
        self.head_map.show_sink(None, prompt)
        self.rollout_view.show(None, prompt)
        self.attention_view.show(None, prompt)

    def _scored(self, answer: Any, _prompt: str | None) -> None:
        self.head_map.show_scores(answer)
        self._name_head(None)

    def _name_head(self, _change: object) -> None:
        """Say in the matrix's title what the chosen head is."""
        layer, head = self.attention_view.layer, self.attention_view.head
        self.attention_view.head_note = (layer, head, self.head_map.note_of(layer, head))


def _fitting(standpoint: Standpoint, layers: str, max_bytes: int) -> tuple[Attention | None, str]:
    return attention_that_fits(
        standpoint.anatomy, layers, len(standpoint.tokens), standpoint.layer, standpoint.head, max_bytes
    )
