"""Where the reader is, whatever is asked while the model is at work: the last place that was chosen is the place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, permutations
from typing import Any

import pytest

import layerwidget as lw
from layerwidget.answering import Answering
from layerwidget.engine import worker

#: What happens -> how. The text is shorter than where the scene puts the reader.
EVENTS: dict[str, Callable[[lw.Explorer], None]] = {
    "text": lambda explorer: explorer.set_trait("prompt", "ab"),
    "empty": lambda explorer: explorer.set_trait("prompt", ""),
    "scene": lambda explorer: explorer._stage.show(0),
    "position": lambda explorer: explorer.set_trait("position", 1),
}
SCENE = lw.Scene("One", prompt="tokyo", selection=lw.Selection(position=3))
PLACES, N_TOKENS = {"scene": 3, "position": 1}, {"text": 2, "scene": 5}
#: Where the worker is held: before it shows a prompt, with tokens or without, and before it draws what it found.
HELD = ("_show_tokens", "_show_empty", "_show_answers")
BEFORE = {"prompt": "abcde", "selection": {"position": 4}}


class Gate:
    """Holds the worker where it is about to do something, until it is let on."""

    def __init__(self) -> None:
        self.shut = False
        self._change = threading.Condition()
        self._held = False

    def pass_through(self) -> None:
        """On the worker's thread: wait while it is shut."""
        with self._change:
            self._held = True
            self._change.notify_all()
            assert self._change.wait_for(lambda: not self.shut, 60)
            self._held = False

    def close(self) -> None:
        """Hold whoever comes next."""
        with self._change:
            self.shut = True

    def wait_for_somebody(self, explorer: lw.Explorer) -> None:
        """Return when the worker is held, or has nothing to do."""
        with self._change:
            while not self._held and explorer._answering.turns.busy:
                self._change.wait(0.002)

    def open(self) -> None:
        """Let everybody on."""
        with self._change:
            self.shut = False
            self._change.notify_all()


@pytest.fixture(scope="module")
def shown(model: lw.HookedModel) -> Iterator[lw.Explorer]:
    """An explorer for all orders."""
    explorer = lw.Explorer(model, scenes=[SCENE])
    explorer.wait()
    yield explorer
    explorer.close()


@pytest.fixture(params=HELD)
def gate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Stands before one of the things that the worker does."""
    found, does = Gate(), getattr(Answering, request.param)
    # What is held is not given up for anything newer: it is shown late.
    monkeypatch.setattr(worker, "FRESH_S", 0.0)

    def guarded(*args: Any) -> None:
        found.pass_through()
        does(*args)

    monkeypatch.setattr(Answering, request.param, guarded)
    return found


def expected(order: tuple[str, ...]) -> int | None:
    """Where the reader is at last; None where it depends on what was seen in between."""
    last = max(order.index(name) for name in PLACES)
    prompt = next(name for name in reversed(order) if name != "position")
    if "empty" in order[last:]:
        return None  # an empty text that was seen is followed to the end of the next one
    return PLACES[order[last]] if prompt == "empty" else min(PLACES[order[last]], N_TOKENS[prompt] - 1)


def test_the_last_place_is_the_place_in_every_order(shown: lw.Explorer, gate: Gate) -> None:
    explorer, tried = shown, 0
    for order in permutations(EVENTS):
        for held, let_on in combinations_with_replacement(range(len(order)), 2):
            explorer.state = BEFORE
            explorer.wait()
            for number, name in enumerate(order):
                if number == held:
                    gate.close()
                EVENTS[name](explorer)
                assert name != "scene" or explorer.position == PLACES["scene"]
                if number == held:
                    gate.wait_for_somebody(explorer)
                if number == let_on:
                    gate.open()
                    explorer.wait()
            explorer.wait()
            place = expected(order)
            assert place is None or explorer.position == place, (order, held, let_on)
            views = (explorer.editor, explorer.lens_view, explorer.attention_view, explorer.curves.driver)
            assert {view.position for view in views} == {explorer.position}, (order, held, let_on)
            tried += 1
    assert tried == 240


def test_who_was_put_at_an_end_that_was_never_shown_goes_on_with_it(shown: lw.Explorer, gate: Gate) -> None:
    explorer = shown
    for position, place in ((4, 7), (9, 7), (2, 2)):
        explorer.prompt = "abc"
        explorer.wait()
        gate.close()
        explorer.prompt = "ab"
        gate.wait_for_somebody(explorer)
        explorer.state = {"prompt": "hello", "selection": {"position": position}}
        explorer.prompt = "abcdefgh"
        gate.open()
        explorer.wait()
        assert explorer.position == place


def test_a_place_in_an_empty_prompt_is_the_place_in_the_next_one(shown: lw.Explorer, gate: Gate) -> None:
    explorer = shown
    explorer.state = BEFORE
    explorer.wait()
    gate.close()
    explorer.prompt = ""
    gate.wait_for_somebody(explorer)
    explorer.position = 2
    gate.open()
    explorer.prompt = "tokyo"
    explorer.wait()
    assert explorer.position == 2


def test_what_is_refused_leaves_the_reader_at_the_end(shown: lw.Explorer) -> None:
    explorer = shown
    explorer.state = BEFORE
    explorer.wait()
    with pytest.raises(lw.StateError, match="preset"):
        explorer.state = {"selection": {"position": 1}, "preset": "cinema"}
    with pytest.raises(lw.StateError, match="colour"):
        explorer.state = {"prompt": "hello", "selection": {"position": 1}, "choices": {"lens": {"colour": "pink"}}}
    explorer.prompt = "abcdef"
    explorer.wait()
    assert explorer.position == 5
