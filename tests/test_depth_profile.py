"""The depth profile: what its views send, what it asks, and what it says where there is no answer."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.widgets.layer_effects import AngleFigure, InfluenceFigure, SkipFigure, agreement
from layerwidget.widgets.position_loss_view import PositionLossView
from layerwidget.widgets.settle_strip import SettleStrip
from tests.pictures import words
from tests.test_pages import until
from tests.test_views import sent
from tests.tiny import hooked, ids, letters, tiny

N_LAYERS, N_POS = 3, 7


@pytest.fixture
def trace() -> lw.Trace:
    return hooked("llama").trace(ids(N_POS))


@pytest.fixture
def explorer() -> Iterator[lw.Explorer]:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abcdabc", pages=["depth"])
    explorer.wait()
    yield explorer
    explorer.close()


def page_of(explorer: lw.Explorer) -> lw.DepthProfile:
    page = explorer.page("depth")
    assert isinstance(page, lw.DepthProfile)
    return page


def test_the_strip_sends_where_predictions_settle_and_emerge(trace: lw.Trace) -> None:
    settled, emerged = lw.SettleDepth().run(trace), lw.Emergence(4).run(trace)
    view = SettleStrip(settled, emerged, position=30)
    meta, arrays = sent(view)
    np.testing.assert_array_equal(arrays["ranks"], settled.final_ranks)
    np.testing.assert_array_equal(arrays["settled"], settled.layer)
    np.testing.assert_array_equal(arrays["emerged"], emerged.layer)
    assert (meta["k"], meta["layers"], view.position) == (4, [0, 1, 2], N_POS - 1)
    assert meta["labels"] == [piece.visible for piece in settled.prompt_pieces()]
    assert meta["words"] == [settled.pieces[int(token)].visible for token in settled.final_ids]
    assert meta["bands"] == {"early": [0, 0], "middle": [1, 1], "late": [2, 2]}
    assert meta["shares"] == {
        name: pytest.approx((settled.layer == layer).mean()) for layer, name in enumerate(("early", "middle", "late"))
    }
    other = lw.Emergence(4).run(hooked("llama").trace(ids(N_POS, 5)))
    with pytest.raises(ValueError, match="two prompts"):
        view.show(settled, other)
    view.show(None, None, "text")
    assert sent(view) == ({"layers": [], "prompt": "text"}, {})


@pytest.mark.parametrize(
    ("n_layers", "names"), [(1, ["early"]), (2, ["early", "late"]), (3, ["early", "middle", "late"])]
)
def test_shares_of_bands_are_measured_and_sum_to_one(trace: lw.Trace, n_layers: int, names: list[str]) -> None:
    settled = lw.SettleDepth().run(trace)
    layer = np.arange(N_POS) % n_layers
    shares = dataclasses.replace(settled, n_layers=n_layers, layer=layer).shares()
    assert list(shares) == names
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["early"] == pytest.approx(np.mean(layer == 0))


def test_the_loss_view_marks_lengths(trace: lw.Trace) -> None:
    loss = lw.PositionLoss().run(trace)
    view = PositionLossView(loss)
    meta, arrays = sent(view)
    np.testing.assert_array_equal(arrays["nats"], loss.nats)
    assert (meta["n_ctx"], meta["windows"]) == (loss.n_ctx, [])
    gemma = lw.PositionLoss().run(hooked("gemma3").trace(ids(9)))
    view.show(gemma, "text")
    assert sent(view)[0]["windows"] == [{"width": 5, "layers": "0,2"}]
    assert sent(view)[0]["prompt"] == "text"
    view.show(None)
    assert sent(view) == ({"layers": [], "prompt": None}, {})


def test_one_token_has_no_loss_and_no_bars() -> None:
    view = PositionLossView(lw.PositionLoss().run(hooked("llama").trace(ids(1))))
    assert "One token has no loss: nothing predicts the first token." in words(view.to_svg())
    view.show(lw.PositionLoss().run(hooked("llama").trace(ids(2))))
    assert "nats per token" in " ".join(words(view.to_svg()))
    assert "has no loss" not in " ".join(words(view.to_svg()))


def test_the_figures_draw_what_the_results_hold(trace: lw.Trace) -> None:
    influence, angles = lw.BlockInfluence().run(trace), lw.AngularDistance(2).run(trace)
    figure = InfluenceFigure(influence)
    np.testing.assert_array_equal(figure.lines.y, influence.values)
    most = int(influence.values.argmax())
    assert figure.driver.detail == f"most at layer {most}: {influence.values[most]:.3f}"
    block = AngleFigure(angles)
    np.testing.assert_array_equal(block.lines.y, angles.values)
    np.testing.assert_array_equal(block.lines.x, [0, 1])
    np.testing.assert_allclose(block.dropped.x, [angles.drop - 0.4, angles.drop + 1.4])
    np.testing.assert_array_equal(block.dropped.y, [angles.values.min()] * 2)
    assert block._names[0].value == f"━ the block to drop: layers {angles.drop}–{angles.drop + 1}"
    assert f"layers {angles.drop}–{angles.drop + 1}" in block.driver.detail
    figure.show(None)
    block.show(None)
    assert not figure.lines.visible
    assert not block.lines.visible
    assert not block.dropped.visible


def test_small_influences_are_seen_on_a_logarithmic_scale(trace: lw.Trace) -> None:
    influence = dataclasses.replace(lw.BlockInfluence().run(trace), values=np.float32([0.9, 0, 0.02]))
    figure = InfluenceFigure(influence, quantity="log")
    np.testing.assert_array_equal(figure.lines.y, np.float32([0.9, np.nan, 0.02]))
    assert (figure._log.min, figure._log.max) == (0.01, 1.0)
    figure.show(dataclasses.replace(influence, values=np.zeros(3, np.float32)))
    assert (figure._log.min, figure._log.max) == (1.0, 10.0)


def test_the_skip_effect_stands_beside_block_influence() -> None:
    skipped = lw.SkipEffect(tuple(ids(N_POS))).run(hooked("llama"))
    figure = SkipFigure()
    assert (figure.figure.layout.visibility, figure.placeholder.layout.display) == ("hidden", None)
    figure.show(skipped, "text")
    assert (figure.figure.layout.visibility, figure.placeholder.layout.display) == (None, "none")
    for quantity, values in (
        ("kl", skipped.mean_kl_nats), ("last", skipped.last_kl_nats), ("loss", skipped.cross_entropy_change_nats),
    ):  # fmt: skip
        figure.quantity = quantity
        np.testing.assert_array_equal(figure.lines.y, values)
    assert f"{skipped.rank_correlation:.3f}" in agreement(skipped)
    assert f"without layer {skipped.mean_kl_nats.argmax()}," in agreement(skipped)
    one = lw.SkipEffect((3,)).run(hooked("llama"))
    figure.show(one)
    assert "no value" in figure.driver.detail


@pytest.mark.parametrize(
    ("influence", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], 0.0),
        ([3, 1, 4, 2], 1.0),
        ([2, 4, 1, 3], -1.0),
        ([1, 3, 4, 2], 0.2),
        ([1, 1, 2, 2], 0.447214),
        ([5, 1, 5, 1], 0.894427),
        ([7, 7, 7, 7], np.nan),
    ],
)
def test_rank_correlation_by_hand(influence: list[float], expected: float) -> None:
    """Spearman's; where nothing is tied it is 1 - 6 sum(d^2) / (n (n^2 - 1))."""
    skipped = lw.SkipEffect(tuple(ids(N_POS))).run(hooked("llama"))
    kl = np.float32([[0.3], [0.1], [0.4], [0.2]]).repeat(2, 1)
    by_hand = dataclasses.replace(
        skipped, layers=(0, 1, 2, 3), kl_nats=kl, block_influence=np.array(influence, np.float32)
    )
    assert by_hand.rank_correlation == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert agreement(by_hand) == "" or f"{expected:.3f}" in agreement(by_hand)


