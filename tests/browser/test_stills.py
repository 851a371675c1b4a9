"""The picture beside a live explorer: unseen while it lives, seen when its kernel is gone."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook
from tests.browser.explorer_page import ExplorerPage

CELLS = (
    "import layerwidget as lw\nfrom layerwidget.widgets import still\nfrom tests.tiny import letters, tiny\n"
    "still.QUIET_S = 0.5\nmodel = lw.HookedModel(tiny('llama'), letters(), 'tiny')",
    "ex = lw.Explorer(model, prompt='abcde')\nex",
)
_SAVE_AND_SHUT_DOWN = """async () => {
    await jupyterapp.commands.execute("docmanager:save");
    await jupyterapp.shell.currentWidget.context.sessionContext.shutdown();
}"""


def test_the_picture_is_seen_when_the_kernel_is_gone(
    open_notebook: OpenNotebook, write_notebook: Callable[..., str]
) -> None:
    notebook = open_notebook(write_notebook("stills", *CELLS))
    live, picture = notebook.page.locator(".lw-explorer"), notebook.page.locator(".lw-still img")
    expect(live.locator("textarea.lw-prompt")).to_have_value("abcde")
    expect(picture).to_have_count(1)
    expect(picture).to_be_hidden()
    notebook.page.evaluate("() => { window.box = document.querySelector('textarea.lw-prompt'); }")
    live.locator("textarea.lw-prompt").press("End")
    notebook.page.keyboard.type("xyz")
    expect(picture).to_have_attribute("alt", re.compile("abcdexyz"), timeout=30_000)
    # Nothing alive was drawn anew for it.
    assert notebook.page.evaluate("document.activeElement === window.box")
    notebook.page.evaluate(_SAVE_AND_SHUT_DOWN)
    notebook.page.reload()
    expect(picture).to_be_visible(timeout=60_000)
    assert picture.evaluate("(image) => image.complete && image.naturalWidth > 600")
    expect(live).to_have_count(0)
    notebook.console_errors.clear()  # JupyterLab says that the dead widget's model is not found


def test_a_frozen_explorer_is_a_picture(explorer: ExplorerPage) -> None:
    code = "frozen = lw.Explorer(model, prompt='The capital of France is', layers='18-29')\nfrozen"
    with explorer.notebook.one_more_cell(code) as cell:
        live = cell.locator(".lw-explorer")
        expect(live).to_have_count(1)
        expect(cell.locator(".lw-alive")).to_have_count(1)
        explorer.notebook.run("frozen.wait()\nfrozen.freeze()")
        expect(live).to_have_count(0)
        expect(cell.locator(".lw-alive")).to_have_count(0)
        expect(cell.locator(".jp-RenderedImage img")).to_have_count(1)
        expect(cell.locator(".lw-still")).to_have_count(0)
        explorer.notebook.run("frozen.close()")
