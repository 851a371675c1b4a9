"""Live: answers questions about a prompt that is being edited, reusing what is still true.

A trace is kept as long as the tokens stay the same, and so is every answer that is still asked for. Splicing of
changed prompts belongs here as well: `_trace` is the one place that decides what has to be computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from layerwidget.questions import TraceQuestion
from layerwidget.tokens import Tokens

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.trace import Trace


class Live:
    """A model and its last trace.

    Attributes:
        model: the hooked model.
        passes: how many forward passes were run so far.
    """

    def __init__(self, model: HookedModel) -> None:
        self.model = model
        self.passes = 0
        self._last: Trace | None = None
        self._answers: dict[TraceQuestion[Any], Any] = {}

    def update(
        self,
        prompt: str | Sequence[int] | Tokens,
        *questions: TraceQuestion[Any],
        interventions: Sequence[object] = (),
        answered: Callable[[TraceQuestion[Any], Any], None] | None = None,
    ) -> tuple[Any, ...]:
        """The answers to `questions` for this prompt, in order; only what changed is computed.

        Args:
            prompt: text, token ids, or tokens.
            questions: what is to be known; answers to earlier questions that are not asked again are dropped.
            interventions: what is changed during the pass, such as `SkipLayers("5")`.
            answered: told of every answer as soon as it is there.

        Raises:
            PromptError: when the prompt is empty, too long or cannot be read.
            Cancelled: when a newer edit made this one useless (`layerwidget.cancellation`).
        """
        tokens = prompt if isinstance(prompt, Tokens) else self.model.tokenize(prompt)
        trace = self._trace(tokens, tuple(interventions))
        self._answers = {question: answer for question, answer in self._answers.items() if question in questions}
        for question in questions:
            if question not in self._answers:
                self._answers[question] = question.run(trace)
            if answered is not None:
                answered(question, self._answers[question])
        return tuple(self._answers[question] for question in questions)

    def _trace(self, tokens: Tokens, interventions: tuple[object, ...]) -> Trace:
        last = self._last
        same = last is not None and last.interventions == interventions
        if last is None or not same or last.tokens.ids.tolist() != tokens.ids.tolist():
            # Let go of the old trace first: two of a long prompt need not live at once.
            self._last, self._answers = None, {}
            self.passes += 1
            last = self._last = self.model.trace(tokens, interventions=interventions)
        return last
