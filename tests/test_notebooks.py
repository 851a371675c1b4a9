"""Every notebook runs from a fresh kernel, top to bottom, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def executed(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    return NotebookClient(notebook, timeout=300, kernel_name="python3").execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


def test_the_quickstart_tells_its_story() -> None:
    path = next(path for path in NOTEBOOKS if path.stem == "01_quickstart")
    assert len(nbformat.read(path, as_version=4).cells) == 10
    said = printed(executed(path))
    assert "layer 28: ' Rome'  0.125" in said
    assert "layer 29: ' Rome'  0.971" in said
    first, second = [line for line in said.splitlines() if "position" in line][:2]
    assert first.startswith("0.52")
    assert first.endswith("␣Paris")
    assert second.endswith("The")
