"""Questions are plain values; answers are looked up by type."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import layerwidget as lw
from layerwidget.questions import TraceQuestion, answers
from tests.tiny import ids, tiny


@dataclass(frozen=True)
class Length(TraceQuestion[int]):
    plus: int = 0


def test_questions_are_hashable_values() -> None:
    assert lw.LogitLens(layers=[3, 1]) == lw.LogitLens(layers=(3, 1))
    assert len({lw.Attention("late"), lw.Attention("late"), lw.Attention("early")}) == 2
    with pytest.raises(lw.SelectionError, match="float"):
        lw.Attention(layers=1.5)  # type: ignore[arg-type]


def test_a_question_of_ones_own_needs_one_function() -> None:
    trace = lw.HookedModel(tiny("llama")).trace(ids(5))
    with pytest.raises(lw.QuestionError, match="Nothing answers Length"):
        Length().run(trace)

    @answers(Length)
    def length(question: Length, trace: lw.Trace) -> int:
        return len(trace.tokens) + question.plus

    assert Length(2).run(trace) == 7
