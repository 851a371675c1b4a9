"""The exported page: all that is recorded is in it and nothing else is needed; the explorer stays as it was."""

from __future__ import annotations

import base64
import gc
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.cli import main
from layerwidget.errors import ExportError
from layerwidget.export.html import page_text, write_html
from layerwidget.export.layout import Layout
from layerwidget.export.packing import plain, unpacked
from layerwidget.export.page_recording import dependence, page_recording
from layerwidget.widgets.base import View
from layerwidget.widgets.esm import wrapped
from tests.tiny import N_LAYERS, letters, tiny

NASTY = "a</script><!--\u2028<b>&amp;\"'"


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


@pytest.fixture
def explorer(model: lw.HookedModel) -> Iterator[lw.Explorer]:
    explorer = lw.Explorer(model, "abcde", layers="1-2", selection=lw.Selection(layer=1, head=1, position=3))
    explorer.wait()
    yield explorer
    explorer.close()


def blocks(page: str) -> dict[str, str]:
    found = re.findall(r'<script type="application/octet-stream" id="([\w-]+)">([^<]*)</script>', page)
    return dict(found)


def shown(page: str, prompt: int) -> dict[str, dict]:
    head, _ = unpacked(blocks(page)["lw-head"])
    names = {part["module"]: part["name"] for part in parts(head)}
    views, data = unpacked(blocks(page)[f"lw-prompt-{prompt}"])
    return {module: {**views["views"][name], "data": data} for module, name in names.items()}


def parts(node: object) -> list[dict]:
    """All views of a tree of boxes."""
    if isinstance(node, list):
        return [part for inner in node for part in parts(inner)]
    if not isinstance(node, dict):
        return []
    own = [node] if node.get("module") else []
    return own + [part for inner in node.values() for part in parts(inner)]


def array(view: dict, name: str, message: int = 0) -> np.ndarray:
    sent = view["messages"][message]
    place = [spec["name"] for spec in sent["content"]["arrays"]].index(name)
    spec, (start, size) = sent["content"]["arrays"][place], sent["buffers"][place]
    return np.frombuffer(view["data"][start : start + size], spec["dtype"]).reshape(spec["shape"])


def test_the_page_holds_what_the_views_show(explorer: lw.Explorer, tmp_path: Path) -> None:
    path = explorer.to_html(tmp_path / "talk.html", title="A talk")
    assert path == tmp_path / "talk.html"
    page = path.read_text(encoding="utf-8")
    assert "<title>A talk</title>" in page
    head, _ = unpacked(blocks(page)["lw-head"])
    assert head["prompts"][0]["text"] == "abcde"
    assert head["prompts"][0]["place"] == {
        "layers": "1-2", "layer": 1, "head": 1, "position": 3, "token": None, "tokens": [],
    }  # fmt: skip
    views = shown(page, 0)
    lens = explorer.results["lens"]
    np.testing.assert_allclose(array(views["logit_lens_view"], "top_probs") / 65535, lens.top_probs, atol=1e-5)
    assert views["logit_lens_view"]["traits"]["components"] == []
    assert views["prompt_editor"]["traits"]["read_only"] is True
    assert views["status_line"]["traits"]["state"] == "recorded"
    assert set(views) == {
        "status_line", "prompt_editor", "layer_slider", "logit_lens_view", "attention_view", "recorded_figure",
    }  # fmt: skip


def test_every_head_of_every_layer_is_recorded_to_three_decimals(explorer: lw.Explorer, tmp_path: Path) -> None:
    view = shown(explorer.to_html(tmp_path / "talk.html").read_text(encoding="utf-8"), 0)["attention_view"]
    meta = view["messages"][0]["content"]["meta"]
    assert meta["layers"] == list(range(N_LAYERS))
    pattern = lw.Attention().run(explorer.model.trace("abcde")).pattern
    roots, steps = array(view, "roots").astype(float), array(view, "steps").astype(int) - 128
    near = (roots / 255) ** 2
    exact = np.where(steps == 0, near, (np.floor(near * 1000 + 0.5) + steps) / 1000)
    rows = [pattern[:, :, row, : row + 1].reshape(-1) for row in range(5)]
    expected = np.concatenate(rows)
    assert len(exact) == len(expected)
    assert [f"{value:.3f}" for value in exact] == [f"{value:.3f}" for value in expected]
    assert (steps != 0).any()
    assert np.abs(steps).max() <= 4


