"""Trace: what one forward pass of a hooked model left behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from layerwidget.errors import MissingComponentError
from layerwidget.ledger import Added, LedgerEntry
from layerwidget.rows import Rows, rows_between
from layerwidget.tokens import Tokens

if TYPE_CHECKING:
    from layerwidget.model.anatomy import Anatomy
    from layerwidget.model.hooked_model import HookedModel

#: Names of the activations that live in residual space, in the order in which a layer makes them.
COMPONENTS = ("resid_pre", "attn_out", "cross_attn_out", "resid_mid", "mlp_out", "resid_post")


class Pattern(Protocol):
    """Attention weights of one layer, computed when they are asked for."""

    def __call__(self) -> torch.Tensor:
        """All of them, shape [head, query_pos, key_pos]."""
        ...

    def between(self, start: int, stop: int | None = None) -> torch.Tensor:
        """Those of some positions, to the last one without `stop`; with one, keys that none of them see may lack."""
        ...

    def values(self) -> torch.Tensor:
        """What each head reads at each position, shape [head, key_pos, d_head]."""
        ...

    def outputs(self) -> torch.Tensor:
        """What each head has read, shape [head, pos, d_head]."""
        ...

    def row(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of one position, shape [head, key_pos], and what they weigh, shape [head, key_pos, d_head]."""
        ...


class LaterLogits:
    """Logits that nobody has made yet: head and norm make them of what leaves the last layer, for who asks."""


#: Made logits that a trace remembers, so that several questions about the same positions cost one product.
_REMEMBERED_BYTES = 16 * 2**20


