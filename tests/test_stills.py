"""What a notebook holds beside live widgets: a picture and a table, as a front end without a kernel shows them."""

from __future__ import annotations

import base64
import re
import threading
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from nbconvert import HTMLExporter

import layerwidget as lw
from layerwidget.widgets import still

VIEW = "application/vnd.jupyter.widget-view+json"
#: One kernel for all tests: each cell by a name, and what it runs.
CELLS = {
    "setup": """
import threading
import layerwidget as lw
from layerwidget.widgets import still
from tests.tiny import letters, tiny
still.QUIET_S = 0.3
publish, edited = still.publish, threading.Event()
def heard(bundle, *where, **how):
    publish(bundle, *where, **how)
    if how.get("update") and "defg" in bundle["text/plain"]:
        edited.set()
still.publish = heard
def explorer(prompt="abc"):
    return lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), prompt=prompt)
""",
    "live": "ex = explorer()\nex",
    "edit": "ex.prompt = 'defg'\nex.wait()\nassert edited.wait(60)",
    "view": "lw.LogitLensView(ex.results['lens'])",
    "frozen": "ice = explorer()\nice",
    "freeze": "ice.freeze()\nice.prompt = 'more'\nice.wait()\nassert len(ice.results) == 2",
    "closed": "still.QUIET_S = 1000\nshut = explorer()\nshut",
    "close": "shut.prompt = 'defg'\nshut.wait()\nshut.close()",
    "markup": "odd = explorer('<script>alert(1)</script>\" onload=\"x')\nodd",
}

#: Pictures only when they must be, and each takes longer than a kernel waits of itself before it closes its channels;
#: its loop wakes all the time, as in a notebook that is used.
SLOW = """
import asyncio, time
async def tick():
    while True:
        await asyncio.sleep(0.01)
ticking = asyncio.ensure_future(tick())
still.QUIET_S = 1000
draw = still._hidden_bundle
still._hidden_bundle = lambda *drawn: time.sleep(0.7) or draw(*drawn)
"""


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    """All cells, run."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS.values()])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    done = NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.validate(done)
    return done


def cell(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    return notebook.cells[list(CELLS).index(name)]


def stills(cell: nbformat.NotebookNode) -> list[str]:
    found = [output.data.get("text/html", "") for output in cell.outputs if "data" in output]
    return [markup for markup in found if "lw-still" in markup]


def png_in(markup: str) -> bytes:
    found = re.search(r"data:image/png;base64,([\w+/=]+)", markup)
    assert found is not None
    return base64.b64decode(found[1])


def test_a_live_view_has_a_table_and_a_picture_beside_it(notebook: nbformat.NotebookNode) -> None:
    for shown in (cell(notebook, "live"), cell(notebook, "view")):
        live, beside = shown.outputs
        assert VIEW in live.data
        assert "\n" not in live.data["text/plain"]
        assert "Logit lens" in beside.data["text/plain"]
        (markup,) = stills(shown)
        assert png_in(markup).startswith(b"\x89PNG")
        assert len(markup) < 200_000


def test_the_picture_is_of_the_last_settled_state(notebook: nbformat.NotebookNode) -> None:
    (markup,) = stills(cell(notebook, "live"))
    assert "prompt: &#x27;defg&#x27;" in markup


def test_a_converted_notebook_shows_a_picture_for_every_widget(notebook: nbformat.NotebookNode) -> None:
    page, _ = HTMLExporter().from_notebook_node(notebook)
    # Four explorers, one of them frozen, and a view.
    assert page.count('src="data:image/png;base64') == 5


def test_freezing_leaves_the_picture_and_nothing_alive(notebook: nbformat.NotebookNode) -> None:
    frozen = cell(notebook, "frozen")
    assert not stills(frozen)
    assert not [output for output in frozen.outputs if VIEW in output.data]
    assert base64.b64decode(frozen.outputs[0].data["image/png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("end", "last"), [("freeze", [{"image/png": ""}, {"text/html": "", "text/plain": ""}]), ("close", [{"drawn": 2}])]
)
def test_a_picture_that_was_being_drawn_does_not_come_after_the_end(
    monkeypatch: pytest.MonkeyPatch, end: str, last: list[dict]
) -> None:
    published: list[dict] = []
    drawn: list[int] = []
    drawing, ended = threading.Event(), threading.Event()

    def draw(_svg: str, _text: str, _most_bytes: int) -> dict:
        drawn.append(len(drawn) + 1)
        number = drawn[-1]
        if number == 1:
            drawing.set()
            assert ended.wait(60)
        return {"drawn": number}

    monkeypatch.setattr(still, "QUIET_S", 0.0)
    monkeypatch.setattr(still, "publish", lambda bundle, display_id, update=False: published.append(bundle))
    monkeypatch.setattr(still, "_picture_bundle", lambda svg, text, most_bytes: {"image/png": ""})
    monkeypatch.setattr(still, "_hidden_bundle", draw)
    monkeypatch.setattr(still, "saved_bytes", lambda widget: 0)
    stills = still.Stills(SimpleNamespace(to_svg=str, to_text=str, pictured_views=[]), lambda: None, list)
    stills._places = [("live", "still")]
    keeper = stills._keeper = threading.Thread(target=stills._keep, daemon=True)
    stills.changed()
    keeper.start()
    assert drawing.wait(60)
    getattr(stills, end)()
    ended.set()
    keeper.join(60)
    assert published == last


def test_what_is_closed_leaves_its_newest_picture(notebook: nbformat.NotebookNode) -> None:
    (markup,) = stills(cell(notebook, "closed"))
    assert "prompt: &#x27;defg&#x27;" in markup


def test_what_cannot_be_drawn_is_shown_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict] = []
    done: list = []
    events = SimpleNamespace(register=lambda event, call: done.append(call), unregister=lambda event, call: None)
    shell = SimpleNamespace(events=events, observe=lambda call, name: None)
    monkeypatch.setattr(still, "interactive_shell", lambda: shell)
    monkeypatch.setattr(still, "publish", lambda bundle, display_id, update=False: published.append(bundle))
    view = lw.HeatGrid()
    monkeypatch.setattr(view, "to_svg", lambda: 1 / 0)
    view._ipython_display_()
    with pytest.warns(UserWarning, match="no picture beside the live HeatGrid: division by zero"):
        done[0]()
    assert [VIEW in bundle for bundle in published] == [True]
    view.close()


def test_a_prompt_of_markup_is_text(notebook: nbformat.NotebookNode) -> None:
    (markup,) = stills(cell(notebook, "markup"))
    assert markup.count("<") == 3
    assert "&lt;script&gt;" in markup


def test_a_kernel_that_ends_leaves_the_newest_picture() -> None:
    """Read by a front end that is still there: JupyterLab's is, until the kernel has ended."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        for code in (CELLS["setup"], SLOW, CELLS["live"], "ex", "ex.prompt = 'defg'\nex.wait()"):
            answer = client.execute_interactive(code, timeout=120, output_hook=lambda message: None)
            assert answer["content"]["status"] == "ok", answer["content"]
        client.shutdown()
        told: set[str] = set()
        while len(told) < 2:
            message = client.get_iopub_msg(timeout=60)
            if message["msg_type"] == "update_display_data" and "'defg'" in message["content"]["data"]["text/plain"]:
                told.add(message["content"]["transient"]["display_id"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