def test_curves_are_recorded_for_every_quantity_and_position(explorer: lw.Explorer, tmp_path: Path) -> None:
    traits = shown(explorer.to_html(tmp_path / "talk.html").read_text(encoding="utf-8"), 0)["recorded_figure"]["traits"]
    assert [name for name, _, _ in traits["quantities"]] == ["probability", "rank", "entropy", "kl"]
    assert {name: len(sheets) for name, sheets in traits["sheets"].items()} == dict.fromkeys(traits["sheets"], 5)
    entropy = explorer.results["lens"].entropy_nats
    for position, sheet in enumerate(traits["sheets"]["entropy"]):
        values = [float(value) for value in re.findall(r'data-value="([^"]+)"', sheet["svg"])]
        np.testing.assert_allclose(values, entropy[:, position], rtol=1e-5)
        assert "style=" not in sheet["svg"]
    assert explorer.curves.quantity == "probability"
    assert explorer.curves.driver.position == 3


def test_several_prompts_are_recorded_and_the_explorer_is_as_before(explorer: lw.Explorer, tmp_path: Path) -> None:
    explorer.tokens = [4]
    explorer.wait()
    before = (explorer.prompt, explorer.layers, explorer.selection, explorer.tokens, explorer.pages)
    explorer.to_html(tmp_path / "talk.html", prompts=["ab", "abcde", "fghijk"])
    page = (tmp_path / "talk.html").read_text(encoding="utf-8")
    head, _ = unpacked(blocks(page)["lw-head"])
    assert [prompt["text"] for prompt in head["prompts"]] == ["abcde", "ab", "fghijk"]
    assert [prompt["place"]["position"] for prompt in head["prompts"]] == [3, 1, 1]
    for place, text in enumerate(("abcde", "ab", "fghijk")):
        meta = shown(page, place)["logit_lens_view"]["messages"][0]["content"]["meta"]
        assert (meta["prompt"], meta["n_pos"]) == (text, len(text))
    assert (explorer.prompt, explorer.layers, explorer.selection, explorer.tokens, explorer.pages) == before
    assert explorer.lens_view._message[0]["meta"]["prompt"] == "abcde"
    assert explorer.results["attention"].layers == (1, 2)


def test_whoever_is_at_the_end_is_at_the_end_of_other_prompts(model: lw.HookedModel) -> None:
    explorer = lw.Explorer(model, "abc")
    head = page_recording(explorer, ["abcdef", "a"]).head
    assert [prompt["place"]["position"] for prompt in head["prompts"]] == [2, 5, 0]
    assert explorer.position == 2
    explorer.close()


