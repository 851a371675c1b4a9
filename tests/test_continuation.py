"""Editing a prompt gives the numbers of a full pass, and computes only what changed."""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import layerwidget as lw
from layerwidget.analysis.logit_lens import logit_lens_steps
from layerwidget.cancellation import cancelled_by
from layerwidget.errors import Cancelled
from layerwidget.ledger import Added
from layerwidget.model import continuation, cores, prefix_cache
from layerwidget.model.continuation import Continuation
from layerwidget.model.hooked_model import HookedModel
from layerwidget.questions import OnScreen
from tests import tiny
from tests.conformance.build import build, entry

LENS = lw.LogitLens(k=3, tokens=(7, 9))

SEQUENTIAL = [kind for kind in tiny.ALL if kind not in ("bert", "mamba", "jamba")]
COMPONENTS = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to rounding, which is a share of the largest value."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def rounding(trace: lw.Trace, layer: int) -> float:
    """How far two full passes of a causal model are from each other: over a prompt, and over one token more.

    Random weights can be so large that what a processor's kernels round differently for another length is seen.
    """
    assert trace.anatomy.causal
    ids, n_pos = trace.tokens.ids.tolist(), len(trace.tokens)
    longer = trace.model.trace([*ids, ids[-1]], interventions=trace.interventions)
    return float((longer.pattern(layer)[:, :n_pos, :n_pos] - trace.pattern(layer)).abs().max())


def assert_alike(found: lw.Trace, expected: lw.Trace) -> None:
    assert_close(found.logits, expected.logits)
    for component in COMPONENTS:
        assert set(found.activations[component]) == set(expected.activations[component])
        if expected.activations[component]:
            assert_close(found.component(component), expected.component(component))
    assert found.attention_layers == expected.attention_layers
    for layer in expected.attention_layers:
        off = (found.pattern(layer) - expected.pattern(layer)).abs().max()
        assert off <= 1e-5 or off <= 2 * rounding(expected, layer)
    for layer in range(expected.anatomy.n_layers):
        for one, other in zip(found.ledger(layer), expected.ledger(layer), strict=True):
            assert type(one) is type(other)
            if isinstance(one, Added):
                assert_close(one.value, other.value)


def edits(n_edits: int, seed: int) -> list[list[int]]:
    """Prompts as somebody types, corrects, deletes and pastes them."""
    draw = random.Random(seed)
    prompt, prompts = tiny.ids(12, seed), []
    for _ in range(n_edits):
        action = draw.choice(("append", "append", "more", "replace", "delete", "middle", "paste"))
        if action == "append":
            prompt = [*prompt, draw.randrange(5, tiny.D_VOCAB)]
        elif action == "more":
            prompt = [*prompt, *tiny.ids(draw.randrange(2, 5), draw.randrange(99))]
        elif action == "replace":
            prompt = [*prompt[:-1], draw.randrange(5, tiny.D_VOCAB)]
        elif action == "delete":
            prompt = prompt[: max(1, len(prompt) - draw.randrange(1, 4))]
        elif action == "middle":
            place = draw.randrange(len(prompt))
            prompt = [*prompt[:place], draw.randrange(5, tiny.D_VOCAB), *prompt[place + 1 :]]
        else:
            prompt = [*prompt[: len(prompt) // 2], *tiny.ids(7, draw.randrange(99))]
        prompts.append(prompt)
    return prompts


@pytest.mark.parametrize("kind", [*tiny.ALL])
def test_every_edit_gives_the_numbers_of_a_full_pass(kind: str) -> None:
    model = tiny.hooked(kind)
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(12, 4)))
    for prompt in edits(14, seed=4):
        assert_alike(going.trace(model.tokenize(prompt)), model.trace(prompt))


