"""Comparing: what is drawn is the difference, the second run has an engine of its own, and nothing is asked in vain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.engine.other_run import OtherModels
from layerwidget.explorer import compare
from layerwidget.widgets.compare_page import ComparePage
from tests.test_explorer import letters
from tests.test_residual_view import drawn
from tests.tiny import N_HEADS, N_LAYERS, tiny

A, B = "abcde", "abxde"


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


@pytest.fixture(scope="module")
def later() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama", seed=1), letters(), "later")


@pytest.fixture
def explorer(model: lw.HookedModel) -> Iterator[lw.Explorer]:
    explorer = lw.Explorer(model, A, pages=["compare"])
    explorer.wait()
    yield explorer
    explorer.close()


def page_of(explorer: lw.Explorer) -> Any:
    page = explorer.page("compare")
    assert isinstance(page, ComparePage)
    return page


def lens(model: lw.HookedModel, prompt: str) -> lw.LensGrid:
    return lw.LogitLens().run(model.trace(prompt))


def test_the_view_alone_draws_both_and_their_difference(model: lw.HookedModel) -> None:
    a, b = lens(model, A), lens(model, "abde")
    view = lw.CompareView(a, b)
    np.testing.assert_array_equal(drawn(view.grid_view)["entropy"], lw.difference(a, b)["entropy"].change)
    assert view.words.value == "4 tokens beside each other, 1 only in A, 0 only in B"
    columns = view.grid_view._message[0]["meta"]["columns"]
    assert columns["labels"] == ["a", "b", "c", "d", "e"]
    assert columns["names"][2:4] == ["A “c” (2), B no token", "A “d” (3), B “d” (2)"]
    assert view.second_view.layout.display == "none"
    view.mode = "both"
    assert view.second_view.layout.display is None
    np.testing.assert_array_equal(drawn(view.grid_view)["entropy"], a.entropy_nats)
    second = drawn(view.second_view)["entropy"]
    assert np.isnan(second[:, 2]).all()
    np.testing.assert_array_equal(second[:, [0, 1, 3, 4]], b.entropy_nats)
    limits = [grid._message[0]["meta"]["sheets"][0]["limits"] for grid in (view.grid_view, view.second_view)]
    assert limits[0] == limits[1]
    view.switch.value = "b"
    assert view.mode == "b"
    assert "same top-1 token" not in drawn(view.grid_view)
    view.show([])
    assert view.grid_view._message[0]["meta"]["layers"] == []


def test_a_column_of_the_second_prompt_alone_has_no_position_to_choose(model: lw.HookedModel) -> None:
    view = lw.CompareView(lens(model, "abde"), lens(model, A), position=9)
    columns = view.grid_view._message[0]["meta"]["columns"]
    assert columns["numbers"] == [0, 1, -1, 2, 3]
    assert view.grid_view.position == 3


def test_heads_are_compared_in_a_map(model: lw.HookedModel) -> None:
    a, b = (lw.Attention().run(model.trace(prompt)) for prompt in (A, B))
    view = lw.CompareView(a, b)
    np.testing.assert_array_equal(drawn(view.heads_view)["moved attention"], lw.difference(a, b).moved)
    assert view.heads_view._message[0]["meta"]["columns"]["picks"] == "head"


def test_the_page_asks_nothing_without_a_second_prompt(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    assert dict(explorer.results) == {}
    assert page.grid_view._message[0]["meta"]["layers"] == []
    assert "second prompt" in page.grid_view.placeholder
    passes = explorer._live.passes
    page.editor.prompt = B
    explorer.wait()
    assert set(explorer.results) == {"compare_lens", "compare_residual", "compare_attention"}
    expected = lw.difference(lens(model, A), lens(model, B))["entropy"].change
    np.testing.assert_allclose(drawn(page.grid_view)["entropy"], expected, atol=1e-5)
    assert page.heads_found.moved.shape == (N_LAYERS, N_HEADS)
    # The first prompt is where it was: the second one has an engine of its own.
    assert explorer._live.passes == passes + 1
    page.prompt = "abyde"
    explorer.wait()
    assert explorer._live.passes == passes + 1
    page.prompt = ""
    explorer.wait()
    assert page.grid_view._message[0]["meta"]["layers"] == []


def test_the_same_prompt_differs_in_nothing(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.prompt = A
    explorer.wait()
    assert not drawn(page.grid_view)["entropy"].any()
    assert page.words.value == "the same prompt"


def test_typing_and_choices_move_it_on(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.prompt = B
    explorer.prompt = "abc"
    explorer.wait()
    meta = page.grid_view._message[0]["meta"]
    assert (meta["prompt"], meta["columns"]["numbers"]) == ("abc", [0, 1, 2, -1, -1, -1])
    asked = explorer._asked
    explorer.layer, explorer.head, page.mode = 1, 2, "a"
    assert explorer._asked == asked
    explorer.tokens = [4]
    explorer.wait()
    assert "log-probability of “e”" in drawn(page.grid_view)
    explorer.layers = "1"
    explorer.wait()
    assert page.heads_found.layers == (1,)


def test_a_hidden_page_computes_no_second_prompt(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.prompt = B
    explorer.wait()
    live = page.models.live(page.model_name)
    explorer.pages = ["residual"]
    passes = live.passes
    page.prompt = "xyz"
    explorer.prompt = "abcdef"
    explorer.wait()
    assert live.passes == passes


def test_a_second_prompt_that_cannot_be_read_says_why(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.prompt = "a" * 100
    explorer.wait()
    assert "64" in page.words.value
    assert page.words.value == page.grid_view.placeholder
    assert page.grid_view._message[0]["meta"]["layers"] == []
    assert explorer.status.state == "fresh"


def test_two_models_read_the_same_prompt(model: lw.HookedModel, later: lw.HookedModel) -> None:
    explorer = compare(model, later, A)
    explorer.wait()
    page = page_of(explorer)
    expected = lw.difference(lens(model, A), lens(later, A))["entropy"].change
    np.testing.assert_allclose(drawn(page.grid_view)["entropy"], expected, atol=1e-5)
    assert page.words.value == "A: tiny · B: later · the same prompt"
    assert page.slider.layout.display == "none"
    explorer.close()


def test_one_checkpoint_at_a_time_is_in_memory(model: lw.HookedModel, later: lw.HookedModel) -> None:
    loaded: list[str] = []

    def load(name: str, one: lw.HookedModel) -> lw.HookedModel:
        loaded.append(name)
        return one

    steps = {"1": lambda: load("1", model), "2": lambda: load("2", later)}
    explorer = compare(model, steps, A)
    explorer.wait()
    page = page_of(explorer)
    assert loaded == ["1"]
    assert not drawn(page.grid_view)["entropy"].any()
    page.slider.value = "2"
    explorer.wait()
    assert (loaded, page.model_name) == (["1", "2"], "2")
    assert drawn(page.grid_view)["entropy"].any()
    assert page.models._held[0] == "2"
    explorer.close()


def test_models_of_other_tokens_or_another_depth_are_refused_in_words(model: lw.HookedModel) -> None:
    explorer = compare(model, lambda: lw.HookedModel(tiny("gpt2")), A)
    explorer.wait()
    # Without a tokenizer, a vocabulary of the same size has to do; the ids are then shown as numbers.
    assert "number their tokens differently" in page_of(explorer).words.value
    explorer.close()
    swapped = letters()
    swapped.add_tokens(["new"])
    with pytest.raises(lw.QuestionError, match="the same tokenizer"):
        OtherModels(model, {"x": lw.HookedModel(tiny("llama"), swapped, "other")}).live("x")
    with pytest.raises(lw.QuestionError, match="got none"):
        OtherModels(model, {})
