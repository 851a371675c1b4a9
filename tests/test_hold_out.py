"""Prompts that nothing was fitted to, on the demo model: everything about heads, again, by plain transformers alone."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from tests.tiny import eager_twin

HOLD_OUT = ["The chemical symbol for gold is", "def add(a, b):\n    return a +", "x"]
_D_HEAD = 64


@dataclass(frozen=True, eq=False)
class Heard:
    """What hooks on the modules of plain transformers heard of one pass, in fp64, a row for each layer.

    Attributes:
        logits: shape [pos, d_vocab].
        pattern: shape [layer, head, query_pos, key_pos].
        values: what each head would read of a position, shape [layer, head, pos, d_head].
        read: what each head has read, shape [layer, head, pos, d_head].
        attn, mlp: what is added, shape [layer, pos, d_model].
        entered, left: the stream before the first layer and after the last, shape [pos, d_model].
    """

    logits: torch.Tensor
    pattern: torch.Tensor
    values: torch.Tensor
    read: torch.Tensor
    attn: torch.Tensor
    mlp: torch.Tensor
    entered: torch.Tensor
    left: torch.Tensor


@pytest.fixture(scope="module")
def twin(demo_model: lw.HookedModel) -> Any:
    """The demo model as plain transformers has it, with attention that can be asked for its weights."""
    assert isinstance(demo_model, lw.HookedModel)
    return eager_twin(demo_model.hf_model)


@torch.no_grad()
def heard(twin: Any, token_ids: list[int]) -> Heard:
    """Run plain transformers with hooks on the modules by their names."""
    seen: dict[str, list[torch.Tensor]] = defaultdict(list)

    def hear(name: str) -> Any:
        return lambda module, args, output: seen[name].extend([one[0].double() for one in (args[0], output)])

    handles = [twin.model.norm.register_forward_hook(hear("norm"))]
    for layer in twin.model.layers:
        for name in ("self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj", "input_layernorm"):
            handles.append(layer.get_submodule(name).register_forward_hook(hear(name)))
    output = twin(torch.tensor([token_ids]), output_attentions=True, use_cache=False)
    for handle in handles:
        handle.remove()
    n_heads, n_kv_heads = twin.config.num_attention_heads, twin.config.num_key_value_heads
    values = torch.stack(seen["self_attn.v_proj"][1::2]).unflatten(-1, (n_kv_heads, _D_HEAD)).movedim(2, 1)
    return Heard(
        logits=output.logits[0].double(),
        pattern=torch.cat(output.attentions).double(),
        values=values.repeat_interleave(n_heads // n_kv_heads, 1),
        read=torch.stack(seen["self_attn.o_proj"][::2]).unflatten(-1, (n_heads, _D_HEAD)).movedim(2, 1),
        attn=torch.stack(seen["self_attn.o_proj"][1::2]),
        mlp=torch.stack(seen["mlp.down_proj"][1::2]),
        entered=seen["input_layernorm"][0],
        left=seen["norm"][0],
    )


def written_with(twin: Any, layer: int) -> torch.Tensor:
    """W_O by head, shape [head, d_head, d_model], fp64."""
    weight: torch.Tensor = twin.model.layers[layer].self_attn.o_proj.weight.detach().double()
    return weight.T.unflatten(0, (-1, _D_HEAD))


@pytest.mark.parametrize("prompt", HOLD_OUT)
def test_attribution(demo_model: lw.HookedModel, twin: Any, prompt: str) -> None:
    trace = demo_model.trace(prompt)
    own, position = heard(twin, trace.tokens.ids.tolist()), len(trace.tokens) - 1
    first, second = own.logits[-1].topk(2).indices.tolist()
    for token, minus in ((first, None), (first, second)):
        W_U = twin.lm_head.weight.detach().double()
        row = W_U[token] - (0 if minus is None else W_U[minus])
        rms = (own.left[-1].square().mean() + twin.config.rms_norm_eps).sqrt()
        direction = row * twin.model.norm.weight.detach().double() / rms
        found = lw.DirectLogitAttribution(token, minus, head=(17, 3)).run(trace)
        logit = float(own.logits[-1, token] - (0 if minus is None else own.logits[-1, minus]))
        largest = float(own.logits[-1].abs().max())
        assert found.logit == pytest.approx(logit, abs=1e-4 * largest)
        assert abs(found.error) <= 1e-4 * largest
        parts = dict(zip(found.names, found.values.tolist(), strict=True))
        assert parts.pop("norm_bias") == parts.pop("head_bias") == 0
        expected = {"embed": own.entered[-1] @ direction}
        for layer in range(30):
            expected |= {f"attn{layer}": own.attn[layer, -1] @ direction, f"mlp{layer}": own.mlp[layer, -1] @ direction}
            heads = torch.einsum("hd,hdm,m->h", own.read[layer, :, -1], written_with(twin, layer), direction)
            np.testing.assert_allclose(found.heads[layer], heads, atol=1e-3)
        assert parts == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-3)
        weighted = own.pattern[17, 3, -1, :, None] * own.values[17, 3]
        sources = weighted @ written_with(twin, 17)[3] @ direction
        np.testing.assert_allclose(found.sources, sources, atol=1e-3)
        again = lw.HeadSources(17, 3, token, minus, position).run(trace)
        np.testing.assert_allclose(again.sources, sources, atol=1e-3)


@pytest.mark.parametrize("prompt", HOLD_OUT)
def test_value_weighted_attention(demo_model: lw.HookedModel, twin: Any, prompt: str) -> None:
    trace = demo_model.trace(prompt)
    own = heard(twin, trace.tokens.ids.tolist())
    grid = lw.ValueWeightedAttention("::9").run(trace)
    for row, layer in enumerate(grid.layers):
        written = own.pattern[layer, ..., None] * (own.values[layer] @ written_with(twin, layer))[:, None]
        assert twin.model.layers[layer].self_attn.o_proj.bias is None
        torch.testing.assert_close(written.sum((0, 2)), own.attn[layer], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(grid.norms[row], written.norm(dim=-1), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("prompt", HOLD_OUT)
def test_rollout_and_sinks(demo_model: lw.HookedModel, twin: Any, prompt: str) -> None:
    trace = demo_model.trace(prompt)
    pattern = heard(twin, trace.tokens.ids.tolist()).pattern
    n_pos = pattern.shape[-1]
    for hides in (False, True):
        rollout = torch.eye(n_pos, dtype=torch.float64)
        for weights in pattern[5:20].mean(1):
            kept = weights.clone()
            if hides:
                kept[:, 0] = 0
                kept[1:] /= kept[1:].sum(-1, keepdim=True)
            mixed = kept + torch.eye(n_pos)
            rollout = mixed / mixed.sum(-1, keepdim=True) @ rollout
        if hides:
            rollout[0] = 0
        found = lw.AttentionRollout("5-19", hide_first=hides).run(trace)
        np.testing.assert_allclose(found.rollout, rollout, atol=1e-4)
    sink = lw.AttentionSink().run(trace)
    np.testing.assert_allclose(sink.on_first, pattern[..., 0], atol=1e-5)
    queries = pattern[:, :, 1:, 0] if n_pos > 1 else pattern[..., 0]
    np.testing.assert_allclose(sink.share, queries.mean(-1), atol=1e-5)
    assert not sink.on_learned.any()


@pytest.mark.parametrize(
    ("kind", "first", "offset"), [("induction", 30, 29), ("duplicate", 30, 30), ("previous", 1, 1)]
)
def test_head_scores(demo_model: lw.HookedModel, twin: Any, kind: str, first: int, offset: int) -> None:
    grid = lw.HeadScores(kind, n_tokens=30, seed=4).run(demo_model)
    pattern = heard(twin, grid.token_ids.tolist()).pattern
    expected = torch.stack([pattern[:, :, query, query - offset] for query in range(first, 60)]).mean(0)
    np.testing.assert_allclose(grid.values, expected, atol=1e-4)
    assert not math.isnan(float(grid.values.sum()))
