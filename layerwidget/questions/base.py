"""Questions: frozen values that say what is to be known. Views name them, `analysis/` answers them.

A question is plain data, so it can be compared, cached and sent anywhere. `analysis/` registers how each
type of question is answered with `@answers`; `question.run(trace)` looks that up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from layerwidget.errors import QuestionError

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.trace import Trace

AnswerT = TypeVar("AnswerT", covariant=True)
_Q = TypeVar("_Q", bound="TraceQuestion[Any]")
_A = TypeVar("_A")
_Function = TypeVar("_Function", bound="Callable[..., Any]")
_Steps: TypeAlias = "Callable[[_Q, Trace, _A | None, int, OnScreen], Iterator[_A]]"

_ANSWERERS: dict[type, Callable[..., Any]] = {}
_STEPPERS: dict[type, Callable[[Any, Any, Any, int, OnScreen], Iterator[Any]]] = {}


@dataclass(frozen=True)
class OnScreen:
    """What to begin with.

    Attributes:
        layers: layer numbers; without any, the answer is wanted in one piece.
        first: the first position in sight.
        stop: one more than the last; no position is in sight where it is not above `first`.
    """

    layers: tuple[int, ...] = ()
    first: int = 0
    stop: int = 0


def answers(question_type: type) -> Callable[[_Function], _Function]:
    """Register the decorated function as the way to answer one type of question.

    For a `TraceQuestion` it is `(question, trace) -> result`, for a `DerivedQuestion` `(question, answer to its source)
    -> result`, for a `ModelQuestion` `(question, model, progress) -> result`.
    """

    def register(function: _Function) -> _Function:
        _ANSWERERS[question_type] = function
        return function

    return register


def steps(question_type: type[_Q]) -> Callable[[_Steps[_Q, _A]], _Steps[_Q, _A]]:
    """Register the decorated function as the way to answer one type of `TraceQuestion`, in parts.

    It is `(question, trace, before, n_same, on_screen) -> results`, as `TraceQuestion.answers` says; the last one is
    whole. A question that is answered in parts needs no function that is registered with `answers`.
    """

    def register(function: _Steps[_Q, _A]) -> _Steps[_Q, _A]:
        _STEPPERS[question_type] = function
        return function

    return register


class TraceQuestion(Generic[AnswerT]):
    """A question that one trace answers, without another pass of the model."""

    def run(self, trace: Trace) -> AnswerT:
        """The answer, from one trace.

        Raises:
            QuestionError: when no analysis answers this type of question.
            SelectionError: when the question names layers or heads that the model does not have.
            MissingComponentError: when the model has no such activation.
        """
        *_, whole = self.answers(trace, None, 0, OnScreen())
        return whole

    def answers(self, trace: Trace, before: Any | None, n_same: int, on_screen: OnScreen) -> Iterator[AnswerT]:
        """The answer, perhaps after parts of it that say which of their cells are done.

        Args:
            trace: the new trace.
            before: an answer, perhaps in part, to this question about a prompt that begins alike; or None.
            n_same: how many of its positions hold.
            on_screen: what to begin with.

        Raises:
            What `run` raises.
        """
        kind = type(self)
        if kind in _STEPPERS:
            yield from _STEPPERS[kind](self, trace, before, n_same, on_screen)
        else:
            yield _answerer(self)(self, trace)


class DerivedQuestion(TraceQuestion[AnswerT], ABC):
    """A question that is answered from the answer to another one, its source, without a look at the trace.

    Whoever asks for several things shares one source among them: `sources`.
    """

    @property
    @abstractmethod
    def source(self) -> TraceQuestion[Any]:
        """What is to be asked of the trace."""

    def reads(self, other: TraceQuestion[Any]) -> bool:
        """Whether the answer to another question holds what is needed of the source's."""
        return other == self.source

    def derived(self, answer: Any) -> AnswerT:
        """The answer, from the whole answer to a question that it `reads`."""
        result: AnswerT = _answerer(self)(self, answer)
        return result

    def answers(self, trace: Trace, before: Any | None, n_same: int, on_screen: OnScreen) -> Iterator[AnswerT]:
        """The answer in one piece, by way of the source."""
        yield self.derived(self.source.run(trace))


def sources(questions: Iterable[TraceQuestion[Any]]) -> dict[TraceQuestion[Any], TraceQuestion[Any]]:
    """Derived question -> what it is answered from: one that is asked anyway, else a source that they share.

    Args:
        questions: all that are asked; the others among them are not in what is returned.
    """
    questions = tuple(questions)
    read = [question for question in questions if not isinstance(question, DerivedQuestion)]
    found: dict[TraceQuestion[Any], TraceQuestion[Any]] = {}
    for question in questions:
        if isinstance(question, DerivedQuestion):
            found[question] = next(filter(question.reads, read), question.source)
            read.append(found[question])
    return found


class ModelQuestion(ABC, Generic[AnswerT]):
    """A question that needs passes of its own. It is asked on request, says what it costs, and can be stopped."""

    @abstractmethod
    def n_passes(self, model: HookedModel) -> int:
        """How many forward passes the answer takes.

        Raises:
            SelectionError: when the question names layers or heads that the model does not have.
        """

    def cost(self, model: HookedModel) -> str:
        """What the answer takes, in a few words.

        Raises:
            What `n_passes` raises.
        """
        n = self.n_passes(model)
        return "1 forward pass" if n == 1 else f"{n} forward passes"

    def run(self, model: HookedModel, progress: Callable[[int, int], None] | None = None) -> AnswerT:
        """The answer, from passes of a model.

        Args:
            model: the model.
            progress: told how many passes are done, and how many there will be.

        Raises:
            QuestionError: when no analysis answers this type of question.
            SelectionError: when the question names layers or heads that the model does not have.
            MissingComponentError: when the model has no such activation.
            Cancelled: when the answer is no longer wanted (`layerwidget.cancellation`).
        """
        answer = _answerer(self)
        result: AnswerT = answer(self, model, progress or (lambda done, of: None))
        return result


def _answerer(question: object) -> Callable[..., Any]:
    answer = _ANSWERERS.get(type(question))
    if answer is None:
        known = ", ".join(sorted(kind.__name__ for kind in {**_ANSWERERS, **_STEPPERS}))
        raise QuestionError(
            f"Nothing answers {type(question).__name__}: expected one of {known}. "
            "Register an analysis with @layerwidget.questions.answers."
        )
    return answer
