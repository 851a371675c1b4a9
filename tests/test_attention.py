"""Attention weights: rows sum to one, causal, equal to the eager implementation's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import layerwidget as lw
from tests.test_logit_lens import EIFFEL, KINDS
from tests.tiny import N_HEADS, N_LAYERS, eager_twin, ids, plain_output, tiny


@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_eager(kind: str) -> None:
    hf_model = tiny(kind)
    token_ids = ids(11)
    grid = lw.Attention().run(lw.HookedModel(hf_model).trace(token_ids))
    expected = torch.cat(plain_output(eager_twin(hf_model), token_ids, output_attentions=True).attentions)
    assert grid.pattern.shape == (N_LAYERS, N_HEADS, 11, 11)
    np.testing.assert_allclose(grid.pattern, expected, atol=1e-5)
    np.testing.assert_allclose(grid.pattern.sum(-1), 1, atol=1e-5)
    assert grid.causal
    assert not np.triu(grid.pattern, 1).any()


def test_layers_heads_and_aggregates() -> None:
    trace = lw.HookedModel(tiny("llama")).trace(ids(6))
    whole = lw.Attention().run(trace)
    part = lw.Attention(layers="1-2", heads="0,3").run(trace)
    assert (part.layers, part.heads, part.kv_heads) == ((1, 2), (0, 3), (0, 1))
    np.testing.assert_array_equal(part.pattern, whole.pattern[1:, [0, 3]])
    np.testing.assert_allclose(part.mean(), whole.pattern[1:, [0, 3]].mean((0, 1)), atol=1e-7)
    np.testing.assert_array_equal(part.max(("head",)), whole.pattern[1:, [0, 3]].max(1))
    assert part.to_xarray().sel(layer=2, head=3).shape == (6, 6)
    with pytest.raises(lw.SelectionError, match="tuple"):
        part.mean(("query",))
    with pytest.raises(lw.SelectionError, match="4 heads"):
        lw.Attention(heads="4").run(trace)


def test_an_append_goes_on_in_the_same_memory_and_changes_no_earlier_answer() -> None:
    model, question, text = lw.HookedModel(tiny("llama")), lw.Attention(), ids(40)

    def answer(token_ids: list[int], before: lw.AttentionGrid | None, n_same: int) -> lw.AttentionGrid:
        (grid,) = question.answers(model.trace(token_ids), before, n_same, ())
        np.testing.assert_allclose(grid.pattern, question.run(model.trace(token_ids)).pattern, atol=1e-5)
        assert not grid.pattern.flags.writeable
        return grid

    grids = [answer(text[:6], None, 0)]
    for n_pos in (7, 9, 10):
        grids.append(answer(text[:n_pos], grids[-1], n_pos - (2 if n_pos == 9 else 1)))
    same = [np.shares_memory(one.pattern, other.pattern) for one, other in pairwise(grids)]
    assert same == [False, True, True]
    kept = [grid.pattern.copy() for grid in grids]
    # Another word after the same beginning, a shorter prompt, a change in the middle, and more than there is room for.
    others = [
        answer([*text[:9], 5, 4], grids[2], 9),
        answer(text[:4], grids[3], 4),
        answer([*text[:3], 5, 4, 3, 2], grids[3], 3),
        answer(text, grids[3], 10),
    ]
    assert not any(np.shares_memory(other.pattern, grid.pattern) for other in others for grid in grids)
    for grid, pattern in zip(grids, kept, strict=True):
        np.testing.assert_array_equal(grid.pattern, pattern)


def test_one_token_looks_at_itself() -> None:
    grid = lw.Attention().run(lw.HookedModel(tiny("llama")).trace([3]))
    np.testing.assert_array_equal(grid.pattern, np.ones((N_LAYERS, N_HEADS, 1, 1)))


def test_a_model_without_attention_says_so() -> None:
    with pytest.raises(lw.MissingComponentError, match="attention"):
        lw.Attention().run(lw.HookedModel(tiny("mamba")).trace(ids(5)))


def test_the_induction_head_of_the_demo_model(demo_model: lw.HookedModel) -> None:
    grid = lw.Attention("18").run(demo_model.trace(EIFFEL))
    row = grid.pattern[0, 6, -1]
    paris = [piece.text for piece in grid.prompt_pieces()].index(" Paris")
    assert row[paris] == pytest.approx(0.526, abs=0.002)
    assert row[0] == pytest.approx(0.424, abs=0.003)
    assert int(row[1:].argmax()) + 1 == paris
    assert grid.kv_heads == (0, 0, 0, 1, 1, 1, 2, 2, 2)


def test_the_demo_model_equals_eager(demo_model: lw.HookedModel) -> None:
    trace = demo_model.trace("A hold-out prompt, compared at test time.")
    grid = lw.Attention("::7").run(trace)
    twin = eager_twin(demo_model.hf_model)
    with torch.no_grad():
        eager = twin(torch.tensor(trace.tokens.ids)[None], output_attentions=True).attentions
    np.testing.assert_allclose(grid.pattern, torch.cat([eager[layer] for layer in grid.layers]), atol=1e-5)
