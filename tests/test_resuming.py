"""Another intervention runs the layers from the first changed one on, and gives the numbers of a full pass."""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import layerwidget as lw
from layerwidget.cancellation import cancelled_by
from layerwidget.errors import Cancelled
from layerwidget.model import prefix_cache, resuming
from layerwidget.model.continuation import Continuation
from layerwidget.model.hooked_model import HookedModel
from tests import tiny
from tests.test_continuation import SEQUENTIAL, assert_alike
from tests.test_devices import _offloaded

RESUMED = "resumed at the first changed layer"
ANEW = "every change is computed anew"


def script(n_layers: int, n_steps: int, seed: int) -> Iterator[tuple[list[int], tuple[lw.SkipLayers, ...]]]:
    """Prompts and interventions as somebody edits the one, tries the other, and does both at once."""
    draw = random.Random(seed)
    prompt, skips = tiny.ids(9, seed), ()
    for _ in range(n_steps):
        action = draw.choice(("skip", "skip", "append", "replace", "both", "nothing"))
        if action in ("skip", "both"):
            chosen = tuple(layer for layer in range(n_layers) if draw.random() < 0.4)
            skips = (lw.SkipLayers(chosen),) if chosen else ()
        if action in ("append", "both"):
            prompt = [*prompt, draw.randrange(5, tiny.D_VOCAB)]
        elif action == "replace":
            prompt = [*prompt[: -draw.randrange(1, 4)], draw.randrange(5, tiny.D_VOCAB)]
        yield prompt, skips


@contextmanager
def runs(model: HookedModel) -> Iterator[Counter[int]]:
    """How often each layer's module ran inside."""
    counted: Counter[int] = Counter()
    handles = [
        model.hf_model.get_submodule(layer.module).register_forward_hook(
            lambda *_, number=layer.layer: counted.update([number])
        )
        for layer in model.anatomy.layers
    ]
    yield counted
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("kind", tiny.ALL)
@pytest.mark.parametrize("prepared", [False, True])
def test_every_change_gives_the_numbers_of_a_full_pass(kind: str, prepared: bool) -> None:
    model = tiny.hooked(kind)
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(9, 5)))
    if prepared:
        going.prepare()
    resumed = 0
    for prompt, skips in script(model.anatomy.n_layers, 16, seed=5):
        found = going.trace(model.tokenize(prompt), skips)
        assert_alike(found, model.trace(prompt, interventions=skips))
        assert found.interventions == skips
        resumed += bool(going.reused_layers)
    assert going.how_layers == RESUMED
    assert resumed >= 2


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3", "falcon", "mamba", "bert"])
def test_the_layers_below_do_not_run(kind: str) -> None:
    model = tiny.hooked(kind)
    going = Continuation(model)
    tokens = model.tokenize(tiny.ids(9))
    going.trace(tokens)
    going.prepare()
    for layer, expected in ((2, {2: 1}), (1, {1: 1, 2: 1}), (0, {0: 1, 1: 1, 2: 1})):
        passes = going.passes
        with runs(model) as counted:
            trace = going.trace(tokens, (lw.SkipLayers(layer),))
        # From one that is skipped to a later one that is skipped instead, the earlier one is the first that changes.
        assert counted == expected
        assert (going.passes, going.reused, going.reused_layers) == (passes + 1, 0, layer)
        assert_alike(trace, model.trace(tokens, interventions=(lw.SkipLayers(layer),)))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3", "falcon", "mixtral", "jamba", "bert"])
def test_after_a_full_pass_not_a_bit_differs(kind: str) -> None:
    model = HookedModel(tiny.tiny(kind))
    going = Continuation(model)
    tokens, skip = model.tokenize(tiny.ids(9)), (lw.SkipLayers(2),)
    going.trace(tokens)
    found, expected = going.trace(tokens, skip), model.trace(tokens, interventions=skip)
    assert going.reused_layers == 2
    assert torch.equal(found.logits, expected.logits)
    for name, held in expected.activations.items():
        for layer, rows in held.items():
            assert torch.equal(found.activations[name][layer], rows)
    for layer in expected.attention_layers:
        assert torch.equal(found.pattern(layer), expected.pattern(layer))


