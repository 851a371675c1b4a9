"""Pages of the explorer: what is open is asked, what is hidden costs nothing, and requests give way to edits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ipywidgets
import pytest

import layerwidget as lw
from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion
from layerwidget.widgets.page import Page, Request, Standpoint
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.request_bar import RequestBar
from layerwidget.widgets.traits import SelectionTraits
from tests.tiny import letters, tiny


class StreamPage(Page):
    """Asks about the chosen layer."""

    page_name = "stream"
    page_title = "Stream"

    def __init__(self, **shared: Any) -> None:
        self.choice = _Choice(**shared)
        self.drawn: list[tuple[str, Any]] = []
        self.refused: list[str] = []
        self.cleared: list[str] = []
        bar = RequestBar(label="Skip every layer")
        super().__init__(self.choice, bar)
        self.requests = (
            Request(bar, lambda standpoint: lw.SkipEffect(tuple(standpoint.tokens.ids.tolist())), self._skipped),
        )

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        return (self.choice,)

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        return {"residual": lw.ResidualStream(standpoint.layer), "heads": lw.Attention(heads=standpoint.position)}

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        self.drawn.append((prompt, answer))

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        self.refused.append(str(error))

    def clear(self, prompt: str) -> None:
        self.cleared.append(prompt)

    def _skipped(self, answer: Any, prompt: str | None) -> None:
        self.drawn.append(("skipped", answer))


class _Choice(ipywidgets.HTML, SelectionTraits):  # type: ignore[misc]
    """A part that takes part in the selection."""


@pytest.fixture
def explorer(monkeypatch: pytest.MonkeyPatch) -> Iterator[lw.Explorer]:
    monkeypatch.setattr("layerwidget.widgets.pages.PAGES", (*PAGES, StreamPage))
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abc")
    explorer.wait()
    yield explorer
    explorer.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def test_a_page_is_made_before_it_is_open(explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Else the model's thread, which asks the open pages, would make another one that nobody sees.
    open_meanwhile: list[bool] = []

    def make(cls: type[StreamPage], model: lw.HookedModel, **shared: Any) -> StreamPage:
        open_meanwhile.append("stream" in explorer.stack.shown)
        return cls(**shared)

    monkeypatch.setattr(StreamPage, "for_model", classmethod(make))
    explorer.pages = ["stream"]
    assert open_meanwhile == [False]


def test_only_open_pages_are_asked(explorer: lw.Explorer) -> None:
    assert explorer.pages == ["lens"]
    assert set(explorer.results) == {"lens", "attention"}
    assert len(explorer.stack.made_pages) == 1
    explorer.pages = ["lens", "stream"]
    explorer.wait()
    assert set(explorer.results) == {"lens", "attention", "residual", "heads"}
    explorer.pages = ["stream"]
    explorer.wait()
    assert set(explorer.results) == {"residual", "heads"}
    lens = explorer.lens_view._message
    explorer.prompt = "abcd"
    explorer.wait()
    assert explorer.lens_view._message is lens
    explorer.pages = ["lens"]
    explorer.wait()
    assert explorer.lens_view._message[0]["meta"]["prompt"] == "abcd"


def test_opening_a_page_runs_the_model_no_further(explorer: lw.Explorer) -> None:
    passes = explorer._answering.live.passes
    explorer.pages = ["stream", "map"]
    explorer.wait()
    assert explorer._answering.live.passes == passes


def test_a_page_is_asked_again_only_when_its_question_is_another(explorer: lw.Explorer) -> None:
    explorer.pages = ["stream"]
    explorer.wait()
    asked = explorer._answering.turns.asked
    explorer.layers, explorer.head, explorer.token = "1-2", 2, 5
    assert explorer._answering.turns.asked == asked
    explorer.layer = 1
    explorer.wait()
    assert explorer.results["residual"].layers == (1,)
    assert explorer._answering.turns.asked > asked


def test_a_page_that_was_hidden_hears_of_the_selection_when_it_is_opened(explorer: lw.Explorer) -> None:
    choice = explorer.page("stream").choice
    explorer.selection = lw.Selection(layer=1, head=2, position=0)
    assert choice.layer != 1
    explorer.pages = ["stream"]
    assert (choice.layer, choice.head, choice.position) == (1, 2, 0)
    choice.layer = 0
    assert explorer.layer == 0


def test_a_refused_question_does_not_take_the_others_with_it(explorer: lw.Explorer) -> None:
    explorer.pages = ["stream"]
    explorer.prompt = "abcdef"
    explorer.wait()
    page = explorer.page("stream")
    assert "5" in page.refused[-1]
    assert set(explorer.refusals) == {"heads"}
    assert set(explorer.results) == {"residual"}
    assert explorer.status.state == "fresh"
    explorer.position = 1
    explorer.wait()
    assert explorer.refusals == {}
    assert explorer.results["heads"].heads == (1,)


def test_tabs_and_pages_are_one(explorer: lw.Explorer) -> None:
    explorer.stack.tab_bar.shown = ["map", "lens"]
    assert explorer.pages == ["map", "lens"]
    explorer.pages = ["stream", "lens"]
    assert explorer.stack.tab_bar.shown == ["stream", "lens"]
    for wrong in ([], ["nowhere"], ["lens", "lens"]):
        with pytest.raises(lw.SelectionError, match="open pages"):
            explorer.pages = wrong
    assert explorer.pages == ["stream", "lens"]


def test_a_page_that_is_open_alone_can_be_arranged_as_one(explorer: lw.Explorer) -> None:
    assert explorer.stack._dom_classes == ("lw-stack", "lw-only-lens")
    explorer.pages = ["lens", "map"]
    assert explorer.stack._dom_classes == ("lw-stack",)
    explorer.pages = ["map"]
    assert explorer.stack._dom_classes == ("lw-stack", "lw-only-map")
    with pytest.raises(lw.SelectionError, match="nowhere"):
        explorer.page("nowhere")
    with pytest.raises(lw.SelectionError, match="open pages"):
        lw.Explorer(explorer.model, pages=["nowhere"])


def test_an_empty_prompt_clears_every_page(explorer: lw.Explorer) -> None:
    explorer.pages = ["stream"]
    explorer.wait()
    explorer.prompt = ""
    explorer.wait()
    assert explorer.page("stream").cleared == [""]


def test_a_request_says_its_cost_and_is_answered(explorer: lw.Explorer) -> None:
    explorer.pages = ["stream"]
    explorer.wait()
    page = explorer.page("stream")
    bar = page.requests[0].bar
    assert bar.cost == "4 forward passes"
    bar._handle_custom_msg({"type": "run"}, [])
    until(lambda: bar.state == "done")
    assert (bar.done, bar.of, bar.prompt) == (4, 4, "abc")
    assert page.drawn[-1][0] == "skipped"
    assert page.drawn[-1][1].kl_nats.shape == (3, 3)


def test_an_edit_goes_before_a_request_and_stop_ends_it(explorer: lw.Explorer) -> None:
    explorer.pages = ["stream"]
    explorer.wait()
    bar = explorer.page("stream").requests[0].bar
    slow, inside = threading.Event(), threading.Event()
    slow.set()

    def hold(*_: object) -> None:
        inside.set()
        time.sleep(0.2 if slow.is_set() else 0)

    handle = explorer.model.hf_model.model.layers[0].register_forward_pre_hook(hold)
    bar._handle_custom_msg({"type": "run"}, [])
    assert inside.wait(60)
    explorer.prompt = "abcdx"
    explorer.wait()
    assert bar.is_busy
    assert explorer.status.state == "fresh"
    bar._handle_custom_msg({"type": "stop"}, [])
    until(lambda: bar.state == "stopped")
    slow.clear()
    handle.remove()
    bar._handle_custom_msg({"type": "run"}, [])
    until(lambda: bar.state == "done")
    assert bar.prompt == "abcdx"


def test_a_request_that_cannot_be_asked_says_why(explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer.pages = ["stream"]
    explorer.wait()
    page = explorer.page("stream")
    bar = page.requests[0].bar
    page.requests = (Request(bar, lambda standpoint: lw.HeadScores(kind="wrong"), print),)
    explorer.prompt = "b"
    explorer.wait()
    assert bar.state == "absent"
    assert "wrong" in bar.message
    page.requests = (Request(bar, lambda standpoint: lw.HeadScores(n_tokens=2), print),)
    explorer.prompt = "bc"
    explorer.wait()
    assert (bar.state, bar.cost) == ("ready", "1 forward pass")


def test_closing_ends_a_request(explorer: lw.Explorer) -> None:
    explorer.pages = ["stream"]
    explorer.wait()
    bar = explorer.page("stream").requests[0].bar
    with explorer.model.lock:
        bar._handle_custom_msg({"type": "run"}, [])
        explorer.close()
    assert bar.comm is None
