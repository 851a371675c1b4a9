"""nnterp on nnsight: one trace that saves every layer's attention and decodes every layer's residual."""

from __future__ import annotations

import torch
from nnterp import StandardizedTransformer
from serving import K, Run, serve


def boot(folder: str) -> Run:
    """The standardised model, with attention probabilities."""
    model = StandardizedTransformer(folder, enable_attention_probs=True, dtype=torch.float32, device_map="cpu")
    model._module.requires_grad_(False)

    @torch.no_grad()
    def run(ids: torch.Tensor) -> torch.Tensor:
        with model.trace(ids):
            top, patterns = [], []
            for layer in range(model.num_layers):
                patterns.append(model.attention_probabilities[layer])
                logits = model.project_on_vocab(model.layers_output[layer])
                top.append(logits[0].softmax(-1).topk(K).values)
            patterns.save()
            probs = torch.stack(top).save()
        return probs  # noqa: RET504  # the trace gives it to this name

    return run


if __name__ == "__main__":
    serve(boot)
