"""The page that compares the prompt with a second one, or the model with others, such as its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.engine.fitting import attention_that_fits
from layerwidget.engine.other_run import ModelSource, OfBoth, OtherModels, OtherRun
from layerwidget.errors import LayerWidgetError, QuestionError
from layerwidget.questions import TraceQuestion
from layerwidget.questions.attention import Attention
from layerwidget.questions.attention_flow import AttentionRollout, ValueWeightedAttention
from layerwidget.questions.attribution import DirectLogitAttribution
from layerwidget.questions.comparing import AnyDifference, Match, difference
from layerwidget.questions.depth import AngularDistance, BlockInfluence, Emergence, SettleDepth
from layerwidget.questions.lens import HEAD, LogitLens
from layerwidget.questions.neurons import NeuronActivations
from layerwidget.questions.position import PositionLoss
from layerwidget.questions.residual import ResidualStream
from layerwidget.questions.tuned_lens import TunedLens
from layerwidget.widgets.attention_page import SCORED_TOKENS, VALUE_WEIGHTED, WEIGHTS
from layerwidget.widgets.base import View
from layerwidget.widgets.compare_controls import ROLLOUT, SUBJECTS, CompareControls
from layerwidget.widgets.compare_phrasing import phrased
from layerwidget.widgets.compare_requests import HeldRequests, SkipsOfBoth
from layerwidget.widgets.compare_view import CompareView
from layerwidget.widgets.layer_effects import LONGEST_BLOCK
from layerwidget.widgets.length_bar import extrapolated_words
from layerwidget.widgets.page import Request, Standpoint
from layerwidget.widgets.prompt_editor import PromptEditor
from layerwidget.widgets.second_prompt import SecondPrompt

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.tokens import Tokens

#: Attention weights of both prompts together; beyond it, fewer layers are compared and the page says so.
_ATTENTION_BYTES = 256 * 2**20
_COMING = "What differs appears here."
#: A question about each run, by the name of its answers.
_Both = dict[str, tuple[TraceQuestion[Any], TraceQuestion[Any]]]


class ComparePage(CompareView):
    """A second prompt for the same model, or the same prompt for another one; its answers come from its own engine.

    Attributes:
        prompt: the second prompt; where it is empty and there is another model, that reads the first one.
        model_name: which of `models` is compared.
        models: where they come from: the explorer's own, or others.
        about: what the grid is about, one of `SUBJECTS`; nothing is asked of the others.
        component: what the lens decodes, as `LogitLens.component`: of `head_out`, the chosen head.
        components: what it can be.
        quantity: what the heads are compared by: `weights`, or `value-weighted`; or `rollout`, through the layers in
            view.
        jsd: whether the Jensen-Shannon divergence is compared, too: the lens is slower for it.
        n: how many layers the blocks have whose angular distance is compared.
        editor: the text box.
        controls, slider, hiding: what is chosen on it; the choice of the model where there are several, and the switch
            for the first token in the matrices of the chosen head.
        score_bar: the button that asks what the heads of both models are.
        skip_bar: the button that asks what is lost without each layer in both runs.
    """

    choices: ClassVar[Mapping[str, str]] = {
        "prompt": "prompt", "about": "about", "component": "component", "jsd": "jsd", "n": "n", "quantity": "quantity",
        **CompareView.choices,
    }  # fmt: skip

    prompt = t.Unicode()
    about = t.Enum(tuple(SUBJECTS), "lens")
    component = t.Unicode("resid_post")
    quantity = t.Enum((WEIGHTS, VALUE_WEIGHTED, ROLLOUT), WEIGHTS)
    jsd = t.Bool(False)
    n = t.Int(1, min=1, max=LONGEST_BLOCK)
    model_name = t.Unicode()
    models = t.Instance(OtherModels)

    def __init__(self, model: HookedModel, **shared: Any) -> None:
        self._model = model
        self._match: Match = "layer"
        self._own = OtherModels(model, {model.name: model})
        self._answers: dict[str, Any] = {}
        self._second = SecondPrompt(model)
        # Both answers of each name, and what differs between them.
        self._found: dict[str, tuple[Any, Any, Match, AnyDifference]] = {}
        # Which two runs are on screen.
        self._runs: SkipsOfBoth | None = None
        placeholder = "Compare with: type a second prompt"
        self.editor = PromptEditor(placeholder=placeholder, text_name="second_prompt", **shared)
        super().__init__(**shared)
        self.models = self._own
        self.editor.add_class("lw-second")
        self.controls = CompareControls(model.anatomy, model.name)
        self.components, self.slider, self.hiding = (
            self.controls.components, self.controls.slider, self.controls.hiding,
        )  # fmt: skip
        self.held = HeldRequests(min(SCORED_TOKENS, (model.n_ctx or 2 * SCORED_TOKENS) // 2))
        self.score_bar, self.skip_bar = self.held.score_bar, self.held.skip_bar
        self._arrange()
        self.above = (self.editor, self.bar, self.skip_bar)
        self.children = (*self.above, self.beside, *self.below)
        t.link((self.editor, "prompt"), (self, "prompt"))
        self.slider.observe(self._slid, "value")
        self._offer()

    def _arrange(self) -> None:
        """Controls over the grid and between it and the heads, and the buttons for what is asked on request."""
        made = self.controls
        self.bar.children = (
            made.subject, made.of, made.divergence, made.blocks, self.switch, self.slider, self.words,
        )  # fmt: skip
        line = ipywidgets.Layout(width="100%", align_items="center", margin="8px 0 0", display="none")
        self.heads_bar = ipywidgets.HBox([made.by, self.hiding, self.score_bar], layout=line)
        self.heads_bar.add_class("lw-figure")
        self.below = (self.heads_bar, *self.below)
        made.follow(self)
        t.link((self.hiding, "value"), (self.head_view, "hide_first"))
        self.observe(self._offer_skips, "about")
        self.requests = (
            Request(self.score_bar, lambda _: self._scores(), self._show_scores, of_prompt=False),
            Request(self.skip_bar, self._skips, self._show_skips),
        )

    def _offer_skips(self, _change: object) -> None:
        self.skip_bar.layout.display = None if self.about == "skip" else "none"

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> ComparePage:
        """A page that compares prompts of this model until it is told of another one."""
        return cls(model, **shared)

    @property
    def views(self) -> tuple[View, ...]:
        """Those of its parts that take part in the selection; the editor does as one of their group."""
        return (*super().views, self.editor)

    @classmethod
    def for_file(cls, **shared: Any) -> CompareView:
        """What differs, without a second text box."""
        return CompareView(**shared)

    def compare_with(self, other: str | ModelSource | Mapping[str, ModelSource], match: Match = "layer") -> None:
        """Compare with a second prompt, another model, or one of several.

        Args:
            other: the text of a second prompt; or a model; or name -> model, or a folder, or a function that loads it:
                a slider chooses one of them, and only that one is in memory. The page's own model ends that.
            match: which layers are compared, as `layerwidget.difference` says.

        Raises:
            QuestionError: when there is no model among the others.
        """
        if isinstance(other, str):
            self.prompt = other
            return
        if other is self._model:
            self._match, self.models = match, self._own
            self._offer()
            return
        several = other if isinstance(other, Mapping) else {getattr(other, "name", "the other model"): other}
        self._match, self.models = match, OtherModels(self._model, several)
        self._offer()

    def _offer(self) -> None:
        self._found = {}
        names = self.models.names
        self.slider.layout.display = None if len(names) > 1 else "none"
        self.score_bar.layout.display = "none" if self.models is self._own else None
        # Options are set first: a value that is no option is refused.
        self.slider.options = names
        self.slider.value = self.model_name = names[0]

    def _slid(self, change: dict[str, Any]) -> None:
        if change["new"] in self.models.names and change["new"] != self.model_name:
            self.model_name = change["new"]
            for view in super().views:
                view.outdate()

    # What is asked

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """What the grid is about, and attention of the layers in view; nothing without something to compare."""
        return {f"compare_{name}": own for name, (own, _) in self._asked(standpoint).items()}

    def other(self, standpoint: Standpoint) -> OtherRun | None:
        """The same of the second prompt, or the other model."""
        prompt: str | Tokens = self.prompt or standpoint.tokens
        if self.prompt and (standpoint.tokens.source is not None or standpoint.tokens.extrapolate):
            # The decoder has written the same, whatever its encoder reads; and both texts may be as long.
            prompt = self._second_tokens(standpoint.tokens) or prompt
        # Both are read once: the reader may change the models while this is asked.
        models, name = self.models, self.model_name
        if models is self._own and not self.prompt:
            return None
        asked = tuple((name, other) for name, (_, other) in self._asked(standpoint).items())
        return OtherRun(models, name if name in models.names else models.names[0], prompt, asked, self._phrased)

    def _asked(self, standpoint: Standpoint) -> _Both:
        if not self.prompt and self.models is self._own:
            return {}
        asked, _ = self._of_grid(standpoint)
        attention, _ = self._attention(standpoint)
        if attention is not None and self.quantity == ROLLOUT:
            rollout = AttentionRollout(standpoint.layers)
            return asked | {"attention": (rollout, rollout)}
        if attention is not None and self.quantity == VALUE_WEIGHTED:
            weighted = ValueWeightedAttention(attention.layers, attention.heads)
            return asked | {"attention": (weighted, weighted)}
        return asked if attention is None else asked | {"attention": (attention, attention)}

    def _of_grid(self, standpoint: Standpoint) -> tuple[_Both, str]:
        """What is asked for the grid; where that is nothing, why. One more subject needs a line here."""
        if self.about in ("attribution", "neurons"):
            return self._at_position(standpoint)
        if self.about == "skip":
            return {}, "Press “Skip each layer”: it needs a pass of its own for each."
        asked: dict[str, TraceQuestion[Any]]
        if self.about == "layers":
            asked = {"influence": BlockInfluence(), "angles": AngularDistance(self.n)}
        elif self.about == "lens":
            head = standpoint.head if self.component == HEAD else None
            lens = LogitLens(k=10, tokens=standpoint.pinned, component=self.component, head=head, jsd=self.jsd)
            asked = {"lens": lens, "residual": ResidualStream(), "settle": SettleDepth(), "emergence": Emergence()}
            if standpoint.anatomy.causal is not False:
                asked["loss"] = PositionLoss()
        elif standpoint.translators is None:
            return {}, "A tuned lens has to be trained first, or loaded, on its page: Tuned lens."
        else:
            asked = {"lens": TunedLens(standpoint.translators, k=10, tokens=standpoint.pinned, jsd=self.jsd)}
        return {name: (question, question) for name, question in asked.items()}, ""

    def _at_position(self, standpoint: Standpoint) -> tuple[_Both, str]:
        """Where the chosen position stands in both: what makes a logit there, or which neurons are at work."""
        position = min(standpoint.position, len(standpoint.tokens) - 1)
        columns = self._second.columns(self.prompt, standpoint.tokens)
        at = int(columns.b[columns.a == position][0])
        if at < 0:
            word = list(standpoint.tokens)[position].visible
            return {}, f"“{word}” ({position}) is in A only. Choose a token that has one of B beside it."
        if self.about == "neurons":
            layer = standpoint.layer
            return {"neurons": (NeuronActivations(layer, position), NeuronActivations(layer, at))}, ""
        token, minus = standpoint.token, standpoint.minus
        own, other = (DirectLogitAttribution(token, minus, place) for place in (position, at))
        return {"attribution": (own, other)}, ""

    def _phrased(self, question: TraceQuestion[Any], model: HookedModel) -> TraceQuestion[Any]:
        return phrased(question, self._model, model, self._match, self._answers.get("attribution"))

    def _attention(self, standpoint: Standpoint) -> tuple[Attention | None, str]:
        """As much of it as fits into memory for both prompts, and in words what is left out."""
        n_pos = max(len(standpoint.tokens), len(self._second_tokens(standpoint.tokens) or ()))
        room = _ATTENTION_BYTES // 2
        return attention_that_fits(
            standpoint.anatomy, standpoint.layers, n_pos, standpoint.layer, standpoint.head, room
        )

    def _second_tokens(self, first: Tokens) -> Tokens | None:
        return self._second.tokens(self.prompt, first)

    def n_beside(self, tokens: Tokens) -> int:
        """The length of the second prompt."""
        second = self._second_tokens(tokens)
        return 0 if second is None else len(second.source or second)

    def begin(self, standpoint: Standpoint, prompt: str) -> None:
        """Forget what was compared before."""
        self._answers, self.note = {}, ""
        other = self.other(standpoint)
        compares = other is not None
        self._runs = self._skips_of(standpoint) if compares else None
        self.heads_bar.layout.display = None if compares else "none"
        if compares:
            # A rollout takes one layer after the other: none is left out of it.
            left_out = "" if self.quantity == ROLLOUT else self._attention(standpoint)[1]
            runs_on = standpoint.tokens.extrapolate
            past = extrapolated_words(self.n_beside(standpoint.tokens), self._model.n_ctx) if runs_on else ""
            self.note = " · ".join(part for part in (left_out, past and f"B: {past[0].lower()}{past[1:]}") if part)
            self._say(self._of_grid(standpoint)[1] or _COMING)
        else:
            self._found = {}
            self._say("Type a second prompt above, and what differs from the first one appears here.")
            self.show([], prompt)

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Keep it until there is something to compare it with."""
        self._answers[name.removeprefix("compare_")] = answer

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Keep the reason."""
        self._answers[name.removeprefix("compare_")] = error

    def answer_other(self, run: OtherRun, answers: Mapping[str, Any], prompt: str) -> None:
        """Draw what differs, or say why nothing can be compared."""
        found: list[AnyDifference] = []
        trouble: list[str] = []
        for name, answer in answers.items():
            own = self._answers.get(name)
            errors = [str(one) for one in (own, answer) if isinstance(one, LayerWidgetError)]
            try:
                if not errors and own is not None:
                    found.append(self._difference(name, own, answer))
            except LayerWidgetError as error:
                errors = [str(error)]
            trouble += [error for error in errors if error not in trouble]
        if trouble:
            self._say(trouble[0])
        self._found = {name: held for name, held in self._found.items() if name in answers}
        found += [*self.held.scores_of(run.name), *(self.held.skips_of(self._runs) if self.about == "skip" else ())]
        # Not what the box says now: the reader may have typed on while this was computed.
        second = run.prompt if isinstance(run.prompt, str) else self.prompt if run.prompt is self._second.read else ""
        self.show(found, prompt, " ".join(trouble), second)

    def _difference(self, name: str, own: Any, other: Any) -> AnyDifference:
        """What differs between two answers, which are often those of before: of other choices, one alone is new."""
        match, held = self._match, self._found.get(name)
        if held is None or held[0] is not own or held[1] is not other or held[2] != match:
            held = self._found[name] = own, other, match, difference(own, other, match)
        return held[3]

    def clear(self, prompt: str) -> None:
        """There is no first prompt."""
        self.heads_bar.layout.display = "none"
        self._say("Type a prompt, and a second one, and what differs appears here.")
        self.show([], prompt)

    @property
    def _subject(self) -> str:
        return "" if self.about == "lens" else SUBJECTS[self.about]

    # What is asked on request

    def _scores(self) -> OfBoth:
        if self.models is self._own:
            raise QuestionError("Heads are scored without a prompt: there is no other model to compare.")
        return OfBoth(self.held.scores, self.models, self.model_name)

    def _skips(self, standpoint: Standpoint) -> SkipsOfBoth:
        if self.models is self._own and not self.prompt:
            raise QuestionError("There is nothing to compare with: type a second prompt above.")
        return self._skips_of(standpoint)

    def _skips_of(self, standpoint: Standpoint) -> SkipsOfBoth:
        second = self._second_tokens(standpoint.tokens) or standpoint.tokens
        return SkipsOfBoth.of(standpoint, second, self.models, self.model_name)

    def _show_skips(self, answer: Any, prompt: str | None) -> None:
        """Draw what is lost otherwise, if it is of the two runs that are on screen."""
        self.held.keep_skips(answer, self._match)
        found = self.held.skips_of(self._runs)
        if self.about == "skip" and found:
            below = [] if self.heads_found is None else [self.heads_found]
            self.show([*found, *below, *self.scores], prompt, "", self._texts["second"])

    def _show_scores(self, answer: Any, _prompt: str | None) -> None:
        """Draw what heads are in both models, beside what they do; the reader may have gone on to another one."""
        if self.held.keep_scores(answer, self._match) == self.model_name:
            with self._drawing:
                self.scores = self.held.scores_of(self.model_name)
                self._draw()

    def _say(self, text: str) -> None:
        self.grid_view.placeholder = self.second_view.placeholder = text
