"""Every notebook runs from a fresh kernel, top to bottom, and is stored without outputs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
#: How a verdict begins.
OUTCOMES = ("holds: ", "does not hold: ", "cannot be decided this way: ")


def notebook_named(stem: str) -> Path:
    return next(path for path in NOTEBOOKS if path.stem == stem)


def said_by(cell: nbformat.NotebookNode) -> str:
    outputs = cell.get("outputs", [])
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(said_by(cell) for cell in notebook.cells)


@cache
def executed(path: Path) -> nbformat.NotebookNode:
    """Run once, whoever asks; nobody changes it."""
    notebook = nbformat.read(path, as_version=4)
    return NotebookClient(notebook, timeout=300, kernel_name="python3").execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_converted_notebook_shows_a_picture_for_every_widget(path: Path) -> None:
    notebook = executed(path)
    nbformat.validate(notebook)
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    widgets = [data for data in outputs if WIDGET in data]
    frozen = [data for data in outputs if "image/png" in data]
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count('src="data:image/png;base64') == len(widgets) + len(frozen) > 0


def test_the_quickstart_tells_its_story() -> None:
    path = notebook_named("01_quickstart")
    assert len(nbformat.read(path, as_version=4).cells) == 10
    said = printed(executed(path))
    assert "layer 28: ' Rome'  0.125" in said
    assert "layer 29: ' Rome'  0.971" in said
    first, second = [line for line in said.splitlines() if "position" in line][:2]
    assert first.startswith("0.52")
    assert first.endswith("␣Paris")
    assert second.endswith("The")


def test_every_claim_about_layers_ends_in_a_verdict() -> None:
    notebook = executed(notebook_named("02_what_layers_do"))
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert [line[3] for line in text.splitlines() if line.startswith("## ") and line[3].isdigit()] == list("123456")
    assert text.count("**If it held:**") == text.count("**What this cannot show.**") == 6
    deciding = [cell for cell in notebook.cells if cell.cell_type == "code" and "\nverdict(" in "\n" + cell.source]
    assert len(deciding) == 6
    for cell in deciding:
        lines = said_by(cell).splitlines()
        assert len(lines) == ("\n" + cell.source).count("\nverdict(")
        assert all(line.startswith(OUTCOMES) for line in lines), lines
    said = printed(notebook)
    assert "The right word is ahead in 24 of 24 prompts." in said
    # What the architecture says, and what these measures cannot decide whatever they are.
    assert "\nholds: The residual stream is a sum." in said
    assert "\ndoes not hold: The residual stream is a sum in every transformer." in said
    assert "\ncannot be decided this way: Middle layers hold the richest representations." in said
    assert "\ncannot be decided this way: Facts sit in the FFNs." in said


def test_the_notebook_about_attention_finds_its_head() -> None:
    said = printed(executed(notebook_named("03_attention")))
    assert "looks at ␣London 0.5" in said
    assert next(line for line in said.splitlines() if line.startswith("induction")).split()[1] == "L18H6"
    assert "pattern: (3, 4, 5, 8)" in said


def test_the_notebook_about_attribution_adds_up() -> None:
    said = printed(executed(notebook_named("04_attribution_and_neurons")))
    logit, total, error = (
        float(next(line for line in said.splitlines() if line.startswith(start)).split("= ")[1])
        for start in ("logit(Rome)", "sum of", "error")
    )
    assert abs(logit - total) < 2e-3
    assert abs(error) < 1e-4 * abs(logit)
    assert "L29H1: Rome" in said
