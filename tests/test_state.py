"""The state of an explorer as JSON: everything that was chosen comes back, in another session, too."""

from __future__ import annotations

import json
from typing import Any

import pytest
import traitlets as t

import layerwidget as lw
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.presets import SCALES

#: A value other than the first one, of every choice of every page.
CHOSEN: dict[str, dict[str, Any]] = {
    "lens": {"colour": "kl", "component": "attn_out", "show_heads": "max", "hide_first": False, "quantity": "entropy"},
    "tuned": {"colour": "entropy", "quantity": "probability", "text": "abc", "epochs": 2, "max_positions": 99},
    "residual": {"sheet": "error", "quantity": "cosines"},
    "attention": {
        "sheet": "sink share", "rollout_hide_first": False, "quantity": "value-weighted", "show_heads": "mean",
        "hide_first": False, "arcs": False,
    },
    "attribution": {"minus": 7},
    "neurons": {"neuron": 3},
    "depth": {"n": 2, "k": 4, "influence": "log", "skip": "loss"},
    "compare": {
        "prompt": "abcx", "component": "mlp_out", "about": "neurons", "quantity": "value-weighted", "mode": "both",
        "sheet": "contribution", "jsd": True, "n": 2, "hide_first": True,
    },
}  # fmt: skip


def state() -> dict[str, Any]:
    return {
        "version": 1,
        "model": "tiny",
        "prompt": "hello",
        "extrapolate": True,
        "layers": "1-2",
        "selection": {"layer": 1, "head": 2, "position": 3, "token": 7},
        "tokens": [7, 9],
        "pages": ["residual", "lens", "tuned", "attention", "attribution", "neurons", "depth", "compare"],
        "interventions": [{"type": "SkipLayers", "layers": "0"}],
        "preset": "talk",
        "choices": CHOSEN,
    }


def test_every_page_says_what_its_state_is() -> None:
    assert {kind.page_name: set(kind.choices) for kind in PAGES if kind.choices} == {
        name: set(chosen) for name, chosen in CHOSEN.items()
    }


def test_everything_comes_back(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    first, first_scale = explorer.state, explorer.curves.scale
    assert all(
        first["choices"].get(name, {}).get(key) != value for name in CHOSEN for key, value in CHOSEN[name].items()
    )
    wanted = json.loads(json.dumps(state()))
    explorer.state = wanted
    explorer.wait()
    assert explorer.state == wanted
    assert explorer.results["lens"].component == "attn_out"
    assert explorer.results["heads"].quantity == "value-weighted"
    assert explorer.interventions == (lw.SkipLayers("0"),)
    other = lw.Explorer(model)
    other.state = json.loads(json.dumps(explorer.state))
    other.wait()
    assert other.state == wanted
    assert other.page("compare").prompt == "abcx"
    # What measures itself is as large as the preset says.
    assert other.curves.scale == SCALES["talk"] > first_scale
    other.state = first
    other.wait()
    assert {**other.state, "choices": None} == {**first, "choices": None}
    assert other.state["choices"]["lens"] == first["choices"]["lens"]
    other.close()


@pytest.mark.parametrize(("before", "position"), [("abcd", 3), ("abc", 1), ("ab", 4), ("abcdefghij", 4)])
def test_the_place_in_the_prompt_comes_back_whatever_was_there(
    explorer: lw.Explorer, before: str, position: int
) -> None:
    explorer.prompt = before
    explorer.wait()
    explorer.state = {"prompt": "hello", "selection": {"position": position}}
    explorer.wait()
    assert explorer.position == position
    # Who was at the end goes on with it.
    explorer.prompt = "hellos"
    explorer.wait()
    assert explorer.position == (5 if position == 4 else position)


def test_what_is_not_named_stays(explorer: lw.Explorer) -> None:
    explorer.layers, explorer.head = "1", 2
    explorer.state = {"pages": ["map"], "choices": {"depth": {"k": 3}}}
    assert (explorer.layers, explorer.head, explorer.prompt) == ("1", 2, "abcde")
    assert explorer.pages == ["map"]
    assert explorer.page("depth").k == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (3, "state is 3"),
        ({"colour": 1}, "'colour'"),
        ({"version": 2}, "version 2"),
        ({"prompt": 3}, "prompt cannot be 3"),
        ({"layers": "9"}, "layers cannot be '9'"),
        ({"selection": {"layer": 3}}, "selection.layer"),
        ({"selection": {"layer": True}}, "truth value"),
        ({"selection": {"row": 1}}, "'row'"),
        ({"selection": [1]}, "selection is"),
        ({"tokens": ["a"]}, "tokens"),
        ({"pages": ["nowhere"]}, "pages"),
        ({"interventions": "x"}, "interventions is 'x'"),
        ({"interventions": [{"type": "Popen"}]}, "'Popen' is not known"),
        ({"interventions": [{"type": "LogitLens"}]}, "interventions cannot be"),
        ({"interventions": [{"type": "SkipLayers", "layers": "7"}]}, "out of range"),
        ({"preset": "cinema"}, "preset cannot be 'cinema'"),
        ({"choices": {"nowhere": {}}}, "'nowhere'"),
        ({"choices": {"lens": {"colour": "pink"}}}, "choices.lens.colour"),
        ({"choices": {"lens": {"colours": "kl"}}}, "'colours'"),
        ({"choices": {"lens": {"component": "resid_end"}}}, "expected one of resid_pre"),
        ({"choices": {"depth": {"n": "2"}}}, "choices.depth.n"),
        ({"choices": {"depth": {"n": 8}}}, "n cannot be 8"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_changes(explorer: lw.Explorer, wrong: Any, words: str) -> None:
    for name in ("lens", "depth"):
        explorer.page(name)
    explorer.wait()
    before = explorer.state
    whole = {**state(), **wrong} if isinstance(wrong, dict) else wrong
    if isinstance(whole, dict) and "choices" not in wrong:
        del whole["choices"]
    with pytest.raises(lw.StateError, match=words):
        explorer.state = whole
    assert {**explorer.state, "choices": None} == {**before, "choices": None}
    assert explorer.state["choices"].items() >= before["choices"].items()


def test_choices_are_traits_that_there_are(explorer: lw.Explorer) -> None:
    for kind in PAGES:
        page = explorer.page(kind.page_name)
        for path in kind.choices.values():
            part, _, name = path.rpartition(".")
            owner = getattr(page, part) if part else page
            assert isinstance(owner.traits()[name], t.TraitType)
