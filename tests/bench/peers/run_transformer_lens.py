"""TransformerLens: `run_with_cache`, then ln_final, unembed and softmax of every layer's residual."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
import transformers
from serving import K, Run, serve
from transformer_lens.model_bridge import TransformerBridge


def boot(folder: str) -> Run:
    """The bridge around the same weights; a third argument `needed` caches only what is looked at."""
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).requires_grad_(False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    bridge = TransformerBridge.boot_transformers(folder, hf_model=hf_model, tokenizer=tokenizer)
    options = {"names_filter": _needed(bridge.cfg.n_layers)} if sys.argv[3:] == ["needed"] else {}

    @torch.no_grad()
    def run(ids: torch.Tensor) -> torch.Tensor:
        _, cache = bridge.run_with_cache(ids, **options)
        return torch.stack([_lens(bridge, cache, layer) for layer in range(bridge.cfg.n_layers)])

    return run


def _needed(n_layers: int) -> Callable[[str], bool]:
    """Every layer's residual, and the attention of the last eight."""
    names = {f"blocks.{layer}.hook_resid_post" for layer in range(n_layers)}
    names |= {f"blocks.{layer}.attn.hook_pattern" for layer in range(n_layers - 8, n_layers)}
    return names.__contains__


def _lens(bridge: Any, cache: Any, layer: int) -> torch.Tensor:
    rows = cache[f"blocks.{layer}.hook_resid_post"]
    return bridge.unembed(bridge.ln_final(rows))[0].softmax(-1).topk(K).values


if __name__ == "__main__":
    serve(boot)