@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_only_what_changed_is_computed(kind: str) -> None:
    model = HookedModel(tiny.tiny(kind))
    going = Continuation(model)
    prompt = tiny.ids(12)
    going.trace(model.tokenize(prompt))
    going.prepare()
    assert going.how == "cache cropped at the first changed token"
    sizes: list[int] = []
    first = model.anatomy.layers[0].module
    handle = model.hf_model.get_submodule(first).register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(next(a for a in (*args, *kwargs.values()) if a is not None).shape[1]),
        with_kwargs=True,
    )
    passes = going.passes
    going.trace(model.tokenize([*prompt, 7]))
    going.trace(model.tokenize([*prompt[:8], 9, *prompt[9:], 7]))
    going.trace(model.tokenize(prompt[:5]))
    going.trace(model.tokenize(prompt[:5]))
    handle.remove()
    assert sizes == [1, 5]
    assert going.passes == passes + 2
    assert going.reused == 5


@pytest.mark.parametrize(
    ("kind", "how"), [("bert", "every edit is computed anew"), ("t5", "every edit is computed anew")]
)
def test_what_looks_ahead_is_computed_anew(kind: str, how: str) -> None:
    going = Continuation(tiny.hooked(kind))
    going.trace(tiny.hooked(kind).tokenize(tiny.ids(9)))
    going.prepare()
    assert (going.how, going.sequential) == (how, False)


def test_a_way_that_gives_other_numbers_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that silently forgets to go back is found out, on the model in hand."""
    monkeypatch.setattr(prefix_cache.CroppedCache, "rewind", lambda self, n_pos: None)
    going = Continuation(HookedModel(tiny.tiny("llama")))
    going.trace(going.model.tokenize(tiny.ids(9)))
    going.prepare()
    assert going.how != "cache cropped at the first changed token"
    found = going.trace(going.model.tokenize([*tiny.ids(9)[:4], 8, 8]))
    assert_alike(found, going.model.trace([*tiny.ids(9)[:4], 8, 8]))


def test_a_cache_that_goes_back_once_and_not_again_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As caches that record states for one step back do."""

    class Once(prefix_cache.CroppedCache):
        how = "goes back once"
        back = 0

        def rewind(self, n_pos: int) -> None:
            self.back += n_pos < self.cache.get_seq_length()
            super().rewind(n_pos if self.back < 2 else n_pos + 1)

    ways = (lambda config: Once(transformers.DynamicCache()), *prefix_cache.WAYS)
    monkeypatch.setattr(continuation, "WAYS", ways)
    going = Continuation(HookedModel(tiny.tiny("llama")))
    going.prepare()
    assert going.how == "cache cropped at the first changed token"


def test_a_proof_that_is_given_up_is_begun_again() -> None:
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(8)))
    polls = iter(range(99))
    with pytest.raises(Cancelled), cancelled_by(lambda: next(polls) >= 2):
        going.prepare()
    assert going.how == "not tried yet"
    going.prepare()
    assert going.how == "cache cropped at the first changed token"


