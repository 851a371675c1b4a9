"""The tuned lens page: it is trained on request, drawn beside the logit lens, and says how far to trust either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.analysis import final_divergence, tuned_lens_training
from layerwidget.widgets.lens_page import LensPage
from layerwidget.widgets.tuned_page import TunedPage
from tests.test_pages import until
from tests.tiny import N_LAYERS, letters, tiny

PROMPT = "abcde"
TEXT = "thequickbrownfoxjumpsoverthelazydogs" * 4
D_MODEL = 36
RANDOM = np.random.default_rng(3)


def random_translators(n_layers: int = N_LAYERS, d_model: int = D_MODEL) -> lw.Translators:
    weights = 0.1 * RANDOM.standard_normal((n_layers, d_model, d_model))
    return lw.Translators(weights, RANDOM.standard_normal((n_layers, d_model)), "somewhere else")


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


@pytest.fixture
def explorer(model: lw.HookedModel) -> Iterator[lw.Explorer]:
    explorer = lw.Explorer(model, PROMPT, pages=["tuned"])
    explorer.wait()
    yield explorer
    explorer.close()


def page_of(explorer: lw.Explorer) -> TunedPage:
    page = explorer.page("tuned")
    assert isinstance(page, TunedPage)
    return page


def drawn(view: lw.LogitLensView) -> dict[str, Any]:
    assert view._message is not None
    meta: dict[str, Any] = view._message[0]["meta"]
    return meta


def press(page: TunedPage, kind: str = "run") -> None:
    page.bar._handle_custom_msg({"type": kind}, [])


def test_before_training_there_is_the_logit_lens_and_a_reason(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    assert set(explorer.results) == {"resid_pre_lens"}
    assert "has to be trained first" in page.tuned_view.empty
    assert page.tuned_view._message is None
    assert drawn(page.plain_view)["component"] == "resid_pre"
    expected = lw.LogitLens(component="resid_pre").run(model.trace(PROMPT)).kl_to_final_nats
    np.testing.assert_allclose(np.atleast_2d(page.trust.lines.y), expected[None, :, 4], atol=1e-5)
    assert page._side.children == (page._words,)


def test_a_prompt_that_is_too_short_says_what_training_needs(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    assert page.bar.state == "absent"
    assert "16 tokens or more; this one has 5" in page.bar.message
    page.text = TEXT
    until(lambda: page.bar.state == "ready")
    passages = lw.TrainTunedLens(TEXT).passages(explorer.model)
    n, n_tokens = len(passages), sum(map(len, passages))
    assert page.bar.cost == f"{n} forward passes, then 3 epochs over {n_tokens} tokens for each of {N_LAYERS} layers"
    page.epochs = 1
    until(lambda: "then 1 epoch over" in page.bar.cost)
    page.text = " "
    until(lambda: page.bar.state == "absent")
    explorer.prompt = TEXT[:40]
    explorer.wait()
    assert (page.bar.state, "40 tokens" in page.bar.cost) == ("ready", True)


def test_training_is_drawn_and_used(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    page = page_of(explorer)
    page.text, page.epochs = TEXT, 2
    until(lambda: page.bar.state == "ready")
    press(page)
    until(lambda: page.bar.state == "done")
    explorer.wait()
    training = lw.TrainTunedLens(TEXT, epochs=2).run(model)
    assert page.translators == training.translators
    assert page.training is not None
    assert page.bar.prompt is None
    np.testing.assert_allclose(page.held_out.lines.y, [training.untrained_kl_nats, training.kl_nats], atol=1e-5)
    assert page._side.children == (page.held_out,)
    assert f"judged on {training.n_held_out} others" in page.about.value
    assert f"{training.kl_nats.mean():.2f} after" in page.about.value
    trace = model.trace(PROMPT)
    plain, tuned = lw.LogitLens(component="resid_pre").run(trace), lw.TunedLens(training.translators).run(trace)
    for position in (4, 1):
        explorer.position = position
        expected = [plain.kl_to_final_nats[:, position], tuned.kl_to_final_nats[:, position]]
        np.testing.assert_allclose(page.trust.lines.y, expected, atol=1e-4)
    page.trust.quantity = "probability"
    np.testing.assert_allclose(page.trust.lines.y, [plain.final_probs[:, 1], tuned.final_probs[:, 1]], atol=1e-4)
    assert drawn(page.tuned_view)["component"] == "tuned resid_pre"


def test_translators_stay_while_the_page_is_closed(explorer: lw.Explorer) -> None:
    page, translators = page_of(explorer), random_translators()
    page.translators = translators
    explorer.wait()
    assert set(explorer.results) == {"resid_pre_lens", "tuned_lens"}
    explorer.pages = ["lens"]
    explorer.prompt = "zyxw"
    explorer.wait()
    assert set(explorer.results) == {"lens", "attention"}
    explorer.pages = ["tuned", "lens"]
    explorer.wait()
    assert page_of(explorer).translators is translators
    assert drawn(page.tuned_view)["prompt"] == "zyxw"
    expected = lw.TunedLens(translators).run(explorer.model.trace("zyxw"))
    np.testing.assert_allclose(explorer.results["tuned_lens"].entropy_nats, expected.entropy_nats, atol=1e-5)
    page.translators = None
    explorer.wait()
    assert drawn(page.tuned_view)["layers"] == []
    assert "has to be trained first" in page.tuned_view.empty
    assert len(np.atleast_2d(page.trust.lines.y)) == 1


def test_translators_that_are_loaded_come_from_no_training(explorer: lw.Explorer, tmp_path: Path) -> None:
    page = page_of(explorer)
    page._trained(lw.TrainTunedLens(TEXT, epochs=1).run(explorer.model), None)
    assert page.training is not None
    lw.save_translators(random_translators(), tmp_path)
    page.translators = lw.load_translators(tmp_path)
    assert page.training is None
    assert page.about.value == f"Loaded: translators of {N_LAYERS} layers, trained for somewhere else."
    assert page._side.children == (page._words,)


def test_translators_of_another_model_are_refused(explorer: lw.Explorer) -> None:
    page, fitting = page_of(explorer), random_translators()
    page.translators = fitting
    with pytest.raises(lw.QuestionError, match=f"has {N_LAYERS} layers of width {D_MODEL}"):
        page.translators = random_translators(n_layers=N_LAYERS + 1)
    assert page.translators is fitting


def test_training_can_be_stopped_and_an_edit_goes_first(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.text, page.epochs = TEXT, 500
    until(lambda: page.bar.state == "ready")
    press(page)
    until(lambda: page.bar.state == "running")
    explorer.prompt = "abcdefg"
    explorer.wait()
    assert page.bar.is_busy
    press(page, "stop")
    until(lambda: page.bar.state == "stopped")
    assert page.translators is None


@pytest.mark.parametrize(
    ("kind", "method"), [(tuned_lens_training._Training, "_step"), (final_divergence.FinalPrediction, "kl_nats")]
)
def test_an_edit_does_not_wait_for_an_epoch(
    explorer: lw.Explorer, kind: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed during one step is on the screen before the next one; so while what is held out is judged."""
    monkeypatch.setattr(tuned_lens_training, "_BATCH", 8)
    page, original = page_of(explorer), getattr(kind, method)
    typed, answered = ["abcdefg", "xyz", "hello"], []

    def step(*given: Any) -> Any:
        if len(answered) < len(typed):
            answered.append(explorer._answering.turns.shown == explorer._answering.turns.asked)
            explorer.prompt = typed[len(answered) - 1]
        return original(*given)

    monkeypatch.setattr(kind, method, step)
    page.text, page.epochs = TEXT, 1
    until(lambda: page.bar.state == "ready")
    press(page)
    until(lambda: page.bar.state == "done")
    assert answered == [True] * 3
    assert drawn(page.plain_view)["prompt"] == "hello"


