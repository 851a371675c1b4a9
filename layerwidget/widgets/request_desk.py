"""Where requests of pages are taken: what each costs, and one thread that answers them while edits go first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from layerwidget.engine.worker import Worker
from layerwidget.errors import Cancelled, LayerWidgetError
from layerwidget.questions import ModelQuestion
from layerwidget.widgets.page import Page, Request, Standpoint
from layerwidget.widgets.request_bar import RequestBar

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

#: Said of what is about the model, and not about a run in which something is changed.
_AS_IT_IS = "of the model as it is, not"


class RequestDesk:
    """Takes the requests of an explorer's pages.

    Args:
        model: the model that is asked.
        standpoint: where the reader is; None without a prompt.
    """

    def __init__(self, model: HookedModel, standpoint: Callable[[], Standpoint | None]) -> None:
        self._model, self._standpoint = model, standpoint
        self._worker = Worker.of(model)
        self._open = True
        # What each request said last that it costs.
        self._offered: dict[RequestBar, tuple[ModelQuestion[Any], str]] = {}

    def serve(self, page: Page, group: str) -> None:
        """Listen to the buttons of a page, which watches the prompt of a group."""
        for request in page.requests:
            request.bar.group = group
            request.bar.on_press(partial(self._press, request), partial(self._stop, request))
        page.observe(self._rephrased, "rephrased")

    def offer(self, page: Page, standpoint: Standpoint) -> None:
        """Say what a page's requests would cost here."""
        for request in page.requests:
            try:
                question = request.question(standpoint)
                aside = "" if request.of_prompt or not standpoint.changed else f" · {_AS_IT_IS} {standpoint.changed}"
                # To say it of a long text, all of it is read: once is enough.
                if self._offered.get(request.bar) != (question, aside):
                    self._offer_one(request.bar, question, aside)
            except LayerWidgetError as error:
                self._offered.pop(request.bar, None)
                request.bar.withdraw(str(error))

    def _offer_one(self, bar: RequestBar, question: ModelQuestion[Any], aside: str) -> None:
        cost = f"{question.cost(self._model)}{aside}"
        if not bar.is_busy:
            self._offered[bar] = question, aside
        bar.offer(cost)

    def _rephrased(self, change: dict[str, Any]) -> None:
        """A page asks something else on request: say what that costs."""
        page: Page = change["owner"]
        if self._open:
            self._worker.submit(page, partial(self._offer_again, page))

    def _offer_again(self, page: Page) -> None:
        standpoint = self._standpoint()
        if standpoint is not None:
            self.offer(page, standpoint)

    def leave(self, page: Page) -> None:
        """Give up what a page has asked for; it gets no more."""
        self._open = False
        self._worker.leave(page)
        for request in page.requests:
            self._worker.leave(request.bar)

    def _press(self, request: Request) -> None:
        if self._open and not request.bar.is_busy:
            request.bar.state = "waiting"
            self._worker.submit(request.bar, partial(self._answer, request))

    def _stop(self, request: Request) -> None:
        if self._worker.stop(request.bar) == "waiting":
            request.bar.end("stopped", "stopped")

    def _answer(self, request: Request) -> None:
        """On the worker's thread; edits go first, between two passes."""
        standpoint, bar = self._standpoint(), request.bar
        if standpoint is None:
            bar.end("failed", "There is no prompt.")
            return
        text = standpoint.tokens.text if request.of_prompt else None

        def progress(done: int, of: int) -> None:
            bar.tell(done, of)
            self._worker.give_way()

        try:
            request.show(request.question(standpoint).run(self._model, progress), text)
        except Cancelled:
            bar.end("stopped", "stopped")
        except Exception as error:
            bar.end("failed", str(error) if isinstance(error, LayerWidgetError) else f"{type(error).__name__}: {error}")
        else:
            bar.end("done", "", text)
