"""Answers in files: they come back as they were, hostile files do nothing, and views show them without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import layerwidget as lw
from layerwidget.errors import LayerWidgetError
from layerwidget.export.replay import placed
from layerwidget.plain import packed, registered, unpacked
from layerwidget.questions.attention_flow import AllHeadScores
from layerwidget.recording import recorded
from layerwidget.widgets.pages import PAGES
from tests.every_answer import TRACE_QUESTIONS, kinds_in_questions, one_of_each
from tests.tiny import letters, tiny


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return type(one) is type(other) and (one == other or one != one)


@pytest.mark.parametrize("name", one_of_each())
def test_every_answer_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    answer = one_of_each()[name]
    lw.save(tmp_path / "file", here=answer)
    found = lw.read(tmp_path / "file").answers["here"]
    assert same(answer, found)
    for one in vars(found).values() if not isinstance(found, tuple) else ():
        assert not isinstance(one, np.ndarray) or not one.flags.writeable


def test_every_question_comes_back_as_it_was() -> None:
    asked: list[Any] = [
        *TRACE_QUESTIONS.values(), lw.CrossAttention(), lw.SkipEffect((1, 2)), lw.HeadScores(), AllHeadScores(),
        lw.TrainTunedLens(("a", (3, 4))), lw.SkipLayers("1"), lw.LogitLens((0, 2)),
    ]  # fmt: skip
    assert {type(one) for one in asked} >= kinds_in_questions(is_question=True) - {lw.TunedLens}
    for one in asked:
        assert unpacked(json.loads(json.dumps(packed(one, lambda value, at: None)))) == one


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2.5, float("nan"), float("-inf"), "ü\ud83d\n", (1, (2, "x")), [1, [2]], {1: "a", "b": (None,)}],
)
def test_plain_values_come_back(value: Any) -> None:
    found = unpacked(json.loads(json.dumps(packed(value, lambda value, at: None), allow_nan=False)))
    assert same(value, found) or value == found


def test_own_types_are_registered() -> None:
    class Side(Enum):
        LEFT = "l"

    @dataclass(frozen=True)
    class Mine:
        side: int
        other: float = 0.5

    with pytest.raises(lw.RecordingError, match="Register it"):
        packed(Mine(2), lambda value, at: None)
    registered(Mine)
    registered(Side)
    assert unpacked(packed((Mine(2), Side.LEFT), lambda value, at: None)) == (Mine(2), Side.LEFT)
    with pytest.raises(TypeError, match="frozen dataclass"):
        registered(dict)

    @dataclass(frozen=True)
    class LensGrid:
        a: int

    with pytest.raises(TypeError, match="taken"):
        registered(LensGrid)


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"type": "Popen", "args": ["ls"]}, "'Popen' is not known"),
        ({"type": "LogitLens", "layers": "all", "shell": 1}, "no field shell"),
        ({"type": "LogitLens", "k": 0}, "k >= 1"),
        ({"type": "LogitLens", "k": "many"}, "k is 'many'"),
        ({"type": "LogitLens", "k": True}, "k is True"),
        ({"type": "LensGrid"}, "missing"),
        ({"type": "array", "name": "x"}, "array where none"),
        ({"type": "map", "items": [[[1], 2]]}, "keys of a map"),
        ({"type": "map", "items": [[1, 2, 3]]}, "list of items"),
        ({"type": "float", "value": "1"}, "'1' is not known"),
        ({"no": "type"}, "says its type"),
    ],
)
def test_what_is_wrong_is_named(plain: Any, words: str) -> None:
    with pytest.raises(lw.RecordingError, match=words):
        unpacked(plain)


def rewritten(path: Path, change: Any) -> None:
    with safe_open(path, "np") as file:
        said = json.loads(file.metadata()["layerwidget"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    change(said, arrays)
    save_file(arrays, path, metadata={"layerwidget": json.dumps(said)})


def lens_of(said: Any) -> Any:
    return said["content"]["prompts"][0]["answers"]["items"][0][1]


def resized(said: Any, arrays: dict[str, np.ndarray]) -> None:
    name = next(name for name in arrays if name.endswith("entropy_nats"))
    arrays[name] = arrays[name][:, :-1].copy()


def strange_token(said: Any, arrays: dict[str, np.ndarray]) -> None:
    name = next(name for name in arrays if name.endswith("top_ids"))
    arrays[name] = arrays[name] + 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said, arrays: said.update(version=2), "version 2"),
        (lambda said, arrays: said.update(kind="trace"), "load_trace"),
        (lambda said, arrays: said.update(content=3), "no recording"),
        (lambda said, arrays: said["content"].update(prompts=[]), "answers to record"),
        (lambda said, arrays: arrays.clear(), "does not hold"),
        (lambda said, arrays: lens_of(said).update(n_layers=1), "not ascending numbers"),
        (lambda said, arrays: lens_of(said).update(top_probs=[0.1]), "top_probs is"),
        (resized, "places along pos"),
        (strange_token, "no piece"),
    ],
)
def test_damaged_files_are_refused(change: Any, words: str, tmp_path: Path) -> None:
    lw.save(tmp_path / "file", one_of_each()["lens"])
    lw.read(tmp_path / "file")
    rewritten(tmp_path / "file", change)
    with pytest.raises(lw.RecordingError, match=words):
        lw.replay(tmp_path / "file")


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"\x80\x04\x95pickle", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(lw.RecordingError, match="cannot be read"):
            lw.read(path)
    save_file({"a": np.zeros(2, np.float32)}, path)
    with pytest.raises(lw.RecordingError, match="not written by layerwidget"):
        lw.read(path)
    save_file({"a": np.zeros(2)}, path, metadata={"layerwidget": "[" * 100_000})
    with pytest.raises(lw.RecordingError, match="cannot be read"):
        lw.read(path)
    with pytest.raises(lw.RecordingError, match="There is no file"):
        lw.read(tmp_path / "nowhere")


def test_answers_about_one_prompt_belong_together() -> None:
    found = one_of_each()
    model = lw.HookedModel(tiny("llama"), name="tiny llama")
    other = lw.LogitLens().run(model.trace([3, 4]))
    several = recorded(found["lens"], other, attention=found["attention"], scores=found["all_scores"])
    assert len(several.prompts) == 2
    first, second = several.prompts
    assert set(first.answers) == {"LensGrid 0", "attention", "scores"}
    assert set(second.answers) == {"LensGrid 1", "scores"}
    assert second.prompt == "#3 #4"
    assert several.model_name == "tiny llama"
    with pytest.raises(lw.RecordingError, match="answers to record"):
        recorded()
    with pytest.raises(lw.RecordingError, match="one model"):
        recorded(found["lens"], lw.LogitLens().run(lw.HookedModel(tiny("gpt2"), name="b").trace([1])))


def test_every_answer_has_a_view_that_draws_it() -> None:
    found = one_of_each()
    drawn = {kind for page in PAGES for kinds in page.draws.values() for kind in kinds}
    undrawn = {type(one) for one in found.values() if not isinstance(one, tuple)} - drawn
    # One quantity of a difference, and which columns it has, come with the difference; so do all neurons of a place.
    assert undrawn == {lw.Compared, lw.Alignment, lw.ActivationGrid}
    names = [name for page in PAGES for name in page.draws]
    assert len(set(names)) == len(names)


def test_unnamed_answers_find_their_place() -> None:
    found = one_of_each()
    answers = {str(place): found[name] for place, name in enumerate(["emergence", "attention", "settle", "weighted"])}
    there = placed(answers)
    assert there["emergence"] is found["emergence"]
    assert there["settle_depth"] is found["settle"]
    assert there["attention"] is found["attention"]
    assert there["heads"] is found["weighted"]
    assert set(placed({"a": found["lens"], "b": found["head_lens"]})) == {"lens"}
    assert placed({"tuned_lens": found["head_lens"], "b": found["lens"]})["tuned_lens"] is found["head_lens"]


@pytest.fixture
def replayed(tmp_path: Path) -> Any:
    found = {
        name: one for name, one in one_of_each().items() if name not in ("cross", "compared", "aligned", "experts")
    }
    lw.save(tmp_path / "file", *found.values())
    widget = lw.replay(tmp_path / "file")
    yield widget
    widget.close()


def test_a_replay_draws_all_and_links_it(replayed: lw.Replay) -> None:
    found = one_of_each()
    assert replayed.stack.shown == [
        "lens", "tuned", "residual", "attention", "attribution", "neurons", "depth", "compare",
    ]  # fmt: skip
    views = [view for page in replayed.stack.made_pages for view in page.views]
    assert {view.group for view in views} == {replayed.group}
    assert all(page.requests[0].bar.layout.display == "none" for page in replayed.stack.made_pages if page.requests)
    view = replayed.page("lens").lens_view
    view.layer, view.position = 1, 3
    assert {(one.layer, one.position) for one in views} == {(1, 3)}
    replayed.layers = "0-1"
    assert replayed.slider.value == (0, 1)
    sent = view._message
    assert sent[0]["meta"]["layers"] == [0, 1, 2]
    entropy = next(i for i, one in enumerate(sent[0]["arrays"]) if one["name"] == "entropy_nats")
    np.testing.assert_array_equal(np.frombuffer(sent[1][entropy], np.float32), found["lens"].entropy_nats.ravel())
    assert replayed.page("depth").skip.shown is not None
    assert replayed.page("depth").skip in replayed.page("depth").below[1].children
    # There is one place for a lens, and one for scores; all neurons of a place are there to be compared.
    assert {name.partition(" ")[0] for name in replayed.left_out} == {"LensGrid", "tuple", "ActivationGrid"}
    assert "LensGrid" in replayed.status.work


def test_prompts_are_switched(tmp_path: Path) -> None:
    model = lw.HookedModel(tiny("llama"), letters(), "tiny")
    explorer = lw.Explorer(model, "abc", pages=["lens", "map", "depth"], layers="1-2")
    explorer.wait()
    explorer.lens_view.colour = "entropy"
    explorer.save(tmp_path / "file", prompts=["abcd", "zyx"])
    explorer.wait()
    assert explorer.prompt == "abc"
    shown = explorer.page("lens").lens_view
    replayed = lw.replay(tmp_path / "file")
    assert replayed.stack.shown == ["lens", "depth", "map"]
    # Nobody had asked what is lost without a layer: there is no empty figure for it.
    depth = replayed.page("depth")
    assert depth.skip not in depth.below[1].children
    assert depth.influence in depth.below[1].children
    assert replayed.answers["lens"].token_ids.tolist() == [0, 1, 2, 3]
    view = replayed.page("lens").lens_view
    assert (view.layers, view.colour, view.position) == (shown.layers, "entropy", 3)
    replayed.chooser.value = 1
    assert replayed.answers["lens"].token_ids.tolist() == [25, 24, 23]
    assert view._message[0]["meta"]["prompt_visible"] == ["z", "y", "x"]
    assert view.position == 2
    assert replayed.recording.prompts[1].questions["lens"] == lw.LogitLens(k=10)
    with pytest.raises(LayerWidgetError, match="2 are recorded"):
        replayed.prompt_index = 2
    explorer.close()
    replayed.close()


def test_what_nothing_draws_is_refused(tmp_path: Path) -> None:
    lw.save(tmp_path / "file", one_of_each()["aligned"])
    with pytest.raises(lw.RecordingError, match="No view draws"):
        lw.replay(tmp_path / "file")


_WITHOUT_TORCH = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocked())
import layerwidget as lw
widget = lw.replay(sys.argv[1])
shown = list(widget.stack.shown)
widget.page("lens").attention_view.head = 2
widget.layers = "1-2"
assert widget.page("lens").lens_view.layers == "1-2"
lens = lw.read(sys.argv[1]).answers["lens"]
assert lens.to_pandas().shape[0] and lens.to_xarray().sizes["layer"] == 3
for package in ("widgets", "export", "questions"):
    found = importlib.import_module(f"layerwidget.{package}")
    for module in pkgutil.iter_modules(found.__path__):
        importlib.import_module(f"layerwidget.{package}.{module.name}")
assert not any(name.partition(".")[0] in ("torch", "transformers") for name in sys.modules)
print(",".join(shown))
"""


def test_a_file_is_shown_where_torch_is_not_installed(tmp_path: Path) -> None:
    found = one_of_each()
    lw.save(
        tmp_path / "file",
        found["residual"], found["neurons"], found["rollout"], found["attribution"], found["settle"],
        found["emergence"], found["lens_difference"], found["moved"],
        lw.HookedModel(tiny("llama")).anatomy.map, lens=found["lens"], attention=found["attention"],
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(tmp_path / "file")],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "lens,residual,attention,attribution,neurons,depth,compare,map"
