"""What hidden pages cost: an edit in an Explorer whose other pages were never opened, and where all are hidden."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import layerwidget as lw
from tests.bench.answers import check_live
from tests.bench.timing import REST_S, Times, clock_ms
from tests.bench.workload import LENS, N_SHOWN, Workload

#: Turns before the first one that is timed.
CHECKED = (-2, -1)
#: How long the model may take to be checked after the first picture.
_READY_S = 300


class InExplorer:
    """One token appended in an Explorer that shows the lens: one explorer for each length, that goes from edit to edit.

    Args:
        work: model and prompts.
        hides_all: whether every other page was open once.
    """

    def __init__(self, work: Workload, hides_all: bool) -> None:
        self.key = "hidden" if hides_all else "explorer"
        self.work, self.hides_all = work, hides_all
        self.explorers: dict[int, lw.Explorer] = {}

    def explorer(self, n: int) -> lw.Explorer:
        """The explorer for prompts of this length; what it does once for each model is done before the first edit."""
        if n not in self.explorers:
            first = max(0, self.work.n_layers - N_SHOWN)
            made = lw.Explorer(self.work.model, self.work.typed(n, 0)[0], layers=f"{first}-{self.work.n_layers - 1}")
            made.wait(_READY_S)
            deadline = time.monotonic() + _READY_S
            while made.report is None and time.monotonic() < deadline:
                time.sleep(REST_S)
            if self.hides_all:
                for pages in (list(made.stack.kinds), ["lens"]):
                    made.pages = pages
                    made.wait(_READY_S)
            self.explorers[n] = made
        return self.explorers[n]

    def prepared(self, n: int, turn: int) -> Callable[[], Any]:
        """From n - 1 tokens to n."""
        explorer, (before, after) = self.explorer(n), self.work.typed(n, turn)

        def edit(text: str) -> None:
            explorer.prompt = text
            explorer.wait(_READY_S)

        edit(before)
        # What it does when it is idle comes first.
        time.sleep(5 * REST_S)
        return lambda: edit(after)

    def times_ms(self, n: int, turn: int) -> Times:
        """From the edit to everything that is drawn."""
        return {self.key: clock_ms(self.prepared(n, turn))}

    def check(self, n: int) -> None:
        """The answers are those of a full pass; one token was computed, and no hidden page was asked."""
        for turn in CHECKED:
            self.prepared(n, turn)()
            explorer = self.explorer(n)
            found = dict(explorer.results)
            lens: lw.LensGrid = found.pop("lens")
            # It holds more of the most probable tokens than are compared.
            lens = replace(lens, top_ids=lens.top_ids[..., : LENS.k], top_probs=lens.top_probs[..., : LENS.k])
            check_live((lens, found.pop("attention")), self.work.model)
            n_made = len(explorer.stack.made_pages)
            if found or n_made != (len(explorer.stack.kinds) if self.hides_all else 1):
                raise AssertionError(f"Expected hidden pages to ask nothing; {n_made} were made, which asked {found}.")
            if "1 recomputed" not in explorer.status.work:
                raise AssertionError(f"Expected an edit that computes one token; got {explorer.status.work!r}.")

    def close(self) -> None:
        """Close the explorers."""
        while self.explorers:
            self.explorers.popitem()[1].close()
