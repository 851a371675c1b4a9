"""HookedModel: a transformers model whose inside can be read, and which is never modified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from threading import RLock
from typing import Any

import torch
from torch import nn

from layerwidget.errors import QuestionError
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.capture import Capture
from layerwidget.model.interventions import skipped_layers
from layerwidget.model.locate import locate, probe_ids
from layerwidget.model.paths import tensor_at
from layerwidget.model.prompts import check_ids, ids_of_numbers, ids_of_text
from layerwidget.model.running import inference, input_device, run_model, weight_dtype
from layerwidget.model.tail import Tail
from layerwidget.model.verify import verified
from layerwidget.model.vocabulary import Vocabulary
from layerwidget.tokens import IntArray, Piece, Tokens, well_formed
from layerwidget.trace import Trace

Prompt = str | Tokens | Sequence[int] | IntArray | torch.Tensor


class HookedModel:
    """A model with its anatomy, ready to be traced.

    Attributes:
        hf_model: the model as it was given. Its weights, hooks and modes are after every call what they were before.
        tokenizer: its tokenizer, or None.
        name: what to call it.
        anatomy: where everything is.
        n_ctx: the longest prompt that the model was trained for, or None where it knows no limit.
        d_vocab: how many logits there are per position.
        lock: held during every pass, so that several users share one model.

    Args:
        hf_model: any transformers model that returns logits.
        tokenizer: its tokenizer; without one, prompts are token ids.
        name: a name; by default the one that the model's configuration has.

    Raises:
        StructureError: when the model's layers could not be found, or are not where they seemed to be.
    """

    def __init__(self, hf_model: nn.Module, tokenizer: Any | None = None, name: str | None = None) -> None:
        self.hf_model = hf_model
        self.tokenizer = tokenizer
        self.name = name or _name_of(hf_model)
        self.lock = RLock()
        self.n_ctx = _trained_length(hf_model)
        self._vocabulary = Vocabulary(tokenizer)
        self._dtype = weight_dtype(hf_model)
        with self.lock, inference(hf_model):
            ids = probe_ids(hf_model, _n_embeddings(hf_model), self.n_ctx).to(input_device(hf_model))
            located = locate(hf_model, self.name, ids, partial(run_model, hf_model))
            self._tail_input = ids[:1, :1]
            self._make_tail = partial(Tail, hf_model, located.anatomy, located.returned, self.n_ctx)
            self._native_tail = self._make_tail(self._dtype)
            self._fp32_tail = self._native_tail if self._dtype == torch.float32 else None
            replay = partial(self._native_tail, ids=self._tail_input)
            self.anatomy: Anatomy = verified(hf_model, located.anatomy, self.n_ctx, replay)

    @property
    def d_vocab(self) -> int:
        """How many logits there are per position."""
        return self.anatomy.d_vocab

    def __repr__(self) -> str:
        """Name and size."""
        n_layers, d_model = self.anatomy.n_layers, self.anatomy.d_model
        return f"HookedModel({self.name!r}, {n_layers} layers, d_model {d_model}, d_vocab {self.d_vocab})"

    def tokenize(self, prompt: Prompt, add_special_tokens: bool | None = None) -> Tokens:
        """The prompt as the model reads it; may be empty or too long.

        Args:
            prompt: text (half characters become U+FFFD), a list or 1-D tensor of token ids, or `Tokens`.
            add_special_tokens: whether the tokenizer adds its special tokens; by default as it does by itself.

        Raises:
            PromptError: for text without a tokenizer, or what is neither text nor token ids.
        """
        if isinstance(prompt, Tokens):
            return prompt
        if isinstance(prompt, str):
            text: str | None = well_formed(prompt)
            ids = ids_of_text(str(text), self.tokenizer, add_special_tokens)
        else:
            text, ids = None, ids_of_numbers(prompt)
        return Tokens(ids, self.pieces(ids.tolist()), text)

    def pieces(self, ids: Iterable[int]) -> dict[int, Piece]:
        """How token ids are shown."""
        return self._vocabulary.pieces(ids)

    def trace(
        self,
        prompt: Prompt,
        *,
        add_special_tokens: bool | None = None,
        interventions: Sequence[object] = (),
    ) -> Trace:
        """Run the model once and keep its activations.

        Args:
            prompt: text, or a list or 1-D tensor of token ids.
            add_special_tokens: whether the tokenizer adds its special tokens; by default as it does by itself.
            interventions: what to change during the pass, such as `SkipLayers("5")`.

        Raises:
            EmptyPromptError: for a prompt without tokens.
            PromptError: for a prompt that is too long, of unknown ids, or neither text nor ids.
            QuestionError: for what is no intervention.
            SelectionError: for interventions at layers that the model does not have.
            Cancelled: at a layer boundary, when the pass is no longer wanted (`layerwidget.cancellation`).
        """
        skipped = skipped_layers(interventions, self.anatomy.n_layers)
        tokens = prompt if isinstance(prompt, Tokens) else self.tokenize(prompt, add_special_tokens)
        check_ids(tokens.ids, self.anatomy.n_embeddings, self.n_ctx, self.name)
        ids = torch.tensor(tokens.ids, device=self._tail_input.device)[None]
        with self.lock, inference(self.hf_model), Capture(self.hf_model, self.anatomy, skipped=skipped) as capture:
            logits = tensor_at(run_model(self.hf_model, ids), self.anatomy.logits)[0]
        patterns = {layer: partial(source.pattern, len(tokens)) for layer, source in capture.attention.items()}
        added = {
            layer.layer: tuple(capture.added[layer.layer, number] for number in range(len(layer.parts)))
            for layer in self.anatomy.layers
        }
        return Trace(self, tokens, logits, _activations(self.anatomy, capture), patterns, interventions, added)

    def plain_logits(self, prompt: Prompt | Tokens, hf_model: nn.Module | None = None) -> torch.Tensor:
        """The model's own logits, without any hook of ours, shape [pos, d_vocab].

        Args:
            prompt: text, or a list or 1-D tensor of token ids.
            hf_model: another model of the same form, such as one with a layer less.
        """
        tokens = prompt if isinstance(prompt, Tokens) else self.tokenize(prompt)
        check_ids(tokens.ids, self.anatomy.n_embeddings, self.n_ctx, self.name)
        ids = torch.tensor(tokens.ids, device=self._tail_input.device)[None]
        model = hf_model or self.hf_model
        with self.lock, inference(model):
            return tensor_at(run_model(model, ids), self.anatomy.logits)[0]

    def tail(self, rows: torch.Tensor) -> torch.Tensor:
        """What the model would predict from residual vectors: its final norm, head and output transform.

        Args:
            rows: residual vectors, shape [n, d_model].

        Returns:
            Logits, shape [n, d_vocab], fp32. Half-precision models answer with an fp32 copy of these weights, which is
            made the first time.

        Raises:
            QuestionError: for rows of another shape.
        """
        if rows.dim() != 2 or rows.shape[1] != self.anatomy.d_model:
            raise QuestionError(f"The tail takes rows of shape [n, {self.anatomy.d_model}]; got {list(rows.shape)}.")
        with self.lock, inference(self.hf_model):
            if self._fp32_tail is None:
                self._fp32_tail = self._make_tail(torch.float32)
            return self._fp32_tail(rows, self._tail_input).float()


def _activations(anatomy: Anatomy, capture: Capture) -> dict[str, dict[int, torch.Tensor]]:
    found: dict[str, dict[int, torch.Tensor]] = {
        "resid_pre": capture.resid_pre,
        "attn_out": {},
        "resid_mid": {},
        "mlp_out": {},
        "resid_post": capture.resid_post,
    }
    for layer in anatomy.layers:
        added = {part: capture.added[layer.layer, number] for number, part in enumerate(layer.parts)}
        for component, kind in (("attn_out", "attention"), ("mlp_out", "mlp")):
            if parts := layer.parts_of(kind):
                found[component][layer.layer] = sum((added[part] for part in parts[1:]), start=added[parts[0]])
        if layer.parts_before_mid:
            before = [added[part] for part in layer.parts_before_mid]
            found["resid_mid"][layer.layer] = sum(before, start=capture.resid_pre[layer.layer])
    return found


def _name_of(model: nn.Module) -> str:
    path = str(getattr(getattr(model, "config", None), "name_or_path", "") or "")
    return path or type(model).__name__


def _trained_length(model: nn.Module) -> int | None:
    length = _config_number(model, "max_position_embeddings")
    return length if length and length > 0 else None


def _n_embeddings(model: nn.Module) -> int:
    """How many token ids can safely be drawn from, before the embedding has been found."""
    return _config_number(model, "vocab_size") or 8


def _config_number(model: nn.Module, key: str) -> int | None:
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    value = getattr(config, key, None)
    return value if isinstance(value, int) else None
