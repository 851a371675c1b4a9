"""`layerwidget demo`: a copy of the quickstart that is never written over, opened in JupyterLab."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from layerwidget.cli import main
from layerwidget.demo_notebook import open_demo, quickstart


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    made: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", lambda command: made.append(command) or 7)
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
