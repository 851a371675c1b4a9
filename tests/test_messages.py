"""What an edit sends: one binary message to each view, before it at most two parts of it, and little besides."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import comm
import numpy as np
import pytest

import layerwidget as lw
from layerwidget.analysis import logit_lens
from layerwidget.engine import told
from layerwidget.widgets.base import View
from layerwidget.widgets.esm import module_text, source_text
from layerwidget.widgets.layer_slider import LayerSlider
from layerwidget.widgets.messages import unpacked_message
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.prompt_editor import PromptEditor
from layerwidget.widgets.target_editor import TargetEditor
from layerwidget.widgets.traits import SHARED
from tests.received import whole

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
        """What is sent for a prompt, as the browser has it then."""
        self.messages.clear()
        held = {part: part._message for part in parts_of(self.explorer) if isinstance(part, View)}
        self.explorer.prompt = prompt
        self.explorer.wait()
        found: list[Sent] = []
        for widget, data, buffers in self.sent():
            if isinstance(widget, View) and data["content"]["type"] == "data":
                held[widget] = whole(held[widget], (data["content"], buffers))
                found.append((widget, {**data, "content": held[widget][0]}, held[widget][1]))
            else:
                found.append((widget, data, buffers))
        return found


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


def test_an_appended_token_sends_few_messages(wire: Wire) -> None:
    """All that crosses between browser and kernel, in both directions, on the page that is open first."""
    explorer = wire.explorer
    explorer.pages = ["lens"]
    explorer.wait()
    deadline = time.monotonic() + 60
    while explorer.report is None and time.monotonic() < deadline:
        time.sleep(0.01)
    wire.messages.clear()
    typed = {"data": {"method": "update", "state": {"prompt": "abcdefghijk"}}}
    explorer.editor._handle_msg({"content": typed, "buffers": []})
    explorer.wait()
    assert explorer.position == 10
    names = {widget.comm.comm_id: type(widget).__name__ for widget in parts_of(explorer)}
    said = [(names[comm_id], *_what(data)) for comm_id, data, _ in list(wire.messages)]
    # What is kept is said when there is nothing else to do, if it has changed: sooner or later.
    sent = Counter(one for one in said if one != ("StatusLine", "work"))
    follow = [("PromptEditor", "position"), ("LogitLensView", "position"), ("AttentionView", "position")]
    drawn = [("PromptEditor", "data"), ("LogitLensView", "data"), ("AttentionView", "data"), ("Lines", "y")]
    told = [("PromptEditor", "echo", "prompt"), ("StatusLine", "state"), ("StatusLine", "prompt", "state", "work")]
    besides = [("CurveDriver", "detail", "prompt"), ("Label", "value")]
    assert sent == Counter([*follow, *drawn, *told, *besides])


def _what(data: dict[str, Any]) -> tuple[str, ...]:
    if data["method"] == "custom":
        return (data["content"]["type"],)
    return (*(["echo"] if data["method"] == "echo_update" else []), *sorted(data["state"]))


def _views() -> list[type[View]]:
    found, waiting = [], [View]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.js_module and kind.__module__.startswith("layerwidget."):
            found.append(kind)
    return found


@pytest.mark.parametrize("kind", _views(), ids=lambda kind: kind.__name__)
def test_a_view_hears_of_what_its_module_reads_or_sets_and_of_nothing_else(kind: type[View]) -> None:
    source = source_text(kind.js_module)
    (shared,) = re.findall(r"shareTraits\(model, (\[[^\]]*\]|TRAITS)", source)
    if shared == "TRAITS":
        (shared,) = re.findall(r"^const TRAITS = (\[.*\]);", source, re.MULTILINE)
    read = set(re.findall(r'"(\w+)"', shared))
    # Its neighbours, too, to which it hands the shared traits.
    whole = module_text(kind.js_module)
    read |= set(re.findall(r'(?:shared|model)\.get\("(\w+)"\)', whole))
    for written in re.findall(r"shared\.set\(\{([^}]*)\}", whole):
        read |= set(re.findall(r"(?:^|, )\s*(\w+)", written))
    assert read & set(SHARED) == set(kind.heeds)
    needed: dict[type[View], dict[str, Any]] = {
        LayerSlider: {"max": 3}, TargetEditor: {"prompt": "", "source_editor": PromptEditor()}
    }  # fmt: skip
    view = kind(**needed.get(kind, {}))
    assert set(view.keys) & set(SHARED) == set(kind.heeds)
    assert {"group", "_esm", "layout"} <= set(view.keys)


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
