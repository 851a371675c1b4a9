"""One thread owns a model; every client has at most one job waiting, its newest."""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerwidget.cancellation import cancelled_by
from layerwidget.engine.teams import let_team_go
from layerwidget.errors import Cancelled

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

#: A running pass is given up for a newer edit only when the picture is fresher than this: always would starve it.
FRESH_S = 0.4
#: A pass that has run for longer than this is given up as well: nobody waits for a long text that is gone.
LONG_S = 5.0
#: By so much longer runs the next one before it is given up, and the one after that: who goes on typing sees something.
LONGER = 4
#: An idle thread ends after this time; the next job starts another.
IDLE_S = 20.0

#: When the interpreter ends, it waits so long for what runs to be given up.
END_S = 10.0

_log = logging.getLogger(__name__)
_workers: weakref.WeakKeyDictionary[HookedModel, Worker] = weakref.WeakKeyDictionary()
_workers_lock = threading.Lock()


@dataclass(eq=False)
class _Running:
    """A job that has begun.

    Attributes:
        client: whose it is; None when the client has left.
        job: what runs.
        idle: whether it gives way to anything else.
        since: when it began.
        given_up: whether it is to end at its next checkpoint.
    """

    client: object | None
    job: Callable[[], None]
    idle: bool
    since: float
    given_up: bool = False


class Worker:
    """Runs jobs of several clients one at a time, off the caller's thread."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._waiting: dict[object, Callable[[], None]] = {}
        self._idle: dict[object, Callable[[], None]] = {}
        self._later: dict[object, threading.Timer] = {}
        # The last one runs; those before it have given way to it.
        self._running: list[_Running] = []
        self._painted: weakref.WeakKeyDictionary[object, float] = weakref.WeakKeyDictionary()
        # For how long the next job may run, where others were given up that had painted nothing.
        self._patience: weakref.WeakKeyDictionary[object, float] = weakref.WeakKeyDictionary()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, model: HookedModel) -> Worker:
        """The worker of a model; all explorers of that model share it."""
        with _workers_lock:
            return _workers.setdefault(model, cls())

    def submit(self, client: object, job: Callable[[], None]) -> None:
        """Run `job` next for this client, in place of any job of it that still waits."""
        with self._wake:
            self._waiting.pop(client, None)
            self._waiting[client] = job
            for running in self._running:
                if running.idle or (running.client is client and self._may_give_up(running)):
                    running.given_up = True
            self._start()

    def submit_idle(self, client: object, job: Callable[[], None], after_s: float = 0.0) -> None:
        """Run `job` when nothing else waits; it is given up for anything else, and begun again afterwards.

        Args:
            client: whose it is; what was put off for this client is not run any more.
            job: what to run.
            after_s: for so long it is put off.
        """
        with self._wake:
            self._call_off(client)
            if after_s:
                self._later[client] = timer = threading.Timer(after_s, self._submit_due, (client, job))
                timer.daemon = True
                timer.start()
                return
            self._idle[client] = job
            self._start()

    def _submit_due(self, client: object, job: Callable[[], None]) -> None:
        with self._wake:
            # It may have been called off while this waited for its turn.
            if self._later.get(client) is threading.current_thread():
                self.submit_idle(client, job)

    def _call_off(self, client: object) -> None:
        timer = self._later.pop(client, None)
        if timer is not None:
            timer.cancel()

    def _start(self) -> None:
        # Of whoever has asked: he may have computed something before.
        let_team_go()
        if self._thread is None or not self._thread.is_alive():
            # Whoever has a model has it; views of results can do without.
            import torch

            n_torch = torch.get_num_threads()
            self._thread = threading.Thread(target=self._run, args=(n_torch,), name="layerwidget", daemon=True)
            self._thread.start()
        self._wake.notify_all()

    def painted(self, client: object) -> None:
        """The client's picture is up to date now, so its next pass may be given up for a newer edit."""
        self._painted[client] = time.monotonic()
        self._patience.pop(client, None)

    def give_way(self) -> None:
        """Run what waits, then go on: for a long job between two of its steps, on the worker's own thread."""
        if threading.current_thread() is self._thread:
            while (running := self._begin(idle=False)) is not None:
                self._run_one(running)

    def stop(self, client: object) -> str:
        """Give up what runs for a client and what waits; says whether it was `running`, `waiting` or nothing."""
        with self._wake:
            waited = self._waiting.pop(client, None) is not None
            runs = [running for running in self._running if running.client is client]
            for running in runs:
                running.given_up = True
            self._patience.pop(client, None)
            return "running" if runs else "waiting" if waited else ""

    def leave(self, client: object) -> None:
        """Forget a client: its waiting job is dropped, its running one is given up at the next checkpoint."""
        with self._wake:
            self._waiting.pop(client, None)
            self._idle.pop(client, None)
            self._call_off(client)
            for running in self._running:
                if running.client is client:
                    running.given_up, running.client = True, None

    def end(self, timeout_s: float) -> None:
        """Drop all jobs, give up the one that runs and wait for it."""
        with self._wake:
            self._waiting.clear()
            self._idle.clear()
            for client in list(self._later):
                self._call_off(client)
            for running in self._running:
                running.given_up, running.client = True, None
            self._wake.wait_for(lambda: not self._running, timeout_s)

    def _may_give_up(self, running: _Running) -> bool:
        now, painted = time.monotonic(), self._painted.get(running.client, -math.inf)
        # A job that has painted a part of its answer starves nobody when the rest is given up.
        if painted >= running.since or now - painted < FRESH_S:
            return True
        patience = self._patience.get(running.client, LONG_S)
        if now - running.since <= patience:
            return False
        if not running.given_up:
            self._patience[running.client] = LONGER * patience
        return True

    def _run(self, n_torch: int) -> None:
        import torch

        # Else what another thread says for a moment, while this one begins, would hold here for ever.
        torch.set_num_threads(n_torch)
        while self._wait_for_job():
            running = self._begin(idle=True)
            if running is not None:
                self._run_one(running)
            # Nothing of a client may be kept alive between jobs.
            del running

    def _wait_for_job(self) -> bool:
        with self._wake:
            if not (self._waiting or self._idle):
                let_team_go()
            if not self._wake.wait_for(lambda: bool(self._waiting or self._idle), IDLE_S):
                self._thread = None
                return False
            return True

    def _begin(self, idle: bool) -> _Running | None:
        """The job that is next, if there is one: one that waits, or else, where they are wanted too, an idle one."""
        with self._wake:
            jobs = self._waiting or (self._idle if idle else {})
            if not jobs:
                return None
            client = next(iter(jobs))
            running = _Running(client, jobs.pop(client), idle=jobs is self._idle, since=time.monotonic())
            self._running.append(running)
            return running

    def _run_one(self, running: _Running) -> None:
        try:
            with cancelled_by(lambda: running.given_up):
                running.job()
        except Cancelled:
            # A newer job of the same client waits, or the client has left; what was done idly is begun again.
            with self._wake:
                if running.idle and running.client is not None:
                    self._idle.setdefault(running.client, running.job)
        except Exception:
            # A job shows its own errors; one that fails to must not take the model's other clients with it.
            _log.exception("A job of layerwidget failed")
        finally:
            with self._wake:
                self._running.remove(running)
                self._wake.notify_all()


@atexit.register
def _end_all() -> None:
    """A thread that computes while the interpreter goes away takes the process down with it."""
    for worker in list(_workers.values()):
        worker.end(END_S)
