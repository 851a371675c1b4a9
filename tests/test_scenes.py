"""Scenes: plain data in files, shown one after the other; what is wrong is said by number, title and key."""

from __future__ import annotations

import json
import threading
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import traitlets as t

import layerwidget as lw
from layerwidget.answering import Answering
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.presets import PRESETS, SCALES


def talk() -> lw.Scenes:
    return lw.Scenes(
        [
            lw.Scene("First", "What is there.", prompt="hello", layers="0-1", selection={"layer": 1, "position": 2}),
            lw.Scene("Second", prompt="worlds", pages=("residual",), selection=lw.Selection(2, 1, 5, 7), tokens=(7,)),
            lw.Scene(
                "Third", "Ünïcode: 東京", layers="all", pages=["lens"], interventions=(lw.SkipLayers("0"),),
                choices={"lens": {"colour": "kl"}},
            ),
        ]
    )  # fmt: skip


def place(explorer: lw.Explorer) -> tuple[Any, ...]:
    return explorer.prompt, explorer.layers, explorer.selection, explorer.tokens, explorer.pages


def test_scenes_are_shown_one_after_the_other(explorer: lw.Explorer) -> None:
    before = place(explorer)
    explorer.scenes = talk()
    assert explorer.scene is None
    assert place(explorer) == before
    explorer.scene = 0
    explorer.wait()
    assert place(explorer) == ("hello", "0-1", lw.Selection(1, 0, 2, None), [], ["lens"])
    assert len(explorer.results["lens"].token_ids) == 5
    explorer.scene = 1
    explorer.wait()
    # The layers of the first scene stay: the second one says nothing of them.
    assert place(explorer) == ("worlds", "0-1", lw.Selection(2, 1, 5, 7), [7], ["residual"])
    explorer.scene = 2
    explorer.wait()
    assert (explorer.layers, explorer.pages, explorer.prompt) == (f"0-{explorer.n_layers - 1}", ["lens"], "worlds")
    assert explorer.interventions == (lw.SkipLayers("0"),)
    assert explorer.lens_view.colour == "kl"
    assert explorer.scene == 2


def test_a_scene_is_shown_again_after_something_else(explorer: lw.Explorer) -> None:
    explorer.scenes = talk()
    explorer.scene = 0
    explorer.prompt, explorer.layers = "other", "2"
    explorer.scene = 0
    explorer.wait()
    assert (explorer.prompt, explorer.layers, explorer.layer) == ("hello", "0-1", 1)
    explorer.scene = None
    assert explorer.scene is None
    assert explorer.prompt == "hello"


def test_the_bar_leads_and_is_led(explorer: lw.Explorer) -> None:
    explorer.scenes = talk()
    assert explorer.scene_bar.words == [("First", "What is there."), ("Second", ""), ("Third", "Ünïcode: 東京")]
    explorer.scene_bar.scene = 1
    explorer.wait()
    assert (explorer.scene, explorer.prompt) == (1, "worlds")
    explorer.scenes = ()
    assert (explorer.scene_bar.words, explorer.scene) == ([], None)
    assert explorer.prompt == "worlds"
    explorer.scene_bar.layer = 1
    assert explorer.layer == 1


def test_what_is_wrong_with_a_scene_is_said_and_nothing_moves(explorer: lw.Explorer) -> None:
    explorer.scenes = lw.Scenes([lw.Scene("Good", prompt="abc"), lw.Scene("Bad", prompt="xyz", layers="77")])
    explorer.scene = 0
    explorer.wait()
    with pytest.raises(lw.SceneError, match=r"Scene 1 \('Bad'\) cannot be shown: layers cannot be '77'.*Nothing was"):
        explorer.scene = 1
    assert (explorer.scene, explorer.scene_bar.scene, explorer.prompt) == (0, 0, "abc")
    # A button cannot raise: it is said under the prompt.
    explorer.scene_bar.scene = 1
    assert (explorer.scene, explorer.prompt) == (0, "abc")
    assert "Scene 1 ('Bad')" in explorer.error_panel.message
    assert explorer.status.state == "fresh"
    explorer.scene = 0
    assert explorer.error_panel.message == ""


@pytest.mark.parametrize("number", [3, -1, True, "0", 1.0])
def test_there_are_only_so_many_scenes(explorer: lw.Explorer, number: Any) -> None:
    explorer.scenes = talk()
    with pytest.raises(lw.SceneError, match=rf"no scene {number!r}. The scenes are 0 to 2"):
        explorer.scene = number
    explorer.scenes = []
    with pytest.raises(lw.SceneError, match=r"there are none; set ex\.scenes"):
        explorer.scene = 0


