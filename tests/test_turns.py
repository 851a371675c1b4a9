"""Turns: the newest question is answered, and who waits hears of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from layerwidget.cancellation import checkpoint
from layerwidget.engine.turns import Turns
from layerwidget.engine.worker import Worker
from layerwidget.errors import Cancelled, LayerWidgetError, PromptError


class Client:
    """Answers by what it is given to do; remembers what it was told."""

    def __init__(self, worker: Worker | None = None) -> None:
        self.does = lambda: None
        self.told: list[object] = []
        self.turns = Turns(
            worker or Worker(), self, lambda: self.does(), self.told.append, lambda: self.told.append("stopped")
        )


def _wait(started: threading.Event, go: threading.Event, then: Callable[[], None]) -> None:
    started.set()
    assert go.wait(10)
    then()


def _fail() -> None:
    raise PromptError("not this one")


def test_who_waits_hears_of_the_newest() -> None:
    client = Client()
    client.turns.ask()
    client.turns.wait(10)
    assert (client.told, client.turns.busy) == ([None], False)
    client.does = _fail
    client.turns.ask()
    with pytest.raises(PromptError, match="not this one"):
        client.turns.wait(10)
    client.does = lambda: None
    client.turns.ask()
    client.turns.wait(10)
    assert (client.turns.asked, client.turns.shown) == (3, 3)


def test_stopping_what_runs_and_what_waits() -> None:
    client, started, go = Client(), threading.Event(), threading.Event()

    def long() -> None:
        started.set()
        assert go.wait(10)
        checkpoint("a step")

    client.does = long
    client.turns.ask()
    assert started.wait(10)
    with pytest.raises(TimeoutError, match="still computing"):
        client.turns.wait(0.01)
    client.turns.stop()
    go.set()
    with pytest.raises(Cancelled):
        client.turns.wait(10)
    assert client.told == ["stopped"]
    client.does = lambda: None
    client.turns.ask()
    client.turns.wait(10)
    assert client.told == ["stopped", None]


def test_nothing_is_asked_of_what_is_closed() -> None:
    client = Client()
    client.turns.close()
    client.turns.ask()
    assert client.turns.asked == 0
    with pytest.raises(LayerWidgetError, match="closed"):
        client.turns.wait(10)


def test_what_is_asked_before_a_turn_has_read_anything_is_answered_by_it() -> None:
    class Hasty(Worker):
        """Its client asks once more when the first job has begun."""

        def submit(self, client: Client, job: Callable[[], None]) -> None:
            def begun() -> None:
                if client.turns.asked == 1:
                    client.turns.ask()
                job()

            super().submit(client, begun)

    worker, later = Hasty(), threading.Event()
    client = Client(worker)
    client.turns.ask()
    client.turns.wait(10)
    worker.submit_idle(client, later.set)
    assert later.wait(10)
    assert (client.told, client.turns.shown) == ([None], 2)


def test_stopping_gives_up_what_waits_behind_what_runs() -> None:
    for ends_with in (lambda: checkpoint("a step"), lambda: None):
        client, started, go = Client(), threading.Event(), threading.Event()

        client.does = partial(_wait, started, go, ends_with)
        client.turns.ask()
        assert started.wait(10)
        # Nothing was painted yet: what runs is not given up for it.
        client.turns.ask()
        client.turns.stop()
        go.set()
        with pytest.raises(Cancelled):
            client.turns.wait(10)
        assert client.told[-1] == "stopped"
        client.does = lambda: None
        client.turns.ask()
        client.turns.wait(10)
        assert client.told[-1] is None


def test_a_stop_that_came_too_late_stops_nothing_later() -> None:
    client = Client()

    def late(error: Exception | None) -> None:
        client.told.append(error)
        if client.turns.asked == 1:
            client.turns.stop()

    def answer() -> None:
        if client.turns.asked == 2:
            # Of what is painted already, the rest is given up.
            client.turns._worker.painted(client)
            client.turns.ask()
            checkpoint("a step")

    client.turns._answered, client.does = late, answer
    client.turns.ask()
    client.turns.wait(10)
    client.turns.ask()
    client.turns.wait(10)
    assert (client.told, client.turns.shown) == ([None, None], 3)


def test_a_stop_between_the_end_of_an_answer_and_that_of_its_turn() -> None:
    client = Client()
    is_shown = client.turns._is_shown

    def stopped_before(asked: int, error: Exception | None) -> None:
        if asked == 1:
            client.turns.ask()
            client.turns.stop()
        is_shown(asked, error)

    client.turns._is_shown = stopped_before
    client.turns.ask()
    with pytest.raises(Cancelled, match="before it had begun"):
        client.turns.wait(10)
    assert (client.told, client.turns.shown) == ([None, "stopped"], 2)
