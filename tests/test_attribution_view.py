"""The attribution page: its numbers are the result's, they add up, and another head costs no more than itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

import layerwidget as lw
from layerwidget.questions.attribution import AttributionGrid
from layerwidget.widgets.attribution_figure import parts_by_layer, running_sum
from layerwidget.widgets.attribution_panel import N_PARTS
from layerwidget.widgets.parts import parts_of
from tests import tiny
from tests.test_views import sent
from tests.tiny import letters

PROMPT = "abcde"


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.HookedModel(tiny.tiny("llama"), letters(), "tiny")


def test_the_models_own_answer_is_the_token_unless_another_is_asked(model: lw.HookedModel) -> None:
    trace = model.trace(PROMPT)
    best = trace.logits[2].argsort(descending=True)[:10].tolist()
    own = lw.DirectLogitAttribution(position=2).run(trace)
    assert (own.token, own.top_ids.tolist()) == (best[0], best)
    same = lw.DirectLogitAttribution(best[0], position=2).run(trace)
    np.testing.assert_array_equal(own.values, same.values)
    sources = lw.HeadSources(1, 2, minus=9, position=2).run(trace)
    assert (sources.token, sources.minus, sources.head, sources.layers) == (best[0], 9, (1, 2), (1,))


@pytest.mark.parametrize("kind", ["llama", "gemma3", "granite"])
def test_the_sources_alone_are_those_of_the_whole_question(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(9))
    whole = lw.DirectLogitAttribution(17, 5, 6, head=(1, 2)).run(trace)
    alone = lw.HeadSources(1, 2, 17, 5, 6).run(trace)
    np.testing.assert_array_equal(alone.sources, whole.sources)
    assert alone.total == pytest.approx(float(whole.heads[1, 2]), abs=1e-4)
    assert alone.to_pandas()["logit"].sum() == pytest.approx(alone.total, abs=1e-5)
    for question, words in (
        (lw.HeadSources(3, 0, 17), "Layer 3"),
        (lw.HeadSources(0, 4, 17), "Head 4"),
        (lw.HeadSources(0, 0, 101), "Token id 101"),
        (lw.HeadSources(0, 0, 17, position=9), "Position 9"),
    ):
        with pytest.raises(lw.SelectionError, match=words):
            question.run(trace)


def test_what_is_drawn_is_the_result(model: lw.HookedModel) -> None:
    trace = model.trace(PROMPT)
    for minus in (None, 7):
        grid = lw.DirectLogitAttribution(3, minus).run(trace)
        view = lw.AttributionView(grid, lw.HeadSources(1, 2, 3, minus).run(trace))
        meta, arrays = sent(view.heads)
        np.testing.assert_array_equal(arrays["values"][0], grid.heads)
        assert (meta["sheets"][0]["kind"], meta["sheets"][0]["unit"], meta["columns"]["picks"]) == (
            "signed", "logits", "head",
        )  # fmt: skip
        panel, _ = sent(view.parts)
        assert [(part["name"], part["logit"]) for part in panel["parts"]] == list(grid.largest(N_PARTS))
        assert (panel["logit"], panel["error"]) == (grid.logit, grid.error)
        said = sum(part["logit"] for part in panel["parts"]) + panel["others"] + panel["error"]
        # The parts are held in 32 bits.
        assert said == pytest.approx(grid.logit, abs=1e-6)
        assert panel["minus"] == (None if minus is None else grid.pieces[7].visible)
        _check_figure(view, grid)
        _, bars = sent(view.sources)
        np.testing.assert_array_equal(bars["sources"], lw.HeadSources(1, 2, 3, minus).run(trace).sources)
        view.close()


def _check_figure(view: lw.AttributionView, grid: AttributionGrid) -> None:
    values = dict(zip(grid.names, grid.values.tolist(), strict=True))
    by_hand = np.float32([[values[f"{kind}{layer}"] for layer in range(tiny.N_LAYERS)] for kind in ("attn", "mlp")])
    np.testing.assert_array_equal(view.curves.bars.y, by_hand)
    embed, total = values["embed"], sum(values.values())
    sums = [embed, *(embed + np.cumsum(by_hand.sum(0))), total]
    np.testing.assert_allclose(view.curves.running.y, sums, atol=1e-5)
    np.testing.assert_array_equal(view.curves.running.x, [-0.5, 0, 1, 2, 2.5])
    assert total == pytest.approx(grid.logit - grid.error, abs=1e-5)
    assert [label.value for label in view.curves._names if label.value] == ["● attention", "● FFN", "● sum so far"]


@pytest.mark.parametrize("kind", ["mamba", "jamba", "gpt2", "falcon", "gemma2", "granite"])
def test_models_of_other_forms(kind: str) -> None:
    grid = lw.DirectLogitAttribution(17).run(tiny.hooked(kind).trace(tiny.ids(5)))
    view = lw.AttributionView(grid)
    kinds, values = parts_by_layer(grid)
    assert values.shape == (len(kinds), grid.n_layers)
    assert running_sum(grid)[-1] == pytest.approx(grid.logit - grid.error, abs=1e-4)
    assert sent(view.parts)[0]["note"] == grid.note
    meta, arrays = sent(view.heads)
    if not grid.heads.shape[1]:
        assert (meta["layers"], "no" in view.heads.placeholder.lower()) == ([], True)
    else:
        np.testing.assert_array_equal(np.isnan(arrays["values"][0]), np.isnan(grid.heads))


def test_one_layer_and_one_token() -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=31, hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    model = lw.HookedModel(transformers.LlamaForCausalLM(config).eval())
    trace = model.trace([5])
    grid, sources = lw.DirectLogitAttribution().run(trace), lw.HeadSources(0, 1).run(trace)
    view = lw.AttributionView(grid, sources)
    assert sent(view.heads)[1]["values"].shape == (1, 1, 2)
    assert sent(view.sources)[1]["sources"].shape == (1,)
    panel, _ = sent(view.parts)
    assert (panel["n_others"], panel["others"]) == (0, 0)
    assert len(view.curves.running.y) == 3
    assert sources.total == pytest.approx(float(grid.heads[0, 1]), abs=1e-5)


def test_the_page_follows_the_explorer(model: lw.HookedModel) -> None:
    explorer = lw.Explorer(model, PROMPT, pages=["attribution"])
    explorer.wait()
    view, passes = explorer.page("attribution"), explorer._answering.live.passes
    assert set(explorer.results) == {"attribution", "head_sources"}
    grid = explorer.results["attribution"]
    assert grid.token == int(model.trace(PROMPT).logits[-1].argmax())
    words = dict(view.parts.words)
    assert list(words) == grid.top_ids.tolist()
    heads = view.heads._message
    explorer.layer, explorer.head = 1, 3
    explorer.wait()
    assert explorer.results["head_sources"].head == (1, 3)
    assert explorer.results["attribution"] is grid
    assert view.heads._message is heads
    explorer.tokens, explorer.token = [4], 4
    view.parts.minus = 11
    explorer.wait()
    assert view.parts.words[0][0] == 4
    assert 11 in dict(view.parts.words)
    expected = lw.DirectLogitAttribution(4, 11).run(model.trace(PROMPT))
    np.testing.assert_allclose(explorer.results["attribution"].values, expected.values, atol=1e-5)
    explorer.position = 1
    explorer.wait()
    assert explorer.results["head_sources"].position == explorer.results["attribution"].position == 1
    assert explorer._answering.live.passes == passes
    explorer.prompt = ""
    explorer.wait()
    assert sent(view.parts)[0]["layers"] == sent(view.heads)[0]["layers"] == sent(view.sources)[0]["layers"] == []
    made = parts_of(view)
    explorer.close()
    assert all(widget.comm is None for widget in made)


def test_a_post_norm_model_says_why_there_is_no_sum() -> None:
    model = lw.HookedModel(tiny.tiny("bert"), letters(), "tiny")
    explorer = lw.Explorer(model, PROMPT, pages=["attribution"])
    explorer.wait()
    view = explorer.page("attribution")
    assert set(explorer.refusals) == {"attribution", "head_sources"}
    for part in (view.heads, view.parts, view.sources):
        assert "post-norm" in part.placeholder
        assert sent(part)[0]["layers"] == []
    assert not view.curves.running.visible
    assert explorer.status.state == "fresh"
    explorer.close()


def test_a_head_that_cannot_be_told_apart_takes_only_its_sources_away() -> None:
    model = lw.HookedModel(tiny.tiny("mamba"), letters(), "tiny")
    explorer = lw.Explorer(model, PROMPT, pages=["attribution"])
    explorer.wait()
    view = explorer.page("attribution")
    assert set(explorer.refusals) == {"head_sources"}
    assert "no attention heads" in view.sources.placeholder
    assert view.curves.running.visible
    explorer.close()
