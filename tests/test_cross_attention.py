"""Attention to the encoder, against plain transformers with eager attention; and as a picture that is not square."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.widgets import attention_view
from tests import tiny
from tests.test_encoder_decoder import KINDS, SOURCE, TARGET
from tests.test_views import roots, sent


def plain_cross_attentions(kind: str, source: list[int], target: list[int]) -> np.ndarray:
    """What transformers itself returns, shape [layer, head, target_pos, source_pos]."""
    with torch.no_grad():
        output = tiny.eager_twin(tiny.tiny(kind))(
            input_ids=torch.tensor([source]),
            decoder_input_ids=torch.tensor([target]),
            use_cache=False,
            output_attentions=True,
        )
    return torch.cat(output.cross_attentions).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_source", "n_target"), [(11, 6), (4, 9), (7, 1)])
def test_cross_attention_is_that_of_transformers(kind: str, n_source: int, n_target: int) -> None:
    source, target = tiny.ids(n_source, seed=5), tiny.ids(n_target, seed=6)
    grid = lw.CrossAttention().run(tiny.hooked(kind).trace(source, target=target))
    expected = plain_cross_attentions(kind, source, target)
    np.testing.assert_allclose(grid.pattern, expected, atol=1e-5)
    np.testing.assert_allclose(grid.pattern.sum(-1), 1, atol=1e-5)
    assert (grid.token_ids.tolist(), grid.source_ids.tolist()) == (target, source)
    assert [piece.id for piece in grid.key_pieces()] == source
    part = lw.CrossAttention("1-2", "3").run(tiny.hooked(kind).trace(source, target=target))
    assert (part.layers, part.heads, part.attention_layers) == ((1, 2), (3,), (0, 1, 2))
    np.testing.assert_array_equal(part.pattern, grid.pattern[1:, 3:])


def test_the_check_notices_an_encoder_that_reads_something_else() -> None:
    grid = lw.CrossAttention().run(tiny.hooked("t5").trace([*SOURCE[:-1], 9], target=TARGET))
    assert np.abs(grid.pattern - plain_cross_attentions("t5", SOURCE, TARGET)).max() > 1e-3
    grid = lw.CrossAttention().run(tiny.hooked("t5").trace(SOURCE, target=TARGET))
    assert np.abs(grid.pattern[:, [1, 0, 2, 3]] - plain_cross_attentions("t5", SOURCE, TARGET)).max() > 1e-3


def test_cross_attention_that_is_refused() -> None:
    with pytest.raises(lw.MissingComponentError, match=r"attends to an encoder; layers that do: \(\)"):
        lw.CrossAttention().run(tiny.hooked("llama").trace(tiny.ids(5)))
    trace = tiny.hooked("bart").trace(SOURCE, target=TARGET, interventions=(lw.SkipLayers(1),))
    assert lw.CrossAttention().run(trace).layers == (0, 2)
    with pytest.raises(lw.MissingComponentError, match=r"\(1,\)"):
        lw.CrossAttention(1).run(trace)
    with pytest.raises(lw.SelectionError, match="head"):
        lw.CrossAttention(heads="7").run(trace)


def test_the_view_draws_targets_down_and_sources_across(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = lw.CrossAttention().run(tiny.hooked("t5").trace(SOURCE, target=TARGET))
    view = lw.AttentionView(grid, layer=1, head=2)
    assert not view.hide_first
    meta, arrays = sent(view)
    assert (meta["n_pos"], meta["n_keys"], meta["size"], meta["causal"]) == (6, 11, 6, False)
    assert (len(meta["prompt_visible"]), len(meta["key_visible"])) == (6, 11)
    np.testing.assert_array_equal(arrays["focus"], grid.pattern[1, 2])
    shape = (6, 3, 4, 11)
    np.testing.assert_array_equal(arrays["roots"].reshape(shape), roots(np.moveaxis(grid.pattern, 2, 0)))
    monkeypatch.setattr(attention_view, "GALLERY_BYTES", 0)
    long = dataclasses.replace(grid, source_ids=np.arange(5, 45), pattern=np.repeat(grid.pattern, 4, axis=-1)[..., :40])
    long = dataclasses.replace(long, pieces={**grid.pieces, **tiny.hooked("t5").pieces(range(5, 45))})
    meta, arrays = sent(lw.AttentionView(long, hide_first=False))
    assert (meta["block"], meta["size"], meta["n_keys"]) == (3, 2, 40)
    expected = [
        [long.pattern[..., 3 * row : 3 * row + 3, 3 * column : 3 * column + 3].max((-2, -1)) for column in range(14)]
        for row in range(2)
    ]
    packed = arrays["roots"].reshape(2, 3, 4, 14)
    np.testing.assert_array_equal(packed, roots(np.moveaxis(np.array(expected), 1, -1)))
