"""Attention weights, recomputed from what the fused kernel was given, equal those of eager attention."""

from __future__ import annotations

import math

import pytest
import torch

from layerwidget.errors import MissingComponentError
from layerwidget.model.continuation import Continuation
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.patterns import FusedAttention, PatternRows, SoftmaxAttention, SplicedPattern, weights_from
from tests import tiny

WITH_ATTENTION = [kind for kind in tiny.ALL if kind != "mamba"]


@pytest.mark.parametrize("kind", WITH_ATTENTION)
@pytest.mark.parametrize("n_pos", [1, 2, 13])
def test_patterns_equal_eager(kind: str, n_pos: int) -> None:
    hf_model = tiny.tiny(kind)
    trace = HookedModel(hf_model).trace(tiny.ids(n_pos))
    # Models with learned sinks return one column more.
    eager = tiny.plain_output(tiny.eager_twin(hf_model), tiny.ids(n_pos), output_attentions=True).attentions
    assert len(trace.attention_layers) == len(eager)
    for layer, expected in zip(trace.attention_layers, eager, strict=True):
        pattern = trace.pattern(layer)
        assert pattern.shape == (tiny.N_HEADS, n_pos, n_pos)
        assert pattern.dtype == torch.float32
        assert (pattern - expected[0, :, :, :n_pos]).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", [*tiny.CORE, "falcon", "gemma2"])
def test_rows_sum_to_one_and_look_back_only(kind: str) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(13))
    for layer in trace.attention_layers:
        pattern = trace.pattern(layer)
        torch.testing.assert_close(pattern.sum(-1), torch.ones(tiny.N_HEADS, 13))
        assert not pattern.triu(1).any()
        # Peaked, so that a test on it can fail.
        assert pattern[:, 4:].max() > 0.3


def test_sliding_windows_are_kept() -> None:
    trace = tiny.hooked("gemma3").trace(tiny.ids(13))
    reach = [int((trace.pattern(layer)[:, -1] > 0).sum(-1).max()) for layer in range(3)]
    assert reach == [5, 13, 5]


def test_sinks_are_left_out() -> None:
    model = tiny.hooked("gpt_oss")
    sums = model.trace(tiny.ids(13)).pattern(0).sum(-1)
    assert model.anatomy.attention_site is not None
    assert model.anatomy.attention_site.n_sinks == 1
    assert sums.min() < 0.9
    assert sums.max() <= 1 + 1e-6


def test_the_model_keeps_its_kernel() -> None:
    hf_model = tiny.tiny("llama")
    model = HookedModel(hf_model)
    model.trace(tiny.ids(5)).pattern(0)
    assert hf_model.config._attn_implementation == "sdpa"
    assert model.anatomy.attention_site is not None
    assert model.anatomy.attention_site.kernel == "sdpa"


def test_eager_models_work_as_they_are() -> None:
    hf_model = tiny.tiny("llama")
    fused, eager = HookedModel(hf_model), HookedModel(tiny.eager_twin(hf_model))
    assert eager.anatomy.attention_site is not None
    assert (eager.anatomy.attention_site.kernel, eager.anatomy.n_kv_heads, eager.anatomy.d_head) == ("softmax", 2, 10)
    torch.testing.assert_close(fused.trace(tiny.ids(9)).pattern(2), eager.trace(tiny.ids(9)).pattern(2))


def test_a_layer_that_does_not_exist() -> None:
    with pytest.raises(MissingComponentError, match=r"Layer 3 of .* has no attention weights"):
        tiny.hooked("llama").trace(tiny.ids(5)).pattern(3)


def _qk(n_heads: int, n_kv: int, n_pos: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, n_heads, n_pos, 6, generator=generator), torch.randn(1, n_kv, n_pos, 6, generator=generator)


