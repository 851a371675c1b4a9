"""The harness itself: a real JupyterLab, a real kernel, clicks that reach Python and values that come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import chromium
from tests.browser.chromium import NoChromiumError, require_chromium
from tests.browser.conftest import watched
from tests.browser.jupyter import REPOSITORY, JupyterServer
from tests.browser.notebook import OUTPUT, KernelError, Notebook

SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(3, max=10)
slider
"""

COUNTER = '''
import anywidget, traitlets
class Counter(anywidget.AnyWidget):
    _esm = """export default { render({ model, el }) {
        const button = document.createElement("button");
        button.className = "lw-ready";
        const show = () => { button.textContent = `clicked ${model.get("count")}`; };
        button.onclick = () => { model.set("count", model.get("count") + 1); model.save_changes(); };
        model.on("change:count", show);
        show();
        el.append(button);
    } }"""
    count = traitlets.Int(0).tag(sync=True)
counter = Counter()
counter
'''


@pytest.fixture(scope="module")
def opened(scratch: Notebook) -> Notebook:
    scratch.begin_anew(SLIDER, COUNTER)
    return scratch


@pytest.fixture
def smoke(request: pytest.FixtureRequest, opened: Notebook) -> Iterator[Notebook]:
    opened.run("slider.value, counter.count = 3, 0")
    expect(opened.page.locator(".widget-readout")).to_have_text("3")
    expect(opened.page.locator("button.lw-ready")).to_have_text("clicked 0")
    with watched(request, opened):
        yield opened


def test_clicks_reach_python_and_values_reach_the_page(smoke: Notebook) -> None:
    button = smoke.page.locator("button.lw-ready")
    expect(button).to_have_text("clicked 0")
    button.click()
    expect(button).to_have_text("clicked 1")
    smoke.expect_value("counter.count", 1)
    assert smoke.run("counter.count = 41; print('set', end='')") == "set"
    expect(button).to_have_text("clicked 41")


def test_slider_of_ipywidgets_moves(smoke: Notebook) -> None:
    handle = smoke.page.locator(".widget-slider .noUi-handle")
    handle.press("ArrowRight")
    expect(smoke.page.locator(".widget-readout")).to_have_text("4")
    smoke.expect_value("[slider.value, slider.max]", [4, 10])


def test_themes_switch_and_are_pictured(smoke: Notebook) -> None:
    background = "getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor"
    seen = {}
    for theme in ("dark", "light"):
        smoke.use_theme(theme)
        seen[theme] = smoke.page.evaluate(background)
        assert smoke.screenshot(f"harness-{theme}") == OUTPUT / f"harness-{theme}.png"
    assert seen["light"] == "rgb(255, 255, 255)"
    assert seen["dark"] != seen["light"]
    assert smoke.screenshot("harness-button", ".lw-ready").stat().st_size > 0


def test_sidebars_are_out_of_the_way(smoke: Notebook) -> None:
    box = smoke.page.locator(".jp-Notebook").bounding_box()
    assert box is not None
    assert box["width"] > 1240


def test_kernel_uses_this_python_and_the_real_cache(smoke: Notebook) -> None:
    from layerwidget.model.demo import cache_dir

    smoke.run("import sys; from layerwidget.model.demo import cache_dir")
    assert smoke.value("[sys.executable, str(cache_dir())]") == [sys.executable, str(cache_dir())]


def test_errors_in_the_kernel_are_raised(smoke: Notebook) -> None:
    with pytest.raises(KernelError, match="ZeroDivisionError"):
        smoke.value("1 / 0")
    with pytest.raises(KernelError, match="NameError"):
        smoke.run("nothing_of_this_name")


def test_cell_that_raises_fails_the_run(scratch: Notebook) -> None:
    try:
        scratch.run("kept = 1")
        with pytest.raises(KernelError, match="KeyError: 'absent'"):
            scratch.begin_anew("names = dir()", "{}['absent']")
        # What ran before is forgotten, and nothing of it is seen.
        assert not {"kept", "slider", "counter"} & set(scratch.value("names"))
        expect(scratch.page.locator(".widget-readout, button.lw-ready")).to_have_count(0)
        expect(scratch.page.locator(".jp-Cell")).to_have_count(2)
    finally:
        scratch.begin_anew(SLIDER, COUNTER)


def test_console_errors_are_collected(smoke: Notebook) -> None:
    with smoke.page.expect_console_message(lambda message: message.type == "error"):
        smoke.page.evaluate("console.error('seen')")
    assert any("seen" in error for error in smoke.console_errors)
    smoke.console_errors.clear()


def test_killed_run_leaves_no_server(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tests.browser.jupyter import running_server\n"
        "with running_server(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/api/status", timeout=10) as answer:
            assert answer.status == 200
        child.send_signal(signal.SIGTERM)
        child.wait()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/api/status", timeout=10)


def test_server_that_ends_early_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.browser import jupyter

    monkeypatch.setattr(jupyter, "_command", lambda _port, _root: [sys.executable, "-c", "print('went wrong')"])
    server = JupyterServer(tmp_path)
    with pytest.raises(RuntimeError, match="went wrong"):
        server.wait_until_up()


def test_without_any_chromium_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find_chromium", lambda: None)
    monkeypatch.setattr(chromium, "_run", lambda command, _environment: f"{command[0]} failed")
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 1000)
    with pytest.raises(NoChromiumError, match="Install Chromium"):
        require_chromium()
