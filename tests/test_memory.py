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
from transformers.initialization import no_init_weights

import layerwidget as lw
from layerwidget.analysis import decoding, lens_cells, logit_lens
from layerwidget.analysis.logit_lens import logit_lens_steps
from layerwidget.analysis.tuned_lens import tuned_lens_steps
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
    # Nobody has made room for logits before: it counts, too.
    monkeypatch.setattr(decoding, "_held", threading.local())
    return held


#: What every one of these models has.
SHAPE = {
    "vocab_size": D_VOCAB,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": N_POS,
    "tie_word_embeddings": True,
}


def hooked(kind: str, **shape: int) -> lw.HookedModel:
    config = getattr(transformers, f"{kind}Config")(**SHAPE | shape)
    torch.manual_seed(0)
    return lw.HookedModel(getattr(transformers, f"{kind}ForCausalLM")(config).eval())


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return hooked("Llama")


def big_trace(model: lw.HookedModel, n_pos: int = N_POS) -> lw.Trace:
    """A trace of these sizes, without the gigabytes of work of a pass: the logits are all the same."""
    tokens = Tokens(np.zeros(n_pos, dtype=np.int64), {0: Piece.unnamed(0)})
    d_vocab = model.anatomy.d_vocab
    logits = torch.linspace(0, 1, d_vocab).expand(n_pos, d_vocab)
    stream = {layer: torch.randn(n_pos, model.anatomy.d_model) for layer in range(N_LAYERS)}
    return lw.Trace(model, tokens, logits, {"resid_pre": stream, "resid_post": stream}, {})


def first_parts(question: lw.LogitLens | lw.TunedLens, trace: lw.Trace) -> list[lw.LensGrid]:
    """The last position of all layers, then some others of them; all that follow are like the second."""
    steps = tuned_lens_steps if isinstance(question, lw.TunedLens) else logit_lens_steps
    return list(islice(steps(question, trace, None, 0, OnScreen(tuple(range(N_LAYERS)))), 2))  # type: ignore[arg-type]


def translators(model: lw.HookedModel) -> lw.Translators:
    return lw.Translators.untrained(N_LAYERS, model.anatomy.d_model)


QUESTIONS: dict[str, Callable[[lw.HookedModel], lw.LogitLens | lw.TunedLens]] = {
    "the stream": lambda _: lw.LogitLens(k=10, tokens=(3, 70_000)),
    "with the Jensen-Shannon divergence": lambda _: lw.LogitLens(k=10, tokens=(3, 70_000), jsd=True),
    "tuned": lambda model: lw.TunedLens(translators(model), k=10, tokens=(3, 70_000)),
    "tuned, with it": lambda model: lw.TunedLens(translators(model), k=10, tokens=(3, 70_000), jsd=True),
    "one head": lambda _: lw.LogitLens(component="head_out", head=1, k=10, tokens=(3, 70_000)),
}


@pytest.mark.parametrize("of", QUESTIONS)
def test_the_lens_holds_less_than_64_mib(model: lw.HookedModel, held: Held, of: str) -> None:
    trace = model.trace(list(range(N_POS))) if of == "one head" else big_trace(model)
    question = QUESTIONS[of](model)
    with Peak(held):
        parts = first_parts(question, trace)
    assert parts[-1].done is not None
    assert parts[-1].done.any(axis=0).sum() == 64
    assert 8 * 2**20 < held.most < ALLOWED_BYTES


def test_the_lens_of_one_of_many_heads_holds_less_than_64_mib(held: Held) -> None:
    """What all of them weigh and read is never there for all positions, and what this one adds not of all layers."""
    model = hooked("Llama", hidden_size=64, num_attention_heads=32, num_key_value_heads=32)
    trace = model.trace(list(range(N_POS)))
    with Peak(held):
        parts = first_parts(QUESTIONS["one head"](model), trace)
    assert parts[-1].done is not None
    assert parts[-1].done.any(axis=0).sum() == 64
    assert 8 * 2**20 < held.most < ALLOWED_BYTES


@pytest.fixture(scope="module")
def capped() -> lw.HookedModel:
    model = hooked("Gemma2", final_logit_softcapping=30.0)
    assert model.anatomy.transform == ("soft-cap 30",)
    return model


