"""Free memory is given back when there is nothing else to do, and not all the time."""

from __future__ import annotations

import time

import pytest

import layerwidget as lw
from layerwidget.engine import memory
from tests.tiny import letters, tiny


@pytest.fixture
def trims(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(memory, "_trimmer", lambda: calls.append)
    monkeypatch.setattr(memory, "_last", -memory._EVERY_S)
    return calls


def test_it_is_done_at_most_so_often(trims: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        memory.give_back()
    assert trims == [0]
    monkeypatch.setattr(memory, "_EVERY_S", 0.0)
    memory.give_back()
    assert trims == [0, 0]


def test_a_system_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_trimmer", lambda: None)
    before = memory._last
    memory.give_back()
    assert memory._last == before


def test_an_explorer_does_it_after_an_edit(trims: list[int]) -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abc")
    explorer.wait()
    deadline = time.monotonic() + 30
    while not trims and time.monotonic() < deadline:
        time.sleep(0.01)
    assert trims == [0]
    explorer.close()
