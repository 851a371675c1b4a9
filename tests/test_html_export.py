"""The exported page: all that is recorded is in it and nothing else is needed; the explorer stays as it was."""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest
from playwright._impl._driver import compute_driver_executable

import layerwidget as lw
from layerwidget.analysis import logit_lens
from layerwidget.cli import main
from layerwidget.engine.kept import KeptAnswers
from layerwidget.errors import ExportError
from layerwidget.export.html import page_text, write_html
from layerwidget.export.layout import Layout
from layerwidget.export.levels import Rows, grouped, levels_of
from layerwidget.export.packing import Buffers, array_at, plain, unpacked
from layerwidget.export.page_recording import dependence, page_recording
from layerwidget.tokens import Tokens
from layerwidget.widgets import esm
from layerwidget.widgets.base import View
from layerwidget.widgets.esm import wrapped
from layerwidget.widgets.state import restore
from tests.tiny import N_LAYERS, letters, tiny

LONG = (
    "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of Rome, where many people go to see"
    " it. When Mary and John went to the store, John gave a drink to Mary, and then they went home to watch a film"
    " about the old city and its people, which they had seen before, but they liked it all the same."
)
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


def place_of(view: dict, name: str) -> list[int]:
    sent = view["messages"][0]
    return sent["buffers"][[spec["name"] for spec in sent["content"]["arrays"]].index(name)]


def array(view: dict, name: str, message: int = 0) -> np.ndarray:
    sent = view["messages"][message]
    place = [spec["name"] for spec in sent["content"]["arrays"]].index(name)
    spec = sent["content"]["arrays"][place]
    return array_at(sent["buffers"][place], view["data"], spec["dtype"]).reshape(spec["shape"])


_READ = """
import { readFileSync } from "node:fs";
const { unpackRecording } = await import(process.argv[2]);
const { views } = await unpackRecording(readFileSync(process.argv[3], "ascii"));
const messages = Object.values(views).flatMap((view) => view.messages ?? []);
const hex = ({ buffer }) => Buffer.from(buffer).toString("hex");
const arrays = messages.map(({ content, buffers }) => content.arrays.map(({ name }, at) => [name, hex(buffers[at])]));
console.log(JSON.stringify(arrays.map(Object.fromEntries)));
"""