def _kernel_weights(query: torch.Tensor, key: torch.Tensor, **options: object) -> torch.Tensor:
    """The weights that the kernel uses: its output for values that are the identity."""
    value = torch.eye(key.shape[-2]).expand(*key.shape[:-1], -1)
    out: torch.Tensor = torch.nn.functional.scaled_dot_product_attention(query, key, value, **options)  # type: ignore[arg-type]
    return out[0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"is_causal": True, "scale": 0.7},
        {"attn_mask": torch.ones(5, 5, dtype=torch.bool).tril(1)},
        {"attn_mask": torch.linspace(-3, 0, 25).view(1, 1, 5, 5)},
        {"attn_mask": torch.zeros(5, 5).masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -math.inf)},
    ],
    ids=["full", "causal", "scaled", "boolean", "float", "minus infinity"],
)
@pytest.mark.parametrize("n_kv", [4, 2])
def test_every_form_of_the_arguments(options: dict[str, object], n_kv: int) -> None:
    query, key = _qk(4, n_kv, 5)
    grouped = {"enable_gqa": True} if n_kv != 4 else {}
    source = FusedAttention.from_call(query, key, key, **options, **grouped)  # type: ignore[arg-type]
    torch.testing.assert_close(source.weights(5), _kernel_weights(query, key, **options, **grouped))


def test_heads_laid_along_the_query_axis() -> None:
    query, key = _qk(2, 2, 3)
    source = FusedAttention.from_call(query, key[:, :, :1], key[:, :, :1])
    assert torch.equal(source.weights(1), torch.ones(6, 1, 1))


def test_a_position_that_may_look_nowhere_has_zeros() -> None:
    query, key = _qk(4, 4, 3)
    mask = torch.tensor([[False, False, False], [True, False, False], [True, True, False]])
    pattern = FusedAttention.from_call(query, key, key, mask).weights(3)
    assert torch.equal(pattern[:, 0], torch.zeros(4, 3))
    torch.testing.assert_close(pattern[:, 1:].sum(-1), torch.ones(4, 2))


def test_softmax_output_is_cut_at_the_positions() -> None:
    weights = torch.rand(1, 4, 3, 4, dtype=torch.float16)
    assert torch.equal(PatternRows((SoftmaxAttention(weights),), 0, 3)(), weights[0, :, :, :3].float())


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox_sequential", "falcon"])
@pytest.mark.parametrize("n_new", [1, 2])
def test_several_layers_at_once_are_each_of_them(kind: str, n_new: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = tiny.hooked(kind), tiny.ids(14)
    edited = Continuation(model)
    edited.prepare()
    edited.trace(model.tokenize(ids[:-n_new]))
    trace = edited.trace(model.tokenize(ids))
    assert edited.reused == len(ids) - n_new
    first, layers = len(ids) - n_new, trace.attention_layers
    each = [trace.patterns[layer].between(first) for layer in layers]
    computed: list[int] = []
    weights = FusedAttention.weights
    monkeypatch.setattr(
        FusedAttention, "weights", lambda self, n_pos: (computed.append(n_pos), weights(self, n_pos))[1]
    )
    together = list(weights_from([trace.patterns[layer] for layer in layers], first, len(ids)))
    for one, other, layer in zip(together, each, layers, strict=True):
        assert one.shape == (trace.anatomy.layers[layer].n_heads, n_new, len(ids))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    masked = kind == "falcon"
    assert len(computed) == (1 if n_new == 1 and not masked else len(layers))


def test_layers_of_several_forms_are_looked_at_one_by_one() -> None:
    def pattern(n_heads: int, n_kv: int) -> SplicedPattern:
        query, key = torch.randn(1, n_heads, 1, 6), torch.randn(1, n_kv, 9, 6)
        return SplicedPattern((PatternRows((FusedAttention(query, key, None, False, None),), 8, 1),))

    patterns = [pattern(4, 4), pattern(4, 2), pattern(6, 2)]
    for one, other in zip(weights_from(patterns, 8, 9), patterns, strict=True):
        assert torch.equal(one, other.between(8))
        torch.testing.assert_close(one.sum(-1), torch.ones(one.shape[:2]))
