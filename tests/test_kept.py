"""What is held for the next edit: by bytes, the oldest goes first; and what is said of it is what is there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.engine.kept import KeptAnswers
from layerwidget.engine.work_words import kept_words, took_words
from layerwidget.ledger import replayed
from layerwidget.model.held_bytes import held_bytes
from tests import tiny

MB = 2**20


@dataclass(frozen=True, eq=False)
class Answer:
    """Anything with arrays."""

    numbers: np.ndarray
    name: str = ""


def answer(n_bytes: int) -> Answer:
    return Answer(np.zeros(n_bytes, np.uint8))


def test_the_one_that_was_asked_for_longest_ago_goes_first() -> None:
    kept = KeptAnswers(100)
    for name, size in (("a", 40), ("b", 30), ("c", 20)):
        kept[name] = answer(size)
    assert kept["a"].numbers.nbytes == 40
    kept["d"] = answer(25)
    assert set(kept) == {"a", "c", "d"}
    kept["e"] = answer(60)
    assert set(kept) == {"d", "e"}
    assert kept.held_bytes == 85


def test_the_limit_is_one_of_bytes_and_not_of_answers() -> None:
    kept = KeptAnswers(100)
    for number in range(20):
        kept[number] = answer(5)
    assert len(kept) == 20
    kept["large"] = answer(98)
    assert set(kept) == {"large"}
    with pytest.raises(ValueError, match="too large"):
        kept["larger"] = answer(101)
    assert set(kept) == {"large"}


def test_what_is_shared_is_held_once_and_as_long_as_somebody_has_it() -> None:
    room, kept = np.zeros((4, 10), np.uint8), KeptAnswers(100)
    kept["first"], kept["second"] = Answer(room[:2]), Answer(room[:3])
    assert kept.held_bytes == 40
    assert kept.bytes_with([Answer(room[1:]), answer(7)]) == 47
    del kept["first"]
    assert kept.held_bytes == 40
    kept["second"] = answer(9)
    assert kept.held_bytes == 9
    kept["third"] = answer(95)
    assert (set(kept), kept.held_bytes) == ({"third"}, 95)


def test_a_text_that_is_appended_to_is_kept_at_each_of_its_lengths() -> None:
    room, kept = np.zeros((30, 3), np.uint8), KeptAnswers(100)
    kept["other"] = answer(10)
    for n_pos in range(1, 31):
        kept[n_pos] = Answer(room[:n_pos])
    assert (len(kept), kept.held_bytes) == (31, 100)
    # None of them can go without the others: what they share is free after the last.
    kept["next"] = answer(20)
    assert (set(kept), kept.held_bytes) == ({"next"}, 20)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mamba"])
def test_a_live_prompt_says_what_it_holds(kind: str) -> None:
    live, prompt, question = lw.Live(lw.HookedModel(tiny.tiny(kind))), tiny.ids(12), lw.LogitLens()
    assert (live.held_pass_bytes, live.held_answer_bytes) == (0, 0)
    (lens,) = live.update(prompt, question)
    size = sum(array.nbytes for array in vars(lens).values() if isinstance(array, np.ndarray))
    # How each token is shown, which is a dictionary for each answer.
    size += sys.getsizeof(lens.pieces)
    assert (live.held_answer_bytes, live.answer_bytes) == (size, size)
    live.prepare()
    trace = live._continuation.trace(live.model.tokenize(prompt))
    stream = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in trace.activations["resid_post"].values()
    }
    without_cache = held_bytes(trace)
    assert sum(stream.values()) < without_cache <= live.held_pass_bytes
    others = [rows for name, rows in trace.activations.items() if name != "resid_mid"]
    assert held_bytes(trace.activations, trace.ledgers) == held_bytes(*others, trace.ledgers)
    before, of_stream = live.held_pass_bytes, held_bytes(trace.activations)
    longer = [*prompt, *tiny.ids(12, 4)]
    live.update(longer, question)
    assert held_bytes(live._continuation.trace(live.model.tokenize(longer)).activations) == 2 * of_stream
    # The bounds are those of a trace that holds what is added up, too.
    with_middles = before + sum(rows.nbytes for rows in trace.activations["resid_mid"].values())
    assert 1.5 * with_middles < live.held_pass_bytes < 3 * with_middles


def test_of_what_is_added_up_when_somebody_asks_only_the_rows_asked_for_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = tiny.hooked("llama"), tiny.ids(12)
    whole = model.trace(ids).resid_mid
    edited = lw.Live(lw.HookedModel(model.hf_model))
    edited.prepare()
    edited.update(ids[:8], lw.LogitLens())
    edited.update(ids, lw.LogitLens())
    assert edited.reused == 8
    made: list[int] = []

    def counted(entered: torch.Tensor, entries: Any) -> Any:
        made.append(len(entered))
        return replayed(entered, entries)

    monkeypatch.setattr("layerwidget.model.activations.replayed", counted)
    trace = edited._continuation.trace(edited.model.tokenize(ids))
    for start, stop, n_made in ((2, 5, [3]), (9, 10, [1]), (6, 11, [2, 3])):
        made.clear()
        torch.testing.assert_close(trace.rows("resid_mid", 1, start, stop), whole[1, start:stop], rtol=0, atol=1e-4)
        assert made == n_made


def test_every_storage_counts_once() -> None:
    numbers = torch.zeros(6, 4)
    assert held_bytes(numbers, [numbers[1:], {"a": (numbers.T, torch.zeros(3))}]) == 4 * (24 + 3)
    assert held_bytes(None, 3, "text") == 0


@pytest.mark.parametrize(
    ("both", "words"),
    [
        ((0, 0), ""),
        ((MB - 1, 0), ""),
        ((600_000, 600_000), "1 MB kept"),
        ((35 * MB, 0), "35 MB kept"),
        ((MB - 1, 2 * MB), "2 MB kept"),
        ((36 * MB, 2 * MB + 1), "38 MB kept (pass 36 + answers 2)"),
    ],
)
def test_the_memory_in_words(both: tuple[int, int], words: str) -> None:
    assert kept_words(*both) == words


def test_long_times_are_in_seconds() -> None:
    took = {85.6: "86 ms", 999.4: "999 ms", 999.6: "1.0 s", 9_097: "9.1 s", 9_999: "10 s", 114_726: "115 s"}
    assert [took_words(ms) for ms in took] == list(took.values())
