"""The explorer without a browser: its traits, its results, and what it says when something is wrong."""

from __future__ import annotations

import gc
import math
import threading
import time
import weakref

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.analysis import logit_lens
from layerwidget.engine import worker
from layerwidget.errors import Cancelled
from layerwidget.widgets import lens_page as module
from layerwidget.widgets.parts import parts_of
from tests.test_pages import until
from tests.tiny import N_LAYERS, letters, tiny


def test_what_is_shown_matches_the_prompt(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    assert explorer.layers == f"0-{N_LAYERS - 1}"
    assert explorer.selection == lw.Selection(layer=N_LAYERS - 1, head=0, position=4)
    explorer.prompt = "zyx"
    explorer.wait()
    assert explorer.results["lens"].token_ids.tolist() == [25, 24, 23]
    assert explorer.results["attention"].pattern.shape[-1] == 3
    expected = lw.LogitLens().run(model.trace("zyx"))
    np.testing.assert_allclose(explorer.results["lens"].entropy_nats, expected.entropy_nats, atol=1e-5)
    assert explorer.status.state == "fresh"
    assert "3 tokens" in explorer.status.work


@pytest.mark.parametrize(("kind", "target"), [("bert", ""), ("t5", "ab"), ("llama", "")])
def test_the_status_line_says_where_nothing_can_be_reused(kind: str, target: str) -> None:
    explorer = lw.Explorer(
        lw.HookedModel(tiny(kind), letters(), "tiny"), "abc", **({"target": target} if target else {})
    )
    while explorer.report is None:
        time.sleep(0.01)
    explorer.prompt = "abcd"
    explorer.wait()
    assert ("every edit is computed anew" in explorer.status.work) == (kind != "llama")
    explorer.close()


def test_every_trait_is_shared_both_ways(explorer: lw.Explorer) -> None:
    views = (explorer.editor, explorer.slider, explorer.lens_view, explorer.attention_view, explorer.curves.driver)
    for name, value in {"layer": 1, "head": 2, "position": 3, "token": 7, "tokens": [7, 9], "layers": "1-2"}.items():
        setattr(explorer, name, value)
        assert [getattr(view, name) for view in views] == [value] * len(views)
    for view in views:
        view.layer, view.position = 2, 1
        assert (explorer.layer, explorer.position) == (2, 1)
        explorer.layer, explorer.position = 1, 3
    explorer.slider.value = (0, 1)
    assert explorer.layers == explorer.lens_view.layers == "0-1"
    explorer.editor.prompt = "hello"
    assert explorer.prompt == "hello"


def test_layers_are_canonical_and_the_chosen_layer_stays_in_view(explorer: lw.Explorer) -> None:
    explorer.layers = "early"
    assert explorer.layers == "0"
    assert explorer.layer == 0
    explorer.layers = "::2"
    assert (explorer.layers, explorer.slider.value) == ("0,2", (0, 2))
    explorer.wait()
    assert explorer.results["attention"].layers == (0, 2)


def test_a_wrong_selection_changes_nothing(explorer: lw.Explorer) -> None:
    with pytest.raises(lw.SelectionError, match="0 to 2"):
        explorer.layers = "2-9"
    with pytest.raises(lw.SelectionError, match="head 4"):
        explorer.head = 4
    with pytest.raises(lw.SelectionError, match="layer 3"):
        explorer.selection = lw.Selection(layer=3)
    assert (explorer.layers, explorer.head, explorer.layer) == ("0-2", 0, 2)
    explorer.prompt = "next"
    explorer.wait()
    assert len(explorer.results["lens"].token_ids) == 4


def test_the_position_goes_along_with_the_end(explorer: lw.Explorer) -> None:
    explorer.prompt = "abcdefgh"
    explorer.wait()
    assert explorer.position == 7
    explorer.position = 2
    explorer.prompt = "abcdefghi"
    explorer.wait()
    assert explorer.position == 2
    explorer.prompt = "ab"
    explorer.wait()
    assert explorer.position == 1


@pytest.mark.parametrize("way", ["position", "selection"])
def test_a_place_that_is_chosen_while_the_prompt_grows_stays(
    explorer: lw.Explorer, model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    assert explorer.position == len(explorer.prompt) - 1
    choosing = explorer._choosing
    texts = (explorer.prompt, "")
    grown = [threading.Thread(target=explorer._answering._show_tokens, args=(model.tokenize("abcdefgh"), texts))]

    def interrupted(position: int) -> None:
        choosing(position)
        if grown:
            thread = grown.pop()
            thread.start()
            thread.join()

    monkeypatch.setattr(explorer, "_choosing", interrupted)
    setattr(explorer, way, 2 if way == "position" else lw.Selection(position=2))
    assert not grown
    assert explorer.position == 2
    explorer._answering._show_tokens(model.tokenize("abcdefghi"), texts)
    assert explorer.position == 2


def test_the_empty_state(explorer: lw.Explorer) -> None:
    explorer.prompt = ""
    explorer.wait()
    assert dict(explorer.results) == {}
    assert explorer.status.state == "empty"
    explorer.prompt = "a"
    explorer.wait()
    assert explorer.results["lens"].top_ids.shape[1] == 1
    assert explorer.position == 0


def test_an_error_is_shown_and_the_next_edit_works(explorer: lw.Explorer) -> None:
    explorer.prompt = "x" * 200
    with pytest.raises(lw.PromptError, match="200"):
        explorer.wait()
    assert "200" in explorer.error_panel.message
    assert "Traceback" in explorer.error_panel.traceback
    assert explorer.status.state == "failed"
    # Right under the text that it is about.
    body = explorer.children[-1].children
    assert body[body.index(explorer.editor) + 1] is explorer.error_panel
    explorer.prompt = "fine"
    explorer.wait()
    assert explorer.error_panel.message == ""


def test_interventions_are_shown_and_said(explorer: lw.Explorer) -> None:
    before = explorer.results["lens"].top_probs
    explorer.interventions = (lw.SkipLayers("1"),)
    explorer.wait()
    assert (explorer.results["lens"].top_probs != before).any()
    assert "skipping 1" in explorer.status.work
    with pytest.raises(lw.SelectionError, match="7 is out of range"):
        explorer.interventions = (lw.SkipLayers("7"),)
    with pytest.raises(lw.QuestionError, match="SkipLayers"):
        explorer.interventions = ("1",)
    explorer.interventions = ()
    explorer.wait()
    np.testing.assert_array_equal(explorer.results["lens"].top_probs, before)


def test_pinned_tokens_are_answered(explorer: lw.Explorer) -> None:
    explorer.tokens = [3, 8]
    explorer.wait()
    assert explorer.results["lens"].tokens == (3, 8)
    explorer.curves.quantity = "rank"
    assert explorer.curves.lines.y.shape == (2, N_LAYERS)
    np.testing.assert_array_equal(explorer.curves.lines.y[1], explorer.results["lens"].token_ranks[:, 4, 1] + 1)


def test_what_all_views_share_is_asked_once(explorer: lw.Explorer) -> None:
    turns, go = explorer._answering.turns, threading.Event()
    began = threading.Event()
    # Nothing is answered meanwhile: whoever asks after the first would find the answer missing.
    explorer._answering._worker.submit(go, lambda: (began.set(), go.wait(10)))
    assert began.wait(10)
    asked = turns.asked
    try:
        for change in (
            lambda: setattr(explorer, "tokens", [7]),
            lambda: setattr(explorer.slider, "layers", "0-1"),
            lambda: setattr(explorer.lens_view, "tokens", [7, 3]),
            lambda: setattr(explorer.lens_view, "component", "attn_out"),
            # Back to what was asked before all of these.
            lambda: setattr(explorer.lens_view, "component", "resid_post"),
        ):
            change()
            asked += 1
            assert turns.asked == asked
    finally:
        go.set()
    explorer.wait()
    assert explorer.results["lens"].tokens == (7, 3)


def test_the_lens_decodes_what_is_chosen(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    components = ["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "head_out", "neuron_out"]
    assert explorer.lens_view.components == components
    passes = explorer._answering.live.passes
    for component in ("mlp_out", "resid_mid"):
        explorer.lens_view.component = component
        explorer.wait()
        found = explorer.results["lens"]
        assert found.component == component
        expected = lw.LogitLens(component=component).run(model.trace("abcde"))
        np.testing.assert_allclose(found.entropy_nats, expected.entropy_nats, atol=1e-4)
        assert component in explorer.curves.driver.detail
    assert explorer._answering.live.passes == passes


def test_the_lens_decodes_the_chosen_head(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    explorer.lens_view.component = "head_out"
    for head in (1, 3):
        explorer.head = head
        explorer.wait()
        found = explorer.results["lens"]
        expected = lw.LogitLens(component="head_out", head=head).run(model.trace("abcde"))
        assert (found.head, found.decoded) == (head, f"head_out {head}")
        np.testing.assert_allclose(found.entropy_nats, expected.entropy_nats, atol=1e-4)
        assert f"head_out {head}" in explorer.curves.driver.detail


def test_the_lens_decodes_the_strongest_neurons_or_the_followed_one(
    explorer: lw.Explorer, model: lw.HookedModel
) -> None:
    explorer.pages = ["lens", "neurons"]
    explorer.lens_view.component = "neuron_out"
    explorer.wait()
    strongest = lw.LogitLens(component="neuron_out").run(model.trace("abcde")).neurons
    np.testing.assert_array_equal(explorer.results["lens"].neurons, strongest)
    explorer.layer = 1
    explorer.page("neurons").table.neuron = 5
    explorer.wait()
    found = explorer.results["lens"].neurons
    assert (found[1] == 5).all()
    np.testing.assert_array_equal(found[[0, 2]], strongest[[0, 2]])
    explorer.layer = 2
    explorer.wait()
    np.testing.assert_array_equal(explorer.results["lens"].neurons, strongest)


def test_heads_that_cannot_be_told_apart_are_said_in_the_place_of_the_lens(
    explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise lw.MissingComponentError("these heads are one")

    monkeypatch.setattr(logit_lens, "HeadRows", refuse)
    explorer.lens_view.component = "head_out"
    explorer.wait()
    assert str(explorer.refusals["lens"]) == explorer.lens_view.empty == "these heads are one"
    assert explorer.lens_view._message[0]["meta"]["layers"] == []
    assert set(explorer.results) == {"attention"}
    explorer.lens_view.component = "resid_post"
    explorer.wait()
    assert "lens" in explorer.results
    assert explorer.lens_view.empty != "these heads are one"


def test_a_view_alone_says_what_was_decoded(model: lw.HookedModel) -> None:
    view = lw.LogitLensView(lw.LogitLens(component="attn_out").run(model.trace("abcde")))
    assert (view.component, view.components) == ("attn_out", [])


def test_attention_that_does_not_fit_is_left_out_and_said(
    explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTENTION_BYTES", 4 * 4 * 25)
    explorer.prompt = "edcba"
    explorer.wait()
    assert explorer.results["attention"].layers == (2,)
    assert "attention of layers 2 only" in explorer.status.work
    explorer.layer = 0
    explorer.wait()
    assert explorer.results["attention"].layers == (0,)
    explorer.prompt = "edcbaa"
    explorer.wait()
    assert (explorer.results["attention"].layers, explorer.results["attention"].heads) == ((0,), (0, 1))
    assert "attention of layer 0, heads 0-1 only" in explorer.status.work
    explorer.head = 3
    explorer.wait()
    assert explorer.results["attention"].heads == (2, 3)
    explorer.prompt = "edcbaaabcde"
    explorer.wait()
    assert "attention" not in explorer.results


def test_stop_gives_up_and_the_next_edit_works() -> None:
    model = lw.HookedModel(tiny("llama"), letters(), "tiny")
    explorer = lw.Explorer(model, "abc")
    explorer.wait()
    slow = threading.Event()
    layer = model.hf_model.model.layers[1]
    handle = layer.register_forward_pre_hook(lambda *_: time.sleep(0.3 if slow.is_set() else 0))
    slow.set()
    explorer.prompt = "abcdefgh"
    explorer.stop()
    with pytest.raises(Cancelled):
        explorer.wait()
    assert explorer.status.state == "stopped"
    assert len(explorer.results["lens"].token_ids) == 3
    slow.clear()
    explorer.prompt = "abcdefg"
    explorer.wait()
    assert len(explorer.results["lens"].token_ids) == 7
    handle.remove()
    explorer.close()


@pytest.mark.parametrize("fresh", [True, False])
def test_an_edit_gives_up_the_pass_before_it_at_the_next_layer_where_the_picture_is_fresh(
    monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """Where it is not, that pass goes on to its end and is shown: else a fast typist would see nothing."""
    model = lw.HookedModel(tiny("llama"), letters(), "tiny")
    explorer = lw.Explorer(model, "abc")
    explorer.wait()
    # What is done idly runs the model, too.
    deadline = time.monotonic() + 60
    while explorer.report is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert explorer.report is not None
    monkeypatch.setattr(worker, "FRESH_S", math.inf if fresh else -math.inf)
    monkeypatch.setattr(worker, "LONG_S", math.inf)
    at_layer, go, ran, shown = threading.Event(), threading.Event(), [], []

    def run(number: int) -> None:
        ran.append(number)
        if number == 0 and not go.is_set():
            at_layer.set()
            assert go.wait(60)

    hooks = [
        layer.register_forward_pre_hook(lambda *_, number=number: run(number))
        for number, layer in enumerate(model.hf_model.model.layers)
    ]
    explorer.observe(lambda change: shown.append(change["new"]["lens"].token_ids.tolist()), "results")
    explorer.prompt = "abcde"
    assert at_layer.wait(60)
    explorer.prompt = "abcxyz"
    go.set()
    explorer.wait()
    first = [0] if fresh else [0, 1, 2]
    assert ran[: len(first) + 1] == [*first, 0]
    last = [0, 1, 2, 23, 24, 25]
    assert shown == [last] if fresh else [[0, 1, 2, 3, 4], last]
    expected = lw.LogitLens().run(model.trace("abcxyz"))
    np.testing.assert_allclose(explorer.results["lens"].entropy_nats, expected.entropy_nats, atol=1e-5)
    for hook in hooks:
        hook.remove()
    explorer.close()


def test_wait_says_how_long(explorer: lw.Explorer) -> None:
    with explorer.model.lock:
        explorer.prompt = "later"
        with pytest.raises(TimeoutError, match=r"0\.01 s"):
            explorer.wait(timeout_s=0.01)
    explorer.wait()


def test_two_explorers_share_a_model(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    other = lw.Explorer(model, "qrs")
    for number in range(5):
        explorer.prompt, other.prompt = "abc"[: number % 3 + 1], "qrstuv"[: number + 1]
    explorer.wait()
    other.wait()
    assert len(explorer.results["lens"].token_ids) == 2
    assert len(other.results["lens"].token_ids) == 5
    other.close()


def test_a_closed_explorer_leaves_nothing_behind() -> None:
    model = lw.HookedModel(tiny("llama"), letters(), "tiny")
    explorer = lw.Explorer(model, "abc")
    explorer.wait()
    made = parts_of(explorer)
    assert all(widget.comm is not None for widget in made)
    explorer.close()
    assert all(widget.comm is None for widget in made)
    explorer.prompt = "not any more"
    with pytest.raises(lw.LayerWidgetError, match="closed"):
        explorer.wait()
    freed = [weakref.ref(explorer), weakref.ref(model)]
    del explorer, model, made
    # The check that ran meanwhile is given up at its next layer.
    deadline = time.monotonic() + 20
    while any(one() is not None for one in freed) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    assert [one() for one in freed] == [None, None]


def test_the_grade_of_the_model_is_shown_once_it_is_known(explorer: lw.Explorer, model: lw.HookedModel) -> None:
    explorer.wait()
    deadline = time.monotonic() + 60
    while explorer.report is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert explorer.report is not None
    assert explorer.report.ok
    assert explorer.status.checked == "checked: lens, residual, attention, skip, clean"
    assert not explorer.status.failing
    assert explorer.status.report.startswith(repr(lw.check(model)).splitlines()[0])


def test_an_error_in_somebodys_callback_does_not_stop_the_explorer(explorer: lw.Explorer) -> None:
    def fail(_change: object) -> None:
        raise ZeroDivisionError("mine")

    explorer.observe(fail, "results")
    explorer.prompt = ""
    with pytest.raises(ZeroDivisionError):
        explorer.wait()
    assert "ZeroDivisionError: mine" in explorer.error_panel.message
    explorer.unobserve(fail, "results")
    explorer.prompt = "fine"
    explorer.wait()
    assert explorer.status.state == "fresh"


def test_layers_without_attention_keep_their_lens() -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("jamba"), letters(), "hybrid"), "abcd")
    explorer.wait()
    held = explorer.results["attention"].attention_layers
    lacking = next(layer for layer in range(explorer.n_layers) if layer not in held)
    explorer.layers = str(lacking)
    explorer.wait()
    assert set(explorer.results) == {"lens"}
    assert explorer.attention_view._message[0]["meta"]["note"] == "No layer in view has attention heads."
    explorer.close()


def test_half_a_character_is_said(explorer: lw.Explorer) -> None:
    explorer.prompt = "ab\ud83d"
    explorer.wait()
    assert explorer.prompt == explorer.editor.prompt == "ab\ufffd"
    assert "U+FFFD" in explorer.editor._message[0]["meta"]["note"]
    explorer.prompt = "ab"
    explorer.wait()
    assert explorer.editor._message[0]["meta"]["note"] == ""


def test_explore_takes_a_model(model: lw.HookedModel) -> None:
    explorer = lw.explore(model, "ab", layers="1")
    explorer.wait()
    assert explorer.layers == "1"
    explorer.close()


def test_who_takes_an_edit_back_goes_on_typing_where_they_are() -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abcdef")
    explorer.wait()
    until(lambda: explorer.report is not None)
    for prompt in ("abxdef", "abcdef"):
        explorer.prompt = prompt
        explorer.wait()
    assert "nothing recomputed" in explorer.status.work
    # The pass over it, in place of the other's, is run when nothing else is to do.
    until(lambda: not explorer._answering.live.is_behind)
    assert "nothing recomputed" in explorer.status.work
    explorer.prompt = "abcdefg"
    explorer.wait()
    assert "1 recomputed" in explorer.status.work
    explorer.close()


def test_scrolling_in_a_prompt_that_is_computed_at_once_asks_nothing() -> None:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abcdef")
    explorer.wait()
    until(lambda: explorer.report is not None)
    turns = explorer._answering.turns
    with explorer.model.lock:
        explorer.prompt = "abcdefgh"
        asked = turns.asked
        assert turns.busy
        explorer.lens_view.in_sight = (0, 3)
        assert turns.asked == asked
    explorer.wait()
    explorer.close()
