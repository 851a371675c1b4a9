"""Turns: the newest question is answered, and who waits hears of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

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
