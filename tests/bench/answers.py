"""Nobody is timed whose answers are wrong: everything is compared with a fresh run of the whole prompt."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

import layerwidget as lw
from tests.bench.workload import LENS

ALLOWED = 1e-4


def check_live(answers: tuple[lw.LensGrid, lw.AttentionGrid], model: lw.HookedModel) -> None:
    """Lens and attention, as an engine answered them, equal those of a trace of its own."""
    lens, attention = answers
    trace, fresh = _fresh(model, tuple(lens.token_ids.tolist()))
    for name in ("top_probs", "entropy_nats", "kl_to_final_nats", "final_probs"):
        _close(getattr(lens, name), getattr(fresh, name), f"{name} of the lens")
    pattern = lw.Attention(layers=attention.layers, heads="all").run(trace).pattern
    _close(attention.pattern, pattern, "the attention pattern")


def check_probs(top_probs: Any, model: lw.HookedModel, ids: list[int]) -> None:
    """Probabilities of the most probable tokens of every layer, shape [layer, pos, k]."""
    _close(np.asarray(top_probs), _fresh(model, tuple(ids))[1].top_probs, "the lens")


def check_logits(logits: torch.Tensor, model: lw.HookedModel, ids: list[int]) -> None:
    """Logits of the last positions, shape [pos, d_vocab]; as probabilities."""
    expected = _fresh(model, tuple(ids))[0].logits[-len(logits) :]
    _close(logits.softmax(-1).numpy(), expected.softmax(-1).numpy(), "the logits")


# All check the same few prompts, and the lens of a long one takes seconds.
@lru_cache(maxsize=4)
def _fresh(model: lw.HookedModel, ids: tuple[int, ...]) -> tuple[lw.Trace, lw.LensGrid]:
    """A trace of the whole prompt, without any cache, and its lens."""
    trace = model.trace(list(ids))
    return trace, LENS.run(trace)


def _close(got: np.ndarray, expected: np.ndarray, what: str) -> None:
    if got.shape != expected.shape:
        raise AssertionError(f"{what}: expected shape {expected.shape}, got {got.shape}.")
    error = float(np.abs(got - expected).max())
    if not error <= ALLOWED:
        raise AssertionError(f"{what}: differs by {error:.1e} from a fresh run; allowed are {ALLOWED:g}.")
