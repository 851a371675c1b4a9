"""The worker: one job at a time, the newest of every client, given up only when the picture is fresh."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from layerwidget.cancellation import checkpoint
from layerwidget.engine import worker as module
from layerwidget.engine.worker import Worker

WAIT_S = 10


class Client:
    """Anybody who submits jobs."""


A, B = Client(), Client()


class Gate:
    """A job that says when it runs and ends when it is let go, or at a checkpoint."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.go = threading.Event()
        self.ended: str | None = None

    def __call__(self) -> None:
        self.started.set()
        try:
            while not self.go.wait(0.005):
                checkpoint("the gate")
            self.ended = "finished"
        finally:
            self.ended = self.ended or "given up"


def record(into: list[str], name: str, done: threading.Event | None = None) -> Callable[[], None]:
    def job() -> None:
        into.append(name)
        if done is not None:
            done.set()

    return job


def test_only_the_newest_waiting_job_of_a_client_runs() -> None:
    worker, gate, ran, done = Worker(), Gate(), [], threading.Event()
    worker.submit(A, gate)
    assert gate.started.wait(WAIT_S)
    for number in range(5):
        worker.submit(A, record(ran, f"a{number}"))
    worker.submit(B, record(ran, "b", done))
    gate.go.set()
    assert done.wait(WAIT_S)
    assert ran == ["a4", "b"]
    assert gate.ended == "finished"


def test_a_running_job_is_given_up_only_when_the_picture_is_fresh() -> None:
    worker, stale, fresh, done = Worker(), Gate(), Gate(), threading.Event()
    worker.submit(A, stale)
    assert stale.started.wait(WAIT_S)
    worker.submit(A, fresh)
    assert stale.ended is None
    stale.go.set()
    assert fresh.started.wait(WAIT_S)
    assert stale.ended == "finished"
    worker.painted(A)
    worker.submit(A, record([], "last", done))
    assert done.wait(WAIT_S)
    assert fresh.ended == "given up"


