"""Comparing: what is drawn is the difference, the second run has an engine of its own, and nothing is asked in vain."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.engine.other_run import OtherModels
from layerwidget.opening import compare
from layerwidget.widgets.compare_page import ComparePage
from tests.test_pages import until
from tests.test_residual_view import drawn
from tests.tiny import N_HEADS, N_LAYERS, letters, tiny

A, B = "abcde", "abxde"


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


@pytest.fixture(scope="module")
def later() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama", seed=1), letters(), "later")


@pytest.fixture(scope="module")
def deep() -> lw.HookedModel:
    """Seven layers where the others have three."""
    torch.manual_seed(2)
    config = copy.deepcopy(tiny("llama").config)
    config.num_hidden_layers = 7
    return lw.HookedModel(type(tiny("llama"))(config).eval(), letters(), "deep")


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
    view.show([])
    assert view.grid_view._message[0]["meta"]["layers"] == []


def test_prompts_that_share_no_token_say_so(model: lw.HookedModel) -> None:
    said = "No token of A has one of B beside it"
    view = lw.CompareView(lens(model, "abc"), lens(model, "xy"))
    assert all(sheet["empty"].startswith(said) for sheet in sheets_said(view.grid_view))
    assert said in view.grid_view.to_svg()
    view.mode = "a"
    assert not any(sheet["empty"] for sheet in sheets_said(view.grid_view))
    assert said not in view.grid_view.to_svg()
    a, b = (lw.Attention().run(model.trace(prompt)) for prompt in ("abc", "xy"))
    heads = lw.CompareView(a, b).heads_view
    assert sheets_said(heads)[0]["name"] == "moved attention"
    assert sheets_said(heads)[0]["empty"].startswith(said)


def sheets_said(grid: lw.HeatGrid) -> list[dict[str, Any]]:
    sheets: list[dict[str, Any]] = grid._message[0]["meta"]["sheets"]
    return sheets


def words(grid: lw.HeatGrid, sheet: str, key: str = "words") -> np.ndarray:
    """What the cells of a sheet say, shape [layer, column]."""
    content, buffers = grid._message
    (place,) = (place for place, one in enumerate(content["meta"]["sheets"]) if one["name"] == sheet)
    (index,) = (at for at, spec in enumerate(content["arrays"]) if spec["name"] == f"{key}{place}")
    at = np.frombuffer(buffers[index], np.int32).reshape(content["arrays"][index]["shape"])
    return np.array(content["meta"]["sheets"][place][key])[at]


def test_the_lens_is_compared_in_words(model: lw.HookedModel) -> None:
    a, b = lens(model, A), lens(model, "abxxde")
    view = lw.CompareView(a, b)
    # Columns: a b | c | x x | d e
    at_a, at_b, both = [0, 1, 3, 4], [0, 1, 4, 5], [0, 1, 5, 6]
    tops_a, tops_b = (
        [[grid.pieces[token].visible for token in row] for row in grid.top_ids[:, :, 0]] for grid in (a, b)
    )
    said, shown = words(view.grid_view, "top-1 token"), drawn(view.grid_view)["top-1 token"]
    for row in range(N_LAYERS):
        for one, other, column in zip(at_a, at_b, both, strict=True):
            same = a.top_ids[row, one, 0] == b.top_ids[row, other, 0]
            assert said[row, column] == ("" if same else tops_b[row][other])
            assert shown[row, column] == (0 if same else b.max_prob[row, other])
    assert 0 < (shown[:, both] > 0).sum() < shown[:, both].size
    assert np.isnan(shown[:, [2, 3, 4]]).all()
    full = words(view.grid_view, "top-1 token", "in_full")
    assert full[0, 0] == f"“{tops_a[0][0]}” in both"
    view.mode = "both"
    np.testing.assert_array_equal(words(view.grid_view, "top-1 token")[:, [0, 1, 2, 5, 6]], tops_a)
    np.testing.assert_array_equal(words(view.second_view, "top-1 token")[:, [0, 1, 3, 4, 5, 6]], tops_b)
    np.testing.assert_array_equal(drawn(view.second_view)["top-1 token"][:, [0, 1, 3, 4, 5, 6]], b.max_prob)


def head_arrays(view: Any) -> dict[str, np.ndarray]:
    content, buffers = view._message
    return {
        spec["name"]: np.frombuffer(buffer, np.float32).reshape(spec["shape"])
        for spec, buffer in zip(content["arrays"], buffers, strict=True)
    }


def test_the_chosen_head_is_drawn_in_both(model: lw.HookedModel) -> None:
    a, b = (lw.Attention().run(model.trace(prompt)) for prompt in ("abde", A))
    view = lw.CompareView(a, b, layer=1, head=2)
    for layer, head in ((1, 2), (0, 3)):
        view.head_view.layer, view.head_view.head = layer, head
        sent, meta = head_arrays(view.head_view), view.head_view._message[0]["meta"]
        assert (meta["layers"], meta["what"]) == ([layer], f"layer {layer} · head {head}")
        here = [0, 1, 3, 4]
        np.testing.assert_array_equal(sent["a"][np.ix_(here, here)], a.pattern[layer, head])
        np.testing.assert_array_equal(sent["b"], b.pattern[layer, head])
        assert np.isnan(sent["a"][2]).all()
        assert np.isnan(sent["a"][:, 2]).all()
        assert (meta["words_a"][2], meta["words_b"][2], meta["places_a"]) == ("", "c", [0, 1, -1, 2, 3])
    only = lw.Attention("1").run(model.trace(A))
    view.show([lw.difference(only, only)])
    view.head_view.layer = 2
    assert view.head_view._message[0]["meta"]["layers"] == []
    assert "Layer 2, head 3 is not compared" in view.head_view._message[0]["meta"]["note"]


def test_matrices_of_long_prompts_are_not_sent(model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerwidget.widgets.head_compare_view.MOST_COLUMNS", 4)
    grid = lw.Attention().run(model.trace(A))
    view = lw.HeadCompareView(lw.difference(grid, grid))
    assert "up to 4 tokens" in view._message[0]["meta"]["note"]
    assert view._message[1] == []


def test_what_rests_on_the_first_token_is_compared(model: lw.HookedModel) -> None:
    traces = [model.trace(prompt) for prompt in ("abde", A)]
    a, b = (lw.Attention().run(trace) for trace in traces)
    shares = [lw.AttentionSink().run(trace).share for trace in traces]
    view = lw.CompareView(a, b)
    np.testing.assert_allclose(drawn(view.heads_view)["sink share"], shares[1] - shares[0], atol=1e-6)
    view.mode = "both"
    for grid, share in zip((view.heads_view, view.second_heads), shares, strict=True):
        assert grid.layout.display is None
        np.testing.assert_allclose(drawn(grid)["sink share"], share, atol=1e-6)
        assert "moved attention" not in drawn(grid)
    view.mode = "change"
    assert view.second_heads.layout.display == "none"
    single = lw.Attention().run(model.trace("a"))
    np.testing.assert_array_equal(lw.difference(single, single).sink.a, 1)


def test_the_sheet_of_heads_that_was_chosen_in_the_difference_comes_back(model: lw.HookedModel) -> None:
    view = lw.CompareView(*(lw.Attention().run(model.trace(prompt)) for prompt in (A, B)))
    for chosen in ("moved attention", "sink share"):
        view.mode, view.heads_view.sheet = "change", chosen
        for other in ("a", "both", "b"):
            view.mode = other
            assert view.heads_view.sheet == "sink share"
        view.mode = "change"
        assert view.heads_view.sheet == chosen


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
    passes = explorer._answering.live.passes
    page.editor.prompt = B
    explorer.wait()
    names = ("lens", "residual", "settle", "emergence", "loss", "attention")
    assert set(explorer.results) == {f"compare_{name}" for name in names}
    expected = lw.difference(lens(model, A), lens(model, B))["entropy"].change
    np.testing.assert_allclose(drawn(page.grid_view)["entropy"], expected, atol=1e-5)
    assert page.heads_found.moved.shape == (N_LAYERS, N_HEADS)
    # The first prompt is where it was: the second one has an engine of its own.
    assert explorer._answering.live.passes == passes + 1
    page.prompt = "abyde"
    explorer.wait()
    assert explorer._answering.live.passes == passes + 1
    page.prompt = ""
    explorer.wait()
    for view in (page.grid_view, page.heads_view, page.head_view):
        assert view._message[0]["meta"]["layers"] == []


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("x", "0 tokens beside each other, 5 only in A, 1 only in B"),
        ("vwxyzv", "0 tokens beside each other, 5 only in A, 6 only in B"),
        ("abcde" * 12, "5 tokens beside each other, 0 only in A, 55 only in B"),
    ],
)
def test_second_prompts_of_any_length(explorer: lw.Explorer, second: str, said: str) -> None:
    page = page_of(explorer)
    page.prompt = second
    for page.mode in ("change", "a", "b", "both"):
        explorer.wait()
        assert page.words.value == said
        meta = page.grid_view._message[0]["meta"]
        assert (meta["prompt"], meta["second"]) == (A, second)
        assert page.head_view._message[0]["meta"]["second"] == second
        columns = sum(int(number) for number in said.replace(",", "").split() if number.isdigit())
        assert head_arrays(page.head_view)["b"].shape == (columns, columns)


def test_a_text_is_read_once(explorer: lw.Explorer, model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    page, read = page_of(explorer), []
    tokenize = model.tokenize
    monkeypatch.setattr(model, "tokenize", lambda text, **how: read.append(text) or tokenize(text, **how))
    page.prompt = B
    explorer.wait()
    # Once for the page, once by the engine of the second run.
    assert read.count(B) <= 2
    read.clear()
    for explorer.layer in (0, 1, 2):
        explorer.head = explorer.position = explorer.layer
    explorer.wait()
    assert B not in read


def test_an_answer_is_of_the_text_that_was_computed(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.prompt = B
    explorer.wait()
    run = page.other(explorer.standpoint)
    answers = run.answers()
    with explorer.hold_trait_notifications():
        page.prompt = "typed on"
        page.answer_other(run, answers, A)
        assert page.grid_view._message[0]["meta"]["second"] == B
    explorer.wait()


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
    asked = explorer._answering.turns.asked
    explorer.layer, explorer.head, page.mode = 1, 2, "a"
    assert explorer._answering.turns.asked == asked
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


def test_where_predictions_settle_is_a_sheet_that_says_the_layers(model: lw.HookedModel) -> None:
    a, b = (lw.SettleDepth().run(model.trace(prompt)) for prompt in (A, "abde"))
    view = lw.CompareView(a, b)
    # Columns: a b | c | d e
    steps = np.arange(N_LAYERS)[:, None] >= np.stack([a.layer[[0, 1, 3, 4]], b.layer])[:, None]
    shown = drawn(view.grid_view)["settled"]
    np.testing.assert_array_equal(shown[:, [0, 1, 3, 4]], steps[1].astype(int) - steps[0])
    assert np.isnan(shown[:, 2]).all()
    full = words(view.grid_view, "settled", "in_full")
    change = b.layer[2] - a.layer[3]
    assert full[1, 3] == f"A from layer {a.layer[3]} on, B from layer {b.layer[2]} on, B − A {change:+d}"
    view.mode = "both"
    np.testing.assert_array_equal(drawn(view.grid_view)["settled"][:, 2], np.arange(N_LAYERS) >= a.layer[2])
    assert words(view.second_view, "settled", "in_full")[0, 4] == f"from layer {b.layer[3]} on"


def asked(explorer: lw.Explorer) -> set[str]:
    """The kinds of questions of the first run, which are those of the second, too."""
    page = page_of(explorer)
    run = page.other(explorer.standpoint)
    assert [name for name, _ in run.questions] == [name.removeprefix("compare_") for name in explorer.questions]
    return {type(question).__name__ for question in explorer.questions.values()}


def test_only_what_the_grid_is_about_is_asked(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.prompt = B
    subjects = {
        "lens": {"LogitLens", "ResidualStream", "SettleDepth", "Emergence", "PositionLoss"}, "tuned": set(),
        "attribution": {"DirectLogitAttribution"}, "neurons": {"NeuronActivations"},
    }  # fmt: skip
    for page.about, expected in subjects.items():
        for page.quantity, attention in (("weights", "Attention"), ("value-weighted", "ValueWeightedAttention")):
            explorer.wait()
            assert asked(explorer) == {*expected, attention}
    assert page.grid_view.title == "B − A · Neurons"
    passes = explorer._answering.live.passes
    page.mode = "b"
    assert explorer._answering.live.passes == passes
    explorer.pages = ["residual"]
    explorer.wait()
    assert not any(name.startswith("compare") for name in explorer.questions)


def test_the_tuned_lens_is_that_of_its_page(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.prompt, page.about = B, "tuned"
    explorer.wait()
    assert "has to be trained first" in page.grid_view.placeholder
    assert page.grid_view.shown.meta["layers"] == []
    assert page.heads_found is not None
    translators = lw.Translators(np.random.default_rng(3).standard_normal((N_LAYERS, 36, 36)), np.zeros((N_LAYERS, 36)))
    explorer.page("tuned").translators = translators
    explorer.wait()
    a, b = (lw.TunedLens(translators, k=10).run(model.trace(prompt)) for prompt in (A, B))
    shown = drawn(page.grid_view)["entropy"]
    np.testing.assert_allclose(shown, lw.difference(a, b)["entropy"].change, atol=1e-5)


def test_translators_of_one_model_are_not_used_on_another(model: lw.HookedModel, later: lw.HookedModel) -> None:
    # Loaded twice, it is the same model; of the other one a tuned lens would be shown that is none.
    again = lw.HookedModel(tiny("llama"), letters(), "again")
    explorer = compare(model, {"again": again, "later": later}, A)
    explorer.page("tuned").translators = lw.Translators(
        np.random.default_rng(3).standard_normal((N_LAYERS, 36, 36)), np.zeros((N_LAYERS, 36)), "tiny"
    )
    page = page_of(explorer)
    page.about = "tuned"
    explorer.wait()
    assert not drawn(page.grid_view)["entropy"].any()
    page.slider.value = "later"
    explorer.wait()
    assert page.grid_view.shown.meta["layers"] == []
    for said in (page.grid_view.placeholder, page.words.value):
        assert said.startswith("The translators of this tuned lens were made for tiny: they say nothing of later (B)")
    # What needs no translators is compared all the same.
    assert page.heads_found is not None
    page.about = "lens"
    explorer.wait()
    assert drawn(page.grid_view)["entropy"].any()
    explorer.close()


def test_attributions_are_of_the_token_that_a_predicts_or_the_chosen_one(
    explorer: lw.Explorer, model: lw.HookedModel
) -> None:
    page = page_of(explorer)
    page.prompt, page.about = "abxxde", "attribution"
    for explorer.token in (None, 7):
        for explorer.position, at in ((1, 1), (3, 4)):
            explorer.wait()
            own = lw.DirectLogitAttribution(explorer.token, position=explorer.position).run(model.trace(A))
            other = lw.DirectLogitAttribution(own.token, position=at).run(model.trace("abxxde"))
            expected = lw.difference(own, other)
            np.testing.assert_allclose(drawn(page.grid_view)["logits"], expected["logits"].change, atol=1e-4)
            meta = page.grid_view.shown.meta
            word = own.pieces[own.token].visible
            assert meta["sheets"][0]["detail"].startswith(f"logit of “{word}”: A ")
            assert meta["columns"]["labels"] == list(expected.columns)
    assert meta["columns"]["numbers"][-N_HEADS:] == list(range(N_HEADS))
    explorer.position = 2
    explorer.wait()
    assert page.grid_view.shown.meta["layers"] == []
    assert page.grid_view.placeholder.startswith("“c” (2) is in A only.")


def test_attributions_are_of_the_difference_that_their_page_has(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.prompt, page.about = B, "attribution"
    explorer.position = 4
    explorer.wait()
    for minus in (9, 5, None):
        explorer.page("attribution").parts.minus = minus
        explorer.wait()
        own = lw.DirectLogitAttribution(None, minus, 4).run(model.trace(A))
        other = lw.DirectLogitAttribution(own.token, minus, 4).run(model.trace(B))
        expected = lw.difference(own, other)
        np.testing.assert_allclose(drawn(page.grid_view)["logits"], expected["logits"].change, atol=1e-4)
        assert ("minus" in page.words.value) == (minus is not None)
    explorer.page("attribution").parts.minus = 9
    explorer.wait()
    assert "minus “j”: A " in page.words.value


def test_neurons_are_compared_at_the_chosen_place(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.prompt, page.about = "abxxde", "neurons"
    explorer.layer, explorer.position = 1, 4
    explorer.wait()
    expected = lw.difference(
        lw.NeuronActivations(1, 4).run(model.trace(A)), lw.NeuronActivations(1, 5).run(model.trace("abxxde"))
    )
    meta = page.grid_view.shown.meta
    assert (meta["layers"], meta["columns"]["labels"]) == ([1], list(expected.columns))
    np.testing.assert_allclose(drawn(page.grid_view)["activation"], expected["activation"].change, atol=1e-5)


def test_neurons_are_those_of_the_layer_at_the_same_share_of_the_depth(
    model: lw.HookedModel, deep: lw.HookedModel
) -> None:
    explorer = compare(model, deep, A, match="depth")
    page = page_of(explorer)
    page.about = "neurons"
    for explorer.layer, at in ((1, 3), (2, 6)):
        explorer.wait()
        own = lw.NeuronActivations(explorer.layer, 4).run(model.trace(A))
        expected = lw.difference(own, lw.NeuronActivations(at, 4).run(deep.trace(A)), "depth")
        np.testing.assert_allclose(drawn(page.grid_view)["activation"], expected["activation"].change, atol=1e-5)
        assert page.found[0].layers_b == (at,)
        said = f"neurons of layer {explorer.layer} / B: layer {at} at “e” (4)"
        assert page.words.value.startswith(said)
        assert page.grid_view.shown.meta["sheets"][0]["detail"] == said
    explorer.close()


@pytest.mark.parametrize("quantity", ["weights", "value-weighted"])
def test_heads_are_those_of_the_layers_at_the_same_share_of_the_depth(
    model: lw.HookedModel, deep: lw.HookedModel, quantity: str
) -> None:
    explorer = compare(model, deep, A, match="depth", layers="1-2")
    page = page_of(explorer)
    page.quantity = quantity
    explorer.wait()
    assert (page.heads_found.layers, page.heads_found.layers_b) == ((1, 2), (3, 6))
    also = "" if quantity == "weights" else f" · {quantity}"
    assert page.head_view.shown.meta["what"] == f"layer 2 · head 0 (B: layer 6){also}"
    explorer.close()


def test_layers_of_models_of_another_depth_are_refused_with_the_way_out(
    model: lw.HookedModel, deep: lw.HookedModel
) -> None:
    explorer = compare(deep, model, A)
    page = page_of(explorer)
    page.about, explorer.layer = "neurons", 6
    explorer.wait()
    assert "deep has 7 layers, tiny has 3" in page.grid_view.placeholder
    assert "match='depth'" in page.grid_view.placeholder
    explorer.close()


def test_heads_are_compared_by_what_they_take(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.prompt, page.quantity = B, "value-weighted"
    explorer.layer, explorer.head = 1, 2
    explorer.wait()
    a, b = (lw.ValueWeightedAttention().run(model.trace(prompt)) for prompt in (A, B))
    sent, meta = head_arrays(page.head_view), page.head_view.shown.meta
    np.testing.assert_allclose(sent["a"], a.norms[1, 2], atol=1e-5)
    np.testing.assert_allclose(sent["b"], b.norms[1, 2], atol=1e-5)
    assert meta["what"] == "layer 1 · head 2 · value-weighted"
    assert meta["limit"] == max(sent["a"].max(), sent["b"].max()) != 1
    assert "value-weighted" in page.head_view.to_svg()
    assert "moved attention" in drawn(page.heads_view)
    page.quantity = "weights"
    explorer.wait()
    assert page.head_view.shown.meta["limit"] == 1


def test_what_heads_are_is_scored_in_both_models(model: lw.HookedModel, later: lw.HookedModel) -> None:
    explorer = compare(model, {"same": model, "later": later}, A)
    page = page_of(explorer)
    page.slider.value = "later"
    explorer.wait()
    assert page.score_bar.layout.display is None
    assert page.score_bar.cost == "2 forward passes"
    page.score_bar._handle_custom_msg({"type": "run"}, [])
    until(lambda: page.score_bar.state == "done")
    n_tokens = page.requests[0].question(explorer.standpoint).question.n_tokens
    for kind in ("induction", "previous", "duplicate"):
        a, b = (lw.HeadScores(kind, n_tokens).run(one) for one in (model, later))
        np.testing.assert_allclose(drawn(page.heads_view)[kind], b.values - a.values, atol=1e-6)
    # They stay while one types, and go with the model that they are of.
    explorer.prompt = "abcdef"
    explorer.wait()
    assert "induction" in drawn(page.heads_view)
    page.slider.value = "same"
    explorer.wait()
    assert "induction" not in drawn(page.heads_view)
    explorer.close()


def test_one_model_alone_has_no_heads_to_compare(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    assert page.score_bar.layout.display == "none"
    assert page.score_bar.state == "absent"


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
    assert page.head_view._part is None or page.head_view._part[0]["meta"] == {"stale": True}
    explorer.wait()
    assert page.head_view._part is None
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


def test_what_is_drawn_last_is_the_newest(model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    view = lw.CompareView(lens(model, A), lens(model, B))
    # What the model's thread does while the reader's is about to send what it has read.
    clearing = threading.Thread(target=view.show, args=([],))
    show = view.grid_view.show

    def interrupted(*given: Any, **named: Any) -> None:
        if clearing.ident is None:
            clearing.start()
            clearing.join(0.2)
        show(*given, **named)

    monkeypatch.setattr(view.grid_view, "show", interrupted)
    view.mode = "b"
    clearing.join()
    assert view.grid_view.shown.meta["layers"] == []


def test_the_lens_of_what_is_chosen_is_compared(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.prompt = B
    for component, options in (("attn_out", {}), ("neuron_out", {}), ("head_out", {"head": 2})):
        page.component, explorer.head = component, 2
        explorer.wait()
        both = [lw.LogitLens(component=component, **options).run(model.trace(text)) for text in (A, B)]
        found = next(one for one in page.found if "entropy" in one.quantities)
        np.testing.assert_allclose(found["entropy"].change, lw.difference(*both)["entropy"].change, atol=1e-4)
    assert page.controls.of.value == "head_out"
    assert any("loss of the token" in one.quantities for one in page.found)
    page.about = "neurons"
    assert page.controls.of.layout.display == "none"


def test_how_far_layers_turn_is_compared(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.prompt, page.about = B, "layers"
    explorer.wait()
    assert asked(explorer) == {"BlockInfluence", "AngularDistance", "Attention"}
    for name, question in (("block influence", lw.BlockInfluence()), ("angular distance", lw.AngularDistance())):
        a, b = (question.run(model.trace(text)) for text in (A, B))
        found = next(one for one in page.found if name in one.quantities)[name]
        np.testing.assert_allclose(found.change[:, 0], b.values - a.values, atol=1e-6)
    said = {sheet["name"]: sheet["detail"] for sheet in sheets_said(page.grid_view)}
    assert said == {
        "block influence": "mean over the tokens of each prompt",
        "angular distance": "at the last token of each prompt",
    }
    assert page.words.value == "5 tokens beside each other, 0 only in A, 0 only in B"
    # Longer blocks start at fewer layers.
    page.n = 2
    explorer.wait()
    a, b = (lw.AngularDistance(2).run(model.trace(text)).values for text in (A, B))
    shown = drawn(page.grid_view)
    np.testing.assert_allclose(shown["angular distance of 2 layers"][:, 0], [*(b - a), np.nan], atol=1e-6)
    influences = [lw.BlockInfluence().run(model.trace(text)).values for text in (A, B)]
    np.testing.assert_allclose(shown["block influence"][:, 0], influences[1] - influences[0], atol=1e-6)
    assert set(page.besides) == {"influence_difference", "angles_difference", "attention_difference"}


def test_the_divergence_of_jensen_and_shannon_is_compared_where_it_is_asked_for(
    explorer: lw.Explorer, model: lw.HookedModel
) -> None:
    page, name = page_of(explorer), "Jensen-Shannon divergence from the final prediction"
    page.prompt = B
    explorer.wait()
    assert name not in drawn(page.grid_view)
    page.jsd = True
    explorer.wait()
    a, b = (lw.LogitLens(jsd=True).run(model.trace(text)).jsd_nats for text in (A, B))
    np.testing.assert_allclose(drawn(page.grid_view)[name], b - a, atol=1e-5)
    assert np.abs(b - a).max() > 1e-3


def test_where_predictions_emerge_is_a_sheet_beside_where_they_settle(
    explorer: lw.Explorer, model: lw.HookedModel
) -> None:
    page = page_of(explorer)
    page.prompt = B
    explorer.wait()
    steps = np.arange(N_LAYERS)[:, None]
    a, b = (steps >= lw.Emergence(10).run(model.trace(text)).layer for text in (A, B))
    np.testing.assert_array_equal(drawn(page.grid_view)["among the 10 most probable"], b.astype(int) - a)
    said = {sheet["name"]: sheet["detail"] for sheet in sheets_said(page.grid_view)}
    assert said["among the 10 most probable"].endswith("has had the model’s own next token among its first 10")
    assert said["settled"].endswith("names the model’s own next token for good")
    # Both are kept, each under its own name.
    kept = page.besides
    assert (kept["settle_difference"].a.k, kept["emergence_difference"].a.k) == (1, 10)


@pytest.mark.parametrize("quantity", ["weights", "value-weighted"])
def test_the_first_token_can_be_left_out_of_the_chosen_head(
    explorer: lw.Explorer, model: lw.HookedModel, quantity: str
) -> None:
    page = page_of(explorer)
    page.prompt, page.quantity = "abxxde", quantity
    explorer.layer, explorer.head = 1, 2
    page.hiding.value = True
    explorer.wait()
    assert page.hiding.layout.display is None
    question = lw.Attention() if quantity == "weights" else lw.ValueWeightedAttention()
    sent, shares = head_arrays(page.head_view), []
    # Columns: a b | c | x x | d e
    for name, text, at in (("a", A, [0, 1, 2, 5, 6]), ("b", "abxxde", [0, 1, 3, 4, 5, 6])):
        values = question.run(model.trace(text)).matrices[1, 2].astype(np.float64)
        shares.append(values[1:, 0].sum() / values[1:].sum())
        values[:, 0] = 0
        if quantity == "weights":
            values[1:] /= values[1:].sum(-1, keepdims=True)
        np.testing.assert_allclose(sent[name][np.ix_(at, at)], values, atol=1e-5)
        # The first query has nothing else to look at: it is empty, and no gap.
        np.testing.assert_array_equal(sent[name][0, at], 0)
        assert np.isnan(sent[name]).sum() == 49 - len(at) ** 2
    what = page.head_view.shown.meta["what"]
    assert what.endswith(f"first token hidden (A {shares[0]:.0%}, B {shares[1]:.0%})")
    assert ("value-weighted" in what) == (quantity == "value-weighted")
    assert "first token hidden" in page.head_view.to_text()
    page.hiding.value = False
    assert "hidden" not in page.head_view.shown.meta["what"]
    page.quantity = "rollout"
    assert page.hiding.layout.display == "none"


def test_rollout_is_drawn_in_the_place_of_a_head(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.prompt, page.quantity = B, "rollout"
    explorer.layers = "1-2"
    explorer.wait()
    a, b = (lw.AttentionRollout("1-2").run(model.trace(text)) for text in (A, B))
    expected = lw.difference(a, b).matrix
    assert page.heads_view.layout.display == "none"
    drawn = head_arrays(page.head_view)
    for name, values in (("a", expected.a), ("b", expected.b)):
        np.testing.assert_allclose(drawn[name], values, atol=1e-6)
    assert page.head_view.to_text().startswith("Attention rollout · layers 1-2 · attention to the first token is left")
    explorer.layer = 1
    assert page.head_view.to_text().startswith("Attention rollout")
    page.quantity = "weights"
    explorer.wait()
    assert page.heads_view.layout.display is None
    assert page.head_view.to_text().startswith("The chosen head")


def test_what_is_lost_without_each_layer_is_compared_on_request(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    request = page.requests[1]
    with pytest.raises(lw.QuestionError, match="nothing to compare with"):
        request.question(explorer.standpoint)
    assert page.skip_bar.layout.display == "none"
    page.prompt, page.about = B, "skip"
    explorer.wait()
    assert page.skip_bar.layout.display is None
    assert asked(explorer) == {"Attention"}
    assert page.found == []
    question = request.question(explorer.standpoint)
    told: list[tuple[int, int]] = []
    answer = question.run(model, lambda done, of: told.append((done, of)))
    n = question.n_passes(model)
    assert n == 2 * (1 + model.anatomy.n_layers)
    assert [of for _, of in told] == [n] * len(told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (n, n)
    request.show(answer, A)
    grids = [lw.SkipEffect(text).run(model) for text in (A, B)]
    expected = lw.difference(*grids)["KL without the layer"].change
    np.testing.assert_allclose(page.found[0]["KL without the layer"].change, expected, atol=1e-5)
    # Never without block influence, which disagrees.
    influences = [grid.block_influence for grid in grids]
    shown = drawn(page.grid_view)["block influence"]
    np.testing.assert_allclose(shown, np.repeat((influences[1] - influences[0])[:, None], 5, 1), atol=1e-6)
    rho = f"A {grids[0].rank_correlation:.3f}, B {grids[1].rank_correlation:.3f}"
    assert page.words.value.endswith(f"rank correlation of KL and block influence: {rho}")
    # It stays while the reader looks at something else, and goes with the text.
    page.about = "lens"
    explorer.wait()
    assert "entropy" in page.found[0].quantities
    page.about = "skip"
    explorer.wait()
    np.testing.assert_allclose(page.found[0]["KL without the layer"].change, expected, atol=1e-5)
    page.prompt = B + "x"
    explorer.wait()
    assert page.found == []
    # What comes late is of two runs that are gone.
    request.show(answer, A)
    assert page.found == []
    page.prompt = B
    explorer.wait()
    assert "KL without the layer" in page.found[0].quantities