@pytest.mark.parametrize("kind", ["llama", "jamba"])
def test_a_proof_that_is_given_up_again_and_again_comes_to_its_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was proved before is not proved again: every attempt has time for three passes, all of it takes more."""
    model = HookedModel(tiny.tiny(kind))
    going, passes = Continuation(model), 0
    run = HookedModel.pass_over

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal passes
        passes += 1
        return run(*given, **named)

    monkeypatch.setattr(HookedModel, "pass_over", counted)
    attempts = 0
    while model not in continuation._way_of:
        attempts, most = attempts + 1, passes + 3
        with suppress(Cancelled), cancelled_by(lambda most=most: passes > most):  # type: ignore[misc]
            going._way(prove=True)
        assert attempts < 40
    assert attempts > 2
    assert going.how == HOW[kind]


def test_who_edits_without_a_pause_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation, "_MOST_PUT_OFF", 2)
    live, prompt, reused = lw.Live(HookedModel(tiny.tiny("llama")), proves_at_once=False), tiny.ids(9), []
    for token in range(6):
        prompt = [*prompt, 7 + token]
        live.update(prompt, lw.LogitLens(k=2))
        reused.append(live.reused)
    assert reused == [0, 0, 0, 0, 13, 14]


def test_who_types_at_once_does_not_wait_for_the_proof() -> None:
    live = lw.Live(HookedModel(tiny.tiny("llama")), proves_at_once=False)
    prompt, skip = tiny.ids(12), (lw.SkipLayers(1),)
    for n_passes, (ids, changes) in enumerate(((prompt, ()), ([*prompt, 7], ()), ([*prompt, 7], skip)), 1):
        live.update(ids, lw.LogitLens(k=2), interventions=changes)
        assert (live.passes, live.reused, live.reused_layers) == (n_passes, 0, 0)
    assert (live.how, live.how_layers) == ("not tried yet", "not tried yet")
    live.prepare()
    live.update([*prompt, 7, 8], lw.LogitLens(k=2), interventions=skip)
    assert live.reused == 13
    live.update([*prompt, 7, 8], lw.LogitLens(k=2), interventions=(lw.SkipLayers(2),))
    assert live.reused_layers == 1


def test_a_pass_that_is_given_up_leaves_the_beginning_right() -> None:
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    prompt = tiny.ids(12)
    going.trace(model.tokenize(prompt))
    going.prepare()
    polls = iter(range(99))
    with pytest.raises(Cancelled), cancelled_by(lambda: next(polls) >= 2):
        going.trace(model.tokenize([*prompt[:6], 9, 9, 9]))
    passes = going.passes
    changed = [*prompt[:7], 11, 12]
    assert_alike(going.trace(model.tokenize(changed)), model.trace(changed))
    assert (going.passes, going.reused) == (passes + 1, 6)


@pytest.mark.parametrize("n_run", range(tiny.N_LAYERS))
@pytest.mark.parametrize("kind", ["llama", "gemma3", "gpt_oss"])
def test_a_pass_is_given_up_between_two_layers_and_each_layer_is_rolled_back(kind: str, n_run: int) -> None:
    """Half-way, some layers of the cache are longer than others: afterwards all hold what is unchanged, and no more."""
    hf_model = tiny.tiny(kind)
    model = HookedModel(hf_model)
    going, prompt, ran = Continuation(model), tiny.ids(12), []
    going.trace(model.tokenize(prompt))
    going.prepare()
    prompt = [*prompt, 7]
    going.trace(model.tokenize(prompt))
    stack = hf_model.model.layers
    hooks = [
        layer.register_forward_hook(lambda *_, number=number: ran.append(number)) for number, layer in enumerate(stack)
    ]
    with pytest.raises(Cancelled), cancelled_by(lambda: len(ran) >= n_run):
        going.trace(model.tokenize([*prompt, 9, 9, 9]))
    assert ran == list(range(n_run))
    for hook in hooks:
        hook.remove()
    held = going._held
    assert held is not None
    assert held.cache is not None
    assert held.tokens.ids.tolist() == prompt
    assert [layer.get_seq_length() for layer in held.cache.cache.layers] == [13] * tiny.N_LAYERS
    passes = going.passes
    assert_alike(going.trace(model.tokenize([*prompt, 11, 12])), model.trace([*prompt, 11, 12]))
    assert (going.passes, going.reused) == (passes + 1, 13)


def _by(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Only one way of going back is tried."""
    kinds = [way(tiny.tiny("jamba").config) for way in prefix_cache.WAYS]
    one = next(way for way, kind in zip(prefix_cache.WAYS, kinds, strict=True) if type(kind).__name__ == name)
    monkeypatch.setattr(continuation, "WAYS", (one,))


HOW = {
    "llama": "cache cropped at the first changed token",
    "jamba": "copy of the cache at the end of an earlier pass, then one token at a time",
}
WAYS = {"mamba": "SteppedCache", "jamba": "SteppedCache", "deepseek_v32": "RecordedCache", "mamba2": "CopiedCache"}


@pytest.mark.parametrize("kind", WAYS)
def test_each_way_is_right_with_a_model_that_needs_it(kind: str) -> None:
    model = HookedModel(tiny.tiny(kind) if kind in tiny.ALL else build(entry(f"causal/{kind}")))
    going = Continuation(model)
    going.trace(model.tokenize(tiny.ids(12, 4)))
    going.prepare()
    way = continuation._way_of[model]
    assert way is not None
    assert type(way(model.hf_model.config)).__name__ == WAYS[kind]
    reused = []
    for prompt in edits(20, seed=5):
        assert_alike(going.trace(model.tokenize(prompt)), model.trace(prompt))
        reused.append(going.reused > 0)
    assert sum(reused) >= 5


