"""The page that compares the prompt with a second one, or the model with others, such as its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.engine.fitting import attention_that_fits
from layerwidget.engine.other_run import ModelSource, OtherModels, OtherRun
from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion
from layerwidget.questions.attention import Attention
from layerwidget.questions.comparing import AttentionDifference, Difference, Match, difference
from layerwidget.questions.lens import LogitLens
from layerwidget.questions.residual import ResidualStream
from layerwidget.widgets.base import View
from layerwidget.widgets.compare_view import CompareView
from layerwidget.widgets.page import Standpoint
from layerwidget.widgets.prompt_editor import PromptEditor

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.tokens import Tokens

#: Attention weights of both prompts together; beyond it, fewer layers are compared and the page says so.
_ATTENTION_BYTES = 256 * 2**20


class ComparePage(CompareView):
    """A second prompt for the same model, or the same prompt for another one; its answers come from its own engine.

    Attributes:
        prompt: the second prompt; where it is empty and there is another model, that reads the first one.
        model_name: which of `models` is compared.
        models: where they come from: the explorer's own, or others.
        editor, slider: the text box, and the choice of the model where there are several.
    """

    choices: ClassVar[Mapping[str, str]] = {"prompt": "prompt", **CompareView.choices}

    prompt = t.Unicode()
    model_name = t.Unicode()
    models = t.Instance(OtherModels)

    def __init__(self, model: HookedModel, **shared: Any) -> None:
        self._model = model
        self._match: Match = "layer"
        self._own = OtherModels(model, {model.name: model})
        self._answers: dict[str, Any] = {}
        # The second prompt as it was read last.
        self._read: tuple[str, Tokens | None] = ("", None)
        placeholder = "Compare with: type a second prompt"
        self.editor = PromptEditor(placeholder=placeholder, text_name="second_prompt", **shared)
        super().__init__(**shared)
        self.models = self._own
        self.editor.add_class("lw-second")
        self.slider = ipywidgets.SelectionSlider(
            options=[model.name], description="B", continuous_update=False,
            style={"description_width": "20px"}, layout=ipywidgets.Layout(flex="0 0 auto", width="260px"),
        )  # fmt: skip
        self.bar.children = (self.switch, self.slider, self.words)
        self.above = (self.editor, self.bar)
        self.children = (*self.above, self.beside, *self.below)
        t.link((self.editor, "prompt"), (self, "prompt"))
        self.slider.observe(self._slid, "value")
        self._offer()

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
                a slider chooses one of them, and only that one is in memory.
            match: which layers are compared, as `layerwidget.difference` says.

        Raises:
            QuestionError: when there is no model among the others.
        """
        if isinstance(other, str):
            self.prompt = other
            return
        several = other if isinstance(other, Mapping) else {getattr(other, "name", "the other model"): other}
        self._match, self.models = match, OtherModels(self._model, several)
        self._offer()

    def _offer(self) -> None:
        names = self.models.names
        self.slider.layout.display = None if len(names) > 1 else "none"
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
        """The lens and the stream of all layers, attention of those in view; nothing without something to compare."""
        run = self.other(standpoint)
        return {} if run is None else {f"compare_{name}": question for name, question in run.questions}

    def other(self, standpoint: Standpoint) -> OtherRun | None:
        """The same of the second prompt, or the other model."""
        if not self.prompt and self.models is self._own:
            return None
        questions: list[tuple[str, TraceQuestion[Any]]] = [
            ("lens", LogitLens(k=10, tokens=standpoint.pinned)),
            ("residual", ResidualStream()),
        ]
        prompt = self.prompt or standpoint.tokens
        attention, _ = self._attention(standpoint)
        if attention is not None:
            questions.append(("attention", attention))
        # Both are read once: the reader may change the models while this is asked.
        models, name = self.models, self.model_name
        return OtherRun(models, name if name in models.names else models.names[0], prompt, tuple(questions))

    def _attention(self, standpoint: Standpoint) -> tuple[Attention | None, str]:
        """As much of it as fits into memory for both prompts, and in words what is left out."""
        n_pos = max(len(standpoint.tokens), len(self._second_tokens() or ()))
        room = _ATTENTION_BYTES // 2
        return attention_that_fits(
            standpoint.anatomy, standpoint.layers, n_pos, standpoint.layer, standpoint.head, room
        )

    def _second_tokens(self) -> Tokens | None:
        """The tokens of the second prompt, where there is one; a text is read once, however often it is asked for."""
        text = self.prompt
        if self._read[0] != text:
            self._read = (text, self._model.tokenize(text))
        return self._read[1]

    def begin(self, standpoint: Standpoint, prompt: str) -> None:
        """Forget what was compared before."""
        self._answers, self.note = {}, ""
        if self.other(standpoint) is not None:
            _, self.note = self._attention(standpoint)
        else:
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
        found: list[Difference | AttentionDifference] = []
        trouble: list[str] = []
        for name, answer in answers.items():
            own = self._answers.get(name)
            errors = [str(one) for one in (own, answer) if isinstance(one, LayerWidgetError)]
            try:
                if not errors and own is not None:
                    found.append(difference(own, answer, self._match))
            except LayerWidgetError as error:
                errors = [str(error)]
            trouble += [error for error in errors if error not in trouble]
        if trouble:
            self._say(trouble[0])
        # Not what the box says now: the reader may have typed on while this was computed.
        self.show(found, prompt, " ".join(trouble), run.prompt if isinstance(run.prompt, str) else "")

    def clear(self, prompt: str) -> None:
        """There is no first prompt."""
        self._say("Type a prompt, and a second one, and what differs appears here.")
        self.show([], prompt)

    def _say(self, text: str) -> None:
        self.grid_view.placeholder = self.second_view.placeholder = text
