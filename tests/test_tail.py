"""The tail makes of any residual vector the logits that the model itself would make."""

from __future__ import annotations

import copy
from itertools import product

import pytest
import torch

from layerwidget.errors import QuestionError
from layerwidget.model.hooked_model import HookedModel
from tests import tiny

N_POS = 11


@pytest.mark.parametrize("kind", tiny.ALL)
def test_last_layer_gives_the_logits(kind: str) -> None:
    model = tiny.hooked(kind)
    trace = model.trace(tiny.ids(N_POS))
    logits = model.tail(trace.resid_post[-1])
    assert torch.equal(logits, trace.logits)
    assert (logits.softmax(-1) - trace.logits.softmax(-1)).abs().max() <= 1e-5


@pytest.mark.parametrize("kind", ["llama", "gemma3", "granite"])
def test_any_vector_is_normed_by_its_own_statistics(kind: str) -> None:
    """By hand: norm, head, transform, written out for three kinds."""
    hf_model = tiny.tiny(kind)
    model = HookedModel(hf_model)
    rows = model.trace(tiny.ids(N_POS)).resid_pre[1] * 3
    normed = rows * (rows.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()
    gain = hf_model.model.norm.weight.detach()
    logits = normed * (1 + gain if kind == "gemma3" else gain) @ hf_model.lm_head.weight.detach().T
    if kind == "gemma3":
        logits = (logits / 0.7).tanh() * 0.7
    if kind == "granite":
        logits = logits / 2.3
    torch.testing.assert_close(model.tail(rows), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_rows", [0, 1, tiny.N_CTX, 3 * tiny.N_CTX + 5])
def test_rows_are_done_in_chunks(n_rows: int) -> None:
    model = tiny.hooked("gpt2")
    rows = torch.randn(n_rows, 44, generator=torch.Generator().manual_seed(0))
    logits = model.tail(rows)
    assert logits.shape == (n_rows, tiny.D_VOCAB)
    for row in range(0, n_rows, 37):
        torch.testing.assert_close(logits[row : row + 1], model.tail(rows[row : row + 1]))


def test_rows_are_not_written_to_and_logits_may_be() -> None:
    model = tiny.hooked("llama")
    rows = model.trace(tiny.ids(N_POS)).resid_post[-1]
    before = rows.clone()
    logits = model.tail(rows)
    expected = logits.clone()
    logits.zero_()
    assert torch.equal(rows, before)
    assert torch.equal(model.tail(rows), expected)


def test_weights_that_change_are_seen() -> None:
    hf_model = tiny.tiny("llama")
    model = HookedModel(hf_model)
    hf_model.model.norm.weight.data.mul_(1.7)
    hf_model.lm_head = copy.deepcopy(hf_model.lm_head)
    trace = model.trace(tiny.ids(N_POS))
    assert torch.equal(model.tail(trace.resid_post[-1]), trace.logits)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    # The last carries its stream in fp32 whatever its weights are, and overflows in float16.
    [*product(tiny.CORE, (torch.bfloat16, torch.float16)), ("mamba", torch.bfloat16)],
)
def test_half_precision_is_decoded_in_fp32(kind: str, dtype: torch.dtype) -> None:
    hf_model = tiny.tiny(kind).to(dtype)
    model, reference = HookedModel(hf_model), HookedModel(copy.deepcopy(hf_model).float())
    rows = model.trace(tiny.ids(N_POS)).resid_post[1]
    logits = model.tail(rows)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, reference.tail(rows.float()))
    assert {weight.dtype for weight in hf_model.parameters()} == {dtype}


@pytest.mark.parametrize("shape", [(36,), (2, 3, 36), (3, 35)])
def test_rows_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(QuestionError, match=r"shape \[n, 36\]"):
        tiny.hooked("llama").tail(torch.zeros(shape))
