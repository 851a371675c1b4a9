"""Where requests of pages are taken: what each costs, and one thread that answers them while edits go first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from layerwidget.engine.worker import Worker
from layerwidget.errors import Cancelled, LayerWidgetError
from layerwidget.questions import ModelQuestion
from layerwidget.widgets.page import Page, Request, Scene
from layerwidget.widgets.request_bar import RequestBar

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

#: Said of what is about the model, and not about a run in which something is changed.
_AS_IT_IS = "of the model as it is, not"


class RequestDesk:
    """Takes the requests of an explorer's pages.

    Args:
        model: the model that is asked.
        scene: where the reader is; None without a prompt.
    """

    def __init__(self, model: HookedModel, scene: Callable[[], Scene | None]) -> None:
        self._model, self._scene = model, scene
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

    def offer(self, page: Page, scene: Scene) -> None:
        """Say what a page's requests would cost here."""
        for request in page.requests:
            try:
                question = request.question(scene)
                aside = "" if request.of_prompt or not scene.changed else f" · {_AS_IT_IS} {scene.changed}"
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
        scene = self._scene()
        if scene is not None:
            self.offer(page, scene)

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
        scene, bar = self._scene(), request.bar
        if scene is None:
            bar.end("failed", "There is no prompt.")
            return
        text = scene.tokens.text if request.of_prompt else None

        def progress(done: int, of: int) -> None:
            bar.tell(done, of)
            self._worker.give_way()

        try:
            request.show(request.question(scene).run(self._model, progress), text)
        except Cancelled:
            bar.end("stopped", "stopped")
        except Exception as error:
            bar.end("failed", str(error) if isinstance(error, LayerWidgetError) else f"{type(error).__name__}: {error}")
        else:
            bar.end("done", "", text)