def read_by_the_page(block: str, folder: Path) -> list[dict[str, bytes]]:
    """The arrays of all messages of a block, by the page's own code."""
    node, _driver = compute_driver_executable()
    (folder / "read.mjs").write_text(_READ)
    (folder / "block").write_text(block)
    module = (Path(esm.__file__).parent / "js/recording.js").as_uri()
    run = subprocess.run(
        [node, folder / "read.mjs", module, folder / "block"], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return [{name: bytes.fromhex(data) for name, data in one.items()} for one in json.loads(run.stdout)]


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
    said = array(views["logit_lens_view"], "top_probs")
    assert [f"{one / 1000:.3f}" for one in said.flat] == [f"{one:.3f}" for one in lens.top_probs.flat]
    assert views["logit_lens_view"]["traits"]["components"] == []
    assert views["prompt_editor"]["traits"]["read_only"] is True
    assert views["status_line"]["traits"]["state"] == "recorded"
    assert set(views) == {
        "status_line", "prompt_editor", "layer_slider", "logit_lens_view", "attention_view", "recorded_figure",
    }  # fmt: skip


def test_every_head_of_every_layer_is_recorded_to_three_decimals(explorer: lw.Explorer, tmp_path: Path) -> None:
    page = explorer.to_html(tmp_path / "talk.html").read_text(encoding="utf-8")
    meta = shown(page, 0)["attention_view"]["messages"][0]["content"]["meta"]
    assert meta["layers"] == list(range(N_LAYERS))
    assert meta["focus_key"] == ""
    pattern = lw.Attention().run(explorer.model.trace("abcde")).pattern
    read = read_by_the_page(blocks(page)["lw-prompt-0"], tmp_path)
    (held,) = [arrays for arrays in read if "roots" in arrays]
    roots = np.frombuffer(held["roots"], np.uint8).astype(float)
    steps = np.frombuffer(held["steps"], np.uint8).astype(int) - 128
    near = (roots / 255) ** 2
    exact = np.where(steps == 0, near, (np.floor(near * 1000 + 0.5) + steps) / 1000)
    rows = [pattern[:, :, row, : row + 1].reshape(-1) for row in range(5)]
    expected = np.concatenate(rows)
    assert len(exact) == len(expected)
    assert [f"{value:.3f}" for value in exact] == [f"{value:.3f}" for value in expected]
    assert (steps != 0).any()
    # The colours of the rest are what they were, to 3 of 255.
    np.testing.assert_allclose(roots, np.sqrt(expected) * 255, atol=3)


def test_curves_are_recorded_for_every_quantity_and_position(explorer: lw.Explorer, tmp_path: Path) -> None:
    view = shown(explorer.to_html(tmp_path / "talk.html").read_text(encoding="utf-8"), 0)["recorded_figure"]
    traits = view["traits"]
    assert [name for name, _, _ in traits["quantities"]] == ["probability", "rank", "entropy", "kl", "jsd"]
    assert {name: len(sheets) for name, sheets in traits["sheets"].items()} == dict.fromkeys(traits["sheets"], 5)
    entropy = explorer.results["lens"].entropy_nats
    np.testing.assert_array_equal(array(view, "values entropy"), entropy[None])
    np.testing.assert_array_equal(array(view, "values rank"), explorer.results["lens"].final_ranks[None] + 1)
    for position, sheet in enumerate(traits["sheets"]["entropy"]):
        frame = traits["frames"][sheet["frame"]]
        (top,) = re.findall(r'data-high="([^"]+)"', frame)
        assert float(top) == pytest.approx(max(1, 1.05 * entropy[:, position].max()), rel=1e-4)
        assert "data-value" not in frame
        assert "style=" not in frame
    # Python's lens view and figure hold the same numbers: they are in the page once.
    lens = shown((tmp_path / "talk.html").read_text(encoding="utf-8"), 0)["logit_lens_view"]
    assert place_of(view, "values entropy") == place_of(lens, "entropy_nats")
    assert explorer.curves.quantity == "probability"
    assert explorer.curves.driver.position == 3


def test_in_a_talk_figures_are_drawn_as_large_as_their_place(explorer: lw.Explorer, tmp_path: Path) -> None:
    explorer.curves.talk_size = (123, 145)
    sizes = []
    for preset in ("explore", "talk"):
        explorer.preset = preset
        page = explorer.to_html(tmp_path / "talk.html").read_text(encoding="utf-8")
        frames = shown(page, 0)["recorded_figure"]["traits"]["frames"]
        sizes.append({re.search(r'viewBox="0 0 (\d+) (\d+)"', frame).groups() for frame in frames})
    assert sizes == [{("250", "270")}, {("123", "145")}]


def test_the_words_that_the_model_says_next_are_known_in_every_layer(explorer: lw.Explorer, tmp_path: Path) -> None:
    explorer.tokens = [4, 9]
    explorer.wait()
    page = explorer.to_html(tmp_path / "talk.html").read_text(encoding="utf-8")
    assert explorer.results["lens"].followed_ids is None
    views = shown(page, 0)
    lens = lw.LogitLens(k=10, tokens=(4, 9), follow=10).run(explorer.model.trace("abcde"))
    assert views["logit_lens_view"]["traits"]["recorded"] is True
    assert views["logit_lens_view"]["traits"]["pinnable"] is True
    np.testing.assert_array_equal(array(views["logit_lens_view"], "followed_ids"), lens.top_ids[-1])
    for name in ("logit_lens_view", "recorded_figure"):
        np.testing.assert_array_equal(array(views[name], "followed_ranks"), lens.followed_ranks)
        said = [f"{one / 1000:.3f}" for one in array(views[name], "followed_probs").flat]
        assert said == [f"{one:.3f}" for one in np.exp(lens.followed_log_probs).flat]
        np.testing.assert_array_equal(array(views[name], "token_ranks"), lens.token_ranks)
    words = views["recorded_figure"]["traits"]["words"]
    assert words["tokens"] == [4, 9]
    assert set(words["visible"]) == {str(token) for token in {4, 9, *lens.followed_ids.ravel().tolist()}}
    # Without pinned words, the model's own answer is drawn.
    np.testing.assert_allclose(array(views["recorded_figure"], "values probability"), lens.final_probs[None], rtol=1e-5)
    read = read_by_the_page(blocks(page)["lw-prompt-0"], tmp_path)
    (seen,) = [one for one in read if "top_probs" in one]
    shares = np.frombuffer(seen["top_probs"], np.uint16).reshape(lens.top_probs.shape) / 65535
    # Three digits are kept.
    np.testing.assert_allclose(shares, lens.top_probs, rtol=0, atol=0.0005 + 1 / 65535)
    entropies = np.frombuffer(seen["entropy_nats"], np.float32)
    np.testing.assert_allclose(entropies, lens.entropy_nats.ravel(), rtol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_levels_come_back_in_their_order(causal: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = Rows(7, 7 if causal else 5, causal, 3)
    weights = rng.random((7, 3, rows.keys)) ** 6
    weights[3] = 1.0
    cells = np.concatenate([weights[row, :, :length].ravel() for row, length in enumerate(rows.lengths())])
    roots = np.rint(np.sqrt(cells) * 255).astype(np.uint8)
    exact = np.floor(cells.astype(np.float32).astype(float) * 1000 + 0.5)
    near = np.floor(((roots / 255) ** 2).astype(np.float32).astype(float) * 1000 + 0.5)
    steps = (exact - near + 128).astype(np.uint8)
    buffers = Buffers()
    data, counts = grouped(levels_of(roots, steps), rows)
    assert sum(counts) == len(cells)
    assert np.count_nonzero(counts) > 8
    message = {
        "content": {"arrays": [{"name": name, "dtype": "uint8"} for name in ("roots", "steps")]},
        "buffers": [None, None],
        "levels": {**asdict(rows), "place": buffers.add(data), "counts": counts},
    }  # fmt: skip
    (read,) = read_by_the_page(buffers.packed({"views": {"a": {"messages": [message]}}}), tmp_path)
    colours, moved = (np.frombuffer(read[name], np.uint8).astype(int) for name in ("roots", "steps"))
    weight = ((colours / 255) ** 2).astype(np.float32).astype(float)
    np.testing.assert_array_equal(np.floor(weight * 1000 + 0.5) + moved - 128, exact)
    np.testing.assert_array_equal(colours[exact == 0], np.minimum(roots[exact == 0], 5))


def test_what_is_held_twice_takes_its_room_once() -> None:
    buffers = Buffers()
    first, other, again = (
        buffers.add(np.asarray(one, np.uint16).tobytes(), 2) for one in ([1, 2, 770], [3], [1, 2, 770])
    )
    assert (first, other, again) == ([0, 6], [6, 2], [0, 6])
    head, arrays = unpacked(buffers.packed({"a": "<&"}))
    assert head == {"a": "<&"}
    np.testing.assert_array_equal(array_at(first, arrays, "uint16"), [1, 2, 770])


def test_a_page_of_64_tokens_keeps_its_budget(demo_model: lw.HookedModel) -> None:
    ids = demo_model.tokenize(LONG).ids[:64]
    assert len(ids) == 64
    explorer = lw.Explorer(demo_model, demo_model.tokenizer.decode(ids), layers="18-29")
    explorer.wait(300)
    assert len(explorer.results["lens"].token_ids) == 64
    recorded = page_recording(explorer)
    explorer.close()
    (block,) = recorded.blocks
    assert len(block) < 600_000
    assert len(page_text(recorded)) < 1_500_000


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


@pytest.mark.parametrize("roomy", [True, False])
def test_coming_back_computes_nothing(explorer: lw.Explorer, roomy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the last prompt without what is recorded besides, nor what was shown, even where no cache has held it."""
    if not roomy:
        explorer._answering.live._recent = KeptAnswers(1)
    explorer.tokens = [4]
    explorer.wait()
    computed: list[tuple[int, int]] = []
    updates: list[str] = []
    answers, update = lw.LogitLens.answers, explorer._answering.live.update

    def counted(question: lw.LogitLens, trace: lw.Trace, *others: Any) -> Any:
        computed.append((question.follow, len(trace.tokens)))
        return answers(question, trace, *others)

    def noted(tokens: Tokens, *questions: Any, **told: Any) -> Any:
        updates.append(f"{len(tokens)}: {max(getattr(one, 'follow', 0) for one in questions)}")
        return update(tokens, *questions, **told)

    def unheard(one: lw.Explorer, state: Any) -> None:
        asked = one._answering.turns.asked
        restore(one, state)
        assert one._answering.turns.asked == asked
        restored.append(state["prompt"])

    restored: list[str] = []
    monkeypatch.setattr("layerwidget.explorer.restore", unheard)
    monkeypatch.setattr(lw.LogitLens, "answers", counted)
    monkeypatch.setattr(explorer._answering.live, "update", noted)
    views = (explorer.lens_view, explorer.attention_view)
    before = [one.recorded_messages()[0] for one in views]
    results, state, work = explorer.results, explorer.state, explorer.status.work
    page_recording(explorer, ["ab", "fghijkl"])
    assert restored == ["abcde"]
    assert computed[0] == (10, 5)
    assert set(computed) == {(10, 5), (10, 2), (10, 7)}
    # The last one is the way back, and no other asks for a lens that is not recorded.
    assert [one for one in updates if one.endswith(": 0")] == updates[-1:] == ["5: 0"]
    for view, (content, buffers) in zip(views, before, strict=True):
        (again, same), *_ = view.recorded_messages()
        assert again | {"revision": 0} == content | {"revision": 0}
        assert same == buffers
    assert {name: id(one) for name, one in explorer.results.items()} == {name: id(one) for name, one in results.items()}
    assert explorer.state == state
    # Once more, when there is nothing else to do, as after every answer.
    explorer._answering._tidy()
    assert explorer.status.work == work
    assert explorer._answering.live._kept == {}


def test_an_export_that_fails_leaves_the_status_line_as_it_was(explorer: lw.Explorer) -> None:
    work = explorer.status.work
    with pytest.raises(lw.ExportError, match="could not be recorded"):
        page_recording(explorer, ["ab", "a" * 65])
    explorer._answering._tidy()
    assert (explorer.prompt, explorer.status.work) == ("abcde", work)


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


def test_controls_that_a_page_has_not_are_named_with_what_they_are_set_to(explorer: lw.Explorer) -> None:
    page = explorer.page("compare")
    hidden = ipywidgets.Text("unseen", layout={"display": "none"})
    extra = ipywidgets.FloatSlider(0.5, description="strength")
    page.below = (*page.below, ipywidgets.HBox([extra, hidden]), ipywidgets.Button(description="again"))
    explorer.pages = ["compare"]
    explorer.wait()
    told = page_recording(explorer).head["left_out"]
    assert {"strength: 0.5", "again", "compare: Lens and stream"} <= set(told)
    assert not any("unseen" in one for one in told)


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


def test_nothing_is_computed_only_to_put_the_page_back(explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    cells = logit_lens.lens_cells

    def counted(question: lw.LogitLens, *rest: object) -> object:
        decoded.append(question.follow)
        return cells(question, *rest)

    monkeypatch.setattr(logit_lens, "lens_cells", counted)
    followed: list[tuple[int, str]] = []
    explorer.page("lens").observe(lambda change: followed.append((change["new"], explorer.prompt)), "follow")
    before, results = explorer.lens_view.shown, explorer.results
    page_recording(explorer, ["ab", "fghijk"])
    assert followed == [(10, "abcde"), (0, "abcde")]
    assert set(decoded) == {10}
    after = explorer.lens_view.shown
    assert (explorer.prompt, after.meta) == ("abcde", before.meta)
    assert all(np.array_equal(after.arrays[name], array) for name, array in before.arrays.items())
    assert explorer.results["lens"] is results["lens"]