def test_it_works_alone(trace: lw.Trace) -> None:
    settled, emerged, loss = (one.run(trace) for one in (lw.SettleDepth(), lw.Emergence(), lw.PositionLoss()))
    skipped = lw.SkipEffect(tuple(ids(N_POS))).run(hooked("llama"))
    page = lw.DepthProfile(settled, emerged, loss=loss, skipped=skipped)
    np.testing.assert_array_equal(sent(page.strip)[1]["settled"], settled.layer)
    np.testing.assert_array_equal(sent(page.loss)[1]["nats"], loss.nats)
    assert "Rank correlation" in page.verdict.value
    assert {view.group for view in page.views} == {page.strip.group}
    assert lw.DepthProfile().strip._message is None


def test_it_asks_what_it_shows(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    assert set(explorer.results) == {
        "settle_depth", "emergence", "block_influence", "angular_distance", "position_loss"
    }  # fmt: skip
    np.testing.assert_array_equal(sent(page.strip)[1]["settled"], explorer.results["settle_depth"].layer)
    assert sent(page.strip)[0]["prompt"] == "abcdabc"
    # A block cannot be longer than the model.
    assert (page.n, explorer.results["angular_distance"].n) == (N_LAYERS, N_LAYERS)
    passes = explorer._answering.live.passes
    page.angles.n = 2
    explorer.wait()
    assert explorer.results["angular_distance"].layers == (0, 1)
    page.k = 3
    explorer.wait()
    assert (explorer.results["emergence"].k, sent(page.strip)[0]["k"]) == (3, 3)
    assert explorer._answering.live.passes == passes
    explorer.prompt = "ab"
    explorer.wait()
    assert sent(page.strip)[0]["prompt"] == sent(page.loss)[0]["prompt"] == "ab"


def test_choices_are_those_of_the_explorer(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.strip.position, page.strip.layer = 2, 1
    assert (explorer.position, explorer.layer) == (2, 1)
    assert {view.layer for view in page.views} == {1}
    explorer.layers = "1-2"
    assert {view.layers for view in page.views} == {"1-2"}
    explorer.position = 4
    assert page.loss.position == 4


def test_an_empty_prompt_clears_everything(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page._show_skipped(lw.SkipEffect((1, 2)).run(explorer.model), "ab")
    (figures,) = [part for part in page.below if page.skip in getattr(part, "children", ())]
    assert figures._dom_classes == ("lw-side", "lw-skipped")
    explorer.prompt = ""
    explorer.wait()
    assert figures._dom_classes == ("lw-side",)
    for view in (page.strip, page.loss):
        assert sent(view) == ({"layers": [], "prompt": ""}, {})
    assert page.verdict.value == ""
    explorer.prompt = "a"
    explorer.wait()
    assert sent(page.strip)[1]["settled"].shape == (1,)
    assert np.isnan(sent(page.loss)[1]["nats"]).all()


def test_the_skip_effect_is_asked_on_request(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    assert page.skip_bar.cost == "4 forward passes"
    done = threading.Event()
    page.skip_bar.observe(lambda change: done.set() if change["new"] == "done" else None, "state")
    page.skip_bar._handle_custom_msg({"type": "run"}, [])
    assert done.wait(30)
    expected = lw.SkipEffect(tuple(explorer.model.tokenize("abcdabc").ids.tolist())).run(explorer.model)
    np.testing.assert_allclose(page.skip.lines.y, expected.mean_kl_nats, atol=1e-6)
    assert page.verdict.value == agreement(expected)
    assert page.skip.driver.prompt == page.skip_bar.prompt == "abcdabc"


def skipped_again(page: lw.DepthProfile) -> None:
    page.skip_bar._handle_custom_msg({"type": "run"}, [])
    until(lambda: page.skip_bar.state == "done")


def test_the_skip_effect_is_that_of_the_run_on_screen(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    skipped_again(page)
    assert page.skip.driver.title == "Skip effect"
    plain = np.array(page.skip.lines.y)
    # In two pieces here, and in one in the answer: the words are the same.
    changes = (lw.SkipLayers("0"), lw.SkipLayers("2"))
    explorer.interventions = changes
    explorer.wait()
    assert page.skip.driver.title == "Skip effect, earlier run (nothing changed)"
    skipped_again(page)
    question = lw.SkipEffect(tuple(explorer.model.tokenize("abcdabc").ids.tolist()), interventions=changes)
    expected = question.run(explorer.model)
    assert page.skip.driver.title == f"Skip effect while {expected.changed}"
    np.testing.assert_allclose(page.skip.lines.y, expected.mean_kl_nats, atol=1e-6)
    assert np.abs(page.skip.lines.y - plain).max() > 1e-3
    np.testing.assert_allclose(page.influence.lines.y, expected.block_influence, atol=1e-6)
    explorer.interventions = ()
    explorer.wait()
    assert page.skip.driver.title == f"Skip effect, earlier run ({expected.changed})"
    explorer.prompt = ""
    explorer.wait()
    assert page.skip.driver.title == "Skip effect"


def test_what_is_about_the_model_says_so_where_something_is_changed(explorer: lw.Explorer) -> None:
    explorer.pages = ["attention", "depth"]
    explorer.wait()
    scores, skip = (explorer.page(name).requests[0].bar for name in ("attention", "depth"))
    plain = scores.cost
    explorer.interventions = (lw.SkipLayers("1"),)
    explorer.wait()
    assert scores.cost == f"{plain} · of the model as it is, not skipping 1"
    assert "as it is" not in skip.cost
    explorer.interventions = ()
    explorer.wait()
    assert scores.cost == plain


def test_what_is_refused_says_why() -> None:
    bert = lw.HookedModel(tiny("bert"), letters(), "tiny")
    explorer = lw.Explorer(bert, "abcdabc", pages=["depth"])
    explorer.wait()
    page = page_of(explorer)
    assert set(explorer.refusals) == {"position_loss"}
    assert "causal model" in page.loss.placeholder
    assert sent(page.loss)[0]["layers"] == []
    assert sent(page.strip)[0]["layers"] == list(range(bert.anatomy.n_layers))
    error = lw.MissingComponentError("no lens here")
    for name in ("settle_depth", "emergence", "block_influence", "angular_distance"):
        page.refuse(name, error, "abcdabc")
    assert page.strip.placeholder == page.influence.driver.detail == page.angles.driver.detail == "no lens here"
    explorer.prompt = ""
    explorer.wait()
    assert "Type a prompt" in page.strip.placeholder
    assert "Type a prompt" in page.loss.placeholder
    explorer.close()


def test_hidden_it_asks_nothing_and_closing_ends_it(explorer: lw.Explorer) -> None:
    page: Any = page_of(explorer)
    explorer.pages = ["map"]
    explorer.wait()
    assert explorer.results == {}
    message = page.strip._message
    explorer.prompt = "dcba"
    explorer.wait()
    assert page.strip._message is message
    explorer.close()
    deadline = time.monotonic() + 60
    while page.strip.comm is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert page.strip.comm is page.skip_bar.comm is None