@pytest.mark.parametrize("of", ["the stream", "with the Jensen-Shannon divergence", "tuned"])
def test_a_soft_capped_lens_holds_less_than_64_mib(capped: lw.HookedModel, held: Held, of: str) -> None:
    """The model's own code makes all logits of some rows at once, and copies of them."""
    with Peak(held):
        parts = first_parts(QUESTIONS[of](capped), big_trace(capped))
    assert parts[-1].done is not None
    assert parts[-1].done.any(axis=0).sum() == 64
    # The model itself makes two copies: there is room for what is copied from a trace that several passes have made.
    assert 2 * decoding.BLOCK_BYTES < held.most < 2.5 * decoding.BLOCK_BYTES < ALLOWED_BYTES - lens_cells._FINAL_BYTES


def made_quickly(**shape: int) -> lw.HookedModel:
    with no_init_weights():
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE | shape)).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.uniform_(-0.1, 0.1)
    return lw.HookedModel(model)


@pytest.fixture(scope="module")
def wide() -> lw.HookedModel:
    return made_quickly(hidden_size=1024)


@pytest.mark.parametrize("n_threads", [1, 4])
def test_a_wide_stream_in_many_threads_holds_less_than_64_mib(wide: lw.HookedModel, held: Held, n_threads: int) -> None:
    """Rows of a width that models have, and what each thread needs for itself; of as many positions as go at once."""
    trace, before = big_trace(wide, 9), torch.get_num_threads()
    assert wide.decodes_in_blocks
    torch.set_num_threads(n_threads)
    try:
        with Peak(held):
            *_, whole = first_parts(QUESTIONS["the stream"](wide), trace)
    finally:
        torch.set_num_threads(before)
    assert whole.complete
    rows = 4 * wide.anatomy.d_model * N_LAYERS * (len(trace.tokens) - 1)
    assert 16 * 2**20 + rows < held.most < ALLOWED_BYTES


def test_the_widest_streams_hold_less_than_64_mib(held: Held) -> None:
    """As of models of 70 billion weights: of fewer rows at once, so that wider ones would need no more."""
    model = made_quickly(hidden_size=8192, vocab_size=2 * decoding.BLOCK_WIDTH)
    assert model.decodes_in_blocks
    trace = big_trace(model, 40)
    with Peak(held):
        *_, whole = first_parts(lw.LogitLens(k=10, tokens=(3, 7_000)), trace)
    assert whole.complete
    assert 16 * 2**20 < held.most < ALLOWED_BYTES - decoding.BLOCK_BYTES


def test_editing_holds_less_than_64_mib(model: lw.HookedModel, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an explorer asks: the layers on screen, then what is in sight, then the rest; and then edits."""
    fill, filled = logit_lens._Board.fill, []

    def some(board: Any, layers: tuple[int, ...], start: int, stop: int, n_before: int = 0) -> None:
        filled.append((len(layers), stop - start))
        if len(filled) <= 2:
            fill(board, layers, start, stop, n_before)
        else:  # steps like the one that the test above measures
            board.done[[board.layers.index(layer) for layer in layers], start:stop] = True

    monkeypatch.setattr(logit_lens._Board, "fill", some)
    question, live = lw.LogitLens(k=10, tokens=(3, 70_000), follow=10), lw.Live(model)
    prompt, half = list(range(5, 5 + N_POS - 1)), N_POS // 2
    live.update(prompt[:3], question)
    live.prepare()
    reused = []
    with Peak(held):
        for edited in (prompt, [*prompt, 7], [*prompt[:half], 9, *prompt[half + 1 :]]):
            filled.clear()
            sight = (len(edited) - 12, len(edited))
            (lens,) = live.update(edited, question, previewed=lambda *_: None, on_screen="16-31", in_sight=sight)
            reused.append(live.reused)
            assert lens.complete
            assert filled[:3] == ([(32, 1)] if live.reused > half else [(16, 1), (32, 12), (32, 64)])
    assert reused == [3, N_POS - 1, half]
    # The answer while it is filled, and as it is handed on; those about earlier prompts are capped elsewhere.
    arrays = 2 * sum(array.nbytes for array in vars(lens).values() if isinstance(array, np.ndarray))
    assert 32 * 2**20 < held.most < ALLOWED_BYTES - arrays
