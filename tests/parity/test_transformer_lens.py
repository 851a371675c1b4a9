"""The demo model's numbers equal TransformerLens's (`TransformerBridge`): run with `make parity`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformer_lens.model_bridge import TransformerBridge

import layerwidget as lw
from layerwidget.model.demo import demo_folder

PROMPTS = (
    "The capital of France is",
    "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of",
    "def add(a, b):\n    return a",
)
ALLOWED = 1e-4


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    return lw.load("demo")


@pytest.fixture(scope="module")
def bridge() -> Any:
    folder = str(demo_folder())
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return TransformerBridge.boot_transformers(folder, hf_model=hf_model, tokenizer=tokenizer)


def _error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("prompt", PROMPTS)
@torch.no_grad()
def test_residuals_patterns_and_lens(prompt: str, model: lw.HookedModel, bridge: Any) -> None:
    trace = model.trace(prompt)
    logits, cache = bridge.run_with_cache(torch.tensor(trace.tokens.ids)[None])
    assert _error(trace.logits, logits[0]) <= ALLOWED
    for layer in range(model.anatomy.n_layers):
        for component in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"):
            theirs = cache[f"blocks.{layer}.hook_{component}"][0]
            assert _error(trace.activations[component][layer], theirs) <= ALLOWED, (component, layer)
        assert (trace.pattern(layer) - cache[f"blocks.{layer}.attn.hook_pattern"][0]).abs().max() <= ALLOWED, layer
        rows = cache[f"blocks.{layer}.hook_resid_post"]
        theirs = bridge.unembed(bridge.ln_final(rows))[0].log_softmax(-1)
        assert _error(model.tail(trace.resid_post[layer]).log_softmax(-1), theirs) <= ALLOWED, layer


@pytest.mark.parametrize("prompt", PROMPTS)
@torch.no_grad()
def test_the_answers_of_the_lens(prompt: str, model: lw.HookedModel, bridge: Any) -> None:
    trace = model.trace(prompt)
    lens = lw.LogitLens(k=3).run(trace)
    _, cache = bridge.run_with_cache(torch.tensor(trace.tokens.ids)[None])
    for layer in range(model.anatomy.n_layers):
        probs = bridge.unembed(bridge.ln_final(cache[f"blocks.{layer}.hook_resid_post"]))[0].softmax(-1)
        best = probs.topk(3)
        assert float((torch.tensor(lens.top_probs[layer]) - best.values).abs().max()) <= ALLOWED
        entropy = -(probs * probs.log().nan_to_num(neginf=0.0)).sum(-1)
        assert float((torch.tensor(lens.entropy_nats[layer]) - entropy).abs().max()) <= 1e-3