def test_a_scene_keeps_its_place_where_an_empty_text_is_shown_late(
    model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed, shown = threading.Event(), Answering._show_empty

    def late(answering: Answering, texts: tuple[str, str]) -> None:
        assert placed.wait(60)
        shown(answering, texts)

    monkeypatch.setattr(Answering, "_show_empty", late)
    explorer = lw.Explorer(model, scenes=[lw.Scene("One", prompt="tokyo", selection=lw.Selection(position=3))])
    explorer.scene = 0
    placed.set()
    explorer.wait()
    assert explorer.position == 3
    explorer.close()


def test_what_is_shown_becomes_a_scene(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    explorer.prompt, explorer.layers, explorer.tokens = "tokyo", "1-2", [3, 4]
    explorer.pages = ["residual", "lens"]
    explorer.wait()
    explorer.selection = lw.Selection(1, 2, 3, 4)
    explorer.interventions = (lw.SkipLayers("0"),)
    explorer.page("residual").curves.quantity = "cosines"
    kept = explorer.add_scene("Here", "As it was.")
    assert explorer.scene == 0
    explorer.prompt = "other"
    explorer.add_scene("There")
    assert [one.title for one in explorer.scenes] == ["Here", "There"]
    assert explorer.scene == 1
    assert kept == explorer.scenes[0] == lw.Scene("Here", "As it was.", **kept.state)
    other = lw.Explorer(model, scenes=explorer.scenes)
    other.scene = 0
    other.wait()
    assert place(other) == ("tokyo", "1-2", lw.Selection(1, 2, 3, 4), [3, 4], ["residual", "lens"])
    assert other.interventions == (lw.SkipLayers("0"),)
    assert other.page("residual").curves.quantity == "cosines"
    assert lw.Scene.here(other, "Here", "As it was.").state == kept.state
    other.close()


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text("something older")
    talk().save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["talk.json"]
    assert lw.Scenes.load(path) == talk()
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["kind"], written["version"]) == ("layerwidget scenes", 1)
    assert written["scenes"][0] == {
        "title": "First", "caption": "What is there.", "prompt": "hello", "layers": "0-1",
        "selection": {"layer": 1, "position": 2},
    }  # fmt: skip
    assert written["scenes"][2]["interventions"] == [{"type": "SkipLayers", "layers": "0"}]
    assert "東京" in path.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.json"
    talk().save(path)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        lw.Scenes().save(path)
    assert lw.Scenes.load(path) == talk()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no scenes"),
        ('{"kind": "other", "version": 1, "scenes": []}', "holds no scenes"),
        ('{"kind": "layerwidget scenes", "version": 2, "scenes": []}', "has version 2; expected 1"),
        ('{"kind": "layerwidget scenes", "version": 1, "scenes": [{"caption": "x"}]}', "Scene 0 is .*with a title"),
        (
            '{"kind": "layerwidget scenes", "version": 1, "scenes": [{"title": "a"}, {"title": "b", "layer": 3}]}',
            r"Scene 1 \('b'\) has no 'layer'. A scene has: title, caption, prompt",
        ),
        (
            '{"kind": "layerwidget scenes", "version": 1, "scenes": [{"title": "a", "layers": 3}]}',
            "layers of the scene 'a' is 3; expected text",
        ),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "talk.json"
    path.write_text(text)
    with pytest.raises(lw.SceneError, match=said):
        lw.Scenes.load(path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": 3}, "prompt of the scene 'x' is 3; expected text"),
        ({"pages": "lens"}, "pages of the scene 'x' is 'lens'; expected a list"),
        ({"selection": 3}, "selection of the scene 'x' is 3; expected an object"),
        ({"interventions": 3}, "interventions of the scene 'x' is 3; expected a list"),
        ({"choices": {"lens": {"colour": object}}}, "choices of the scene 'x' cannot be JSON"),
        ({"choices": {"lens": {"colour": float("nan")}}}, "choices of the scene 'x' cannot be JSON"),
    ],
)
def test_a_wrong_scene_says_what_is_wrong(given: dict[str, Any], said: str) -> None:
    with pytest.raises(lw.SceneError, match=said):
        lw.Scene("x", **given)


def test_scenes_are_a_frozen_sequence() -> None:
    scenes = talk()
    choices = {"lens": {"colour": "kl"}}
    scene = lw.Scene("x", choices=choices)
    choices["lens"]["colour"] = "entropy"
    scene.state["choices"]["lens"]["colour"] = "plain"
    assert scene.state == {"choices": {"lens": {"colour": "kl"}}}
    with pytest.raises(FrozenInstanceError):
        scene.title = "y"  # type: ignore[misc]
    assert (len(scenes), scenes[1].title, scenes[1:][0].title) == (3, "Second", "Second")
    assert [one.title for one in lw.Scenes([*scenes, scene])] == ["First", "Second", "Third", "x"]
    assert scenes == talk()
    assert scenes != scenes[:2]
    assert repr(scenes) == "Scenes:\n  0  First\n  1  Second\n  2  Third"
    with pytest.raises(lw.SceneError, match=r"Scene 1 is 'no'; expected a layerwidget\.Scene"):
        lw.Scenes([scene, "no"])  # type: ignore[list-item]


def figures(explorer: lw.Explorer) -> set[float]:
    parts = [part for page in explorer.stack.made_pages for part in vars(page).values()]
    return {part.scale for part in parts if isinstance(part, LayerFigure)}


def test_a_preset_is_worn_by_all_pages_and_taken_off(explorer: lw.Explorer) -> None:
    assert explorer.preset == PRESETS[0] == "explore"
    plain = explorer.curves.figure.fig_margin
    explorer.preset = "talk"
    explorer.pages = ["depth"]
    assert "lw-talk" in explorer._dom_classes
    assert figures(explorer) == {SCALES["talk"]} == {1.6}
    assert explorer.curves.figure.fig_margin == {side: pytest.approx(1.6 * px) for side, px in plain.items()}
    assert explorer.curves.lines.stroke_width == pytest.approx(3.2)
    explorer.preset = "paper"
    assert {"lw-paper", "lw-talk"} & set(explorer._dom_classes) == {"lw-paper"}
    explorer.preset = "explore"
    assert not {"lw-paper", "lw-talk"} & set(explorer._dom_classes)
    assert figures(explorer) == {1.0}
    assert explorer.curves.figure.fig_margin == plain
    with pytest.raises(t.TraitError, match="preset"):
        explorer.preset = "huge"


def test_an_explorer_begins_with_preset_and_scenes(model: lw.HookedModel) -> None:
    explorer = lw.Explorer(model, preset="talk", scenes=talk())
    assert "lw-talk" in explorer._dom_classes
    assert (len(explorer.scenes), explorer.scene) == (3, None)
    explorer.close()
