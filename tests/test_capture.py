"""What is captured is what plain transformers computes; nothing is left behind, and nobody else is disturbed."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest
import torch
from torch import nn

from layerwidget.cancellation import cancelled_by
from layerwidget.errors import Cancelled
from layerwidget.model.hooked_model import HookedModel
from tests import tiny, toy

N_POS = 11


def hook_counts(model: nn.Module) -> Counter[str]:
    """How many hooks each module has."""
    return Counter(
        {
            f"{name}.{kind}": len(hooks)
            for name, module in model.named_modules()
            for kind, hooks in vars(module).items()
            if "_hooks" in kind and isinstance(hooks, dict)
        }
    )


@pytest.mark.parametrize("kind", tiny.ALL)
def test_logits_are_the_models_own(kind: str) -> None:
    hf_model = tiny.tiny(kind)
    trace = HookedModel(hf_model).trace(tiny.ids(N_POS))
    assert torch.equal(trace.logits, tiny.plain_output(hf_model, tiny.ids(N_POS)).logits[0])


@pytest.mark.parametrize("kind", tiny.ALL)
def test_residuals_are_the_hidden_states(kind: str) -> None:
    hf_model = tiny.tiny(kind)
    trace = HookedModel(hf_model).trace(tiny.ids(N_POS))
    hidden = tiny.plain_output(hf_model, tiny.ids(N_POS), output_hidden_states=True).hidden_states
    n_layers = trace.model.anatomy.n_layers
    # The last hidden state is normed already in most models, so it is compared nowhere.
    assert trace.resid_pre.shape == (n_layers, N_POS, trace.model.anatomy.d_model)
    # Mamba's hidden states begin after its first layer.
    states = trace.resid_post if kind == "mamba" else trace.resid_pre
    for layer in range(n_layers):
        assert torch.equal(states[layer], hidden[layer][0])


@pytest.mark.parametrize("kind", [*tiny.CORE, *tiny.EXTRA])
@pytest.mark.parametrize("n_pos", [1, N_POS])
def test_layers_are_sums(kind: str, n_pos: int) -> None:
    trace = tiny.hooked(kind).trace(tiny.ids(n_pos))
    total = trace.resid_pre + trace.attn_out + trace.mlp_out
    error = (total - trace.resid_post).abs().amax(-1) / trace.resid_post.abs().amax(-1)
    assert error.max() <= 1e-5
    assert torch.equal(trace.resid_pre[1:], trace.resid_post[:-1])
    assert trace.attn_out.abs().amax() > 0.01
    assert trace.mlp_out.abs().amax() > 0.01


@pytest.mark.parametrize(
    ("kind", "norm"), [("llama", "post_attention_layernorm"), ("gpt2", "ln_2"), ("gemma3", "pre_feedforward_layernorm")]
)
def test_resid_mid_is_what_the_ffns_norm_reads(kind: str, norm: str) -> None:
    hf_model = tiny.tiny(kind)
    model = HookedModel(hf_model)
    read: list[torch.Tensor] = []
    for layer in model.anatomy.layers:
        module = hf_model.get_submodule(f"{layer.module}.{norm}")
        module.register_forward_pre_hook(lambda _, args: read.append(args[0][0]))
    trace = model.trace(tiny.ids(N_POS))
    assert torch.equal(trace.resid_mid, torch.stack(read))


def test_hybrid_layers_are_sums_with_their_mixer() -> None:
    model = tiny.hooked("jamba")
    trace = model.trace(tiny.ids(N_POS))
    for layer in range(4):
        mixed = trace.activations["resid_mid"][layer] + trace.activations["mlp_out"][layer]
        torch.testing.assert_close(mixed, trace.resid_post[layer])


def test_in_place_models_are_copied_in_time() -> None:
    plain, in_place = (HookedModel(toy.toy(habit=habit)).trace([3, 1, 4, 1, 5]) for habit in ("", "in place"))
    for component in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"):
        torch.testing.assert_close(plain.component(component), in_place.component(component))


@pytest.mark.parametrize("kind", tiny.ALL)
def test_hooks_are_gone_afterwards(kind: str) -> None:
    hf_model = tiny.tiny(kind)
    tiny.plain_output(
        hf_model, tiny.ids(3), output_hidden_states=True
    )  # transformers puts on hooks of its own, for good
    before, state = hook_counts(hf_model), {name: weight.clone() for name, weight in hf_model.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in hf_model.named_modules()}
    model = HookedModel(hf_model)
    model.tail(model.trace(tiny.ids(N_POS)).resid_post[0])
    assert hook_counts(hf_model) == before
    assert {name: set(vars(module)) for name, module in hf_model.named_modules()} == attributes
    assert all(torch.equal(weight, state[name]) for name, weight in hf_model.state_dict().items())


def test_hooks_of_others_stay_and_count() -> None:
    hf_model = tiny.tiny("llama")
    model = HookedModel(hf_model)
    clean = model.trace(tiny.ids(N_POS))
    calls: list[int] = []

    def double(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return output * 2

    handle = hf_model.model.layers[1].register_forward_hook(double)
    doubled = model.trace(tiny.ids(N_POS))
    assert calls == [1]
    assert torch.equal(doubled.resid_post[1], clean.resid_post[1] * 2)
    assert torch.equal(doubled.resid_pre[2], doubled.resid_post[1])
    model.tail(doubled.resid_post[2])
    assert calls == [1]
    handle.remove()
    assert torch.equal(model.trace(tiny.ids(N_POS)).logits, clean.logits)


@pytest.mark.parametrize("at_layer", [0, 2])
def test_cancelling_stops_at_the_layer_and_cleans_up(at_layer: int) -> None:
    hf_model = tiny.tiny("llama")
    model = HookedModel(hf_model)
    clean, before = model.trace(tiny.ids(N_POS)), hook_counts(hf_model)
    polls: list[int] = []
    ran: list[int] = []
    handle = hf_model.model.layers[at_layer].register_forward_hook(lambda *_: ran.append(1))

    def cancelled() -> bool:
        polls.append(1)
        return len(polls) > at_layer

    with pytest.raises(Cancelled, match=f"at layer {at_layer}"), cancelled_by(cancelled):
        model.trace(tiny.ids(N_POS))
    handle.remove()
    assert (len(polls), ran) == (at_layer + 1, [])
    assert hook_counts(hf_model) == before
    assert torch.equal(model.trace(tiny.ids(N_POS)).logits, clean.logits)


def test_an_error_inside_the_model_leaves_no_hooks() -> None:
    hf_model = tiny.tiny("gpt2")
    model = HookedModel(hf_model)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    handle = hf_model.transformer.h[1].mlp.register_forward_hook(fail)
    before = hook_counts(hf_model)
    with pytest.raises(ZeroDivisionError):
        model.trace(tiny.ids(3))
    assert hook_counts(hf_model) == before
    handle.remove()
    assert len(model.trace(tiny.ids(3)).attention_layers) == tiny.N_LAYERS


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_the_same_model_runs_elsewhere_meanwhile(kind: str) -> None:
    """Half-way through a trace, another thread runs the model, and another HookedModel traces it in this thread."""
    hf_model = tiny.tiny(kind)
    model, other = HookedModel(hf_model), HookedModel(hf_model)
    clean, mine, others = model.trace(tiny.ids(N_POS)), tiny.ids(N_POS), tiny.ids(7, seed=9)
    expected = tiny.plain_output(hf_model, others).logits
    seen: list[torch.Tensor] = []

    def intrude() -> bool:
        thread = Thread(target=lambda: seen.append(tiny.plain_output(hf_model, others).logits))
        thread.start()
        thread.join()
        with cancelled_by(lambda: False):
            seen.append(other.trace(others).logits[None])
        return False

    with cancelled_by(intrude):
        trace = model.trace(mine)
    assert len(seen) == 2 * tiny.N_LAYERS
    assert all(torch.equal(logits, expected) for logits in seen)
    for component in ("resid_pre", "attn_out", "mlp_out", "resid_post"):
        assert torch.equal(trace.component(component), clean.component(component))
    for layer in trace.attention_layers:
        assert torch.equal(trace.pattern(layer), clean.pattern(layer))


def test_training_mode_is_restored_and_dropout_is_off() -> None:
    hf_model = tiny.tiny("gpt2")
    evaluated = HookedModel(hf_model).trace(tiny.ids(N_POS))
    hf_model.train()
    hf_model.transformer.h[1].eval()
    modes = {name: module.training for name, module in hf_model.named_modules()}
    model = HookedModel(hf_model)
    trace = model.trace(tiny.ids(N_POS))
    assert torch.equal(trace.logits, evaluated.logits)
    assert torch.equal(model.tail(trace.resid_post[-1]), trace.logits)
    assert {name: module.training for name, module in hf_model.named_modules()} == modes
    assert not trace.logits.requires_grad


@contextmanager
def without_garbage_collector() -> Iterator[list[Any]]:
    """What only the garbage collector could have let go of, afterwards."""
    found: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("kind", ["llama", "gemma3", "gpt_oss", "mixtral", "t5"])
def test_a_pass_that_nobody_holds_is_gone_at_once(kind: str) -> None:
    """Without waiting for the garbage collector, which comes by when hundreds of megabytes may have gathered."""
    model, target = HookedModel(tiny.tiny(kind)), tiny.ids(4) if kind in tiny.TWO_STACKS else None
    model.trace(tiny.ids(N_POS), target=target)
    with without_garbage_collector() as left:
        for _ in range(3):
            model.trace(tiny.ids(N_POS), target=target)
    assert not [one for one in left if isinstance(one, torch.Tensor)]
