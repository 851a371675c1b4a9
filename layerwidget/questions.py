"""Questions: frozen values that say what is to be known. Views name them, `analysis/` answers them.

A question is plain data, so it can be compared, cached and sent anywhere. `analysis/` registers how each
type of question is answered with `@answers`; `question.run(trace)` looks that up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from layerwidget.errors import QuestionError
from layerwidget.layers import LayerSelection, frozen_selection
from layerwidget.results import AttentionGrid, LensGrid

if TYPE_CHECKING:
    from layerwidget.trace import Trace

AnswerT = TypeVar("AnswerT", covariant=True)
_Q = TypeVar("_Q", bound="TraceQuestion[Any]")
_A = TypeVar("_A")
_Steps: TypeAlias = "Callable[[_Q, Trace, _A | None, int, tuple[int, ...]], Iterator[_A]]"

_ANSWERERS: dict[type, Callable[[Any, Any], Any]] = {}
_STEPPERS: dict[type, Callable[[Any, Any, Any, int, tuple[int, ...]], Iterator[Any]]] = {}


def answers(question_type: type[_Q]) -> Callable[[Callable[[_Q, Trace], _A]], Callable[[_Q, Trace], _A]]:
    """Register the decorated function `(question, trace) -> result` as the way to answer one type of question."""

    def register(function: Callable[[_Q, Trace], _A]) -> Callable[[_Q, Trace], _A]:
        _ANSWERERS[question_type] = function
        return function

    return register


def steps(question_type: type[_Q]) -> Callable[[_Steps[_Q, _A]], _Steps[_Q, _A]]:
    """Register `(question, trace, before, n_same, on_screen) -> answers`: parts of one answer, the last one whole."""

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
        answer = _ANSWERERS.get(type(self))
        if answer is None:
            known = ", ".join(sorted(question.__name__ for question in _ANSWERERS))
            raise QuestionError(
                f"Nothing answers {type(self).__name__}: expected one of {known}. "
                "Register an analysis with @layerwidget.questions.answers."
            )
        result: AnswerT = answer(self, trace)
        return result

    def answers(self, trace: Trace, before: Any | None, n_same: int, on_screen: tuple[int, ...]) -> Iterator[AnswerT]:
        """The answer, perhaps after parts of it that say which of their cells are done.

        Args:
            trace: the new trace.
            before: an answer, perhaps in part, to this question about a prompt that begins alike; or None.
            n_same: how many of its positions hold.
            on_screen: the layers to begin with.

        Raises:
            What `run` raises.
        """
        kind = type(self)
        if kind in _STEPPERS:
            yield from _STEPPERS[kind](self, trace, before, n_same, on_screen)
        else:
            yield self.run(trace)


@dataclass(frozen=True)
class LogitLens(TraceQuestion[LensGrid]):
    """What the model would predict if it stopped at each layer (nostalgebraist 2020).

    Attributes:
        layers: layer selection, e.g. `"10-20"`; see `layerwidget.layers`.
        component: the activation that is decoded: `resid_pre`, `resid_mid`, `resid_post`, `attn_out` or `mlp_out`.
        k: how many of the most probable tokens to keep per cell.
        tokens: token ids whose rank and log-probability are wanted in every cell.
    """

    layers: LayerSelection = "all"
    component: str = "resid_post"
    k: int = 5
    tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))
        object.__setattr__(self, "tokens", tuple(int(token) for token in self.tokens))
        if self.k < 1:
            raise QuestionError(f"LogitLens keeps the k most probable tokens: expected k >= 1, got {self.k}.")


@dataclass(frozen=True)
class Attention(TraceQuestion[AttentionGrid]):
    """Where every head looks: attention weights after the softmax.

    Attributes:
        layers: layer selection, e.g. `"10-12"`.
        heads: head selection in the same grammar.
    """

    layers: LayerSelection = "all"
    heads: LayerSelection = "all"

    def __post_init__(self) -> None:
        """Make the question hashable."""
        object.__setattr__(self, "layers", frozen_selection(self.layers))
        object.__setattr__(self, "heads", frozen_selection(self.heads))
