"""Is what was not computed anew what a full pass gives? Measured on the model in hand, with random tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch

from layerwidget.errors import Cancelled
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.interventions import SkipLayers
from layerwidget.model.locate import random_ids
from layerwidget.model.resuming import left_by
from layerwidget.rounding import relative_error, tolerance
from layerwidget.trace import Trace

_N_POS = 15

#: The trace of tokens under interventions, reusing what was computed before.
Traced: TypeAlias = Callable[..., Trace]


class EditsProof:
    """Whether edits give the numbers of full passes: ends are replaced again and again, tokens added, one or more.

    Args:
        model: the hooked model.
        traced: gives the trace of tokens, reusing what was computed before.
    """

    def __init__(self, model: HookedModel, traced: Traced) -> None:
        self._model, self._traced = model, traced
        self._waiting = list(_edited_prompts(model))

    def holds(self) -> bool:
        """Whether all edits are right; whoever is given up half-way goes on from there when asked again.

        Raises:
            Cancelled: at a layer boundary, when it is no longer wanted to know now.
        """
        return _all_hold(self._model, self._alike())

    def _alike(self) -> Iterator[bool]:
        while self._waiting:
            prompt = self._waiting[0]
            yield _alike(self._traced(self._model.tokenize(prompt)), self._model.trace(prompt))
            del self._waiting[0]


def _edited_prompts(model: HookedModel) -> Iterator[torch.Tensor]:
    """A prompt, and what becomes of it."""
    prompt = _prompt(model, seed=20)
    longest = len(prompt)
    half = longest - longest // 2
    yield prompt
    # A cache may remember enough to go back once, and not enough to go back from there; and a recurrent layer may go on
    # from its state by one token, and silently begin anew with several.
    for seed, (n_gone, n_new) in enumerate([(half, half - 1), (3, 1), (7, 4), (0, 1), (0, 3)], 21):
        kept = prompt[: max(1, len(prompt) - n_gone)]
        prompt = torch.cat([kept, _prompt(model, seed)[: min(n_new, longest - len(kept))]])
        yield prompt


def resuming_is_right(model: HookedModel, traced: Traced) -> bool:
    """Whether a prompt that goes on from the middle of its layers, and then has one more token, equals full passes."""

    def alike() -> Iterator[bool]:
        ids = _prompt(model, seed=31)
        skip = (SkipLayers(model.anatomy.n_layers // 2),)
        traced(model.tokenize(ids[:-1]))
        for prompt in (ids[:-1], ids):
            yield _alike(traced(model.tokenize(prompt), skip), model.trace(prompt, interventions=skip))

    return _all_hold(model, alike())


def layers_read_the_stream_alone(model: HookedModel) -> bool:
    """Whether every layer gives the same when any of those below it rests, but what leaves that one is there.

    In the highest bit in which the numbers of two layers differ, the lower one has a 0. So it is enough to let rest,
    for every bit, all layers that have a 0 there.
    """

    def alike() -> Iterator[bool]:
        whole = model.trace(_prompt(model, seed=32))
        numbers = range(model.anatomy.n_layers)
        for bit in range((len(numbers) - 1).bit_length()):
            # Whatever a module remembers of the pass before is then of another prompt.
            model.trace(_prompt(model, seed=33)[:1])
            resting = left_by(whole, [number for number in numbers if not number >> bit & 1])
            yield _alike(whole, model.pass_over(whole.tokens, resting=resting))

    return model.anatomy.encoder is None and model.anatomy.n_layers > 1 and _all_hold(model, alike())


def _prompt(model: HookedModel, seed: int) -> torch.Tensor:
    return random_ids(min(_N_POS, model.n_ctx or _N_POS), model.anatomy.n_embeddings, seed)


def _all_hold(model: HookedModel, found: Iterator[bool]) -> bool:
    """Whether everything that is found is right; an error is not."""
    try:
        return len(_prompt(model, seed=0)) >= 4 and all(found)
    except Cancelled:
        raise  # nothing was found out
    except Exception:  # whatever is raised by a model that cannot be run in this way
        return False


def _alike(found: Trace, expected: Trace) -> bool:
    """Whether all that is expected was found, up to rounding."""
    allowed = tolerance(expected.logits.dtype, at_least=1e-5)
    for component, held in expected.activations.items():
        for layer, rows in held.items():
            if not relative_error(found.activations[component][layer], rows) <= allowed:
                return False
    # Weights are exponentials of scores: where these are large, what rounding does to them is more of a weight.
    apart = (float((found.pattern(one) - expected.pattern(one)).abs().max()) for one in expected.attention_layers)
    close = all(difference <= 10 * allowed for difference in apart)
    return close and relative_error(found.logits, expected.logits) <= tolerance(expected.logits.dtype)