@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_typing_goes_on_from_there(kind: str) -> None:
    model = tiny.hooked(kind)
    going = Continuation(model)
    prompt, skip = tiny.ids(9), (lw.SkipLayers(1),)
    going.trace(model.tokenize(prompt))
    going.prepare()
    going.trace(model.tokenize(prompt), skip)
    sizes: list[int] = []
    handle = model.hf_model.get_submodule(str(model.anatomy.embedding)).register_forward_hook(
        lambda module, args, out: sizes.append(out.shape[1])
    )
    found = going.trace(model.tokenize([*prompt, 7]), skip)
    assert (sizes, going.reused, going.reused_layers) == ([1], 9, 0)
    assert_alike(found, model.trace([*prompt, 7], interventions=skip))
    sizes.clear()
    both = [*prompt[:6], 8, 9]
    found = going.trace(model.tokenize(both), (lw.SkipLayers("1-2"),))
    handle.remove()
    assert (sizes, going.reused, going.reused_layers) == ([6, 2], 0, 2)
    assert_alike(found, model.trace(both, interventions=(lw.SkipLayers("1-2"),)))


def zeros(layer: Any, seen: Any, layout: Any, rows: Callable[[], torch.Tensor]) -> Any:
    return STAND_IN(layer, seen, layout, lambda: torch.zeros_like(rows()))


def shifted(layer: Any, seen: Any, layout: Any, rows: Callable[[], torch.Tensor]) -> Any:
    return STAND_IN(layer, seen, layout, lambda: rows().roll(1, 0))


def slightly_off(layer: Any, seen: Any, layout: Any, rows: Callable[[], torch.Tensor]) -> Any:
    return STAND_IN(layer, seen, layout, lambda: rows() * 1.001)


def left_empty(cache: Any, other: Any) -> None:
    """Nothing is taken from the earlier cache."""


def left_old(cache: Any, other: Any) -> None:
    """Everything is taken from the earlier cache."""
    cache.cache = other.cache


STAND_IN = resuming.stand_in


@pytest.mark.parametrize("mutant", [zeros, shifted, slightly_off, left_empty, left_old])
def test_a_way_that_gives_other_numbers_is_not_taken(
    mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if mutant in (left_empty, left_old):
        monkeypatch.setattr(prefix_cache.CroppedCache, "complete", mutant)
    else:
        monkeypatch.setattr(resuming, "stand_in", mutant)
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(9, 5)))
    going.prepare()
    assert going.how == "cache cropped at the first changed token"
    assert going.how_layers == ANEW
    for prompt, skips in script(model.anatomy.n_layers, 6, seed=5):
        assert_alike(going.trace(model.tokenize(prompt), skips), model.trace(prompt, interventions=skips))
        assert going.reused_layers == 0


@pytest.mark.parametrize(("giver", "taker"), [(0, 1), (0, 2), (1, 2), (3, 4), (2, 4)])
def test_layers_that_hand_on_more_than_the_stream_are_found_out(giver: int, taker: int) -> None:
    """Whichever two layers they are, and although what is handed on is remembered from pass to pass."""
    config = tiny.tiny("llama").config
    config.num_hidden_layers = 5
    torch.manual_seed(0)
    hf_model = type(tiny.tiny("llama"))(config).eval()
    remembered: list[torch.Tensor] = []
    hf_model.model.layers[giver].register_forward_hook(lambda _, args, out: remembered.append(out))
    hf_model.model.layers[taker].register_forward_hook(lambda _, args, out: out + 0.1 * remembered[-1][:1])
    going = Continuation(HookedModel(hf_model))
    going.prepare()
    assert going.how_layers == ANEW


