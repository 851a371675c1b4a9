"""Live: answers questions about a prompt that is being edited, reusing what is still true.

The trace is continued from the first changed token, and so is every answer that is still asked for: in a causal model
no position sees what comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from layerwidget.cancellation import checkpoint
from layerwidget.engine.kept import KeptAnswers
from layerwidget.engine.memory import editing
from layerwidget.engine.told import Told
from layerwidget.errors import Cancelled, LayerWidgetError
from layerwidget.layers import LayerSelection, parse_layers
from layerwidget.model.continuation import Continuation
from layerwidget.model.interventions import canonical
from layerwidget.model.reading_pace import measure_pace
from layerwidget.questions import DerivedQuestion, OnScreen, TraceQuestion, sources
from layerwidget.tokens import Tokens

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.trace import Trace


#: Answers about recent prompts are kept up to this size: taking an edit back costs nothing.
ANSWER_BYTES = 128 * 2**20

_Key: TypeAlias = tuple[TraceQuestion[Any], bytes, tuple[object, ...]]


@dataclass(frozen=True)
class _Answer:
    """An answer, and the prompt that it is about."""

    tokens: Tokens
    interventions: tuple[object, ...]
    value: Any


class Live:
    """A model and its last trace.

    Args:
        model: the hooked model.
        answer_bytes: how much of answers about recent prompts is kept.
        proves_at_once: whether the first edit waits until it is proved which ways of reusing something are right with
            this model; else it is computed anew unless `prepare` was called before.

    Attributes:
        model: the hooked model.
        reused: how many positions of the last prompt were taken over from what is held; all of them of a recent prompt.
        reused_layers: how many of its first layers were taken over from what is held under other interventions.
    """

    def __init__(self, model: HookedModel, answer_bytes: int = ANSWER_BYTES, proves_at_once: bool = True) -> None:
        self.model = model
        self._continuation = Continuation(model, proves_at_once)
        self._answers: dict[TraceQuestion[Any], _Answer] = {}
        self._recent = KeptAnswers(answer_bytes)
        self._kept: dict[_Key, Any] = {}
        # Of which prompt a pass is there, and not all answers yet.
        self._begun: tuple[bytes, tuple[object, ...]] | None = None
        self.reused = self.reused_layers = 0

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """The answers of now are not dropped meanwhile, whatever is asked in between and however large they are."""
        self._kept = {
            (question, one.tokens.key, one.interventions): one.value
            for question, one in dict(self._answers).items()
            if _is_whole(one.value)
        }
        try:
            yield
        finally:
            self._kept = {}

    @property
    def answer_bytes(self) -> int:
        """Memory of the arrays and dictionaries of answers about recent prompts: never more than the limit."""
        return self._recent.held_bytes

    @property
    def held_answer_bytes(self) -> int:
        """Memory that answers keep alive, those that are shown now among them, however large they are."""
        return self._recent.bytes_with(answer.value for answer in self._answers.values())

    @property
    def held_pass_bytes(self) -> int:
        """Memory of the last pass and its cache. It takes some milliseconds to count."""
        return self._continuation.held_bytes

    @property
    def passes(self) -> int:
        """How many forward passes were run so far."""
        return self._continuation.passes

    @property
    def computes_anew(self) -> bool:
        """Whether it is known that nothing of a prompt can be reused for the next one with this model."""
        return self._continuation.computes_anew

    @property
    def how(self) -> str:
        """How the unchanged beginning of a prompt is reused with this model, in a few words."""
        return self._continuation.how

    @property
    def how_layers(self) -> str:
        """How the first layers are reused when an intervention changes a later one, in a few words."""
        return self._continuation.how_layers

    @property
    def is_behind(self) -> bool:
        """Whether the pass that is held is another prompt's, as after an edit that was taken back: see `prepare`.

        Not where nothing can go on from a pass, or one that is given up would cost more than it saves.
        """
        answer, going = next(iter(self._answers.values()), None), self._continuation
        return answer is not None and going.loses_nothing and not going.holds(answer.tokens, answer.interventions)

    def prepare(self) -> None:
        """Do beforehand what the next edit would have to do: prove the ways of reusing something on this model.

        Where the last answers were kept from before, the pass over their prompt is run, from which the next edit goes
        on. Once in a process, it is also found out how many threads a pass over one position has use for.

        Raises:
            Cancelled: when something else is to be done.
        """
        self._continuation.prepare()
        # Whether something can go on from a pass may be known only now.
        if self.is_behind:
            shown = next(iter(self._answers.values()))
            self._continuation.trace(shown.tokens, shown.interventions)
        measure_pace()

    @editing()
    def update(
        self,
        prompt: str | Sequence[int] | Tokens,
        *questions: TraceQuestion[Any],
        interventions: Sequence[object] = (),
        answered: Callable[[TraceQuestion[Any], Any], None] | None = None,
        previewed: Callable[[TraceQuestion[Any], Any], None] | None = None,
        refused: Callable[[TraceQuestion[Any], LayerWidgetError], None] | None = None,
        on_screen: LayerSelection = "all",
        in_sight: tuple[int, int] = (0, 0),
    ) -> tuple[Any, ...]:
        """The answers to `questions` for this prompt, in order; only what changed is computed.

        Args:
            prompt: text, token ids, or tokens.
            questions: what is to be known; answers to earlier questions that are not asked again are dropped.
            interventions: what is changed during the pass, such as `SkipLayers("5")`.
            answered: told of every answer as soon as it is there.
            previewed: told first of a part of an answer that takes long; it says which of its cells are done.
            refused: told of a question that this model or prompt has no answer to, and why; its answer is None. Without
                it, the first such error is raised.
            on_screen: the layers that such a part begins with.
            in_sight: the positions that come next: the first one, and one more than the last.

        Raises:
            PromptError: when the prompt is empty, too long or cannot be read.
            LayerWidgetError: what a question raises, unless `refused` is told.
            Cancelled: when a newer edit made this one useless (`layerwidget.cancellation`).
        """
        tokens = prompt if isinstance(prompt, Tokens) else self.model.tokenize(prompt)
        self.model.check_tokens(tokens)
        changes = canonical(interventions, self.model.anatomy.n_layers)
        read = sources(questions)
        keys = {question: (question, tokens.key, changes) for question in (*questions, *read.values())}
        if self._recalled(tokens, changes, keys):
            self._begun = None
            return self._told(questions, answered)
        again, self._begun = self._begun == (tokens.key, changes), None
        trace = self._continuation.trace(tokens, changes)
        if not again:
            # Else an update that was given up has run that pass, and nobody has seen yet what it took.
            self.reused, self.reused_layers = self._continuation.reused, self._continuation.reused_layers
        self._begun = tokens.key, changes
        layers = parse_layers(on_screen, trace.anatomy.n_layers) if previewed is not None else ()
        told = Told(questions, answered, previewed, refused)
        self._answer(questions, read, partial(self._steps, trace, tokens, OnScreen(layers, *in_sight)), told)
        self._answers = {question: self._answers[question] for question in keys if question in self._answers}
        for question, answer in self._answers.items():
            self._keep(keys[question], answer.value)
        self._begun = None
        return self._told(questions, None)

    def _recalled(self, tokens: Tokens, changes: tuple[object, ...], keys: Mapping[TraceQuestion[Any], _Key]) -> bool:
        """Take the answers that are kept from before; nothing is taken unless all of them are."""
        kept = self._kept
        if not all(key in kept or key in self._recent for key in keys.values()):
            return False
        self.reused, self.reused_layers = len(tokens), 0
        self._answers = {
            question: _Answer(tokens, changes, kept[key] if key in kept else self._recent[key])
            for question, key in keys.items()
        }
        return True

    def _answer(
        self,
        questions: Sequence[TraceQuestion[Any]],
        read: Mapping[TraceQuestion[Any], TraceQuestion[Any]],
        steps: Callable[[TraceQuestion[Any]], Iterator[Any]],
        told: Told,
    ) -> None:
        """Answer what is asked, and what that is read from: every question's first part before the rest of any."""
        others = [source for source in dict.fromkeys(read.values()) if source not in questions]
        asked = [*(question for question in questions if question not in read), *others]
        running = [(question, steps(question)) for question in asked]
        for most in (1, None):
            running = [one for one in running if not self._advance(*one, most, told)]
        for derived in (one for one in questions if isinstance(one, DerivedQuestion)):
            self._advance(derived, self._derived(derived, read[derived], told), None, told)

    def _advance(self, question: TraceQuestion[Any], steps: Iterator[Any], most: int | None, told: Told) -> bool:
        """Take the next parts of an answer, or all that are left; whether there are no more."""
        try:
            for answer in islice(steps, most):
                if not _is_whole(answer):
                    # It is held; nobody wants to see it when the rest is given up.
                    checkpoint("a part of an answer")
                    told.part(question, answer)
        except Cancelled:
            raise
        except LayerWidgetError as error:
            self._answers.pop(question, None)
            told.refusal(question, error)
            return True
        whole = _is_whole(self._answers[question].value)
        if whole:
            told.whole(question, self._answers[question].value)
        return whole

    def _told(
        self,
        questions: Sequence[TraceQuestion[Any]],
        answered: Callable[[TraceQuestion[Any], Any], None] | None,
    ) -> tuple[Any, ...]:
        """The answers that are held."""
        if answered is not None:
            for question in questions:
                answered(question, self._answers[question].value)
        held = [self._answers.get(question) for question in questions]
        return tuple(None if answer is None else answer.value for answer in held)

    def _keep(self, key: _Key, answer: Any) -> None:
        # One that is too large for the cache is not kept.
        with suppress(ValueError):
            self._recent[key] = answer

    def _steps(self, trace: Trace, tokens: Tokens, on_screen: OnScreen, question: TraceQuestion[Any]) -> Iterator[Any]:
        """Bring the answer up to date; each part is held, so that nothing is lost when the rest is given up."""
        held = self._answers.get(question)
        if held is not None and held.interventions != trace.interventions:
            held = None  # the lens compares every layer with the last one, so all of it is another
        same = held is not None and held.tokens.key == tokens.key
        if held is not None and same and _is_whole(held.value):
            return
        n_same = 0 if held is None else self._continuation.n_same(held.tokens, tokens)
        if same:
            n_same = len(trace.tokens)
        before = held.value if held is not None and n_same else None
        for answer in question.answers(trace, before, n_same, on_screen):
            self._answers[question] = _Answer(tokens, trace.interventions, answer)
            yield answer

    def _derived(self, question: DerivedQuestion[Any], source: TraceQuestion[Any], told: Told) -> Iterator[Any]:
        """Bring the answer up to date with the one that it is read from.

        Raises:
            LayerWidgetError: why there is no such answer.
        """
        if source in told.errors:
            raise told.errors[source]
        read, held = self._answers[source], self._answers.get(question)
        if held is None or held.tokens is not read.tokens or held.interventions != read.interventions:
            value = question.derived(read.value)
            self._answers[question] = _Answer(read.tokens, read.interventions, value)
            yield value


def _is_whole(answer: Any) -> bool:
    return bool(getattr(answer, "complete", True))
