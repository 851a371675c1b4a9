"""Live: what is still true is not computed again."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.cancellation import cancelled_by
from layerwidget.errors import Cancelled
from tests.tiny import hooked, ids, tiny


@pytest.fixture
def live() -> lw.Live:
    return lw.Live(lw.HookedModel(tiny("llama")))


def test_the_same_prompt_needs_no_second_pass(live: lw.Live) -> None:
    (first,) = live.update(ids(5), lw.LogitLens())
    again, attention = live.update(ids(5), lw.LogitLens(), lw.Attention("1"))
    assert again is first
    assert attention.layers == (1,)
    assert live.passes == 1
    (other,) = live.update(ids(6), lw.LogitLens())
    assert live.passes == 2
    np.testing.assert_array_equal(other.token_ids, ids(6))


def test_answers_come_one_by_one_in_order(live: lw.Live) -> None:
    seen: list[object] = []
    asked = (lw.Attention("0"), lw.LogitLens(), lw.Attention("0"))
    answers = live.update(ids(5), *asked, answered=lambda question, _answer: seen.append(question))
    assert seen == list(asked)
    assert answers[0] is answers[2]


def test_a_cancelled_pass_leaves_the_next_one_right(live: lw.Live) -> None:
    polls = iter([False, False, True])
    with pytest.raises(Cancelled), cancelled_by(lambda: next(polls, True)):
        live.update(ids(5), lw.LogitLens())
    (lens,) = live.update(ids(5), lw.LogitLens())
    expected = lw.LogitLens().run(live.model.trace(ids(5)))
    np.testing.assert_array_equal(lens.top_probs, expected.top_probs)


def test_words_are_those_of_the_prompt_and_its_cells(live: lw.Live) -> None:
    question = lw.LogitLens(tokens=(3,))
    for prompt in (ids(5), ids(9), ids(9)[:7], [*ids(9)[:7], 11], [*ids(9)[:7], 11, 12], ids(5)):
        (lens,) = live.update(prompt, question)
        assert dict(lens.pieces) == dict(question.run(live.model.trace(prompt)).pieces)


def test_errors_keep_their_names(live: lw.Live) -> None:
    with pytest.raises(lw.EmptyPromptError):
        live.update([], lw.LogitLens())
    with pytest.raises(lw.PromptError, match="tokenizer"):
        live.update("text", lw.LogitLens())


def test_taking_an_edit_back_costs_no_pass(live: lw.Live) -> None:
    questions = (lw.LogitLens(k=2), lw.Attention("0"))
    first = live.update(ids(5), *questions)
    live.update(ids(7), *questions)
    passes = live.passes
    heard: list[object] = []
    again = live.update(ids(5), *questions, answered=lambda question, answer: heard.append(answer))
    assert again == first
    assert heard == list(first)
    assert (live.passes, live.reused) == (passes, 5)
    changed = live.update([*ids(5), 9], *questions)
    expected = questions[0].run(live.model.trace([*ids(5), 9]))
    np.testing.assert_allclose(changed[0].entropy_nats, expected.entropy_nats, rtol=1e-3, atol=1e-4)


def test_answers_are_kept_up_to_a_size() -> None:
    answer = lw.LogitLens().run(hooked("llama").trace(ids(9)))
    size = sum(array.nbytes for array in vars(answer).values() if isinstance(array, np.ndarray))
    size += sys.getsizeof(answer.pieces)
    live = lw.Live(hooked("llama"), answer_bytes=2 * size)
    for seed in range(5):
        live.update(ids(9, seed), lw.LogitLens())
        assert live.answer_bytes <= 2 * size
    passes = live.passes
    live.update(ids(9, 3), lw.LogitLens())
    assert live.passes == passes
    live.update(ids(9, 0), lw.LogitLens())
    assert live.passes == passes + 1
    small = lw.Live(hooked("llama"), answer_bytes=10)
    assert small.update(ids(9), lw.LogitLens())[0].complete
    assert small.answer_bytes == 0


def test_a_prompt_that_is_remembered_is_checked_all_the_same(live: lw.Live) -> None:
    live.update(ids(8), lw.LogitLens())
    live.model.n_ctx = 5
    with pytest.raises(lw.PromptError, match="8 tokens"):
        live.update(ids(8), lw.LogitLens())


def test_what_an_update_that_was_given_up_has_run_is_counted_for_the_next_about_the_same() -> None:
    live, prompt, question = lw.Live(hooked("llama")), ids(12), lw.LogitLens()
    live.update(prompt, question)
    longer = [*prompt, 5]

    def give_up(*_: object) -> None:
        raise Cancelled("a newer one")

    with pytest.raises(Cancelled):
        live.update(longer, question, answered=give_up)
    passes = live.passes
    live.update(longer, question)
    assert live.passes == passes
    assert live.reused == len(prompt)
    # Now it is known.
    live.update(longer, question, lw.Attention())
    assert live.reused == len(longer)
