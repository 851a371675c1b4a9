"""A pass over a few positions leaves a core to others while they want it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from layerwidget.model import capture, crowding
from layerwidget.model.crowding import FEW_ROWS, is_crowded, leaving_a_core, look_around
from tests import tiny

N_CORES = 2


@dataclass
class Machine:
    """How many threads run, or wait for a core; the pass itself uses as many as torch does."""

    others: int = 0
    n_pushed: int = 0
    now: float = 1000.0

    def layer(self) -> None:
        """A layer takes as long as most of those do that are held up."""
        self.now += 0.005
        look_around()

    def pushed(self) -> int:
        """Whoever wants a core takes it from somebody."""
        self.n_pushed += bool(self.others)
        return self.n_pushed

    def n_running(self) -> int:
        return self.others + torch.get_num_threads()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    before = torch.get_num_threads()
    torch.set_num_threads(N_CORES)
    found = Machine()
    monkeypatch.setattr(crowding, "_n_cores", lambda: N_CORES)
    monkeypatch.setattr(crowding.os, "cpu_count", lambda: N_CORES)
    monkeypatch.setattr(crowding, "_n_running", found.n_running)
    monkeypatch.setattr(crowding, "_n_pushed_off", found.pushed)
    monkeypatch.setattr(crowding, "monotonic", lambda: found.now)
    monkeypatch.setattr(crowding._Watch, "seen_at", 0.0)
    monkeypatch.setattr(crowding._Watch, "crowded", False)
    yield found
    torch.set_num_threads(before)


def test_all_cores_work_where_nobody_wants_one(machine: Machine) -> None:
    with leaving_a_core(1):
        machine.layer()
        assert torch.get_num_threads() == N_CORES
    assert not is_crowded()


def test_a_core_is_left_while_somebody_wants_it(machine: Machine) -> None:
    with leaving_a_core(FEW_ROWS):
        found = []
        for machine.others in (0, 1, 5, 1, 0, 1, 0, 1, 1):
            machine.layer()
            found.append(torch.get_num_threads())
        # A single look may have seen an accident.
        assert found == [2, 2, 1, 1, 2, 2, 2, 2, 1]
    assert torch.get_num_threads() == N_CORES


def test_who_wants_one_at_the_beginning_gets_it(machine: Machine) -> None:
    machine.others = 1
    assert is_crowded()
    with leaving_a_core(1):
        assert torch.get_num_threads() == 1
    with leaving_a_core(FEW_ROWS + 1):
        machine.layer()
        assert torch.get_num_threads() == N_CORES


def test_what_a_pass_has_seen_still_holds_for_what_follows_it(machine: Machine) -> None:
    with leaving_a_core(1):
        machine.layer()
    machine.others = 1
    assert not is_crowded()
    with leaving_a_core(1):
        assert torch.get_num_threads() == N_CORES
    machine.now += 1
    assert is_crowded()


def test_nobody_looks_again_at_once(machine: Machine) -> None:
    with leaving_a_core(1):
        machine.layer()
        machine.others = 1
        for _ in range(5):
            look_around()
        assert torch.get_num_threads() == N_CORES
        machine.layer()
        machine.layer()
        assert torch.get_num_threads() == 1


def test_nobody_is_counted_while_nobody_pushes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with leaving_a_core(1):
        machine.others = 1
        monkeypatch.setattr(crowding, "_n_pushed_off", lambda: 0)
        for _ in range(3):
            machine.layer()
        assert torch.get_num_threads() == N_CORES


def test_where_nobody_says_who_waits_a_core_is_left_to_whoever_pushes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowding, "_n_running", lambda: None)
    with leaving_a_core(1):
        found = []
        for machine.others in (0, 1, 0, 1, 1, 0, 0):
            machine.layer()
            found.append(torch.get_num_threads())
        assert found == [2, 2, 2, 2, 1, 1, 1]
    machine.now += 1
    assert not is_crowded()


def test_where_nobody_can_tell_a_core_is_always_left(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "_n_running", lambda: None)
    monkeypatch.setattr(crowding, "resource", None)
    with leaving_a_core(1):
        machine.layer()
        assert torch.get_num_threads() == 1
    assert is_crowded()


def test_threads_that_have_nothing_to_do_are_left_out(machine: Machine) -> None:
    with leaving_a_core(1, most=1):
        for machine.others in (0, 1, 1, 0):
            machine.layer()
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == N_CORES


def test_threads_are_set_back_after_an_error(machine: Machine) -> None:
    machine.others = 1
    with pytest.raises(ValueError, match="in the middle"), leaving_a_core(1):
        raise ValueError("in the middle")
    assert torch.get_num_threads() == N_CORES


def test_a_core_is_left_already_where_there_are_more(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.others = 9
    monkeypatch.setattr(crowding, "_n_cores", lambda: 5)
    monkeypatch.setattr(crowding.os, "cpu_count", lambda: 5)
    with leaving_a_core(1):
        assert torch.get_num_threads() == N_CORES


def test_a_pass_looks_around_at_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.hooked("llama")
    model.trace(tiny.ids(3))
    looks: list[int] = []
    monkeypatch.setattr(capture, "look_around", lambda: looks.append(1))
    model.trace(tiny.ids(3))
    assert len(looks) == model.anatomy.n_layers


@pytest.mark.parametrize(
    ("said", "expected"), [("0.78 1.09 1.23 2/79 1116\n", 2), ("0.00 0.00 0.00 0/0 0\n", None), ("", None)]
)
def test_what_linux_says_is_read(
    said: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowding, "_RUNNING", tmp_path / "loadavg")
    assert crowding._n_running() is None
    (tmp_path / "loadavg").write_text(said, encoding="ascii")
    assert crowding._n_running() == expected


def test_who_may_use_some_cores_counts_those_who_push(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding.os, "cpu_count", lambda: 64)
    with leaving_a_core(1):
        machine.layer()
        assert torch.get_num_threads() == N_CORES
        machine.others = 1
        machine.layer()
        machine.layer()
        assert torch.get_num_threads() == 1


def test_more_threads_than_cores_come_back_when_the_machine_is_idle(machine: Machine) -> None:
    torch.set_num_threads(2 * N_CORES)
    with leaving_a_core(1):
        for machine.others in (1, 1, 0):
            machine.layer()
        assert torch.get_num_threads() == 2 * N_CORES


def test_who_looks_often_does_not_keep_others_from_looking(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = crowding._Watch(N_CORES, 1), crowding._Watch(N_CORES, 1)
    machine.others = 1
    monkeypatch.setattr(crowding, "_n_running", lambda: 5)
    for _ in range(2):
        machine.now += 0.005
        fast.look()
        slow.look()
    assert (fast._now, slow._now) == (1, 1)


def test_pushes_are_counted_here() -> None:
    pushed = crowding._n_pushed_off()
    assert pushed is not None
    assert pushed >= 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads as Linux does")
def test_threads_that_run_are_counted_here() -> None:
    done = threading.Event()

    def compute() -> None:
        matrix = torch.ones(256, 256)
        while not done.is_set():
            torch.mm(matrix, matrix)

    others = [threading.Thread(target=compute, daemon=True) for _ in range(3)]
    most, deadline = 0, time.monotonic() + 30
    try:
        for other in others:
            other.start()
        # One of them may wait for Python's lock.
        while most < 3 and time.monotonic() < deadline:
            most = max(most, crowding._n_running() or 0)
    finally:
        done.set()
        for other in others:
            other.join()
    assert most >= 3
