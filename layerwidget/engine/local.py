"""Live: answers questions about a prompt that is being edited, reusing what is still true.

The trace is continued from the first changed token, and so is every answer that is still asked for: in a causal model
no position sees what comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerwidget.layers import LayerSelection, parse_layers
from layerwidget.model.continuation import Continuation, common_length
from layerwidget.questions import TraceQuestion
from layerwidget.tokens import Tokens

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.trace import Trace


@dataclass(frozen=True)
class _Answer:
    """An answer, and what it is about."""

    tokens: Tokens
    interventions: tuple[object, ...]
    value: Any


class Live:
    """A model and its last trace.

    Attributes:
        model: the hooked model.
    """

    def __init__(self, model: HookedModel) -> None:
        self.model = model
        self._continuation = Continuation(model)
        self._answers: dict[TraceQuestion[Any], _Answer] = {}

    @property
    def passes(self) -> int:
        """How many forward passes were run so far."""
        return self._continuation.passes

    @property
    def reused(self) -> int:
        """How many positions of the last trace were taken over from the one before."""
        return self._continuation.reused

    @property
    def how(self) -> str:
        """How the unchanged beginning of a prompt is reused with this model, in a few words."""
        return self._continuation.how

    def prepare(self) -> None:
        """Do beforehand what the next edit would have to do: prove the way of reusing a beginning on this model."""
        self._continuation.prepare()

    def update(
        self,
        prompt: str | Sequence[int] | Tokens,
        *questions: TraceQuestion[Any],
        interventions: Sequence[object] = (),
        answered: Callable[[TraceQuestion[Any], Any], None] | None = None,
        previewed: Callable[[TraceQuestion[Any], Any], None] | None = None,
        on_screen: LayerSelection = "all",
    ) -> tuple[Any, ...]:
        """The answers to `questions` for this prompt, in order; only what changed is computed.

        Args:
            prompt: text, token ids, or tokens.
            questions: what is to be known; answers to earlier questions that are not asked again are dropped.
            interventions: what is changed during the pass, such as `SkipLayers("5")`.
            answered: told of every answer as soon as it is there.
            previewed: told first of a part of an answer that takes long; it says which of its cells are done.
            on_screen: the layers that such a part begins with.

        Raises:
            PromptError: when the prompt is empty, too long or cannot be read.
            Cancelled: when a newer edit made this one useless (`layerwidget.cancellation`).
        """
        tokens = prompt if isinstance(prompt, Tokens) else self.model.tokenize(prompt)
        changes = tuple(interventions)
        trace = self._continuation.trace(tokens, changes)
        if previewed is not None:
            self._preview(trace, questions, parse_layers(on_screen, trace.anatomy.n_layers), previewed)
        known: dict[TraceQuestion[Any], _Answer] = {}
        for question in questions:
            known[question] = self._answers[question] = self._answer(question, trace, self._answers.get(question))
            if answered is not None:
                answered(question, known[question].value)
        self._answers = known
        return tuple(known[question].value for question in questions)

    def _preview(
        self,
        trace: Trace,
        questions: Sequence[TraceQuestion[Any]],
        layers: tuple[int, ...],
        previewed: Callable[[TraceQuestion[Any], Any], None],
    ) -> None:
        for question in questions:
            held = self._answers.get(question)
            n_same = self._n_same(trace, held)
            part = question.preview(trace, held.value if held and n_same else None, n_same, layers)
            if part is not None:
                previewed(question, part)

    def _n_same(self, trace: Trace, held: _Answer | None) -> int:
        """How many positions of an answer hold."""
        if held is None or held.interventions != trace.interventions:
            return 0
        n_same = common_length(held.tokens, trace.tokens)
        same = n_same == len(held.tokens) == len(trace.tokens)
        return n_same if same or self._continuation.sequential else 0

    def _answer(self, question: TraceQuestion[Any], trace: Trace, held: _Answer | None) -> _Answer:
        """The answer, as far as possible from the one that is held, which may be about an older prompt."""
        n_same = self._n_same(trace, held)
        if held is None or not n_same:
            return _Answer(trace.tokens, trace.interventions, question.run(trace))
        if n_same == len(held.tokens) == len(trace.tokens):
            return held
        return _Answer(trace.tokens, trace.interventions, question.resume(trace, held.value, n_same))
