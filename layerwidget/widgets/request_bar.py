"""A button for what takes time: what it costs, how far it is, and a way to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable

import traitlets as t

from layerwidget.widgets.base import Panel

#: Progress is told at most so often.
_EVERY_S = 0.1


class RequestBar(Panel, module="request_bar"):
    """One line: a button, what it costs, progress, and a stop button while it runs.

    Attributes:
        group: whose prompt it watches.
        label: what the button says.
        cost: what it takes, in a few words.
        state: `ready`, `waiting`, `running`, `done`, `stopped` or `failed`; `absent` where it cannot be asked.
        done, of: how many steps are done, and how many there are.
        message: what came of it, or why it cannot be asked.
        prompt: the text that the answer is about; None when it is about none.
    """

    group = t.Unicode().tag(sync=True)
    label = t.Unicode("Run").tag(sync=True)
    cost = t.Unicode().tag(sync=True)
    state = t.Enum(("ready", "waiting", "running", "done", "stopped", "failed", "absent"), "ready").tag(sync=True)
    done = t.Int(0).tag(sync=True)
    of = t.Int(0).tag(sync=True)
    message = t.Unicode().tag(sync=True)
    prompt = t.Unicode(None, allow_none=True).tag(sync=True)
    _told_at = 0.0

    def on_press(self, run: Callable[[], None], stop: Callable[[], None]) -> None:
        """Call back when the button, or the stop button, is pressed."""
        calls = {"run": run, "stop": stop}

        def pressed(_widget: object, content: dict[str, str], _buffers: object) -> None:
            if content.get("type") in calls:
                calls[content["type"]]()

        self.on_msg(pressed)

    @property
    def is_busy(self) -> bool:
        """Whether it runs, or will."""
        return self.state in ("waiting", "running")

    def offer(self, cost: str) -> None:
        """It can be asked, at this cost."""
        if not self.is_busy:
            self.cost = cost
            if self.state == "absent":
                self.state, self.message = "ready", ""

    def withdraw(self, why: str) -> None:
        """It cannot be asked."""
        if not self.is_busy:
            with self.hold_sync():
                self.state, self.message, self.cost = "absent", why, ""

    def tell(self, done: int, of: int) -> None:
        """How many steps are done."""
        now = time.monotonic()
        if done < of and now - self._told_at < _EVERY_S:
            return
        self._told_at = now
        with self.hold_sync():
            self.state, self.done, self.of = "running", done, of

    def end(self, state: str, message: str, prompt: str | None = None) -> None:
        """It is over: `done`, `stopped` or `failed`."""
        with self.hold_sync():
            self.state, self.message, self.prompt = state, message, prompt