@pytest.mark.parametrize("way", ["CroppedCache", "RecordedCache", "CopiedCache", "SteppedCache"])
@pytest.mark.parametrize("n_run", range(tiny.N_LAYERS))
def test_whichever_way_a_pass_that_is_given_up_leaves_nothing_wrong(
    way: str, n_run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _by(monkeypatch, way)
    model = HookedModel(tiny.tiny("llama"))
    going, prompt, ran = Continuation(model), tiny.ids(12), []
    going.trace(model.tokenize(prompt))
    going.prepare()
    prompt = [*prompt, 7]
    going.trace(model.tokenize(prompt))
    assert going.reused == 12
    hooks = [layer.register_forward_hook(lambda *_: ran.append(0)) for layer in model.hf_model.model.layers]
    with pytest.raises(Cancelled), cancelled_by(lambda: len(ran) >= n_run):
        going.trace(model.tokenize([*prompt, 9, 9, 9]))
    for hook in hooks:
        hook.remove()
    for end in ([11, 12], [11, 12, 13], [5]):
        assert_alike(going.trace(model.tokenize([*prompt, *end])), model.trace([*prompt, *end]))


def turning(rope: str) -> HookedModel:
    """A model whose rotary angles change when a prompt grows beyond 16 tokens."""
    factors = {"short_factor": [1.0] * 5, "long_factor": [1.5, 2.0, 2.5, 3.0, 3.5]}
    extra = {"factor": 2.0} if rope == "dynamic" else factors
    parameters = {"rope_type": rope, "rope_theta": 10000.0, "original_max_position_embeddings": 16, **extra}
    config = copy.deepcopy(tiny.tiny("llama").config)
    config.rope_parameters = parameters
    config.max_position_embeddings = 16 if rope == "dynamic" else 64
    hf_model = type(tiny.tiny("llama"))(config).eval()
    hf_model.load_state_dict(tiny.tiny("llama").state_dict())
    model = HookedModel(hf_model)
    model.n_ctx = 64
    return model


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_angles_that_change_with_the_length_are_computed_anew(rope: str) -> None:
    model = turning(rope)
    going = Continuation(model)
    prompt = tiny.ids(12)
    for n_pos in (12, 14, 15, 17, 19, 18, 13):
        prompt = [*prompt, *tiny.ids(20)][:n_pos]
        assert_alike(going.trace(model.tokenize(prompt)), model.trace(prompt))


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_no_answer_goes_on_with_one_at_other_angles(rope: str) -> None:
    model = turning(rope)
    live, questions = lw.Live(model), (lw.LogitLens(k=3, tokens=(7, 9)), lw.Attention(), lw.ResidualStream())
    prompt = tiny.ids(12)
    for n_pos in (12, 14, 15, 17, 19, 18, 13):
        prompt = [*prompt, *tiny.ids(20)][:n_pos]
        lens, attention, stream = live.update(prompt, *questions)
        trace = model.trace(prompt)
        for answer, question in zip((lens, attention, stream), questions, strict=True):
            for name, value in vars(question.run(trace)).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    np.testing.assert_allclose(getattr(answer, name), value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_after_an_edit_that_was_taken_back_the_next_one_goes_on_where_it_is() -> None:
    model = HookedModel(tiny.tiny("llama"))
    live, prompt = lw.Live(model), tiny.ids(12)
    live.update(prompt, LENS)
    live.prepare()
    live.update([3, *prompt[1:]], LENS)
    # Kept from before: no pass is run, and the one that is held is the other prompt's.
    passes = live.passes
    live.update(prompt, LENS)
    assert live.passes == passes
    assert live.is_behind
    # A first token that is another one leaves nothing to go on from.
    with pytest.raises(Cancelled), cancelled_by(lambda: True):
        live.prepare()
    live.update([*prompt[:6], 3, *prompt[7:]], LENS)
    live.update(prompt, LENS)
    assert live.is_behind
    with pytest.raises(Cancelled), cancelled_by(lambda: True):
        live.prepare()
    assert live.is_behind
    live.prepare()
    assert live.passes > passes
    assert not live.is_behind
    (found,) = live.update([*prompt, 5], LENS)
    assert live.reused == len(prompt)
    expected = LENS.run(model.trace([*prompt, 5]))
    np.testing.assert_allclose(found.token_log_probs, expected.token_log_probs, atol=1e-4)


def test_so_it_does_where_the_edit_was_taken_back_before_anything_was_proved() -> None:
    live, prompt = lw.Live(HookedModel(tiny.tiny("llama")), proves_at_once=False), tiny.ids(12)
    live.update(prompt, LENS)
    live.update([*prompt[:6], 3, *prompt[7:]], LENS)
    live.update(prompt, LENS)
    live.prepare()
    assert not live.is_behind
    live.update([*prompt, 5], LENS)
    assert live.reused == len(prompt)


def test_where_nothing_can_be_gone_on_from_nothing_is_made_ready() -> None:
    live, prompt = lw.Live(HookedModel(tiny.tiny("bert"))), tiny.ids(6)
    live.update(prompt, LENS)
    live.prepare()
    live.update([3, *prompt[1:]], LENS)
    live.update(prompt, LENS)
    assert not live.is_behind


def test_another_intervention_is_another_pass() -> None:
    model = HookedModel(tiny.tiny("gemma3"))
    going = Continuation(model)
    skip = (lw.SkipLayers(1),)
    prompt = tiny.ids(12)
    for interventions in ((), skip, skip, ()):
        prompt = [*prompt, 9]
        found = going.trace(model.tokenize(prompt), interventions)
        assert_alike(found, model.trace(prompt, interventions=interventions))


def test_many_edits_hold_little() -> None:
    """Pieces of passes are put together for good from time to time, and keys are held once."""
    model = HookedModel(tiny.tiny("llama"))
    going = Continuation(model)
    prompt = tiny.ids(4)
    going.trace(model.tokenize(prompt))
    going.prepare()
    for token in tiny.ids(50, seed=9):
        prompt = [*prompt, token]
        trace = going.trace(model.tokenize(prompt))
    assert_alike(trace, model.trace(prompt))
    keys = {source.key.untyped_storage().data_ptr() for part in trace.patterns[1].parts for source in part.sources}
    assert len(keys) <= 2
    assert len(trace.activations["resid_post"]._parts) <= 34


@pytest.mark.parametrize("kind", ["llama", "gpt_oss", "gemma3", "mamba", "bert"])
def test_answers_are_spliced_and_equal_those_of_a_full_pass(kind: str) -> None:
    model = HookedModel(tiny.tiny(kind))
    live = lw.Live(model)
    questions: list[Any] = [lw.LogitLens(k=3, tokens=(7, 9)), lw.LogitLens("1", component="resid_pre")]
    questions += [lw.Attention("0-2", heads="1-2")] if kind != "mamba" else []
    live.update(tiny.ids(12, 4), *questions)
    for prompt in edits(10, seed=11):
        found = live.update(prompt, *questions)
        trace = model.trace(prompt)
        for question, answer in zip(questions, found, strict=True):
            expected = question.run(trace)
            assert answer.token_ids.tolist() == prompt
            assert answer.pieces.keys() >= set(prompt)
            for name, value in vars(expected).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    np.testing.assert_allclose(getattr(answer, name), value, rtol=1e-4, atol=1e-4)


def test_the_answer_to_the_same_prompt_is_the_same_object() -> None:
    live = lw.Live(HookedModel(tiny.tiny("llama")))
    first = live.update(tiny.ids(5), lw.LogitLens())[0]
    assert live.update(tiny.ids(5), lw.LogitLens(), lw.Attention())[0] is first
    assert live.passes == 1


def test_the_model_is_as_it_was() -> None:
    hf_model = tiny.tiny("llama")
    before = copy.deepcopy(hf_model.config.to_dict())
    live = lw.Live(HookedModel(hf_model))
    for prompt in edits(5, seed=2):
        live.update(prompt, lw.LogitLens())
    assert hf_model.config.to_dict() == before
    assert not any(module._forward_hooks for module in hf_model.modules())


def test_the_last_position_of_the_layers_on_screen_comes_first() -> None:
    live = lw.Live(HookedModel(tiny.tiny("llama")))
    prompt, parts = tiny.ids(14), []
    question = lw.LogitLens(k=2, jsd=True)
    final = live.update(prompt, question, previewed=lambda _, part: parts.append(part), on_screen="1-2")[0]
    (part,) = parts
    assert not part.complete
    assert final.complete
    assert [tuple(cell) for cell in np.argwhere(part.done)] == [(1, 13), (2, 13)]
    for name in ("top_ids", "top_probs", "entropy_nats", "kl_to_final_nats", "jsd_nats"):
        np.testing.assert_allclose(getattr(part, name)[1:, -1], getattr(final, name)[1:, -1], rtol=1e-4, atol=1e-5)
    assert part.final_ids[-1] == final.final_ids[-1]


def test_what_is_in_sight_comes_before_the_rest() -> None:
    trace = HookedModel(tiny.tiny("llama")).trace(tiny.ids(14))
    begin_with = OnScreen(layers=(0, 1, 2), first=3, stop=6)
    parts = list(logit_lens_steps(lw.LogitLens(k=2), trace, None, 0, begin_with))
    done = [np.flatnonzero(part.done.all(axis=0)).tolist() for part in parts[:-1]]
    assert done == [[13], [3, 4, 5, 13], [*range(3, 14)]]
    assert parts[-1].complete
    whole = lw.LogitLens(k=2).run(trace)
    np.testing.assert_array_equal(parts[-1].top_ids, whole.top_ids)
    np.testing.assert_allclose(parts[1].entropy_nats[:, 3:6], whole.entropy_nats[:, 3:6], atol=1e-5)


def test_a_part_holds_what_was_known_before() -> None:
    live = lw.Live(HookedModel(tiny.tiny("llama")))
    prompt, parts = tiny.ids(14), []
    question = lw.LogitLens(k=2)
    before = live.update(prompt, question)[0]
    live.prepare()
    live.update([*prompt[:6], *tiny.ids(9, seed=5)], question, previewed=lambda _, part: parts.append(part))
    (part,) = parts
    assert part.done[:, :6].all()
    assert part.done[:, -1].all()
    assert not part.done[:, 6:-1].any()
    np.testing.assert_array_equal(part.top_ids[:, :6], before.top_ids[:, :6])
    live.update([*prompt[:6], *tiny.ids(9, seed=5), 7], question, previewed=lambda _, part: parts.append(part))
    assert len(parts) == 1


@pytest.mark.parametrize("rows_per_step", [6, 1000], ids=["between two steps", "within a step"])
def test_what_is_given_up_half_way_is_not_lost(rows_per_step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwidget.analysis import lens_cells, logit_lens

    monkeypatch.setattr(logit_lens, "_ROWS_PER_STEP", rows_per_step)
    # Two positions at once, and no more than two threads: some are decoded before the rest is given up.
    monkeypatch.setattr(lens_cells, "BLOCK_BYTES", 4 * lens_cells.BLOCK_WIDTH * 2 * tiny.N_LAYERS)
    monkeypatch.setattr(cores, "_MOST_SHARERS", 2)
    live = lw.Live(HookedModel(tiny.tiny("llama")))
    question, prompt = lw.LogitLens(k=2), tiny.ids(14)
    parts: list[Any] = []
    polls = iter(range(99))
    with pytest.raises(Cancelled), cancelled_by(lambda: next(polls) >= 9):
        live.update(prompt, question, previewed=lambda _, part: parts.append(part))
    held = live._answers[question].value
    assert 1 < held.done.all(axis=0).sum() < 14
    decoded: list[int] = []
    decode = logit_lens.lens_cells

    def counted(question: Any, trace: Any, layers: Any, first: int, end: int, *others: Any) -> Any:
        decoded.append(end - first)
        return decode(question, trace, layers, first, end, *others)

    monkeypatch.setattr(logit_lens, "lens_cells", counted)
    found = live.update(prompt, question)[0]
    assert found.complete
    assert sum(decoded) == 14 - held.done.all(axis=0).sum()
    expected = question.run(live.model.trace(prompt))
    np.testing.assert_array_equal(found.top_ids, expected.top_ids)
    np.testing.assert_allclose(found.kl_to_final_nats, expected.kl_to_final_nats, rtol=1e-4, atol=1e-4)
