"""What goes to the browser for an edit: one binary message to each view, and before it at most two parts of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import comm
import numpy as np
import pytest

import layerwidget as lw
from layerwidget.analysis import logit_lens
from layerwidget.engine import told
from layerwidget.widgets.base import View, unpacked_message
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.parts import parts_of

Sent = tuple[Any, dict[str, Any], list[bytes]]


class Wire:
    """What an explorer's widgets send, in order."""

    def __init__(self, explorer: lw.Explorer) -> None:
        self.explorer = explorer
        self.messages: list[tuple[str, dict[str, Any], list[bytes]]] = []

    def sent(self) -> list[Sent]:
        """Widget, message and buffers of all that has buffers or is a view's picture."""
        widgets = {widget.comm.comm_id: widget for widget in parts_of(self.explorer)}
        known = [(widgets.get(comm_id), data, buffers) for comm_id, data, buffers in list(self.messages)]
        return [(widget, data, buffers) for widget, data, buffers in known if buffers or data["method"] == "custom"]

    def edit(self, prompt: str) -> list[Sent]:
        """What is sent for a prompt."""
        self.messages.clear()
        self.explorer.prompt = prompt
        self.explorer.wait()
        return self.sent()


@pytest.fixture
def wire(model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """That of an explorer with all pages open, whose front end asks nothing."""
    explorer = lw.Explorer(model, "abcdefghij", pages=[page.page_name for page in PAGES])
    explorer.wait()
    assert type(explorer.comm) is comm.DummyComm
    wire = Wire(explorer)

    def publish(
        channel: Any, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
    ) -> None:
        if msg_type == "comm_msg":
            wire.messages.append((channel.comm_id, data, buffers or []))

    monkeypatch.setattr(comm.DummyComm, "publish_msg", publish)
    yield wire
    explorer.close()


@pytest.mark.parametrize("prompt", ["abcdefghijk", "abcdefxhij", "abcdefghi"], ids=["append", "replace", "delete"])
def test_every_view_gets_one_binary_message_for_an_edit(wire: Wire, prompt: str) -> None:
    sent = wire.edit(prompt)
    assert max(Counter(id(widget) for widget, _, _ in sent).values()) == 1
    views = {widget for widget, data, buffers in sent if isinstance(widget, View) and buffers}
    assert {type(view).__name__ for view in views} >= {
        "LogitLensView", "AttentionView", "HeatGrid", "HeadMap", "NeuronTable", "RolloutView", "SettleStrip"
    }  # fmt: skip
    assert {data["content"]["type"] for widget, data, _ in sent if isinstance(widget, View)} == {"data"}
    # The rest are bars, lines and axes, each of which gets its own numbers once.
    others = {type(widget).__name__ for widget, _, _ in sent if widget not in views and not isinstance(widget, View)}
    assert others <= {"Lines", "Bars", "Axis"}


@pytest.mark.parametrize("pages", [["lens"], ["lens", "tuned", "attention"]], ids=["one lens", "two lenses"])
@pytest.mark.parametrize("prompt", ["zyxwvutsrqponmlk", "abxdefghijklm"], ids=["cold", "replace"])
def test_parts_are_few_and_say_that_they_are(
    wire: Wire, prompt: str, pages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes, and in however many steps it is computed."""
    steps, part = [], told.Told.part
    monkeypatch.setattr(told, "_NEXT_PART_S", -1.0)
    monkeypatch.setattr(logit_lens, "_ROWS_PER_STEP", 6)
    monkeypatch.setattr(told.Told, "part", lambda *given: (steps.append(given), part(*given))[1])
    wire.explorer.pages = pages
    wire.explorer.wait()
    sent: dict[View, list[np.ndarray | None]] = {}
    steps.clear()
    for widget, data, buffers in wire.edit(prompt):
        if isinstance(widget, View):
            sent.setdefault(widget, []).append(unpacked_message(data["content"], buffers).get("done"))
    assert len(steps) > 4
    n_parts = {type(view).__name__: len(done) - 1 for view, done in sent.items() if len(done) > 1}
    assert n_parts == {"LogitLensView": 2 // (len(pages) - 1 or 1)}
    for done in sent.values():
        computed = [np.count_nonzero(one) for one in done[:-1] if one is not None]
        assert len(computed) == len(done) - 1
        assert done[-1] is None
        assert computed == sorted(set(computed))
        assert all(0 < n < len(prompt) * wire.explorer.n_layers for n in computed)


def test_what_is_known_comes_whole_and_once(wire: Wire) -> None:
    wire.edit("zyxwvutsrqponmlk")
    sent = [(widget, *message) for widget, *message in wire.edit("abcdefghij") if isinstance(widget, View)]
    assert all("done" not in unpacked_message(data["content"], buffers) for _, data, buffers in sent)
    assert max(Counter(id(widget) for widget, _, _ in sent).values()) == 1