class Trace:
    """The activations of one prompt, one forward pass, in one stack of layers.

    Attributes:
        model: the `HookedModel` that made it.
        anatomy: where everything is in this stack of layers.
        tokens: the positions of the stream: the prompt, or for the decoder of an encoder-decoder its target.
        activations: component name -> layer number -> tensor [pos, d_model].
        interventions: what was changed during the pass.
        patterns, cross_patterns, ledgers, held_logits: what `pattern`, `cross_pattern`, `ledger` and `logits` are read
            from.
    """

    def __init__(
        self,
        model: HookedModel,
        tokens: Tokens,
        logits: torch.Tensor | Rows | LaterLogits | None,
        activations: Mapping[str, Mapping[int, torch.Tensor]],
        patterns: Mapping[int, Pattern],
        *,
        interventions: Sequence[object] = (),
        ledgers: Mapping[int, tuple[LedgerEntry, ...]] | None = None,
        anatomy: Anatomy | None = None,
        encoder: Trace | None = None,
        cross_patterns: Mapping[int, Callable[[], torch.Tensor]] | None = None,
    ) -> None:
        self.model = model
        self.anatomy = model.anatomy if anatomy is None else anatomy
        self.tokens = tokens
        self.held_logits = logits
        self._made: tuple[int, torch.Tensor] | None = None
        self.activations = activations
        self.patterns = patterns
        self.cross_patterns = cross_patterns or {}
        self.ledgers = ledgers or {}
        self._encoder = encoder
        self.interventions = tuple(interventions)

    def __repr__(self) -> str:
        """Which model, how many tokens, what was captured."""
        held = ", ".join(name for name in COMPONENTS if self.activations.get(name))
        return f"Trace({self.anatomy.name!r}, {len(self.tokens)} tokens, {held})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, which is replaced as a whole; `model.load_trace(path)` reads it.

        Raises:
            RecordingError: for the stack of an encoder alone.
            OSError: when the file cannot be written.
        """
        self.model.save_trace(self, path)

    @property
    def logits(self) -> torch.Tensor:
        """The model's own logits, shape [pos, d_vocab], in the model's dtype.

        Raises:
            MissingComponentError: for an encoder's stack, which makes none.
        """
        return self.logits_between(0, len(self.tokens))

    def logits_between(self, start: int, stop: int) -> torch.Tensor:
        """The model's own logits at some positions, shape [stop - start, d_vocab].

        Raises:
            MissingComponentError: for an encoder's stack, which makes none.
        """
        held = self._source_of_logits()
        if isinstance(held, LaterLogits):
            return self._made_between(start, stop)
        return held.between(0, start, stop) if isinstance(held, Rows) else held[start:stop]

    def _source_of_logits(self) -> torch.Tensor | Rows | LaterLogits:
        if self.held_logits is None:
            raise MissingComponentError(f"The {self.anatomy.name} makes no logits; its decoder does.")
        return self.held_logits

    def _made_between(self, start: int, stop: int) -> torch.Tensor:
        first, made = self._made or (0, None)
        if made is None or not first <= start <= stop <= first + len(made):
            made = self.model.own_logits(self.rows("resid_post", self.anatomy.n_layers - 1, start, stop))
            self.remember_logits(start, made)
            first = start
        return made[start - first : stop - first]

    def remember_logits(self, start: int, made: torch.Tensor) -> None:
        """Told by who has made logits of some positions anyway, from `start` on, shape [pos, d_vocab]."""
        if made.nbytes <= _REMEMBERED_BYTES:
            self._made = start, made

    @property
    def logits_device(self) -> torch.device:
        """Where the logits are, or would be made.

        Raises:
            MissingComponentError: for an encoder's stack, which makes none.
        """
        held = self._source_of_logits()
        if isinstance(held, torch.Tensor):
            return held.device
        last = self.anatomy.n_layers - 1
        return (held.between(0, 0, 1) if isinstance(held, Rows) else self.rows("resid_post", last, 0, 1)).device

    def rows(self, component: str, layer: int, start: int, stop: int) -> torch.Tensor:
        """One activation of one layer at some positions, shape [stop - start, d_model].

        Raises:
            MissingComponentError: when the layer does not have it.
        """
        if layer not in self.layers_with(component):
            raise MissingComponentError(f"Layer {layer} of {self.anatomy.name} has no {component!r}.")
        return rows_between(self.activations[component], layer, start, stop)

    def stack(self, name: str) -> Trace:
        """What the same pass left behind in another stack of layers.

        Args:
            name: `decoder`, the layers before the logits; or `encoder`, of an encoder-decoder.

        Raises:
            MissingComponentError: when the model has no such stack.
        """
        if name == "decoder":
            return self
        if name != "encoder" or self._encoder is None:
            have = "'decoder' and 'encoder'" if self._encoder else "'decoder' alone (the layers before the logits)"
            raise MissingComponentError(f"{self.anatomy.name} has no stack {name!r}; it has {have}.")
        return self._encoder

    def layers_with(self, component: str) -> tuple[int, ...]:
        """Layer numbers that have a component, ascending; hybrids lack some.

        Raises:
            MissingComponentError: when no layer has it, or there is no component of that name.
        """
        held = self.activations.get(component)
        if not held:
            have = [name for name in COMPONENTS if self.activations.get(name)]
            why = self.anatomy.why_absent(component)
            raise MissingComponentError(f"{self.anatomy.name} has no {component!r}{why}. It has: {', '.join(have)}.")
        return tuple(sorted(held))

    def component(self, name: str) -> torch.Tensor:
        """One activation over all layers that have it (`layers_with`), shape [layer, pos, d_model].

        Raises:
            MissingComponentError: when no layer has it.
        """
        held = self.activations.get(name, {})
        rows = [held[layer] for layer in self.layers_with(name)]
        # A model that is spread over devices leaves every layer's activations where it is.
        return torch.stack([row.to(rows[-1].device) for row in rows])

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
    def cross_attn_out(self) -> torch.Tensor:
        """What attention to the encoder adds to the stream in each layer, shape [layer, pos, d_model]."""
        return self.component("cross_attn_out")

    @property
    def mlp_out(self) -> torch.Tensor:
        """What the FFN adds to the stream in each layer, shape [layer, pos, d_model]."""
        return self.component("mlp_out")

    def ledger(self, layer: int) -> tuple[LedgerEntry, ...]:
        """Everything that happens to the stream in one layer, in order; empty where that is not known."""
        return self.ledgers.get(layer, ())

    def added(self, layer: int) -> tuple[torch.Tensor, ...]:
        """Everything that one layer adds to the stream, in order, each of shape [pos, d_model]."""
        return tuple(entry.value for entry in self.ledger(layer) if isinstance(entry, Added))

    @property
    def attention_layers(self) -> tuple[int, ...]:
        """Layer numbers whose attention weights can be computed, ascending."""
        return tuple(sorted(self.patterns))

    def pattern(self, layer: int) -> torch.Tensor:
        """Attention weights of one layer, computed now from what the pass used, shape [head, query_pos, key_pos], fp32.

        In a layer with several self-attention operations their heads follow each other.

        Raises:
            MissingComponentError: when the layer has no softmax attention.
        """
        return self._pattern(layer)()

    def pattern_from(self, layer: int, first: int) -> torch.Tensor:
        """The rows of `pattern` from position `first` on, shape [head, query_pos, key_pos], fp32."""
        return self._pattern(layer).between(first)

    def pattern_between(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """Some rows of `pattern`, shape [head, stop - start, key_pos], fp32; keys that none of them sees may lack."""
        return self._pattern(layer).between(start, stop)

    def head_outputs(self, layer: int) -> torch.Tensor:
        """What each head of a layer has read (pattern times value), computed now, shape [head, pos, d_head], fp32.

        Raises:
            MissingComponentError: when the layer has no attention, or not one fused operation.
        """
        return self._pattern(layer).outputs()

    def head_values(self, layer: int) -> torch.Tensor:
        """What each head of a layer can read at each position, shape [head, key_pos, d_head], fp32.

        Raises:
            MissingComponentError: when the layer has no attention, or not one fused operation.
        """
        return self._pattern(layer).values()

    def head_row(self, layer: int, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One position's weights, shape [head, key_pos], and what they weigh, shape [head, key_pos, d_head], fp32.

        Raises:
            MissingComponentError: when the layer has no attention, or not one fused operation.
        """
        return self._pattern(layer).row(position)

    def _pattern(self, layer: int) -> Pattern:
        if layer not in self.patterns:
            raise MissingComponentError(
                f"Layer {layer} of {self.anatomy.name} has no attention weights. "
                f"Layers with attention: {self.attention_layers}."
            )
        return self.patterns[layer]

    @property
    def cross_attention_layers(self) -> tuple[int, ...]:
        """Layer numbers whose weights of attention to an encoder can be computed, ascending."""
        return tuple(sorted(self.cross_patterns))

    def cross_pattern(self, layer: int) -> torch.Tensor:
        """Weights of one layer's attention to the encoder, shape [head, query_pos, source_pos], fp32.

        Raises:
            MissingComponentError: when the layer does not attend to an encoder.
        """
        if layer not in self.cross_patterns:
            raise MissingComponentError(
                f"Layer {layer} of {self.anatomy.name} does not attend to an encoder. "
                f"Layers that do: {self.cross_attention_layers}."
            )
        return self.cross_patterns[layer]()
