"""A file of answers in a real JupyterLab: no model, no torch in the kernel; views follow each other, prompts switch."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

import layerwidget as lw
from tests.browser.conftest import OpenNotebook
from tests.browser.jupyter import JupyterServer
from tests.tiny import letters, tiny

BLOCK = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
import layerwidget as lw
replay = lw.replay("answers.safetensors")
replay
"""


def test_a_file_is_shown_without_torch(
    jupyter_server: JupyterServer, open_notebook: OpenNotebook, write_notebook: Callable[..., str]
) -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), pages=["lens", "depth", "residual"])
    explorer.save(jupyter_server.root / "answers.safetensors", prompts=["abcd", "zyx"])
    explorer.close()
    notebook = open_notebook(write_notebook("replay.ipynb", BLOCK))
    root = notebook.page.locator(".lw-explorer")
    lens = root.locator(".lw-lens")
    expect(lens).to_have_class(re.compile(r"\blw-ready\b"))
    expect(root).to_contain_text("recorded answers")
    expect(root.locator(".lw-attention")).to_contain_text("layer 2 · head 0")
    root.locator(".lw-layers").get_by_role("button", name="early").click()
    notebook.expect_value("replay.layers", "0")
    notebook.expect_value("replay.page('residual').grid_view.layers", "0")
    root.locator("select").first.select_option("zyx")
    notebook.expect_value("replay.prompt_index", 1)
    expect(lens).to_contain_text("after “x”")
    # What nobody had asked for has no empty place: bqplot would complain of it in the console.
    expect(root).not_to_contain_text("Skip effect")
