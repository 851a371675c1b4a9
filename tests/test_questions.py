"""Questions are plain values; answers are looked up by type."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import layerwidget as lw
from layerwidget.questions import ModelQuestion, TraceQuestion, answers
from tests.every_answer import TRACE_QUESTIONS, kinds_in_questions
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


def test_a_trace_answers_its_questions_without_another_pass() -> None:
    """Those that need passes say how many: `ModelQuestion.n_passes`."""
    model, both = lw.HookedModel(tiny("llama")), lw.HookedModel(tiny("bart"))
    passes: list[object] = []
    for one in (model, both):
        one.hf_model.register_forward_pre_hook(lambda module, _args: passes.append(module))
    trace, trace_of_both = model.trace(ids(6)), both.trace(ids(4), target=ids(3))
    assert passes == [model.hf_model, both.hf_model]
    tuned = lw.TunedLens(lw.Translators.untrained(model.anatomy.n_layers, model.anatomy.d_model))
    asked = [*TRACE_QUESTIONS.values(), tuned, lw.LogitLens(jsd=True, follow=2)]
    kinds = {kind for kind in kinds_in_questions(is_question=True) if not issubclass(kind, ModelQuestion)}
    assert {type(question) for question in asked} | {lw.CrossAttention} == kinds
    for question in asked:
        question.run(trace)
    lw.CrossAttention().run(trace_of_both)
    assert len(passes) == 2
