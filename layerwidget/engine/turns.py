"""What a client has asked for and what of it is shown: it asks, the model's thread answers, anybody can wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from layerwidget.engine.worker import Worker
from layerwidget.errors import Cancelled, LayerWidgetError


class Turns:
    """What one client asks, of which only the newest counts.

    Args:
        worker: its thread answers.
        client: whose it is.
        answer: answers whatever the client asks by then; on the worker's thread.
        answered: told afterwards, there too: None, or what went wrong.
        stopped: told that an answer was given up because somebody wanted to stop.

    Attributes:
        asked: how often something was asked so far.
        shown: how many of those are answered, or need no answer any more.
        closed: whether nothing is asked or answered any more.
    """

    def __init__(
        self,
        worker: Worker,
        client: object,
        answer: Callable[[], None],
        answered: Callable[[Exception | None], None],
        stopped: Callable[[], None],
    ) -> None:
        self._worker, self._client = worker, client
        self._answer, self._answered, self._stopped = answer, answered, stopped
        self._change = threading.Condition()
        # Of what was asked until somebody wanted to stop, nothing is answered any more.
        self._stopped_at = 0
        # Turns that have begun to answer and may still be stopped.
        self._n_answering = 0
        self._error: Exception | None = None
        self.asked = self.shown = 0
        self.closed = self._held_back = False

    @property
    def busy(self) -> bool:
        """Whether something is asked that is not answered yet."""
        with self._change:
            return self.shown < self.asked

    def ask(self) -> None:
        """Something has changed: answer it, unless a newer change comes first."""
        with self._change:
            if self.closed or self._held_back:
                return
            self.asked += 1
        self._worker.submit(self._client, self._take)

    @contextmanager
    def once(self) -> Iterator[None]:
        """Whatever changes meanwhile is answered at the end: nothing of what is only passed through."""
        with self._change:
            self._held_back = True
        try:
            yield
        finally:
            with self._change:
                self._held_back = False
            self.ask()

    def wait(self, timeout_s: float) -> None:
        """Return when the newest is answered.

        Raises:
            TimeoutError: when that takes longer than `timeout_s`.
            LayerWidgetError: what went wrong with it; when closed.
        """
        with self._change:
            done = self._change.wait_for(lambda: not self.busy or self.closed, timeout_s)
            if self.closed:
                raise LayerWidgetError("This explorer is closed. Make another one.")
            if not done:
                raise TimeoutError(
                    f"The explorer is still computing after {timeout_s:g} s; wait longer with wait(timeout_s=...)."
                )
            if self._error is not None:
                raise self._error

    def stop(self) -> None:
        """Give up what is being answered."""
        with self._change:
            self._stopped_at = asked = self.asked
            self._worker.stop(self._client)
            if self._n_answering:
                # It gives up all of it, in its own thread.
                return
        if asked > self.shown:
            self._give_up(asked, _not_begun())

    def close(self) -> None:
        """Ask and answer nothing any more; whoever waits hears of it."""
        with self._change:
            self.closed = True
            self._change.notify_all()
        self._worker.leave(self._client)

    def _take(self) -> None:
        """On the worker's thread: answer the newest."""
        with self._change:
            # Read before what is asked is: whatever changes from here on asks again.
            asked = self.asked
            if asked == self.shown:
                # The turn before had begun, but had read nothing yet, when this was asked.
                return
            self._n_answering += 1
        error: Exception | None = None
        try:
            self._answer()
        except Cancelled as cancelled:
            stopped_at = self._end_of_turn()
            if asked > stopped_at:
                # Whoever gave this up has asked for something newer.
                raise
            self._give_up(stopped_at, cancelled)
            return
        except Exception as caught:
            error = caught
        try:
            self._answered(error)
        finally:
            self._worker.painted(self._client)
            stopped_at = self._end_of_turn()
            if asked < stopped_at:
                # It was at its end when somebody wanted to stop; what waited behind it was dropped.
                self._give_up(stopped_at, _not_begun())
            else:
                self._is_shown(asked, error)

    def _end_of_turn(self) -> int:
        """No stop reaches this turn from here on; how much was asked when somebody wanted to stop last."""
        with self._change:
            self._n_answering -= 1
            return self._stopped_at

    def _give_up(self, asked: int, cancelled: Cancelled) -> None:
        self._stopped()
        self._is_shown(asked, cancelled)

    def _is_shown(self, asked: int, error: Exception | None) -> None:
        with self._change:
            # Another thread may have given up more than this meanwhile.
            if asked >= self.shown:
                self.shown, self._error = asked, error
            self._change.notify_all()


def _not_begun() -> Cancelled:
    return Cancelled("The work was stopped before it had begun.")