def test_a_long_running_job_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_S", 0.0)
    worker, long, done = Worker(), Gate(), threading.Event()
    worker.submit(A, long)
    assert long.started.wait(WAIT_S)
    worker.submit(A, record([], "newer", done))
    assert done.wait(WAIT_S)
    assert long.ended == "given up"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The worker's time, which goes on when it is told to."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Clock:
    """A time, in seconds."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def is_given_up(worker: Worker, client: Client, gate: Gate) -> bool:
    """Whether what runs is given up when something newer is submitted; ends it in any case."""
    newer = Gate()
    newer.go.set()
    worker.submit(client, newer)
    if not newer.started.wait(0.1):
        gate.go.set()
        assert newer.started.wait(WAIT_S)
    return gate.ended == "given up"


@pytest.mark.parametrize(("after_s", "given_up"), [(0.3, True), (0.5, False)])
def test_for_how_long_a_picture_is_fresh(clock: Clock, after_s: float, given_up: bool) -> None:
    worker, gate, client = Worker(), Gate(), Client()
    worker.painted(client)
    clock.now += 0.1
    worker.submit(client, gate)
    assert gate.started.wait(WAIT_S)
    clock.now += after_s - 0.1
    assert is_given_up(worker, client, gate) == given_up


def test_who_has_painted_a_part_may_be_given_up_for_the_rest(clock: Clock) -> None:
    worker, gate, client = Worker(), Gate(), Client()
    worker.submit(client, gate)
    assert gate.started.wait(WAIT_S)
    clock.now += 1
    worker.painted(client)
    clock.now += 2
    assert is_given_up(worker, client, gate)


def test_whoever_types_on_sees_a_pass_that_takes_long(clock: Clock) -> None:
    """Each that is given up leaves the next one more time, until something is painted, or somebody stops."""
    worker, client = Worker(), Client()

    def given_up_after(runs_s: float) -> bool:
        gate = Gate()
        worker.submit(client, gate)
        assert gate.started.wait(WAIT_S)
        clock.now += runs_s
        return is_given_up(worker, client, gate)

    ran_s = (4.9, 5.1, 5.1, 19.9, 20.1, 20.1)
    assert [given_up_after(runs_s) for runs_s in ran_s] == [False, True, False, False, True, False]
    worker.stop(client)
    assert [given_up_after(runs_s) for runs_s in (5.1, 5.1)] == [True, False]
    worker.painted(client)
    clock.now += 1
    assert [given_up_after(runs_s) for runs_s in (5.1, 5.1)] == [True, False]


def test_idle_work_gives_way_and_is_begun_again() -> None:
    worker = Worker()
    ran: list[str] = []
    begun, done = threading.Event(), threading.Event()

    def idle() -> None:
        ran.append("idle")
        begun.set()
        while len(ran) < 3:
            checkpoint("idle work")
            time.sleep(0.005)
        done.set()

    client, other = Client(), Client()
    worker.submit_idle(client, idle)
    assert begun.wait(5)
    worker.submit(other, lambda: ran.append("other"))
    assert done.wait(5)
    assert ran == ["idle", "other", "idle"]


def test_idle_work_that_is_put_off_gives_way_to_what_comes_after_it() -> None:
    worker, ran, done, last = Worker(), [], threading.Event(), threading.Event()
    stays, leaves = Client(), Client()
    worker.submit_idle(stays, record(ran, "put off"), 0.2)
    worker.submit_idle(stays, record(ran, "at once", done))
    worker.submit_idle(leaves, record(ran, "of who has left"), 0.2)
    worker.leave(leaves)
    assert done.wait(WAIT_S)
    worker.submit_idle(stays, record(ran, "after a while", last), 0.4)
    assert ran == ["at once"]
    assert last.wait(WAIT_S)
    assert ran == ["at once", "after a while"]


def test_what_is_due_when_its_client_leaves_is_not_run() -> None:
    worker, ran, client = Worker(), [], Client()
    fired, submit_due = threading.Event(), worker._submit_due
    worker._submit_due = lambda *due: (fired.set(), submit_due(*due))
    with worker._wake:
        worker.submit_idle(client, record(ran, "put off"), 0.01)
        timer = worker._later[client]
        assert fired.wait(WAIT_S)
        worker.leave(client)
    timer.join(WAIT_S)
    assert (worker._idle, worker._later, ran) == ({}, {}, [])


def test_who_leaves_is_forgotten() -> None:
    worker, gate, ran, done = Worker(), Gate(), [], threading.Event()
    worker.submit(A, gate)
    assert gate.started.wait(WAIT_S)
    worker.submit(A, record(ran, "waiting"))
    worker.leave(A)
    worker.submit(B, record(ran, "b", done))
    assert done.wait(WAIT_S)
    assert (ran, gate.ended) == (["b"], "given up")


def test_an_idle_thread_ends_and_the_next_job_starts_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.01)
    worker = Worker()
    for _ in range(2):
        done = threading.Event()
        worker.submit(A, record([], "job", done))
        assert done.wait(WAIT_S)
        thread = worker._thread
        if thread is not None:
            thread.join(WAIT_S)
        assert worker._thread is None


def test_who_hands_work_over_lets_his_team_go_and_so_does_who_has_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go: list[str] = []
    monkeypatch.setattr(module, "let_team_go", lambda: let_go.append(threading.current_thread().name))
    worker, ran, done = Worker(), [], threading.Event()
    worker.submit("client", record(ran, "job", done))
    assert done.wait(5)
    deadline = time.monotonic() + 5
    while "layerwidget" not in let_go and time.monotonic() < deadline:
        time.sleep(0.01)
    assert let_go == [threading.current_thread().name, "layerwidget"]


def test_a_failing_job_does_not_take_the_others_with_it(caplog: pytest.LogCaptureFixture) -> None:
    worker, done = Worker(), threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    worker.submit(A, fail)
    worker.submit(B, record([], "other", done))
    assert done.wait(WAIT_S)
    assert "A job of layerwidget failed" in caplog.text


def test_a_client_that_left_is_not_kept_alive() -> None:
    worker, client, done = Worker(), Client(), threading.Event()
    worker.submit(client, record([], "job", done))
    assert done.wait(WAIT_S)
    worker.painted(client)
    worker.leave(client)
    gone = weakref.ref(client)
    worker.submit(B, record([], "job", done))
    del client
    gc.collect()
    assert gone() is None


SCRIPT = """
import threading
from layerwidget.cancellation import checkpoint
from layerwidget.engine.worker import Worker

class Model:
    pass

model, begun = Model(), threading.Event()

def forever():
    begun.set()
    try:
        while True:
            checkpoint("a job without an end")
    finally:
        print("given up", flush=True)

Worker.of(model).submit_idle(model, forever)
assert begun.wait(10)
"""


def test_the_interpreter_ends_after_what_runs_was_given_up() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "given up\n", "")
