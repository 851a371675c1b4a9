"""What the lens needs beside the trace: measured at every operation, at sizes where all logits would be gigabytes."""

from __future__ import annotations

import weakref
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

import layerwidget as lw
from layerwidget.analysis.logit_lens import logit_lens_steps
from layerwidget.questions import OnScreen
from layerwidget.tokens import Piece, Tokens

D_VOCAB, N_POS, N_LAYERS = 262_144, 512, 32
ALLOWED_BYTES = 64 * 2**20


class Peak(TorchDispatchMode):
    """The most memory that tensors made inside held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.holders: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {one.untyped_storage().data_ptr() for one in args if isinstance(one, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if not isinstance(tensor, torch.Tensor):
                continue
            pointer = tensor.untyped_storage().data_ptr()
            if pointer in self.holders or pointer not in known:
                self.holders[pointer] = self.holders.get(pointer, 0) + 1
                self.sizes[pointer] = tensor.untyped_storage().nbytes()
                weakref.finalize(tensor, self.freed, pointer)
        self.most = max(self.most, sum(self.sizes.values()))
        return out

    def freed(self, pointer: int) -> None:
        self.holders[pointer] -= 1
        if not self.holders[pointer]:
            del self.holders[pointer], self.sizes[pointer]


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    config = transformers.LlamaConfig(
        vocab_size=D_VOCAB,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=2,
        max_position_embeddings=N_POS,
    )
    torch.manual_seed(0)
    return lw.HookedModel(transformers.LlamaForCausalLM(config).eval())


def big_trace(model: lw.HookedModel) -> lw.Trace:
    """A trace of these sizes, without the gigabytes of work of a pass: the logits are all the same."""
    tokens = Tokens(np.zeros(N_POS, dtype=np.int64), {0: Piece.unnamed(0)})
    logits = torch.linspace(0, 1, D_VOCAB).expand(N_POS, D_VOCAB)
    stream = {layer: torch.randn(N_POS, 8) for layer in range(N_LAYERS)}
    return lw.Trace(model, tokens, logits, {"resid_post": stream}, {})


@pytest.mark.parametrize("tokens", [(), (3, 70_000)])
def test_the_lens_holds_less_than_64_mib(model: lw.HookedModel, tokens: tuple[int, ...]) -> None:
    trace = big_trace(model)
    question = lw.LogitLens(k=10, tokens=tokens)
    with Peak() as peak:
        parts = list(islice(logit_lens_steps(question, trace, None, 0, OnScreen(tuple(range(N_LAYERS)))), 2))
    assert parts[-1].done is not None
    assert parts[-1].done.any(axis=0).sum() == 16
    assert 8 * 2**20 < peak.most < ALLOWED_BYTES