def test_the_policy_allows_this_script_and_this_style_only(explorer: lw.Explorer) -> None:
    page = page_text(page_recording(explorer))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    assert not re.search(r"unsafe|blob:|https?:|\*", policy[1])
    for kind, opened in (("script", "<script>"), ("style", "<style>")):
        (text,) = re.findall(rf"{opened}(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy[1]
        assert not re.search(r"\beval\(|new Function|\bimport\(|fetch\(|XMLHttpRequest|WebSocket", text)
    outside = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(src|href)=|@import|url\(|https?://", outside)


def test_whatever_is_typed_stays_text(model: lw.HookedModel, tmp_path: Path) -> None:
    explorer = lw.Explorer(model, NASTY)
    page = explorer.to_html(tmp_path / "talk.html", title=NASTY).read_text(encoding="utf-8")
    explorer.close()
    assert "\u2028" not in page.split("</title>")[1]
    assert page.count("</script>") == page.count("<script")
    assert page.count("<script") == 3
    assert "<!--" not in page
    assert "a&lt;/script&gt;&lt;!--" in page
    head, _ = unpacked(blocks(page)["lw-head"])
    assert head["title"] == head["prompts"][0]["text"] == NASTY


def test_the_page_keeps_its_budget(explorer: lw.Explorer) -> None:
    page = page_text(page_recording(explorer))
    data = sum(map(len, blocks(page).values()))
    assert len(page) - data < 400_000


def test_pages_about_a_place_say_which(explorer: lw.Explorer) -> None:
    explorer.pages = ["lens", "neurons", "attribution", "residual", "depth"]
    explorer.wait()
    (prompt,) = page_recording(explorer).head["prompts"]
    assert prompt["about"] == {
        "lens": {},
        "residual": {},
        "depth": {},
        "neurons": {"layer": "all", "position": "all"},
        "attribution": {"layer": "some", "head": "some", "position": "all", "token": "all"},
    }
    explorer.lens_view.component = "head_out"
    assert explorer.standpoint is not None
    assert dependence(explorer.page("lens"), explorer.standpoint) == {"head": "some"}


def test_what_nobody_answers_is_left_out(explorer: lw.Explorer) -> None:
    explorer.pages = ["depth", "tuned", "attention"]
    explorer.wait()
    layout = Layout()
    pages = [layout.page(page) for page in explorer.stack.open_pages]
    assert {part["module"] for part in parts(pages)} == {
        "settle_strip", "recorded_figure", "position_loss_view", "logit_lens_view", "heat_grid", "rollout_view",
        "attention_view",
    }  # fmt: skip
    assert explorer.page("attention").rollout_view.recorded_traits()["can_hide"] is False
    skip = explorer.page("depth").skip
    (name,) = [name for name, figure in layout.figures.items() if figure is skip]
    assert name.startswith("figure")


def test_figures_about_another_prompt_are_blank(explorer: lw.Explorer) -> None:
    explorer.pages = ["depth"]
    explorer.wait()
    page = explorer.page("depth")
    page.skip.show(lw.SkipEffect(tuple(explorer.model.tokenize("abcde").ids.tolist())).run(explorer.model), "abcde")
    text = page_text(page_recording(explorer, ["fgh"]))
    sheets = []
    for prompt in range(2):
        views, _ = unpacked(blocks(text)[f"lw-prompt-{prompt}"])
        (skip,) = [one["traits"] for one in views["views"].values() if one["traits"].get("title") == "Skip effect"]
        sheets.append((bool(skip["sheets"]), skip["blank"]))
    assert sheets == [
        (True, "Not computed when this was recorded."), (False, "Not computed for this prompt when it was recorded."),
    ]  # fmt: skip


class OwnView(View):
    """A view with a module of its own."""

    _esm = 'const name = "own";\nexport default { render({ el }) { el.textContent = `${name}</p>`; } };'


def test_a_module_of_ones_own_goes_along(explorer: lw.Explorer) -> None:
    page = explorer.page("lens")
    page.below = (*page.below, OwnView())
    text = page_text(page_recording(explorer))
    assert 'recordedModules["OwnView"] = (() => {' in text
    assert "${name}<\\/p>" in text
    with pytest.raises(ValueError, match="only imports such as"):
        wrapped("far", 'import * as d3 from "https://d3js.org";\nexport default {};', "registry")


def test_json_holds_what_it_can() -> None:
    held = plain({"a": (1, np.float32(0.5)), "b": [float("nan"), np.int64(3)], 4: None})
    assert held == {"a": [1, 0.5], "b": [None, 3], "4": None}


@pytest.mark.parametrize(
    ("path", "prompts", "said"),
    [
        (".", [], "is a folder; name a file in it"),
        ("missing/talk.html", [], "There is no folder"),
        ("talk.html", "abc", "prompts is a list of texts"),
        ("talk.html", ["a" * 4000], "could not be recorded"),
    ],
)
def test_errors_say_what_to_do(explorer: lw.Explorer, tmp_path: Path, path: str, prompts: list[str], said: str) -> None:
    with pytest.raises(ExportError, match=said):
        write_html(explorer, tmp_path / path, prompts)
    assert explorer.prompt == "abcde"
    assert list(tmp_path.iterdir()) == []
    explorer.wait()


def test_without_a_prompt_there_is_nothing_to_record(model: lw.HookedModel, tmp_path: Path) -> None:
    explorer = lw.Explorer(model)
    with pytest.raises(ExportError, match="the explorer has no prompt"):
        explorer.to_html(tmp_path / "talk.html")
    explorer.to_html(tmp_path / "talk.html", prompts=["abc"])
    assert explorer.prompt == ""
    assert explorer.results == {}
    explorer.close()


def test_a_page_is_replaced_only_by_a_whole_one(
    explorer: lw.Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.html"
    path.write_text("before")

    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ExportError, match="could not be written: No space left on device"):
        explorer.to_html(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_writes_a_page(
    model: lw.HookedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lw, "load", lambda _source: model)
    path = tmp_path / "talk.html"
    assert main(["trace", "tiny", "abc", "de", "--html", str(path), "--layers", "1", "--pages", "lens,residual"]) == 0
    assert "2 prompts, " in capsys.readouterr().out
    head, _ = unpacked(blocks(path.read_text(encoding="utf-8"))["lw-head"])
    assert [page["name"] for page in head["pages"]] == ["lens", "residual"]
    assert head["prompts"][1]["place"]["layers"] == "1"
    assert main(["trace", "tiny", "abc", "--html", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert main(["trace", "tiny", "abc", "--html", str(path), "--pages", "lense"]) == 2
    assert "The open pages are one or more of lens" in capsys.readouterr().err
    assert main(["trace", "tiny", "abc", "--html", str(path), "--layers", "99"]) == 2
    assert "layerwidget: " in capsys.readouterr().err
    # What could not be made is given back without an error.
    gc.collect()
