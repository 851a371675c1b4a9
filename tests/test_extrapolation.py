"""Prompts past the trained length run only on request."""

from __future__ import annotations

import numpy as np
import pytest

import layerwidget as lw
import layerwidget.analysis  # registers the answers
from layerwidget.model.hooked_model import HookedModel
from tests import tiny

LONG = tiny.ids(tiny.N_CTX + 3)


@pytest.mark.parametrize("kind", ["llama", "gemma3", "gpt_neox"])
def test_they_run_on_request_as_in_plain_transformers(kind: str) -> None:
    model = tiny.hooked(kind)
    assert model.n_ctx == tiny.N_CTX
    with pytest.raises(lw.PromptError, match=r"trained for at most .* extrapolate=True"):
        model.trace(LONG)
    trace = model.trace(LONG, extrapolate=True)
    plain = tiny.plain_output(model.hf_model, LONG).logits[0]
    np.testing.assert_allclose(trace.logits, plain, atol=1e-4)
    assert len(lw.PositionLoss().run(trace).nats) == tiny.N_CTX + 3


@pytest.mark.parametrize("kind", ["gpt2", "opt"])
def test_a_table_of_positions_ends(kind: str) -> None:
    with pytest.raises(lw.PromptError, match=r"cannot read .* tokens at all: it knows no positions past"):
        tiny.hooked(kind).trace(LONG, extrapolate=True)


def test_an_edit_past_the_length_is_that_of_a_full_pass() -> None:
    model = tiny.hooked("llama")
    live = lw.Live(model)
    live.update(tiny.ids(tiny.N_CTX - 2), lw.LogitLens())
    live.prepare()
    found = live.update(model.tokenize(LONG, extrapolate=True), lw.LogitLens())[0]
    expected = lw.LogitLens().run(model.trace(LONG, extrapolate=True))
    np.testing.assert_allclose(found.top_probs, expected.top_probs, atol=1e-4)
    with pytest.raises(lw.PromptError, match="extrapolate=True"):
        live.update(LONG, lw.LogitLens())


def test_the_reader_asks_for_it_and_is_told_what_it_is() -> None:
    explorer = lw.Explorer(HookedModel(tiny.tiny("llama"), tiny.letters()), "ab")
    explorer.wait()
    bar = explorer.length_bar
    assert bar.layout.display == "none"
    explorer.prompt = "abcde" * (tiny.N_CTX // 5 + 2)
    n_past = len(explorer.prompt) - tiny.N_CTX
    with pytest.raises(lw.PromptError):
        explorer.wait()
    assert bar.layout.display is None
    bar.box.value = True
    explorer.wait()
    assert explorer.results["lens"].top_ids.shape[1] == tiny.N_CTX + n_past
    assert f"The last {n_past} positions lie past the trained length" in explorer.editor.shown.meta["note"]
    second = "z" + explorer.prompt
    explorer.pages = ["compare"]
    explorer.page("compare").prompt = second
    explorer.wait()
    found = next(one for one in explorer.page("compare").found if "entropy" in one.quantities)
    assert found.b.token_ids.tolist() == explorer.model.tokenize(second, extrapolate=True).ids.tolist()
    state = explorer.state
    assert state["extrapolate"]
    explorer.state = {"extrapolate": False}
    with pytest.raises(lw.PromptError):
        explorer.wait()
    explorer.state = state
    explorer.wait()
    assert bar.box.value
    explorer.prompt = "abc"
    explorer.wait()
    assert (bar.layout.display, explorer.editor.shown.meta["note"]) == (None, "")
    # A second prompt that is too long alone runs on the same request.
    assert explorer.page("compare").found
    bar.extrapolate = False
    explorer.wait()
    assert not explorer.page("compare").found
    assert (bar.layout.display, explorer.page("compare").note) == (None, "")
    bar.extrapolate = True
    explorer.wait()
    assert explorer.page("compare").found
    said = f"B: the last {len(second) - tiny.N_CTX} positions lie past the trained length"
    assert explorer.page("compare").note.startswith(said)
    assert said in explorer.status.work
    question = explorer.page("compare").requests[1].question(explorer.standpoint)
    assert question.run(explorer.model)[2].kl_nats.shape == (tiny.N_LAYERS, len(second))
    # Nobody reads it: there is nothing to ask for.
    explorer.pages = ["lens"]
    explorer.wait()
    assert bar.layout.display == "none"
    explorer.scenes = [lw.Scene("Short", extrapolate=False), lw.Scene("Long", prompt=second, extrapolate=True)]
    explorer.scene = 0
    assert not bar.extrapolate
    explorer.scene = 1
    explorer.wait()
    assert (bar.extrapolate, len(explorer.results["lens"].token_ids)) == (True, len(second))
    assert lw.Scene.here(explorer, "Here").extrapolate is True
    with pytest.raises(lw.SceneError, match="extrapolate of the scene 'x' is 1; expected true or false"):
        lw.Scene("x", extrapolate=1)  # type: ignore[arg-type]
    explorer.close()
