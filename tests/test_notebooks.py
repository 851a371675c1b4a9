"""Every notebook runs from a fresh kernel, top to bottom, and is stored without outputs."""

from __future__ import annotations

import ast
import base64
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

import layerwidget as lw
from layerwidget.figures.raster import png
from layerwidget.model.hooked_model import HookedModel
from tests.pictures import pdf_characters, words

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
#: A picture has more colours than this: what is blank has one, and lines of text on it have some dozens.
FEWEST_COLOURS = 100
#: How a verdict begins.
OUTCOMES = ("holds: ", "does not hold: ", "cannot be decided this way: ")


@dataclass(frozen=True)
class Ran:
    """A notebook with its outputs.

    Attributes:
        folder: where it ran; `kept` in it holds what the notebook wrote before it cleaned up.
    """

    notebook: nbformat.NotebookNode
    folder: Path

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    def output(self, beginning: str) -> str:
        """What the cell that contains these words came to."""
        (cell,) = (cell for cell in self.notebook.cells if cell.cell_type == "code" and beginning in cell.source)
        (result,) = (output for output in cell.outputs if output.output_type == "execute_result")
        return str(result.data["text/plain"])


RunNotebook = Callable[[str], Ran]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> RunNotebook:
    """Runs a notebook by its name, once, whoever asks; nobody changes it."""
    done: dict[str, Ran] = {}

    def run(stem: str) -> Ran:
        if stem not in done:
            done[stem] = executed(stem, tmp_path_factory.mktemp(stem))
        return done[stem]

    return run