@pytest.mark.parametrize("kind", tiny.TWO_STACKS)
def test_encoder_decoders_are_computed_anew(kind: str) -> None:
    model = tiny.hooked(kind)
    going = Continuation(model)
    tokens, skip = model.tokenize(tiny.ids(9)), (lw.SkipLayers(2),)
    going.trace(tokens)
    found = going.trace(tokens, skip)
    assert torch.equal(found.logits, model.trace(tokens, interventions=skip).logits)
    assert (going.how_layers, going.reused_layers, going.passes) == (ANEW, 0, 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_on_disk(dtype: torch.dtype, tmp_path: Path) -> None:
    model = lw.HookedModel(_offloaded("llama", tmp_path, dtype, ".1 .2"))
    going = Continuation(model)
    tokens = model.tokenize(tiny.ids(9))
    going.trace(tokens)
    for layer in (1, 2):
        skip = (lw.SkipLayers(layer),)
        found, expected = going.trace(tokens, skip), model.trace(tokens, interventions=skip)
        assert (going.how_layers, going.reused_layers) == (RESUMED, 1)
        assert torch.equal(found.logits, expected.logits)
        assert torch.equal(found.resid_post, expected.resid_post)
    assert {weight.device.type for weight in model.hf_model.parameters()} == {"cpu", "meta"}


@pytest.mark.parametrize("n_polls", range(5))
def test_a_change_that_is_given_up_leaves_what_was_held(n_polls: int) -> None:
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    prompt = tiny.ids(9)
    going.trace(model.tokenize(prompt))
    going.prepare()
    polls = iter(range(99))
    both = [*prompt[:6], 8, 9]
    # Layers 1 and 2 of the unchanged tokens, then all three of the new ones.
    with pytest.raises(Cancelled), cancelled_by(lambda: next(polls) >= n_polls):
        going.trace(model.tokenize(both), (lw.SkipLayers(1),))
    passes = going.passes
    skips = (lw.SkipLayers(1),) if n_polls >= 2 else ()
    assert_alike(going.trace(model.tokenize(prompt[:6]), skips), model.trace(prompt[:6], interventions=skips))
    assert (going.passes, going.reused) == (passes, 6)
    for changed, skips in ((both, (lw.SkipLayers(1),)), ([*both, 9], ()), ([*both, 9], (lw.SkipLayers("1-2"),))):
        assert_alike(going.trace(model.tokenize(changed), skips), model.trace(changed, interventions=skips))


def test_a_proof_that_is_given_up_is_begun_again() -> None:
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    going._way(prove=True)
    polls = iter(range(99))
    with pytest.raises(Cancelled), cancelled_by(lambda: next(polls) >= 8):
        going.prepare()
    assert going.how_layers == "not tried yet"
    going.prepare()
    assert going.how_layers == RESUMED


def test_interventions_that_do_the_same_are_the_same() -> None:
    live = lw.Live(HookedModel(tiny.tiny("llama")))
    spellings = [
        [lw.SkipLayers("1-2")],
        (lw.SkipLayers((2, 1)),),
        [lw.SkipLayers(1), lw.SkipLayers("-1")],
        [lw.SkipLayers("2"), lw.SkipLayers((1, 2))],
    ]
    answers = [live.update(tiny.ids(5), lw.LogitLens(), interventions=skips)[0] for skips in spellings]
    more = [live.update(tiny.ids(5), lw.LogitLens(k=2), interventions=skips)[0] for skips in spellings]
    assert all(answer is answers[0] for answer in answers)
    assert all(answer is more[0] for answer in more)
    assert (live.passes, live.reused) == (1, 5)
    with pytest.raises(lw.QuestionError, match="SkipLayers"):
        live.update(tiny.ids(5), lw.LogitLens(), interventions=["1"])
    assert live.update(tiny.ids(5), lw.LogitLens(k=2), lw.Attention("0"), interventions=spellings[0])[0] is more[0]
    assert live.passes == 1


def test_other_layers_on_screen_cost_no_pass() -> None:
    live = lw.Live(HookedModel(tiny.tiny("llama")))
    trace = live.model.trace(tiny.ids(9))
    for layers in ("all", "0-1", "1-2", "2"):
        lens, attention = live.update(tiny.ids(9), lw.LogitLens(layers), lw.Attention(layers), on_screen=layers)
        # What is in sight is decoded by itself first, and products of other sizes are rounded otherwise.
        np.testing.assert_allclose(lens.top_probs, lw.LogitLens(layers).run(trace).top_probs, rtol=1e-5)
        np.testing.assert_array_equal(attention.pattern, lw.Attention(layers).run(trace).pattern)
    assert live.passes == 1


def test_an_encoder_decoder_is_asked_about_its_prompt() -> None:
    """Its trace's positions are those of the decoder, which are the same for every prompt."""
    live = lw.Live(HookedModel(tiny.tiny("t5")))
    for n_passes, prompt in enumerate((tiny.ids(9), tiny.ids(7), [0], tiny.ids(9, seed=5)), 1):
        lens, few = live.update(prompt, lw.LogitLens(), lw.LogitLens("1"))
        expected = lw.LogitLens().run(live.model.trace(prompt))
        np.testing.assert_array_equal(lens.top_probs, expected.top_probs)
        assert live.update(prompt, lw.LogitLens(), lw.LogitLens("2"))[0] is lens
        assert (live.passes, few.layers) == (n_passes, (1,))


@pytest.mark.parametrize("kind", ["llama", "gemma3", "mamba", "bert"])
def test_answers_are_those_about_a_full_pass(kind: str) -> None:
    model = tiny.hooked(kind)
    live = lw.Live(model)
    questions: list[Any] = [lw.LogitLens(k=3, tokens=(7, 9)), lw.LogitLens("1", component="resid_pre")]
    questions += [lw.Attention("0-2", heads="1-2")] if kind != "mamba" else []
    live.update(tiny.ids(9), *questions)
    live.prepare()
    seen = set()
    for prompt, skips in script(model.anatomy.n_layers, 12, seed=8):
        if skips == (lw.SkipLayers((0, 1, 2)),):
            continue  # no layer has attention weights
        found = live.update(prompt, *questions, interventions=skips)
        seen.add(live.reused_layers)
        trace = model.trace(prompt, interventions=skips)
        for question, answer in zip(questions, found, strict=True):
            for name, value in vars(question.run(trace)).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    np.testing.assert_allclose(getattr(answer, name), value, rtol=1e-4, atol=1e-4)
    assert len(seen) > 1


def test_what_was_above_is_let_go() -> None:
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    tokens = model.tokenize(tiny.ids(9))
    trace = going.trace(tokens)
    going.prepare()
    trace = going.trace(tokens)
    lower, upper = (weakref.ref(trace.activations["mlp_out"][layer]) for layer in (0, 2))
    trace = going.trace(tokens, (lw.SkipLayers(1),))
    gc.collect()
    assert lower() is not None
    assert upper() is None
    assert_alike(trace, model.trace(tokens, interventions=(lw.SkipLayers(1),)))


def depth(held: Any) -> int:
    """How deep what was put together is nested."""
    inner = [part for part, _ in getattr(held, "_parts", ())]
    inner += [getattr(held, name) for name in ("_lower", "_upper") if hasattr(held, name)]
    return 1 + max(map(depth, inner), default=0)


def test_many_changes_and_edits_hold_little() -> None:
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    prompt = tiny.ids(4)
    going.trace(model.tokenize(prompt))
    going.prepare()
    draw = random.Random(3)
    for token in tiny.ids(50, seed=9):
        prompt = [*prompt, token]
        skips = ((), (lw.SkipLayers(1),), (lw.SkipLayers(2),), (lw.SkipLayers("1-2"),))[draw.randrange(4)]
        going.trace(model.tokenize(prompt), skips)
        trace = going.trace(model.tokenize(prompt), skips[:0] if draw.random() < 0.5 else skips)
    assert_alike(trace, model.trace(prompt, interventions=trace.interventions))
    assert depth(trace.activations["resid_post"]) <= 2 * model.anatomy.n_layers
    assert depth(trace.ledgers) <= 2 * model.anatomy.n_layers
