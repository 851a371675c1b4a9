"""Free memory is given back when there is nothing else to do, and not all the time."""

from __future__ import annotations

import time
from itertools import count, pairwise

import pytest

import layerwidget as lw
from layerwidget.engine import memory
from tests.tiny import letters, tiny


@pytest.fixture
def trims(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(memory, "_trimmer", lambda: calls.append)
    monkeypatch.setattr(memory, "_last", -memory._EVERY_S)
    monkeypatch.setattr(memory, "_resident", 0)
    monkeypatch.setattr(memory, "_edited", time.monotonic())
    # Much more than before, whenever it is asked.
    sizes = count(2**40, 2**40)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: next(sizes))
    return calls


def test_it_is_done_at_most_so_often(trims: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.give_back() == 0
    waits = [memory.give_back() for _ in range(4)]
    assert trims == [0]
    assert all(0 < wait_s <= memory._EVERY_S for wait_s in waits)
    monkeypatch.setattr(memory, "_EVERY_S", 0.0)
    assert memory.give_back() == 0
    assert trims == [0, 0]


def test_some_is_left_to_the_next_edit(trims: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    resident = 10 * 2**30
    monkeypatch.setattr(memory, "_MAY_GROW", 2**20)
    monkeypatch.setattr(memory, "_EVERY_S", 0.0)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: resident)
    assert memory.give_back() == 0
    resident += 2**20 - 1
    assert memory.REST_S - 5 < memory.give_back() <= memory.REST_S
    assert trims == [0]
    resident += 1
    assert memory.give_back() == 0
    assert trims == [0, 0]
    # Of a long text that is gone, all of it, when there is time.
    resident -= 2**30
    with memory.editing():
        pass
    assert memory.REST_S - 5 < memory.give_back() <= memory.REST_S
    monkeypatch.setattr(memory, "REST_S", 0.0)
    assert memory.give_back() == 0
    assert trims == [0, 0, 0]


def test_all_of_it_and_once_when_nobody_in_the_process_edits_any_more(
    trims: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 0)
    live = lw.Live(lw.HookedModel(tiny("llama")))
    live.update([1, 2, 3], lw.LogitLens())
    # Another one may have been at rest for long.
    assert memory.REST_S - 5 < memory.give_back() <= memory.REST_S
    assert trims == []
    monkeypatch.setattr(memory, "REST_S", 0.0)
    assert [memory.give_back() for _ in range(3)] == [0, 0, 0]
    assert trims == [0]
    monkeypatch.setattr(memory, "_EVERY_S", 0.0)
    live.update([1, 2, 4], lw.LogitLens())
    assert [memory.give_back() for _ in range(3)] == [0, 0, 0]
    assert trims == [0, 0]


def test_nobody_is_at_rest_during_an_edit_that_takes_long(trims: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 0)
    monkeypatch.setattr(memory, "_edited", time.monotonic() - 2 * memory.REST_S)
    with memory.editing():
        assert memory.give_back() > 0
    assert memory.give_back() > 0
    assert trims == []


def test_a_system_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_trimmer", lambda: None)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: pytest.fail("nobody needs to know"))
    before = memory._last
    assert memory.give_back() == 0
    assert memory._last == before


def test_an_explorer_does_it_after_an_edit(trims: list[int]) -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abc")
    explorer.wait()
    deadline = time.monotonic() + 30
    while not trims and time.monotonic() < deadline:
        time.sleep(0.01)
    assert trims == [0]
    explorer.close()


def test_what_the_last_edit_freed_is_given_back_without_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def give_back() -> float:
        asked.append(time.monotonic())
        return 0.05 if len(asked) < 3 else 0.0

    monkeypatch.setattr("layerwidget.answering.give_back", give_back)
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abc")
    explorer.wait()
    deadline = time.monotonic() + 30
    while len(asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    explorer.close()
    assert len(asked) == 3
    assert min(later - earlier for earlier, later in pairwise(asked)) >= 0.05


def test_whoever_types_is_not_at_rest_at_the_time_of_an_earlier_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = [30.0]
    monkeypatch.setattr("layerwidget.answering.give_back", lambda: waits.pop() if waits else 0.0)
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abc")
    answering, deadline = explorer._answering, time.monotonic() + 30
    while not answering._worker._later and time.monotonic() < deadline:
        time.sleep(0.01)
    earlier = answering._worker._later[explorer.stack]
    assert not earlier.finished.is_set()
    explorer.prompt = "abcd"
    assert earlier.finished.wait(20)
    explorer.close()
