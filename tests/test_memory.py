"""What the lens needs beside the trace: measured at every operation, at sizes where all logits would be gigabytes."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

import layerwidget as lw
from layerwidget.analysis import decoding, logit_lens
from layerwidget.analysis.logit_lens import logit_lens_steps
from layerwidget.model import cores, decoding as head_decoding
from layerwidget.questions import OnScreen
from layerwidget.tokens import Piece, Tokens

D_VOCAB, N_POS, N_LAYERS = 262_144, 512, 32
ALLOWED_BYTES = 64 * 2**20


class Held:
    """The most memory that tensors held at one time, whichever thread made them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.holders: dict[int, int] = {}
        self.sizes: dict[int, int] = {}
        self.most = 0

    def made(self, known: set[int], out: Any) -> None:
        with self.lock:
            for tensor in out if isinstance(out, tuple | list) else (out,):
                if isinstance(tensor, torch.Tensor):
                    self.holds(tensor, known)
            self.most = max(self.most, sum(self.sizes.values()))

    def holds(self, tensor: torch.Tensor, known: set[int]) -> None:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer in self.holders or pointer not in known:
            self.holders[pointer] = self.holders.get(pointer, 0) + 1
            self.sizes[pointer] = tensor.untyped_storage().nbytes()
            weakref.finalize(tensor, self.freed, pointer)

    def freed(self, pointer: int) -> None:
        with self.lock:
            self.holders[pointer] -= 1
            if not self.holders[pointer]:
                del self.holders[pointer], self.sizes[pointer]


class Peak(TorchDispatchMode):
    """Tells of every tensor that one thread makes inside."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        self.held = held

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {one.untyped_storage().data_ptr() for one in args if isinstance(one, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        self.held.made(known, out)
        return out


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """What is held; threads that share work out tell of it, too."""
    held = Held()

    def shared_out(work: Callable[[Iterator[Any]], Any], pieces: Iterable[Any], device: torch.device) -> list[Any]:
        def watched(rest: Iterator[Any]) -> Any:
            with Peak(held):
                return work(rest)

        # Where nobody shares, it is this thread, which is watched already.
        return cores.shared_out(work if cores.n_sharers(device) == 1 else watched, pieces, device)

    for module in (decoding, head_decoding):
        monkeypatch.setattr(module, "shared_out", shared_out)
    return held


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


def test_the_lens_holds_less_than_64_mib(model: lw.HookedModel, held: Held) -> None:
    trace = big_trace(model)
    question = lw.LogitLens(k=10, tokens=(3, 70_000))
    with Peak(held):
        parts = list(islice(logit_lens_steps(question, trace, None, 0, OnScreen(tuple(range(N_LAYERS)))), 2))
    assert parts[-1].done is not None
    assert parts[-1].done.any(axis=0).sum() == 16
    assert 8 * 2**20 < held.most < ALLOWED_BYTES


def test_editing_holds_less_than_64_mib(model: lw.HookedModel, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an explorer asks: the layers on screen, then what is in sight, then the rest; and then edits."""
    fill, filled = logit_lens._Board.fill, []

    def some(board: Any, layers: tuple[int, ...], start: int, stop: int) -> None:
        filled.append((len(layers), stop - start))
        if len(filled) <= 2:
            fill(board, layers, start, stop)
        else:  # steps like the one that the test above measures
            board.done[[board.layers.index(layer) for layer in layers], start:stop] = True

    monkeypatch.setattr(logit_lens._Board, "fill", some)
    question, live = lw.LogitLens(k=10, tokens=(3, 70_000), follow=10), lw.Live(model)
    prompt, half = list(range(5, 5 + N_POS - 1)), N_POS // 2
    live.update(prompt[:3], question)
    live.prepare()
    reused = []
    monkeypatch.setattr(decoding, "_held", threading.local())
    with Peak(held):
        for edited in (prompt, [*prompt, 7], [*prompt[:half], 9, *prompt[half + 1 :]]):
            filled.clear()
            sight = (len(edited) - 12, len(edited))
            (lens,) = live.update(edited, question, previewed=lambda *_: None, on_screen="16-31", in_sight=sight)
            reused.append(live.reused)
            assert lens.complete
            assert filled[:3] == ([(32, 1)] if live.reused > half else [(16, 1), (32, 12), (32, 16)])
    assert reused == [3, N_POS - 1, half]
    # The answer while it is filled, and as it is handed on; those about earlier prompts are capped elsewhere.
    arrays = 2 * sum(array.nbytes for array in vars(lens).values() if isinstance(array, np.ndarray))
    assert 32 * 2**20 < held.most < ALLOWED_BYTES - arrays