def test_an_empty_prompt_and_one_token(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.translators = random_translators()
    explorer.prompt = ""
    explorer.wait()
    assert drawn(page.tuned_view)["layers"] == drawn(page.plain_view)["layers"] == []
    assert not page.trust.lines.visible
    explorer.prompt = "a"
    explorer.wait()
    assert drawn(page.tuned_view)["n_pos"] == drawn(page.plain_view)["n_pos"] == 1
    assert np.shape(page.trust.lines.y) == (2, N_LAYERS)


def test_both_lenses_have_one_scale_and_the_lens_page_its_own(explorer: lw.Explorer) -> None:
    page = page_of(explorer)
    page.tuned_view.colour = "kl"
    assert page.plain_view.colour == "kl"
    assert explorer.lens_view.colour == "faded"


def test_the_divergence_that_costs_more_is_asked_where_cells_are_coloured_by_it(model: lw.HookedModel) -> None:
    explorer = lw.Explorer(model, PROMPT, pages=["lens", "tuned"])
    explorer.wait()
    page = page_of(explorer)
    assert drawn_divergence(explorer) == [False, False]
    explorer.lens_view.colour = "jsd"
    explorer.wait()
    assert drawn_divergence(explorer) == [True, False]
    page.tuned_view.colour = "jsd"
    explorer.wait()
    assert drawn_divergence(explorer) == [True, True]
    random = np.random.default_rng(3)
    d_model = model.anatomy.d_model
    weights = random.standard_normal((N_LAYERS, d_model, d_model)).astype(np.float32)
    page.translators = lw.Translators(weights, np.zeros((N_LAYERS, d_model), np.float32))
    explorer.wait()
    tuned = explorer.results["tuned_lens"]
    expected = lw.TunedLens(page.translators, jsd=True).run(model.trace(PROMPT)).jsd_nats
    np.testing.assert_allclose(tuned.jsd_nats, expected, atol=1e-5)
    assert np.abs(expected - explorer.results["resid_pre_lens"].jsd_nats).max() > 1e-3
    explorer.close()


def drawn_divergence(explorer: lw.Explorer) -> list[bool]:
    views = explorer.lens_view, page_of(explorer).plain_view
    return ["jsd_nats" in view.shown.arrays for view in views]


def test_trust_on_the_lens_page_is_over_all_layers_too() -> None:
    page = LensPage()
    page.curves.quantity = "rank"
    page.lens_view.colour = "kl"
    assert page.curves.quantity == "kl"
    page.lens_view.colour = "agreement"
    assert page.curves.quantity == "rank"
    page.lens_view.colour = "kl"
    page.curves.quantity = "entropy"
    page.lens_view.colour = "faded"
    assert page.curves.quantity == "entropy"


def test_curves_and_colours_both_ask_for_the_divergence_that_they_need() -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters()), "abcdabc")
    explorer.wait()
    assert explorer.results["lens"].jsd_nats is None
    explorer.curves.quantity = "jsd"
    explorer.wait()
    expected = lw.LogitLens(jsd=True).run(explorer.model.trace("abcdabc")).jsd_nats
    np.testing.assert_allclose(explorer.curves.lines.y, expected[:, -1], atol=1e-5)
    explorer.curves.quantity = "rank"
    explorer.wait()
    assert not explorer.questions["lens"].jsd
    explorer.lens_view.colour = "jsd"
    explorer.wait()
    assert explorer.curves.quantity == "jsd"
    np.testing.assert_allclose(explorer.curves.lines.y, expected[:, -1], atol=1e-5)
    explorer.lens_view.colour = "kl"
    assert explorer.curves.quantity == "kl"
    explorer.lens_view.colour = "faded"
    assert explorer.curves.quantity == "rank"
    explorer.close()


