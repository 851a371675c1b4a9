"""Value-weighted attention, rollout and head scores, against their definitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.analysis import attention_flow
from layerwidget.analysis.attention_flow import _score
from layerwidget.model.head_writing import HeadWriting
from layerwidget.questions import OnScreen
from layerwidget.widgets.head_map import _sheet
from tests import tiny
from tests.test_head_outputs import NOT_FUSED, PROJECTION, matrix_by_hand, seen_by_hand
from tests.test_logit_lens import EIFFEL

VALUE_WEIGHTED = ["llama", "gpt2", "gemma3", "granite", "falcon", "bert"]


def _check_value_weighted(kind: str, trace: lw.Trace) -> None:
    """The lengths are those of `alpha f`, whose sum over heads and keys, and `b_O`, is what the module returns."""
    hf_model: Any = tiny.hooked(kind).hf_model
    attentions = tiny.plain_output(tiny.eager_twin(hf_model), tiny.ids(7), output_attentions=True).attentions
    grid = lw.ValueWeightedAttention("1-2", "1,3").run(trace)
    assert (grid.layers, grid.heads, grid.norms.shape) == ((1, 2), (1, 3), (2, 2, 7, 7))
    for row, layer in enumerate(grid.layers):
        path = PROJECTION[kind].format(layer)
        bias = hf_model.get_submodule(path).bias
        blocks = matrix_by_hand(hf_model, path).unflatten(0, (tiny.N_HEADS, -1))
        written = torch.einsum("hqk,hkd,hdm->hqkm", attentions[layer][0], trace.head_values(layer), blocks)
        _, raw = seen_by_hand(hf_model, path, tiny.ids(7))
        total = written.sum((0, 2)) + (0 if bias is None else bias.detach())
        assert (total - raw).abs().max() <= 1e-5 * raw.abs().max()
        np.testing.assert_allclose(grid.norms[row], written.norm(dim=-1)[[1, 3]], atol=1e-4)


@pytest.mark.parametrize("kind", VALUE_WEIGHTED)
def test_value_weighted_attention(kind: str) -> None:
    _check_value_weighted(kind, tiny.hooked(kind).trace(tiny.ids(7)))


#: What is changed of a layer's values, or of what its heads write with.
OTHER_VALUES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a bias": lambda values: values - values.mean(1, keepdim=True),
    "a scale": lambda values: 1.01 * values,
    "a head": lambda values: torch.cat([values[:3], torch.zeros_like(values[:1])]),
    "other heads": lambda values: values.roll(1, 0),
}


@pytest.mark.parametrize("lost", OTHER_VALUES)
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_value_weighted_attention_of_other_values_fails(kind: str, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, own = tiny.hooked(kind).trace(tiny.ids(7)), lw.Trace.head_values
    monkeypatch.setattr(lw.Trace, "head_values", lambda *args: OTHER_VALUES[lost](own(*args)))
    with pytest.raises((AssertionError, lw.MissingComponentError)):
        _check_value_weighted(kind, trace)


@pytest.mark.parametrize("lost", OTHER_VALUES)
def test_value_weighted_attention_through_another_matrix_fails(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, own = tiny.hooked("llama").trace(tiny.ids(7)), attention_flow.head_writing

    def changed(*args: Any) -> HeadWriting:
        writing = own(*args)
        return replace(writing, W_O=OTHER_VALUES[lost](writing.W_O))

    monkeypatch.setattr(attention_flow, "head_writing", changed)
    with pytest.raises(AssertionError, match="Mismatched"):
        _check_value_weighted("llama", trace)


@pytest.mark.parametrize("kind", NOT_FUSED)
def test_value_weighted_attention_is_refused_without_values(kind: str) -> None:
    with pytest.raises(lw.MissingComponentError, match="not one fused operation"):
        lw.ValueWeightedAttention().run(tiny.hooked(kind).trace(tiny.ids(5)))


@pytest.mark.parametrize("kind", ["llama", "gpt_oss", "jamba", "bert"])
def test_rollout_is_the_product_of_its_layers(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(6))
    grid = lw.AttentionRollout("1-2", hide_first=False).run(trace)
    expected = torch.eye(6, dtype=torch.float64)
    for layer in (one for one in (1, 2) if one in trace.attention_layers):
        mixed = 0.5 * trace.pattern(layer).mean(0).double() + 0.5 * torch.eye(6)
        expected = (mixed / mixed.sum(-1, keepdim=True)) @ expected
    np.testing.assert_allclose(grid.rollout, expected, atol=1e-6)
    np.testing.assert_allclose(grid.rollout.sum(-1), 1, atol=1e-6)
    assert (grid.hides_first, grid.note) == (False, "")


@pytest.mark.parametrize("kind", ["llama", "gpt_oss", "jamba"])
def test_rollout_without_the_sink_is_the_product_of_what_is_left(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(6))
    expected = torch.eye(6, dtype=torch.float64)
    for layer in trace.attention_layers:
        left = trace.pattern(layer).mean(0).double()
        left[:, 0] = 0
        # The first position sees the first token alone: of it nothing is left.
        left[1:] /= left[1:].sum(-1, keepdim=True)
        mixed = left + torch.eye(6)
        expected = (mixed / mixed.sum(-1, keepdim=True)) @ expected
    expected[0] = 0
    np.testing.assert_allclose(lw.AttentionRollout().run(trace).rollout, expected, atol=1e-6)


def _check_against_eager(kind: str, trace: lw.Trace) -> None:
    """Rollout and sinks, from the attention that plain transformers returns."""
    twin = tiny.eager_twin(tiny.hooked(kind).hf_model)
    eager = torch.stack(tiny.plain_output(twin, tiny.ids(7), output_attentions=True).attentions)[:, 0].double()
    for hides in (False, True):
        expected = torch.eye(7, dtype=torch.float64)
        for mean in eager.mean(1):
            left = mean.clone()
            if hides:
                left[:, 0] = 0
                left[1:] /= left[1:].sum(-1, keepdim=True)
            mixed = 0.5 * left + 0.5 * torch.eye(7)
            expected = (mixed / mixed.sum(-1, keepdim=True)) @ expected
        expected[0] *= not hides
        np.testing.assert_allclose(lw.AttentionRollout(hide_first=hides).run(trace).rollout, expected, atol=1e-5)
    np.testing.assert_allclose(lw.AttentionSink().run(trace).on_first, eager[..., 0], atol=1e-5)


@pytest.mark.parametrize("question", ["rollout", "sink"])
@pytest.mark.parametrize("lost", ["another key", "another query", "a head", "a scale"])
def test_rollout_and_sinks_of_another_pattern_fail(lost: str, question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(7))
    _check_against_eager("llama", trace)
    name = {"rollout": "pattern", "sink": "pattern_from"}[question]
    own = getattr(lw.Trace, name)
    monkeypatch.setattr(lw.Trace, name, lambda *args: OTHER_PATTERNS[lost](own(*args)))
    with pytest.raises(AssertionError, match="Mismatched"):
        _check_against_eager("llama", trace)


@pytest.mark.parametrize("wrong", ["other order", "no stream", "rows that do not sum to 1"])
def test_another_rollout_fails(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(7))
    if wrong == "other order":
        layers = attention_flow.layers_with_attention
        monkeypatch.setattr(attention_flow, "layers_with_attention", lambda *args: layers(*args)[::-1])
    elif wrong == "no stream":
        rows = attention_flow.rows_to_one
        monkeypatch.setattr(attention_flow, "rows_to_one", lambda mixed: rows(mixed - 0.4 * np.eye(7)))
    else:
        monkeypatch.setattr(attention_flow, "rows_to_one", lambda mixed: mixed)
    with pytest.raises(AssertionError, match="Mismatched"):
        _check_against_eager("llama", trace)


def test_the_sink_is_hidden_by_default_and_named() -> None:
    trace = tiny.hooked("llama").trace(tiny.ids(6))
    grid = lw.AttentionRollout().run(trace)
    assert grid.hides_first
    assert "token 0 is left out" in grid.note
    np.testing.assert_allclose(grid.hidden_mass[1], trace.pattern(1).mean(0)[:, 0], atol=1e-6)
    assert not grid.rollout[0].any()
    assert not grid.rollout[:, 0].any()
    np.testing.assert_allclose(grid.rollout[1:].sum(-1), 1, atol=1e-6)
    assert not lw.AttentionRollout().run(tiny.hooked("bert").trace(tiny.ids(6))).hides_first
    one = lw.AttentionRollout().run(tiny.hooked("llama").trace([3]))
    assert not one.rollout.any()
    with pytest.raises(lw.MissingComponentError, match="None of the layers"):
        lw.AttentionRollout().run(tiny.hooked("mamba").trace(tiny.ids(5)))


@pytest.mark.parametrize(("kind", "offset"), [("induction", 4), ("duplicate", 5), ("previous", 1)])
def test_a_head_that_looks_at_one_offset_scores_one(kind: str, offset: int) -> None:
    pattern = torch.zeros(2, 10, 10)
    for query in range(10):
        pattern[0, query, max(0, query - offset)] = 1
        pattern[1, query, query] = 1
    assert _score(pattern, lw.HeadScores(kind, n_tokens=5)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("score", "first", "offset"), [("induction", 20, 19), ("duplicate", 20, 20), ("previous", 1, 1)]
)
@pytest.mark.parametrize("kind", ["llama", "jamba", "gpt_oss"])
def test_head_scores_are_means_of_the_pattern(kind: str, score: str, first: int, offset: int) -> None:
    _check_head_scores(tiny.hooked(kind), score, first, offset)


def _check_head_scores(model: lw.HookedModel, score: str, first: int, offset: int) -> None:
    told: list[tuple[int, int]] = []
    question = lw.HeadScores(score, n_tokens=20, seed=1)
    grid = question.run(model, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, question.n_passes(model))]
    np.testing.assert_array_equal(grid.token_ids[:20], grid.token_ids[20:])
    assert len(set(grid.token_ids.tolist())) == 20
    trace, token_ids = model.trace(grid.token_ids), grid.token_ids.tolist()
    eager = tiny.plain_output(tiny.eager_twin(model.hf_model), token_ids, output_attentions=True).attentions
    attentions = dict(zip(trace.attention_layers, [one for one in eager if one is not None], strict=True))
    for layer in range(model.anatomy.n_layers):
        if layer in trace.attention_layers:
            pattern = attentions[layer][0]
            expected = torch.stack([pattern[:, query, query - offset] for query in range(first, 40)]).mean(0)
            np.testing.assert_allclose(grid.values[layer], expected, atol=1e-6)
        else:
            assert np.isnan(grid.values[layer]).all()


#: What is changed of the pattern that is scored.
OTHER_PATTERNS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "another key": lambda pattern: pattern.roll(1, -1),
    "another query": lambda pattern: pattern.roll(1, -2),
    "other heads": lambda pattern: pattern.roll(1, 0),
    "a head": lambda pattern: torch.cat([pattern[:-1], torch.zeros_like(pattern[:1])]),
    "a scale": lambda pattern: 1.01 * pattern,
}


@pytest.mark.parametrize("lost", OTHER_PATTERNS)
@pytest.mark.parametrize(
    ("score", "first", "offset"), [("induction", 20, 19), ("duplicate", 20, 20), ("previous", 1, 1)]
)
def test_head_scores_of_another_pattern_fail(
    lost: str, score: str, first: int, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = attention_flow._score
    monkeypatch.setattr(attention_flow, "_score", lambda pattern, *args: own(OTHER_PATTERNS[lost](pattern), *args))
    with pytest.raises(AssertionError, match="Mismatched"):
        _check_head_scores(tiny.hooked("llama"), score, first, offset)


def test_head_scores_that_are_refused() -> None:
    with pytest.raises(lw.QuestionError, match="kind='echo'"):
        lw.HeadScores("echo")
    with pytest.raises(lw.QuestionError, match="n_tokens=1"):
        lw.HeadScores(n_tokens=1)
    with pytest.raises(lw.QuestionError, match="a prompt and a target"):
        lw.HeadScores(n_tokens=5).run(tiny.hooked("t5"))
    with pytest.raises(lw.MissingComponentError, match="no attention weights"):
        lw.HeadScores(n_tokens=5).run(tiny.hooked("mamba"))


def test_the_induction_heads_of_the_demo_model(demo_model: lw.HookedModel) -> None:
    grid = lw.HeadScores("induction").run(demo_model)
    (layer, head, score), (next_layer, next_head, _), *_ = grid.largest(2)
    assert (layer, head, next_layer, next_head) == (18, 6, 17, 3)
    assert score == pytest.approx(0.89, abs=0.03)


def test_rollout_collapses_on_the_first_token_of_the_demo_model(demo_model: lw.HookedModel) -> None:
    trace = demo_model.trace(EIFFEL)
    assert lw.AttentionRollout(hide_first=False).run(trace).rollout[-1, 0] > 0.999
    assert lw.AttentionRollout().run(trace).rollout[-1, 0] == 0


@pytest.mark.parametrize("kind", ["llama", "gpt_oss", "jamba", "bert"])
def test_the_sink_is_the_first_column_of_every_pattern(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(7))
    grid = lw.AttentionSink("1-2").run(trace)
    assert grid.layers == tuple(layer for layer in (1, 2) if layer in trace.attention_layers)
    for row, layer in enumerate(grid.layers):
        np.testing.assert_array_equal(grid.on_first[row], trace.pattern(layer)[..., 0])
        expected = [[weights[query, 0] for query in range(1, 7)] for weights in trace.pattern(layer)]
        np.testing.assert_allclose(grid.share[row], np.mean(expected, axis=1), atol=1e-6)
        # The first query sees itself alone: with it, it would be another number.
        assert kind == "bert" or np.abs(grid.share[row] - grid.on_first[row].mean(-1)).max() > 1e-3
    with pytest.raises(lw.SelectionError, match="7"):
        lw.AttentionSink("7").run(trace)


@pytest.mark.parametrize("n_pos", [1, 7])
def test_the_mass_on_learned_sinks_is_that_of_plain_transformers(n_pos: int) -> None:
    """GPT-OSS: the softmax has one column more, of `sinks`; by hand from the queries and keys of its own modules."""
    model, ids = tiny.hooked("gpt_oss"), tiny.ids(n_pos)
    grid = lw.AttentionSink().run(model.trace(ids))
    for row, layer in enumerate(grid.layers):
        expected = _on_sinks(model.hf_model, layer, ids)
        assert expected.mean() > 0.05
        np.testing.assert_allclose(grid.on_learned[row], expected, atol=1e-5)
    np.testing.assert_allclose(grid.learned_share, grid.on_learned[:, :, min(1, n_pos - 1) :].mean(-1), atol=1e-6)
    sheet = _sheet(grid, tiny.N_LAYERS, tiny.N_HEADS)
    assert f"learned sinks take {grid.learned_share.mean():.0%}" in sheet.detail
    for kind in ("llama", "bert"):
        without = lw.AttentionSink().run(tiny.hooked(kind).trace(ids))
        assert not without.on_learned.any()
        assert "learned" not in _sheet(without, tiny.N_LAYERS, tiny.N_HEADS).detail


def _on_sinks(hf_model: Any, layer: int, token_ids: list[int]) -> torch.Tensor:
    """What the eager attention of plain transformers gives to the sink's column, shape [head, query_pos]."""
    columns: list[torch.Tensor] = []
    own = torch.nn.functional.softmax

    def softmax(scores: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        made = own(scores, *args, **options)
        if made.dim() == 4:
            columns.append(made[0, ..., -1])
        return made

    twin = tiny.eager_twin(hf_model)
    with mock.patch("torch.nn.functional.softmax", softmax):
        tiny.plain_output(twin, token_ids)
    assert len(columns) == tiny.N_LAYERS
    return columns[layer]


def test_the_sink_of_one_token_is_everything_and_without_attention_there_is_none() -> None:
    np.testing.assert_array_equal(lw.AttentionSink().run(tiny.hooked("llama").trace([3])).share, np.ones((3, 4)))
    with pytest.raises(lw.MissingComponentError, match="None of the layers"):
        lw.AttentionSink().run(tiny.hooked("mamba").trace(tiny.ids(5)))


def test_the_sink_of_an_appended_prompt_computes_the_new_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, question, ids = tiny.hooked("llama"), lw.AttentionSink(), tiny.ids(9)
    before = question.run(model.trace(ids[:6]))
    trace = model.trace(ids)
    firsts: list[int] = []
    pattern_from = trace.pattern_from
    monkeypatch.setattr(
        trace, "pattern_from", lambda layer, first: (firsts.append(first), pattern_from(layer, first))[1]
    )
    (grid,) = question.answers(trace, before, 6, OnScreen())
    assert firsts == [6, 6, 6]
    np.testing.assert_allclose(grid.on_first, question.run(model.trace(ids)).on_first, atol=1e-6)


def test_the_learned_sink_of_an_appended_prompt_is_that_of_a_fresh_one() -> None:
    model, question, ids = tiny.hooked("gpt_oss"), lw.AttentionSink(), tiny.ids(9)
    (grid,) = question.answers(model.trace(ids), question.run(model.trace(ids[:6])), 6, OnScreen())
    np.testing.assert_allclose(grid.on_learned, question.run(model.trace(ids)).on_learned, atol=1e-5)


def test_all_head_scores_are_those_of_each_kind_from_one_pass() -> None:
    model = lw.HookedModel(tiny.tiny("jamba"))
    passes: list[int] = []
    model.hf_model.register_forward_pre_hook(lambda *_: passes.append(1))
    question = lw.AllHeadScores(n_tokens=12, seed=2)
    grids = question.run(model)
    assert len(passes) == question.n_passes(model) == 1
    for kind, grid in zip(("induction", "previous", "duplicate"), grids, strict=True):
        alone = lw.HeadScores(kind, n_tokens=12, seed=2).run(model)
        assert grid.kind == kind
        np.testing.assert_array_equal(grid.values, alone.values)
    assert not np.array_equal(grids[0].values, grids[2].values)


def test_the_sink_of_the_demo_model(demo_model: lw.HookedModel) -> None:
    share = lw.AttentionSink().run(demo_model.trace(EIFFEL)).share
    assert share.shape == (30, 9)
    assert 0.44 <= share.mean() <= 0.80
    weighted = lw.ValueWeightedAttention(heads=6, layers=18).run(demo_model.trace(EIFFEL)).norms[0, 0]
    assert (weighted[1:, 0] / weighted[1:].sum(-1)).mean() < share[18, 6]
