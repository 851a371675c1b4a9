"""What a notebook holds beside live widgets: a picture and a table, as a front end without a kernel shows them."""

from __future__ import annotations

import base64
import re
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

import layerwidget as lw
from layerwidget.widgets import still

VIEW = "application/vnd.jupyter.widget-view+json"
SETUP = """
import layerwidget as lw
from layerwidget.widgets import still
from tests.tiny import letters, tiny
still.QUIET_S = 0.3
ex = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), prompt="abc")
"""


def run(*cells: str) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (SETUP, *cells)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    done = NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.validate(done)
    return done


def stills(cell: nbformat.NotebookNode) -> list[str]:
    found = [output.data.get("text/html", "") for output in cell.outputs if "data" in output]
    return [markup for markup in found if "lw-still" in markup]


def png_in(markup: str) -> bytes:
    found = re.search(r"data:image/png;base64,([\w+/=]+)", markup)
    assert found is not None
    return base64.b64decode(found[1])


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return run(
        "ex", "ex.prompt = 'defg'\nex.wait()\nimport time\ntime.sleep(4)", "lw.LogitLensView(ex.results['lens'])"
    )


def test_a_live_view_has_a_table_and_a_picture_beside_it(notebook: nbformat.NotebookNode) -> None:
    for cell in (notebook.cells[1], notebook.cells[3]):
        live, beside = cell.outputs
        assert VIEW in live.data
        assert "\n" not in live.data["text/plain"]
        assert "Logit lens" in beside.data["text/plain"]
        (markup,) = stills(cell)
        assert png_in(markup).startswith(b"\x89PNG")
        assert len(markup) < 200_000


def test_the_picture_is_of_the_last_settled_state(notebook: nbformat.NotebookNode) -> None:
    (markup,) = stills(notebook.cells[1])
    assert "prompt: &#x27;defg&#x27;" in markup


def test_a_converted_notebook_shows_a_picture_for_every_widget(notebook: nbformat.NotebookNode) -> None:
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count('src="data:image/png;base64') == 2


def test_freezing_leaves_the_picture_and_nothing_alive() -> None:
    notebook = run("ex", "ex.freeze()\nex.prompt = 'more'\nex.wait()\nassert len(ex.results) == 2")
    frozen = notebook.cells[1]
    assert not stills(frozen)
    assert not [output for output in frozen.outputs if VIEW in output.data]
    assert base64.b64decode(frozen.outputs[0].data["image/png"]).startswith(b"\x89PNG")


def test_what_is_closed_leaves_its_newest_picture() -> None:
    notebook = run("still.QUIET_S = 1000\nex", "ex.prompt = 'defg'\nex.wait()\nex.close()")
    (markup,) = stills(notebook.cells[1])
    assert "prompt: &#x27;defg&#x27;" in markup


def test_what_cannot_be_drawn_is_shown_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict] = []
    done: list = []
    events = SimpleNamespace(register=lambda event, call: done.append(call), unregister=lambda event, call: None)
    monkeypatch.setattr(still, "_shell", lambda: SimpleNamespace(events=events))
    monkeypatch.setattr(still, "publish", lambda bundle, display_id, update=False: published.append(bundle))
    view = lw.HeatGrid()
    monkeypatch.setattr(view, "to_svg", lambda: 1 / 0)
    view._ipython_display_()
    with pytest.warns(UserWarning, match="no picture beside the live HeatGrid: division by zero"):
        done[0]()
    assert [VIEW in bundle for bundle in published] == [True]
    view.close()


def test_a_prompt_of_markup_is_text() -> None:
    notebook = run("ex.prompt = '<script>alert(1)</script>\" onload=\"x'\nex")
    (markup,) = stills(notebook.cells[1])
    assert markup.count("<") == 3
    assert "&lt;script&gt;" in markup
