"""HookedModel: a transformers model whose inside can be read, and which is never modified."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, cached_property, partial
from threading import RLock
from typing import Any

import torch
from torch import nn

from layerwidget.errors import PromptError, QuestionError, StructureError
from layerwidget.model.activations import trace_of
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.cache_size import CacheSizes, measured_cache, of_an_encoder
from layerwidget.model.capture import Capture, CapturePlan
from layerwidget.model.config import n_embeddings, name_of, trained_length
from layerwidget.model.crowding import leaving_a_core
from layerwidget.model.decoding import Logits, WholeLogits
from layerwidget.model.interventions import skipped_layers
from layerwidget.model.locate import Located, locate, probe
from layerwidget.model.paths import tensor_at
from layerwidget.model.prompts import check_ids, ids_of_numbers, ids_of_text, target_ids
from layerwidget.model.reading_pace import n_useful
from layerwidget.model.resuming import twin_at_rest
from layerwidget.model.running import (
    ModelInput,
    can_leave_out_logits,
    compiled_parts,
    inference,
    input_device,
    run_model,
    weight_dtype,
)
from layerwidget.model.tail import Tail
from layerwidget.model.trace_files import load_trace, save_trace
from layerwidget.model.verify import verified
from layerwidget.model.vocabulary import Vocabulary
from layerwidget.tokens import IntArray, Piece, Tokens, well_formed
from layerwidget.trace import LaterLogits, Trace

_COMPILED = (
    "This model is compiled. Hooks do not fire reliably in compiled code, so it runs uncompiled while it is watched: "
    "the numbers are those of the original modules; the compiled ones may differ by rounding."
)

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
        notes: what a user should know about how it is run, in whole sentences; mostly nothing.

    Args:
        hf_model: any transformers model that returns logits. Of one that `torch.compile` made, the original runs.
        tokenizer: its tokenizer; without one, prompts are token ids.
        name: a name; by default the one that the model's configuration has.

    Raises:
        StructureError: when the model's layers could not be found, or are not where they seemed to be.
    """

    def __init__(self, hf_model: nn.Module, tokenizer: Any | None = None, name: str | None = None) -> None:
        compiled = compiled_parts(hf_model) or hasattr(hf_model, "_orig_mod")
        self.notes = (_COMPILED,) if compiled else ()
        self.hf_model = hf_model = getattr(hf_model, "_orig_mod", hf_model)
        self.tokenizer = tokenizer
        self.name = name or name_of(hf_model)
        self.lock = RLock()
        self.n_ctx = trained_length(hf_model)
        self._vocabulary = Vocabulary(tokenizer)
        with self.lock, inference(hf_model):
            read = probe(hf_model, n_embeddings(hf_model), self.n_ctx).to(input_device(hf_model))
            located = locate(hf_model, self.name, read, partial(run_model, hf_model))
            self._any_input = read.of_length(1)
            self._dtype = weight_dtype(hf_model)
            proved = self._proved(located)
        encoder = proved.encoder and replace(proved.encoder, cache_sizes=of_an_encoder)
        self.anatomy = replace(proved, cache_sizes=cache(self._measure_cache), encoder=encoder)
        self._plans: tuple[CapturePlan, ...] = ()

    def _measure_cache(self) -> CacheSizes:
        with self.lock, inference(self.hf_model):
            return measured_cache(self.hf_model, self.anatomy.layers, self._any_input, self.n_ctx)

    def _proved(self, located: Located) -> Anatomy:
        """What was located, as far as it holds; where the place of the positions is not known, the one that holds."""
        trouble: StructureError | None = None
        for layout in located.anatomy.layout.candidates():
            anatomy = replace(located.anatomy, layout=layout)
            self._make_tail = partial(Tail, self.hf_model, anatomy, located.returned, self.n_ctx)
            self._at_rest = partial(twin_at_rest, self.hf_model, anatomy, located.returned)
            self._native_tail = self._make_tail(self._dtype)
            self._fp32_tail = self._native_tail if self._dtype == torch.float32 else None
            try:
                replay = partial(self._native_tail, read=self._any_input)
                return verified(self.hf_model, anatomy, self.n_ctx, replay)
            except StructureError as error:
                trouble = trouble or error
        assert trouble is not None
        raise trouble

    @property
    def d_vocab(self) -> int:
        """How many logits there are per position."""
        return self.anatomy.d_vocab

    def __repr__(self) -> str:
        """Name and size."""
        n_layers, d_model = self.anatomy.n_layers, self.anatomy.d_model
        return f"HookedModel({self.name!r}, {n_layers} layers, d_model {d_model}, d_vocab {self.d_vocab})"

    def tokenize(self, prompt: Prompt, add_special_tokens: bool | None = None, extrapolate: bool = False) -> Tokens:
        """The prompt as the model reads it; may be empty or too long.

        Args:
            prompt: text (half characters become U+FFFD), a list or 1-D tensor of token ids, or `Tokens`.
            add_special_tokens: whether the tokenizer adds its special tokens; by default as it does by itself.
            extrapolate: whether the prompt may be longer than the model was trained for.

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
        return Tokens(ids, self.pieces(ids.tolist()), text, extrapolate=extrapolate)

    def pieces(self, ids: Iterable[int]) -> dict[int, Piece]:
        """How token ids are shown."""
        return self._vocabulary.pieces(ids)

    def trace(
        self,
        prompt: Prompt,
        *,
        target: Prompt | None = None,
        add_special_tokens: bool | None = None,
        interventions: Sequence[object] = (),
        extrapolate: bool = False,
    ) -> Trace:
        """Run the model once and keep its activations.

        Args:
            prompt: text, or a list or 1-D tensor of token ids.
            target: what the decoder of an encoder-decoder reads: text (its start token is put before it), or token ids
                (taken as they are); by default the start token alone. The trace's positions are those of the target,
                `trace.stack("encoder")` has those of the prompt.
            add_special_tokens: whether the tokenizer adds its special tokens; by default as it does by itself.
            interventions: what to change during the pass, such as `SkipLayers("5")`.
            extrapolate: whether the prompt may be longer than the model was trained for.

        Raises:
            EmptyPromptError: for a prompt without tokens.
            PromptError: for a prompt that is too long, of unknown ids, or neither text nor ids; for a target that the
                model cannot read.
            QuestionError: for what is no intervention.
            SelectionError: for interventions at layers that the model does not have.
            Cancelled: at a layer boundary, when the pass is no longer wanted (`layerwidget.cancellation`).
        """
        tokens, source = self._read(prompt, target, add_special_tokens, extrapolate)
        return self.pass_over(tokens, source, interventions)

    def save_trace(self, trace: Trace, path: str | os.PathLike[str]) -> None:
        """Write a trace of this model to a file; `trace.save(path)` is the same.

        Raises:
            RecordingError: for the stack of an encoder alone.
            OSError: when the file cannot be written.
        """
        save_trace(trace, path)

    def load_trace(self, path: str | os.PathLike[str]) -> Trace:
        """A trace that was saved with `trace.save(path)`; it answers questions as it did, without another pass.

        Raises:
            RecordingError: when there is no such file, it is damaged, of another version, or of another model.
        """
        return load_trace(path, self)

    def check_tokens(self, tokens: Tokens) -> None:
        """Raise unless the model can read this prompt.

        Raises:
            EmptyPromptError: for a prompt without tokens.
            PromptError: for one that is too long, or of unknown ids.
        """
        reads = self.anatomy.encoder or self.anatomy
        check_ids(tokens.source or tokens, reads.n_embeddings, self.n_ctx, self.name)
        if tokens.source is not None:
            check_ids(tokens, self.anatomy.n_embeddings, self.n_ctx, self.name)

    def pass_over(
        self,
        tokens: Tokens,
        source: Tokens | None = None,
        interventions: Sequence[object] = (),
        first: int = 0,
        cache: Any | None = None,
        resting: Mapping[int, torch.Tensor] | None = None,
        with_logits: bool = True,
    ) -> Trace:
        """One pass over tokens that were checked; what `trace` and those who continue a prompt are made of.

        Args:
            tokens: the positions of the stream.
            source: what the encoder of an encoder-decoder reads.
            interventions: what to change during the pass.
            first: the first position to run through; the cache holds those before it.
            cache: a cache of transformers, or None; the positions of this pass are added to it.
            resting: layers that do not run -> what leaves them all the same, shape [pos, d_model].
            with_logits: without, they are made when somebody asks for them, where `makes_logits_later`.

        Returns:
            A trace whose activations have the rows from `first` on, of the layers that ran.
        """
        skipped = skipped_layers(interventions, self.anatomy.n_layers)
        later = not with_logits and self.makes_logits_later
        read = self._input(tokens, source)
        read = replace(read, ids=read.ids[:, first:])
        n_rows = len(tokens) - first
        with self.lock, inference(self.hf_model), ExitStack() as hooks:
            hf_model, anatomy = self._at_rest(resting) if resting else (self.hf_model, self.anatomy)
            plan = CapturePlan(anatomy) if resting else self._plan_for(anatomy)
            capture = hooks.enter_context(Capture(hf_model, plan, skipped=skipped, n_pos=n_rows))
            if self.anatomy.encoder and source is not None:
                listening = self._plan_for(self.anatomy.encoder)
                other = Capture(self.hf_model, listening, beside=(capture,), n_pos=len(source))
                encoder = hooks.enter_context(other)
            with leaving_a_core(n_rows, n_useful() if n_rows == 1 else None):
                output = self._run(hf_model, read, cache, not later, len(tokens))
        logits = LaterLogits() if later else tensor_at(output, anatomy.logits)[0]
        encoded = None
        if self.anatomy.encoder and source is not None:
            encoded = trace_of(self, self.anatomy.encoder, encoder, source, None, interventions)
        return trace_of(self, anatomy, capture, tokens, logits, interventions, encoded, first)

    def _plan_for(self, anatomy: Anatomy) -> CapturePlan:
        """Where to listen: made once for the anatomy of each stack."""
        plan = next((one for one in self._plans if one.anatomy is anatomy), None)
        if plan is None:
            plan = CapturePlan(anatomy)
            self._plans = (plan, *self._plans)[:2]
        return plan

    def _run(self, hf_model: nn.Module, read: ModelInput, cache: Any, with_logits: bool, n_pos: int) -> Any:
        """The pass itself; a model with a table of positions has none past its length."""
        try:
            return run_model(hf_model, read, cache, with_logits=with_logits)
        except (IndexError, RuntimeError) as error:
            if self.n_ctx is None or n_pos <= self.n_ctx:
                raise
            raise PromptError(
                f"{self.name} cannot read {n_pos:,} tokens at all: it knows no positions past its trained length of "
                f"{self.n_ctx:,} ({error}). Shorten the prompt by {n_pos - self.n_ctx:,} tokens."
            ) from error

    def plain_logits(
        self, prompt: Prompt, hf_model: nn.Module | None = None, target: Prompt | None = None
    ) -> torch.Tensor:
        """The model's own logits, without any hook of ours, shape [pos, d_vocab].

        Args:
            prompt: text, or a list or 1-D tensor of token ids.
            hf_model: another model of the same form, such as one with a layer less.
            target: what the decoder of an encoder-decoder reads, as for `trace`.
        """
        read = self._input(*self._read(prompt, target, None))
        model = hf_model or self.hf_model
        with self.lock, inference(model):
            return tensor_at(run_model(model, read), self.anatomy.logits)[0]

    def _read(
        self, prompt: Prompt, target: Prompt | None, add_special_tokens: bool | None, extrapolate: bool = False
    ) -> tuple[Tokens, Tokens | None]:
        """The positions of the stream, and what the encoder of an encoder-decoder reads."""
        tokens = self.tokenize(prompt, add_special_tokens, extrapolate)
        tokens = self.with_target(tokens, target)
        self.check_tokens(tokens)
        return tokens, tokens.source

    def with_target(self, tokens: Tokens, target: Prompt | None = None) -> Tokens:
        """The positions of the stream: of an encoder-decoder, those of its target, with the prompt as their source.

        Args:
            tokens: the prompt; returned as it is where the model has no encoder, or it has a target already.
            target: as for `trace`.

        Raises:
            PromptError: for a target that the model cannot read.
        """
        if self.anatomy.encoder is None and target is not None:
            raise PromptError(f"{self.name} has no encoder, so it takes a prompt and no target.")
        if self.anatomy.encoder is None or (tokens.source is not None and target is None):
            return tokens
        ids = target_ids(target, self.hf_model.config, self.tokenizer, self.name)
        return Tokens(ids, self.pieces(ids.tolist()), tokens.text, tokens.source or tokens, tokens.extrapolate)

    def _input(self, tokens: Tokens, source: Tokens | None) -> ModelInput:
        encoded = None if source is None else torch.tensor(source.ids)[None]
        return ModelInput(torch.tensor(tokens.ids)[None], encoded).to(self._any_input.ids.device)

    def tail(self, rows: torch.Tensor, *, differentiable: bool = False) -> torch.Tensor:
        """What the model would predict from residual vectors: its final norm, head and output transform.

        Args:
            rows: residual vectors, shape [n, d_model].
            differentiable: whether the logits remember how they were made of the rows. Ask `torch.autograd.grad` for
                the rows alone, so that the model's weights get no gradients.

        Returns:
            Logits, shape [n, d_vocab], fp32. Half-precision models answer with an fp32 copy of these weights, which is
            made the first time.

        Raises:
            QuestionError: for rows of another shape.
        """
        self._check_rows(rows)
        with self.lock, inference(self.hf_model):
            tail = self._tail_in_fp32
            with torch.set_grad_enabled(differentiable):
                return tail(rows, self._any_input).float()

    @property
    def makes_logits_later(self) -> bool:
        """Whether the logits of a pass may be left to who asks: the model runs without its head, a plain product."""
        return self._runs_without_head and self.decodes_in_blocks

    @cached_property
    def _runs_without_head(self) -> bool:
        if self.anatomy.encoder or self._dtype != torch.float32 or not can_leave_out_logits(self.hf_model):
            return False
        with self.lock, inference(self.hf_model):
            output = run_model(self.hf_model, self._any_input, with_logits=False)
        return tensor_at(output, self.anatomy.logits).numel() == 0

    def own_logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits of what leaves the last layer, shape [n, d_model], in the model's own dtype, shape [n, d_vocab]."""
        with self.lock, inference(self.hf_model):
            return self._native_tail(rows, self._any_input)

    @property
    def decodes_in_blocks(self) -> bool:
        """Whether `decoded` computes logits in blocks of the vocabulary: the head is a plain product."""
        with self.lock:
            return self._tail_in_fp32.in_blocks(self._any_input)

    def decoded(self, rows: torch.Tensor, *, differentiable: bool = False) -> Logits:
        """What `tail` gives, but computed in blocks where that is possible.

        Args:
            rows: residual vectors, shape [n, d_model].
            differentiable: whether what enters the head, or the logits, remember how they were made of the rows.

        Raises:
            QuestionError: for rows of another shape.
        """
        if not self.decodes_in_blocks:
            return WholeLogits(self.tail(rows, differentiable=differentiable))
        self._check_rows(rows)
        with self.lock:
            return self._tail_in_fp32.blocked(rows, differentiable)

    def _check_rows(self, rows: torch.Tensor) -> None:
        if rows.dim() != 2 or rows.shape[1] != self.anatomy.d_model:
            raise QuestionError(f"The tail takes rows of shape [n, {self.anatomy.d_model}]; got {list(rows.shape)}.")

    @property
    def _tail_in_fp32(self) -> Tail:
        if self._fp32_tail is None:
            self._fp32_tail = self._make_tail(torch.float32)
            with inference(self.hf_model):
                self._fp32_tail.in_blocks(self._any_input)
        return self._fp32_tail
