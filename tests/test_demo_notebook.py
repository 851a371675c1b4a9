"""`layerwidget demo`: a copy of the quickstart that is never written over, opened in JupyterLab."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import nbformat
import pytest

from layerwidget import demo_notebook
from layerwidget.cli import main
from layerwidget.demo_notebook import open_demo, quickstart
from tests.browser.jupyter import START_TIMEOUT_S, environment

#: What opens pages: it writes down which one it was asked for, all at once, beside itself.
BROWSER = """
import os, sys
with open(sys.argv[1] + ".part", "w") as file:
    file.write(sys.argv[2])
os.replace(sys.argv[1] + ".part", sys.argv[1])
"""
Found = TypeVar("Found")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    made: list[list[str]] = []
    monkeypatch.setattr(demo_notebook, "_run_in_front", lambda command: made.append(command) or 7)
    return made


def test_a_copy_of_the_quickstart_is_opened(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--no-browser"]) == 7
    ((python, _, module, path, *arguments),) = calls
    assert (python, module) == (sys.executable, "jupyterlab")
    assert "--no-browser" in arguments
    assert Path(path) == tmp_path / "layerwidget_quickstart.ipynb"
    assert nbformat.read(path, 4) == nbformat.read(quickstart(), 4)
    assert path in capsys.readouterr().out


def test_what_somebody_has_made_of_it_stays(calls: list[list[str]], tmp_path: Path) -> None:
    mine = tmp_path / "layerwidget_quickstart.ipynb"
    mine.write_text("mine")
    open_demo(tmp_path)
    assert mine.read_text() == "mine"
    assert len(calls) == 1


def test_without_jupyterlab_it_says_what_to_install(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert "pip install 'layerwidget[demo]'" in capsys.readouterr().err
    assert not calls
    assert not list(tmp_path.iterdir())


def test_the_command_serves_the_notebook_and_opens_it_until_it_is_told_to_end(tmp_path: Path) -> None:
    """The command itself, as from a terminal: Ctrl-C, and yes."""
    folder, opened, log = tmp_path / "work", tmp_path / "opened", tmp_path / "log"
    folder.mkdir()
    variables = environment(tmp_path)
    (tmp_path / "browser.py").write_text(BROWSER)
    variables["BROWSER"] = f"{sys.executable} {tmp_path / 'browser.py'} {opened} %s"
    command = [str(Path(sys.executable).with_name("layerwidget")), "demo"]
    typed, terminal = pty.openpty()
    with log.open("wb") as out:
        demo = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=terminal, stdout=out, stderr=out, start_new_session=True
        )
    try:
        page = until(lambda: opened.exists() and opened.read_text(), demo, log)
        (server,) = (tmp_path / "runtime").glob("jpserver-*.json")
        told = json.loads(server.read_text())
        # It opens a file that leads on, so that what gives access is in no list of processes.
        assert "/lab/tree/layerwidget_quickstart.ipynb" in Path(page.removeprefix("file://")).read_text()
        served = asked(told, "api/contents/layerwidget_quickstart.ipynb")
        # What is not signed here is not trusted yet.
        assert [cell["source"] for cell in served["content"]["cells"]] == [
            cell.source for cell in nbformat.read(quickstart(), 4).cells
        ]
        assert served["writable"]
        # A terminal tells everybody who runs in it.
        os.killpg(demo.pid, signal.SIGINT)
        os.write(typed, b"y\n")
        assert demo.wait(60) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        # A server that ends as it should takes this away.
        assert not server.exists()
        with pytest.raises(urllib.error.URLError):
            asked(told, "api/status")
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
            demo.wait()
        os.close(typed)
        os.close(terminal)


def until(found: Callable[[], Found], running: subprocess.Popen[bytes], log: Path) -> Found:
    """What is found at last, while something runs."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and running.poll() is None:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError(f"Nothing within {START_TIMEOUT_S} s.\n{log.read_text()}")


def asked(server: dict[str, Any], address: str) -> Any:
    """The answer of a server of Jupyter."""
    request = urllib.request.Request(server["url"] + address, headers={"Authorization": f"token {server['token']}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_who_ends_the_command_ends_what_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                return super().wait(60 if timeout is None else timeout)
            finally:
                self.kill()

    def mine(*_told: object) -> None:
        """Or the tests would end where nobody else hears it."""

    monkeypatch.setattr(subprocess, "Popen", Told)
    before = signal.signal(signal.SIGTERM, mine)
    try:
        assert demo_notebook._run_in_front([sys.executable, "-c", "import signal; signal.pause()"]) == -signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
