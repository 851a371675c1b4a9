"""The attention page: what it asks, what its views draw, and what it says where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.widgets import attention_page
from layerwidget.widgets.attention_page import AttentionPage
from layerwidget.widgets.head_map import HeadMap
from tests import tiny
from tests.test_pages import until
from tests.test_views import gallery, in_rows, roots, sent
from tests.tiny import letters


@pytest.fixture
def explorer() -> Iterator[lw.Explorer]:
    explorer = lw.Explorer(lw.HookedModel(tiny.tiny("llama"), letters(), "tiny"), "abcde", "1-2", pages=["attention"])
    explorer.wait()
    yield explorer
    explorer.close()


def page_of(explorer: lw.Explorer) -> AttentionPage:
    page = explorer.page("attention")
    assert isinstance(page, AttentionPage)
    return page


def norms(kind: str = "llama", n_pos: int = 7) -> lw.ValueWeightedGrid:
    return lw.ValueWeightedAttention().run(tiny.hooked(kind).trace(tiny.ids(n_pos)))


def test_norms_are_drawn_on_a_scale_of_their_own() -> None:
    grid = norms()
    view = lw.AttentionView(grid, layer=1, head=2, hide_first=False)
    meta, arrays = sent(view)
    assert (meta["quantity"], meta["unit"], meta["layers"]) == ("value-weighted", "units", [0, 1, 2])
    assert meta["limit"] == grid.norms.max() != 1
    np.testing.assert_array_equal(gallery(view), roots(grid.norms / np.float32(meta["limit"])))
    np.testing.assert_array_equal(arrays["focus"], in_rows(grid.norms[1, 2]))
    rows = grid.norms[:, :, 1:]
    assert meta["first_share"] == pytest.approx((rows[..., 0] / rows.sum(-1)).mean(), rel=1e-5)


def test_norms_without_the_first_token_are_not_scaled_up() -> None:
    grid = norms()
    rest = grid.norms.copy()
    rest[..., 0] = 0
    view = lw.AttentionView(grid)
    meta, arrays = sent(view)
    assert meta["limit"] == rest.max()
    np.testing.assert_array_equal(gallery(view), roots(rest / np.float32(meta["limit"])))
    np.testing.assert_array_equal(arrays["focus"], in_rows(grid.norms[2, 0]))
    view.hide_first = False
    assert sent(view)[0]["limit"] == grid.norms.max()
    one = lw.AttentionView(norms(n_pos=1))
    assert (sent(one)[0]["limit"], sent(one)[0]["first_share"]) == (1.0, None)


def test_weights_say_nothing_of_a_scale() -> None:
    meta, _ = sent(lw.AttentionView(lw.Attention().run(tiny.hooked("llama").trace(tiny.ids(7)))))
    assert (meta["quantity"], meta["unit"], meta["limit"], meta["first_share"]) == ("", "", 1.0, None)


def test_the_switch_asks_for_the_other_quantity(explorer: lw.Explorer) -> None:
    view = page_of(explorer).attention_view
    assert isinstance(explorer.results["heads"], lw.AttentionGrid)
    passes = explorer._answering.live.passes
    view.quantity = "value-weighted"
    explorer.wait()
    grid = explorer.results["heads"]
    assert isinstance(grid, lw.ValueWeightedGrid)
    assert (grid.layers, explorer._answering.live.passes) == ((1, 2), passes)
    assert sent(view)[0]["unit"] == "units"
    expected = lw.ValueWeightedAttention("1-2").run(explorer.model.trace("abcde")).norms
    np.testing.assert_allclose(grid.norms, expected, atol=1e-5)


def test_a_refused_quantity_says_why_in_its_place() -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny.tiny("gpt_oss"), letters(), "tiny"), "abcde", pages=["attention"])
    explorer.wait()
    view = page_of(explorer).attention_view
    assert sent(view)[0]["n_pos"] == 5
    view.quantity = "value-weighted"
    explorer.wait()
    assert "not one fused operation" in sent(view)[0]["note"]
    assert set(explorer.refusals) == {"heads"}
    view.quantity = "weights"
    explorer.wait()
    assert sent(view)[0]["n_pos"] == 5
    explorer.close()


def test_a_model_without_attention_says_so() -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny.tiny("mamba"), letters(), "tiny"), "abc", pages=["attention"])
    explorer.wait()
    page = page_of(explorer)
    assert "no attention heads" in sent(page.attention_view)[0]["note"]
    assert "no attention heads" in page.head_map.placeholder
    assert sent(page.head_map)[0]["layers"] == []
    page.score_bar._handle_custom_msg({"type": "run"}, [])
    until(lambda: page.score_bar.state == "failed")
    assert "no attention weights" in page.score_bar.message
    explorer.close()


def test_the_map_shows_what_rests_on_the_first_token(explorer: lw.Explorer) -> None:
    meta, arrays = sent(page_of(explorer).head_map)
    assert ([sheet["name"] for sheet in meta["sheets"]], meta["prompt"]) == (["sink share"], "abcde")
    trace = explorer.model.trace("abcde")
    expected = np.stack([trace.pattern(layer)[:, 1:, 0].mean(1) for layer in range(3)])
    np.testing.assert_allclose(arrays["values"][0], expected, atol=1e-6)
    explorer.prompt = ""
    explorer.wait()
    assert sent(page_of(explorer).head_map)[0]["layers"] == []


def test_one_request_scores_the_heads_and_names_the_chosen_one(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    assert page.score_bar.cost == "1 forward pass"
    assert "32 random tokens" in page.score_bar.label
    page.score_bar._handle_custom_msg({"type": "run"}, [])
    until(lambda: page.score_bar.state == "done")
    assert page.score_bar.prompt is None
    meta, arrays = sent(page.head_map)
    assert [sheet["name"] for sheet in meta["sheets"]] == ["sink share", "induction", "previous", "duplicate"]
    assert page.head_map.sheet == "induction"
    grids = lw.AllHeadScores(tiny.N_CTX // 2).run(explorer.model)
    for place, grid in enumerate(grids):
        np.testing.assert_allclose(arrays["values"][place + 1], grid.values, atol=1e-6)
    explorer.prompt = ""
    explorer.wait()
    assert [sheet["name"] for sheet in sent(page.head_map)[0]["sheets"]] == ["induction", "previous", "duplicate"]
    explorer.prompt = "abcdef"
    explorer.wait()
    assert len(sent(page.head_map)[0]["sheets"]) == 4
    page.head_map.head, page.head_map.layer = 3, 1
    assert (page.attention_view.layer, page.attention_view.head, page.attention_view.head_note[:2]) == (1, 3, (1, 3))


def test_a_head_is_named_after_its_largest_score_where_that_is_large() -> None:
    grids = lw.AllHeadScores(n_tokens=5).run(tiny.hooked("jamba"))
    values = np.array([[[0.1, 0.39], [0.8, 0.5]], [[0.2, 0.1], [0.3, 0.6]], [[0.0, 0.3], [np.nan, 0.1]]], np.float32)
    scored = [
        lw.HeadScoreGrid(
            layers=(0, 1), n_layers=2, token_ids=grid.token_ids, pieces=grid.pieces, model_name="x",
            kind=grid.kind, values=values[place],
        )
        for place, grid in enumerate(grids)
    ]  # fmt: skip
    heads = HeadMap(scores=scored)
    named = [heads.note_of(*place) for place in ((1, 0), (1, 1), (0, 1), (5, 0), (0, 7))]
    assert named == ["induction head (0.80)", "previous-token head (0.60)", "", "", ""]
    meta, arrays = sent(heads)
    assert [sheet["name"] for sheet in meta["sheets"]] == ["induction", "previous", "duplicate"]
    assert meta["sheets"][0]["detail"] == "weight on what followed the same token"
    np.testing.assert_array_equal(arrays["values"], values)


def test_of_a_long_prompt_fewer_layers_are_asked_and_named(
    explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_page, "ATTENTION_BYTES", 4 * 4 * 36)
    monkeypatch.setattr(attention_page, "SINK_BYTES", 2 * 4 * 4 * 36)
    explorer.prompt = "abcdef"
    explorer.wait()
    page = page_of(explorer)
    assert explorer.results["heads"].layers == (2,)
    assert explorer.results["sink"].layers == (1, 2)
    assert page.note == "attention of layers 2 only · sink share of layers 1-2 only"
    _, arrays = sent(page.head_map)
    assert np.isnan(arrays["values"][0]).any(-1).tolist() == [True, False, False]


def test_rollout_is_asked_for_the_range_and_drawn(explorer: lw.Explorer) -> None:
    view = page_of(explorer).rollout_view
    meta, arrays = sent(view)
    rollout = lw.AttentionRollout("1-2").run(explorer.model.trace("abcde"))
    assert (meta["layers"], meta["causal"], meta["hides_first"], meta["note"]) == ([1, 2], True, True, rollout.note)
    assert "token 0 is left out" in meta["note"]
    np.testing.assert_allclose(arrays["rollout"], in_rows(rollout.rollout), atol=1e-6)
    view.hide_first = False
    explorer.layers = "0-1"
    explorer.wait()
    meta, arrays = sent(view)
    rollout = lw.AttentionRollout("0-1", hide_first=False).run(explorer.model.trace("abcde"))
    assert (meta["layers"], meta["hides_first"], meta["note"]) == ([0, 1], False, "")
    np.testing.assert_allclose(arrays["rollout"], in_rows(rollout.rollout), atol=1e-6)


def test_rollout_of_a_model_that_sees_ahead_is_whole_and_hides_nothing_by_itself() -> None:
    rollout = lw.AttentionRollout("0,2").run(tiny.hooked("bert").trace(tiny.ids(6)))
    view = lw.RolloutView(rollout, position=30)
    meta, arrays = sent(view)
    assert (meta["causal"], view.hide_first, view.can_hide, view.layers, view.position) == (
        False,
        False,
        False,
        "0,2",
        5,
    )
    np.testing.assert_array_equal(arrays["rollout"], rollout.rollout)
    bert = AttentionPage.for_model(tiny.hooked("bert"))
    assert not bert.rollout_view.hide_first
    assert AttentionPage.for_model(tiny.hooked("llama")).rollout_view.hide_first


def test_rollout_of_a_long_prompt_is_not_asked(explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_page, "ROLLOUT_TOKENS", 5)
    explorer.prompt = "abcdef"
    explorer.wait()
    assert set(explorer.results) == {"sink", "heads"}
    assert "not computed beyond" in sent(page_of(explorer).rollout_view)[0]["note"]


def test_hidden_it_asks_nothing_and_edits_go_through_it_with_one_pass(explorer: lw.Explorer) -> None:
    explorer.pages = ["lens"]
    explorer.wait()
    assert set(explorer.results) == {"lens", "attention"}
    explorer.pages = ["lens", "attention"]
    explorer.wait()
    assert set(explorer.results) == {"lens", "attention", "sink", "heads", "rollout"}
    assert explorer.results["heads"] is explorer.results["attention"]
    passes = explorer._answering.live.passes
    explorer.prompt = "abcdx"
    explorer.wait()
    assert explorer._answering.live.passes == passes + 1


def test_of_one_token_everything_can_be_drawn(explorer: lw.Explorer) -> None:
    explorer.prompt = "a"
    explorer.wait()
    page = page_of(explorer)
    for quantity in ("weights", "value-weighted"):
        page.attention_view.quantity = quantity
        explorer.wait()
        assert sent(page.attention_view)[0]["n_pos"] == 1
    # All of one colour, and the strongest one, it would say nothing.
    assert sent(page.head_map)[0]["layers"] == []
    assert page.head_map.placeholder.startswith("One token: all of every head's attention is on it.")
    assert sent(page.rollout_view)[1]["rollout"].tolist() == [0]
    explorer.prompt = "ab"
    explorer.wait()
    assert sent(page.head_map)[0]["sheets"][0]["detail"] == "share of attention on token 0"
