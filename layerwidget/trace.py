"""Trace: what one forward pass of a hooked model left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from layerwidget.errors import MissingComponentError
from layerwidget.tokens import Tokens

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

#: Names of the activations that live in residual space, in the order in which a layer makes them.
COMPONENTS = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")


class Trace:
    """The activations of one prompt, one forward pass.

    Attributes:
        model: the `HookedModel` that made it.
        tokens: the prompt as the model read it.
        logits: the model's own logits, shape [pos, d_vocab], in the model's dtype.
        activations: component name -> layer number -> tensor [pos, d_model].
        interventions: what was changed during the pass.
    """

    def __init__(
        self,
        model: HookedModel,
        tokens: Tokens,
        logits: torch.Tensor,
        activations: Mapping[str, Mapping[int, torch.Tensor]],
        patterns: Mapping[int, Callable[[], torch.Tensor]],
        interventions: Sequence[object] = (),
        added: Mapping[int, tuple[torch.Tensor, ...]] | None = None,
    ) -> None:
        self.model = model
        self.tokens = tokens
        self.logits = logits
        self.activations = activations
        self._patterns = patterns
        self._added = added or {}
        self.interventions = tuple(interventions)

    def __repr__(self) -> str:
        """Which model, how many tokens, what was captured."""
        held = ", ".join(name for name in COMPONENTS if self.activations.get(name))
        return f"Trace({self.model.name!r}, {len(self.tokens)} tokens, {held})"

    def layers_with(self, component: str) -> tuple[int, ...]:
        """Layer numbers that have a component, ascending; hybrids lack some.

        Raises:
            MissingComponentError: when no layer has it, or there is no component of that name.
        """
        held = self.activations.get(component)
        if not held:
            have = [name for name in COMPONENTS if self.activations.get(name)]
            why = self.model.anatomy.why_absent(component)
            raise MissingComponentError(f"{self.model.name} has no {component!r}{why}. It has: {', '.join(have)}.")
        return tuple(sorted(held))

    def component(self, name: str) -> torch.Tensor:
        """One activation over all layers that have it (`layers_with`), shape [layer, pos, d_model].

        Raises:
            MissingComponentError: when no layer has it.
        """
        held = self.activations.get(name, {})
        device = self.logits.device
        return torch.stack([held[layer].to(device) for layer in self.layers_with(name)])

    @property
    def resid_pre(self) -> torch.Tensor:
        """What enters each layer, shape [layer, pos, d_model]."""
        return self.component("resid_pre")

    @property
    def resid_mid(self) -> torch.Tensor:
        """The stream between attention and FFN, shape [layer, pos, d_model]; absent in parallel blocks."""
        return self.component("resid_mid")

    @property
    def resid_post(self) -> torch.Tensor:
        """What leaves each layer, shape [layer, pos, d_model]."""
        return self.component("resid_post")

    @property
    def attn_out(self) -> torch.Tensor:
        """What attention adds to the stream in each layer, shape [layer, pos, d_model]."""
        return self.component("attn_out")

    @property
    def mlp_out(self) -> torch.Tensor:
        """What the FFN adds to the stream in each layer, shape [layer, pos, d_model]."""
        return self.component("mlp_out")

    def added(self, layer: int) -> tuple[torch.Tensor, ...]:
        """Everything that one layer adds to the stream, in order, each of shape [pos, d_model]."""
        return self._added.get(layer, ())

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Layer numbers whose attention weights can be computed, ascending."""
        return tuple(sorted(self._patterns))

    def pattern(self, layer: int) -> torch.Tensor:
        """Attention weights of one layer, computed now from what the pass used, shape [head, query_pos, key_pos], fp32.

        Raises:
            MissingComponentError: when the layer has no softmax attention.
        """
        if layer not in self._patterns:
            raise MissingComponentError(
                f"Layer {layer} of {self.model.name} has no attention weights. "
                f"Layers with attention: {self.attention_layers}."
            )
        return self._patterns[layer]()