def executed(stem: str, folder: Path) -> Ran:
    (path,) = (path for path in NOTEBOOKS if path.stem == stem)

    def keep(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if "shutil.rmtree(out)" in cell.source:
            shutil.copytree(folder / "talk", folder / "kept")

    client = NotebookClient(
        nbformat.read(path, as_version=4),
        timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, on_cell_start=keep,
    )  # fmt: skip
    return Ran(client.execute(), folder)


def said_by(cell: nbformat.NotebookNode) -> str:
    outputs = cell.get("outputs", [])
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(said_by(cell) for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize("stem", [path.stem for path in NOTEBOOKS])
def test_a_converted_notebook_shows_a_picture_for_every_widget(stem: str, ran: RunNotebook) -> None:
    notebook = ran(stem).notebook
    nbformat.validate(notebook)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    _, *shown = page.split('id="cell-id=')
    assert len(shown) == len(notebook.cells)
    n_pictures = 0
    for cell, markup in zip(notebook.cells, shown, strict=True):
        assert markup.startswith(f'{cell.id}"')
        outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
        pictures = re.findall(r'<img[^>]*? src="data:image/png;base64,([^"]*)"', markup.replace("\n", " "))
        # Where a widget was frozen, the picture is the output.
        assert len(pictures) == sum(WIDGET in data or "image/png" in data for data in outputs), cell.source
        for picture in pictures:
            assert n_colours(picture) > FEWEST_COLOURS, cell.source
        n_pictures += len(pictures)
    assert n_pictures > 0


def n_colours(picture: str) -> int:
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    return len(image.getcolors(image.width * image.height) or [])


def test_a_blank_picture_is_found_to_be_blank() -> None:
    for said in ("", "nothing to see here"):
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="300"><rect width="400" height="300" '
            f'fill="#fff"/><text x="20" y="40" font-size="14" fill="#555">{said}</text></svg>'
        )
        assert n_colours(base64.b64encode(png(svg)).decode()) < FEWEST_COLOURS


def test_the_quickstart_tells_its_story(ran: RunNotebook) -> None:
    notebook = ran("01_quickstart").notebook
    assert len(notebook.cells) == 10
    said = printed(notebook)
    assert "layer 28: ' Rome'  0.125" in said
    assert "layer 29: ' Rome'  0.971" in said
    first, second = [line for line in said.splitlines() if "position" in line][:2]
    assert first.startswith("0.52")
    assert first.endswith("␣Paris")
    assert second.endswith("The")


def test_every_claim_about_layers_ends_in_a_verdict(ran: RunNotebook) -> None:
    notebook = ran("02_what_layers_do").notebook
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


def test_the_notebook_about_attention_finds_its_head(ran: RunNotebook) -> None:
    said = printed(ran("03_attention").notebook)
    assert "looks at ␣London 0.5" in said
    assert next(line for line in said.splitlines() if line.startswith("induction")).split()[1] == "L18H6"
    assert "pattern: (3, 4, 5, 8)" in said


def test_the_notebook_about_attribution_adds_up(ran: RunNotebook) -> None:
    said = printed(ran("04_attribution_and_neurons").notebook)
    logit, total, error = (
        float(next(line for line in said.splitlines() if line.startswith(start)).split("= ")[1])
        for start in ("logit(Rome)", "sum of", "error")
    )
    assert abs(logit - total) < 2e-3
    assert abs(error) < 1e-4 * abs(logit)
    assert "L29H1: Rome" in said


def test_the_notebook_for_a_talk_says_what_the_model_says(ran: RunNotebook) -> None:
    talk = ran("07_for_your_talk")
    probabilities, word = ast.literal_eval(talk.output("ex.scene = 1"))
    assert [layer for layer, _ in probabilities] == [27, 28, 29]
    assert [prob for _, prob in probabilities[1:]] == [0.125, 0.971]
    assert word == " Rome"
    assert talk.output("ex.scenes.save(").startswith("(True,")
    assert talk.output("ex.preset =") == "'explore'"
    table = talk.output("to_pandas()").splitlines()
    assert table[0].split() == ["layer", "top_token", "top_prob", "kl_to_final_nats"]
    assert [line.split()[1] for line in table[1:]] == ["26", "27", "28", "29"]
    assert "0.97" in table[-1]
    assert "Rome" in table[-1]


def test_the_files_of_a_talk_hold_what_they_promise(ran: RunNotebook) -> None:
    talk = ran("07_for_your_talk")
    assert not (talk.folder / "talk").exists()
    titles = ["Where Rome comes from", "Late, and all at once", "A head that copies", "What every layer adds"]
    assert [scene.title for scene in lw.Scenes.load(talk.kept / "talk.json")] == titles
    page = talk.kept / "talk.html"
    assert talk.output("ex.to_html(") == f"'{page.stat().st_size / 1e6:.2f} MB, 4 scenes'"
    assert page.stat().st_size < 2_100_000
    assert "<title>Where Rome comes from</title>" in page.read_text()
    files = ["lens.pdf", "lens.png", "lens.svg", "talk.html", "talk.json"]
    assert ast.literal_eval(talk.output("ex.lens_view.to_pdf(")) == files
    assert (talk.kept / "lens.pdf").read_bytes().startswith(b"%PDF-")
    assert set("Rome") <= pdf_characters((talk.kept / "lens.pdf").read_bytes())
    svg = (talk.kept / "lens.svg").read_text()
    assert any("Rome" in line for line in words(svg))
    (cell,) = [c for c in talk.notebook.cells if c.source.endswith("scale=1))")]
    (shown,) = (output.data["image/png"] for output in cell.outputs)
    plain = Image.open(io.BytesIO(base64.b64decode(shown)))
    with Image.open(talk.kept / "lens.png") as sharp:
        assert sharp.size == (3 * plain.width, 3 * plain.height)


def test_the_answers_of_a_talk_are_those_of_its_model(ran: RunNotebook, demo_model: HookedModel) -> None:
    replay = lw.replay(ran("07_for_your_talk").kept / "answers.safetensors")
    _, france = recorded = replay.recording.prompts
    assert france.prompt == "The capital of France is"
    for one in recorded:
        logits = demo_model.hf_model(torch.tensor([demo_model.tokenizer.encode(one.prompt)])).logits[0]
        probs, ids = logits.detach().softmax(-1).max(-1)
        lens = one.answers["lens"]
        assert lens.layers[-1] == 29
        np.testing.assert_array_equal(lens.top_ids[-1, :, 0], ids)
        np.testing.assert_allclose(lens.top_probs[-1, :, 0], probs, atol=1e-4)
    replay.close()


def test_the_added_view_shows_what_attention_and_ffn_write(ran: RunNotebook, demo_model: HookedModel) -> None:
    """As plain hooks on the modules of transformers say it."""
    view = ran("08_add_a_view")
    prompt = "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of"
    written: dict[str, list[torch.Tensor]] = {"attn": [], "mlp": []}
    layers = demo_model.hf_model.model.layers
    hooks = [
        hook
        for layer in layers
        for hook in (
            layer.self_attn.register_forward_hook(lambda _m, _i, out: written["attn"].append(out[0])),
            layer.mlp.register_forward_hook(lambda _m, _i, out: written["mlp"].append(out)),
        )
    ]
    with torch.no_grad():
        demo_model.hf_model(torch.tensor([demo_model.tokenizer.encode(prompt)]))
    for hook in hooks:
        hook.remove()
    attn, mlp = (torch.stack([one.reshape(-1, one.shape[-1]) for one in written[name]]) for name in ("attn", "mlp"))
    cosine = torch.cosine_similarity(attn, mlp, dim=-1).numpy()
    shape, low, high = ast.literal_eval(view.output("@answers(Agreement)"))
    assert shape == cosine.shape == (30, 21)
    assert (low, high) == pytest.approx((cosine.min(), cosine.max()), abs=1e-4)
    assert float(view.output("by_hand = ")) == pytest.approx(cosine[7, 12], abs=1e-4)
    shown = [float(number) for number in re.findall(r"-?\d+\.\d*", view.output("ex.wait()\nex.results"))]
    assert shown == pytest.approx(cosine.mean(axis=1), abs=0.0051)
    said = printed(view.notebook)
    assert said.startswith("Agreement of attention and FFN")
