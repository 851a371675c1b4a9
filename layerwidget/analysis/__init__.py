"""One file per question. Importing this package registers every answer."""

from layerwidget.analysis import (
    attention,
    attention_flow,
    attribution,
    cross_attention,
    depth,
    logit_lens,
    neurons,
    position,
    residual,
    skip_effect,
    tuned_lens,
    tuned_lens_training,
)

__all__ = [
    "attention",
    "attention_flow",
    "attribution",
    "cross_attention",
    "depth",
    "logit_lens",
    "neurons",
    "position",
    "residual",
    "skip_effect",
    "tuned_lens",
    "tuned_lens_training",
]