def test_a_lens_that_is_refused_says_why() -> None:
    page = TunedPage()
    page.refuse("tuned_lens", lw.QuestionError("for another model"), "abc")
    assert page.tuned_view.empty == "for another model"
    assert drawn(page.tuned_view)["layers"] == []


def test_closing_takes_what_is_not_shown_too(model: lw.HookedModel) -> None:
    explorer = lw.Explorer(model, PROMPT, pages=["tuned"])
    explorer.wait()
    page = page_of(explorer)
    assert page.held_out.comm is not None
    explorer.close()
    assert page.held_out.comm is None
    assert page.held_out.figure.comm is None
    assert page._words.comm is None


def test_translators_are_loaded_and_saved_on_the_page(explorer: lw.Explorer, tmp_path: Path) -> None:
    page = page_of(explorer)
    box = page.folder
    assert box.save.disabled
    box.load.click()
    assert box.said.value == "Type the path of a folder first."
    box.path.value = str(tmp_path / "none")
    box.load.click()
    assert str(tmp_path / "none") in box.said.value
    assert page.translators is None
    lw.save_translators(random_translators(n_layers=N_LAYERS + 1), tmp_path / "other")
    box.path.value = str(tmp_path / "other")
    box.load.click()
    assert f"These translators are for {N_LAYERS + 1} layers" in box.said.value
    page.translators = own = random_translators()
    box.path.value = str(tmp_path / "mine")
    box.save.click()
    assert lw.load_translators(tmp_path / "mine") == own
    page.translators = None
    assert box.save.disabled
    box.load.click()
    assert page.translators == own
    assert box.said.value == f"Loaded from {tmp_path / 'mine'}."
    explorer.wait()
    assert "tuned_lens" in explorer.results
    page.translators = None
    (tmp_path / "file").write_text("x")
    page.translators = own
    box.path.value = str(tmp_path / "file")
    box.save.click()
    assert str(tmp_path / "file") in box.said.value
