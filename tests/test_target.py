"""An encoder-decoder in an explorer: what its decoder has written is the second text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.export.page_recording import page_recording
from layerwidget.model.hooked_model import HookedModel
from layerwidget.tokens import Tokens
from layerwidget.widgets.cross_page import CrossAttentionPage
from tests import tiny
from tests.test_pages import until

SOURCE, TARGET = "abcdefg", "hij"


@pytest.fixture(scope="module")
def model() -> HookedModel:
    return HookedModel(tiny.tiny("bart"), tiny.letters())


@pytest.fixture
def explorer(model: HookedModel) -> Iterator[lw.Explorer]:
    found = lw.Explorer(model, SOURCE, target=TARGET, pages=("lens", "cross"))
    found.wait()
    yield found
    found.close()


def cross(explorer: lw.Explorer) -> CrossAttentionPage:
    page = explorer.page("cross")
    assert isinstance(page, CrossAttentionPage)
    return page


def test_lens_and_cross_attention_are_those_of_source_and_target(explorer: lw.Explorer, model: HookedModel) -> None:
    trace = model.trace(SOURCE, target=TARGET)
    assert len(trace.tokens) == 4
    lens, found = lw.LogitLens(k=10).run(trace), lw.CrossAttention().run(trace)
    np.testing.assert_array_equal(explorer.results["lens"].top_ids, lens.top_ids)
    np.testing.assert_allclose(explorer.results["cross"].pattern, found.pattern, atol=1e-6)
    assert found.pattern.shape[-2:] == (4, 7)
    assert explorer.position == 3
    assert explorer.status.work.startswith("source 7 · target 4 tokens")
    assert not cross(explorer).attention_view.hide_first
    assert explorer.target_editor is not None
    assert explorer.target_editor.shown.meta["ids"] == trace.tokens.ids.tolist()
    assert explorer.target_editor.to_text().startswith(f"target: {TARGET}")
    assert len(explorer.editor.shown.meta["ids"]) == 7
    assert (explorer.editor.choosable, explorer.target_editor.choosable) == (False, True)


def test_each_of_the_two_texts_can_be_edited(explorer: lw.Explorer, model: HookedModel) -> None:
    for name, text in (("target", "hijkl"), ("prompt", "abcx"), ("prompt", "abcdefg"), ("target", "")):
        setattr(explorer, name, text)
        explorer.wait()
        trace = model.trace(explorer.prompt, target=explorer.target or None)
        np.testing.assert_array_equal(explorer.results["lens"].top_ids, lw.LogitLens(k=10).run(trace).top_ids)
        assert explorer.position == len(trace.tokens) - 1
        expected = lw.CrossAttention().run(trace).pattern
        np.testing.assert_allclose(explorer.results["cross"].pattern, expected, atol=1e-6)
    explorer.target_editor.prompt = "kl"
    explorer.wait()
    assert (explorer.target, len(explorer.results["lens"].token_ids)) == ("kl", 3)


def test_it_is_part_of_the_state(explorer: lw.Explorer) -> None:
    state = explorer.state
    explorer.target = "x"
    explorer.state = state
    explorer.wait()
    assert (explorer.target, explorer.position) == (TARGET, 3)


def test_another_source_of_the_same_target_can_be_compared(explorer: lw.Explorer, model: HookedModel) -> None:
    explorer.pages = ["compare"]
    explorer.page("compare").prompt = "gfedcba"
    explorer.wait()
    both = [lw.LogitLens(k=10).run(model.trace(text, target=TARGET)) for text in (SOURCE, "gfedcba")]
    expected = lw.difference(*both)["entropy"]
    found = next(one for one in explorer.page("compare").found if "entropy" in one.quantities)
    np.testing.assert_allclose(found["entropy"].change, expected.change, atol=1e-5)
    assert np.abs(expected.change).max() > 1e-3


def test_every_picture_says_of_which_target_it_is(explorer: lw.Explorer) -> None:
    """The browser dims what is about another one than is typed."""
    explorer.pages = ["lens", "cross", "depth", "residual"]
    for target in (TARGET, "kl", ""):
        explorer.target = target
        explorer.wait()
        views = [view for page in explorer.stack.open_pages for view in page.views]
        # Nobody has asked what is lost without a layer.
        views.remove(explorer.page("depth").skip.driver)
        said = [view.target if hasattr(view, "band") else view.shown.meta.get("target") for view in views]
        assert said == [target] * len(views)


def test_the_skip_effect_is_that_of_source_and_target(explorer: lw.Explorer, model: HookedModel) -> None:
    explorer.pages = ["depth"]
    explorer.wait()
    page = explorer.page("depth")
    page.skip_bar._handle_custom_msg({"type": "run"}, [])
    until(lambda: page.skip_bar.state in ("done", "failed"))
    assert page.skip_bar.message == ""
    expected = lw.SkipEffect(SOURCE, target=TARGET).run(model)
    np.testing.assert_allclose(page.skip.shown.kl_nats, expected.kl_nats, atol=1e-6)
    np.testing.assert_array_equal(page.skip.shown.token_ids, model.trace(SOURCE, target=TARGET).tokens.ids)
    assert expected.mean_kl_nats.min() > 1e-3


def test_the_skip_effects_of_two_sources_of_one_target_are_told_apart(
    explorer: lw.Explorer, model: HookedModel
) -> None:
    explorer.pages = ["compare"]
    page = explorer.page("compare")
    page.prompt, page.about = "gfedcba", "skip"
    explorer.wait()
    request = page.requests[1]
    answer = request.question(explorer.standpoint).run(model)
    request.show(answer, SOURCE)
    expected = lw.difference(*(lw.SkipEffect(text, target=TARGET).run(model) for text in (SOURCE, "gfedcba")))
    kl = expected["KL without the layer"].change
    np.testing.assert_allclose(page.found[0]["KL without the layer"].change, kl, atol=1e-5)
    assert np.abs(kl).max() > 1e-3
    # The decoder has written the same: it is about another source all the same.
    page.prompt = "aaabbbc"
    explorer.wait()
    assert page.found == []
    page.prompt = "gfedcba"
    explorer.wait()
    assert page.found


def test_a_scene_has_a_target_of_its_own(explorer: lw.Explorer, tmp_path: Path) -> None:
    explorer.scenes = [lw.Scene("One", prompt="abc", target="h"), lw.Scene("Two", target="ij")]
    explorer.scene = 1
    explorer.wait()
    assert (explorer.prompt, explorer.target) == (SOURCE, "ij")
    explorer.scene = 0
    explorer.wait()
    assert (explorer.prompt, explorer.target, explorer.position) == ("abc", "h", 1)
    assert lw.Scene.here(explorer, "Here").target == "h"
    explorer.scenes.save(tmp_path / "talk.json")
    assert lw.Scenes.load(tmp_path / "talk.json") == explorer.scenes
    said = [(one["text"], one.get("target")) for one in page_recording(explorer, ()).head["prompts"]]
    assert said == [("abc", "h"), ("abc", "ij")]
    plain = lw.Explorer(HookedModel(tiny.tiny("llama"), tiny.letters()), "ab", scenes=explorer.scenes)
    with pytest.raises(lw.SceneError, match=r"target cannot be 'h': .* has no encoder"):
        plain.scene = 0
    assert plain.prompt == "ab"
    plain.close()


def test_recorded_prompts_have_targets_of_their_own(explorer: lw.Explorer, tmp_path: Path) -> None:
    both = [("abc", "h"), ("abc", "ij"), ("gfe", "")]
    explorer.save(tmp_path / "file", both)
    explorer.wait()
    assert (explorer.prompt, explorer.target) == (SOURCE, TARGET)
    replayed = lw.replay(tmp_path / "file")
    assert [text for text, _ in replayed.chooser.options] == ["abc → h", "abc → ij", "gfe"]
    assert [len(one.answers["lens"].token_ids) for one in replayed.recording.prompts] == [2, 3, 1]
    recorded = page_recording(explorer, both)
    said = [(one["text"], one.get("target")) for one in recorded.head["prompts"]]
    assert said == [(SOURCE, TARGET), ("abc", "h"), ("abc", "ij"), ("gfe", None)]
    assert [one["place"]["position"] for one in recorded.head["prompts"]] == [3, 1, 2, 0]
    assert (explorer.prompt, explorer.target) == (SOURCE, TARGET)


def test_a_prompt_without_its_target_is_not_recorded(explorer: lw.Explorer, tmp_path: Path) -> None:
    for record in (explorer.to_html, explorer.save):
        with pytest.raises(lw.PromptError, match=r"another target than 'hij'. Write prompts=\[\(prompt, target\)"):
            record(tmp_path / "file", prompts=["abc"])
    explorer.target = ""
    explorer.save(tmp_path / "file", prompts=["abc"])
    assert (explorer.prompt, explorer.target) == (SOURCE, "")
    plain = lw.Explorer(HookedModel(tiny.tiny("llama"), tiny.letters()), "ab")
    plain.wait()
    with pytest.raises(lw.PromptError, match=r"has no encoder, so a prompt is a text; got \('a', 'b'\)"):
        plain.save(tmp_path / "file", prompts=[("a", "b")])
    plain.close()


def test_a_model_without_an_encoder_has_no_target() -> None:
    explorer = lw.Explorer(HookedModel(tiny.tiny("llama"), tiny.letters()), "ab")
    explorer.wait()
    assert "cross" not in explorer.stack.kinds
    assert explorer.target_editor is None
    with pytest.raises(lw.PromptError, match="has no encoder, so it takes a prompt and no target"):
        explorer.target = "x"
    assert "target" not in explorer.state
    explorer.close()


def test_a_trace_of_both_is_that_of_the_texts(model: HookedModel) -> None:
    tokens = model.with_target(model.tokenize(SOURCE), TARGET)
    assert isinstance(tokens.source, Tokens)
    assert (tokens.text, len(tokens), len(tokens.source)) == (SOURCE, 4, 7)
    np.testing.assert_array_equal(model.trace(tokens).logits, model.trace(SOURCE, target=TARGET).logits)
    assert model.with_target(tokens) is tokens
    assert tokens.key != model.with_target(model.tokenize("abcdefx"), TARGET).key
