"""Value-weighted attention, attention rollout and head scores. Source: science.md, "Attention"."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.analysis.attention import about_heads, chosen_heads, layers_with_attention
from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError, QuestionError
from layerwidget.model.crowding import leaving_a_core
from layerwidget.model.head_writing import head_writing
from layerwidget.model.hooked_model import HookedModel
from layerwidget.questions import OnScreen, answers, steps
from layerwidget.questions.attention import rows_to_one
from layerwidget.questions.attention_flow import (
    KINDS,
    AllHeadScores,
    AttentionRollout,
    AttentionSink,
    HeadScoreGrid,
    HeadScores,
    RolloutGrid,
    SinkGrid,
    ValueWeightedAttention,
    ValueWeightedGrid,
)
from layerwidget.trace import Trace


@answers(ValueWeightedAttention)
@torch.no_grad()
def value_weighted_attention(question: ValueWeightedAttention, trace: Trace) -> ValueWeightedGrid:
    """The length of what every chosen head writes of every position.

    Raises:
        SelectionError: when layers or heads are out of range.
        MissingComponentError: when a chosen layer's heads do not sum to what it adds, or none has attention.
    """
    layers, heads = chosen_heads(question.layers, question.heads, trace)
    n_pos = len(trace.tokens)
    norms = np.zeros((len(layers), len(heads), n_pos, n_pos), dtype=np.float32)
    for index, layer in enumerate(layers):
        checkpoint(f"the values of layer {layer}")
        pattern, values = trace.pattern(layer), trace.head_values(layer)
        writing = head_writing(trace, layer, pattern @ values)
        lengths = _lengths(values.to(writing.W_O.device), writing.W_O, heads)
        weighted = pattern[list(heads)] * lengths.to(pattern.device)[:, None, :]
        norms[index] = weighted.cpu().numpy()
    return ValueWeightedGrid(**about_heads(trace, layers, heads), norms=norms)


def _lengths(values: torch.Tensor, W_O: torch.Tensor, heads: tuple[int, ...]) -> torch.Tensor:
    """The length of what each head would write of each position at weight 1, shape [head, key_pos]."""
    return torch.stack([(values[head] @ W_O[head]).norm(dim=-1) for head in heads])


@steps(AttentionSink)
@torch.no_grad()
def attention_sink(
    question: AttentionSink, trace: Trace, before: SinkGrid | None, n_same: int, on_screen: OnScreen
) -> Iterator[SinkGrid]:
    """The first column of every pattern, and what its rows lack; the weights of one layer are held at a time.

    Of the first positions it is taken from an earlier answer: they see nothing of the rest.

    Raises:
        SelectionError: when layers are out of range.
        MissingComponentError: when none of the chosen layers has attention.
    """
    layers, n_pos = layers_with_attention(question.layers, trace), len(trace.tokens)
    n_heads = max(trace.anatomy.layers[layer].n_heads for layer in layers)
    on_first, on_learned = np.full((2, len(layers), n_heads, n_pos), np.nan, dtype=np.float32)
    if before is not None:
        on_first[:, :, :n_same] = before.on_first[:, :, :n_same]
        on_learned[:, :, :n_same] = before.on_learned[:, :, :n_same]
    for index, layer in enumerate(layers if n_same < n_pos else ()):
        checkpoint(f"the attention of layer {layer}")
        with leaving_a_core(n_pos - n_same):
            pattern = trace.pattern_from(layer, n_same)
            learned = any(site.n_sinks for site in trace.anatomy.layers[layer].attention_sites)
            lacking = (1 - pattern.float().sum(-1)).clamp_min(0) if learned else torch.zeros(pattern.shape[:2])
        on_first[index, : len(pattern), n_same:] = pattern[..., 0].cpu().numpy()
        on_learned[index, : len(pattern), n_same:] = lacking.cpu().numpy()
    yield SinkGrid(**about(trace, layers), on_first=on_first, on_learned=on_learned)


@answers(AttentionRollout)
def attention_rollout(question: AttentionRollout, trace: Trace) -> RolloutGrid:
    """The product over the chosen layers, the last one leftmost.

    Raises:
        SelectionError: when layers are out of range.
        MissingComponentError: when none of the chosen layers has attention.
    """
    layers = layers_with_attention(question.layers, trace)
    hides = bool(trace.anatomy.causal) if question.hide_first is None else question.hide_first
    n_pos = len(trace.tokens)
    rollout, hidden = np.eye(n_pos), np.zeros((len(layers), n_pos), dtype=np.float32)
    for index, layer in enumerate(layers):
        checkpoint(f"the attention of layer {layer}")
        weights = trace.pattern(layer).mean(0).cpu().numpy().astype(np.float64)
        if hides:
            hidden[index] = weights[:, 0]
            weights[:, 0] = 0.0
            weights = rows_to_one(weights)
        rollout = rows_to_one(0.5 * weights + 0.5 * np.eye(n_pos)) @ rollout
    if hides and trace.anatomy.causal:
        rollout[0] = 0.0  # it looks at nothing else
    return RolloutGrid(
        **about(trace, layers),
        rollout=rollout.astype(np.float32),
        hides_first=hides,
        hidden_mass=hidden,
    )


@answers(HeadScores)
def head_scores(question: HeadScores, model: HookedModel, progress: Callable[[int, int], None]) -> HeadScoreGrid:
    """Mean weights at one offset, of every head.

    Raises:
        QuestionError: for an encoder-decoder, whose decoder does not read the prompt.
        PromptError: when the repeated sequence is longer than the model can read.
        MissingComponentError: when the model has no attention.
    """
    return _scores((question,), model, progress)[0]


@answers(AllHeadScores)
def all_head_scores(
    question: AllHeadScores, model: HookedModel, progress: Callable[[int, int], None]
) -> tuple[HeadScoreGrid, ...]:
    """Mean weights at the offset of every kind, of every head.

    Raises:
        What `head_scores` raises.
    """
    return _scores(tuple(question.of_kind(kind) for kind in KINDS), model, progress)


def _scores(
    questions: tuple[HeadScores, ...], model: HookedModel, progress: Callable[[int, int], None]
) -> tuple[HeadScoreGrid, ...]:
    """The answers to questions about the same sequence, from one pass."""
    anatomy, sequence = model.anatomy, questions[0]
    if anatomy.encoder is not None:
        raise QuestionError(f"{model.name} reads a prompt and a target: head scores are for models that read one text.")
    ids = _random_sequence(sequence.n_tokens, anatomy.n_embeddings, sequence.seed)
    trace = model.trace(np.concatenate([ids, ids]))
    if not trace.attention_layers:
        raise MissingComponentError(f"{model.name} has no attention weights, so none of its heads can be scored.")
    n_heads = max(layer.n_heads for layer in anatomy.layers)
    values = np.full((len(questions), anatomy.n_layers, n_heads), np.nan, dtype=np.float32)
    for layer in trace.attention_layers:
        checkpoint(f"the head scores of layer {layer}")
        pattern = trace.pattern(layer)
        for place, question in enumerate(questions):
            values[place, layer, : len(pattern)] = _score(pattern, question).cpu().numpy()
    progress(1, 1)
    shared = about(trace, tuple(range(anatomy.n_layers)))
    return tuple(
        HeadScoreGrid(**shared, kind=question.kind, values=values[place]) for place, question in enumerate(questions)
    )


def _random_sequence(n_tokens: int, n_embeddings: int, seed: int) -> np.ndarray:
    """Token ids from the middle of the vocabulary, away from special ones; all different where there are enough."""
    low, high = n_embeddings // 4, max(n_embeddings // 4 + 1, 3 * n_embeddings // 4)
    generator = np.random.default_rng(seed)
    return generator.choice(np.arange(low, high), n_tokens, replace=n_tokens > high - low)


def _score(pattern: torch.Tensor, question: HeadScores) -> torch.Tensor:
    """Mean weight at the kind's offset, shape [head]; pattern of the sequence twice, [head, query_pos, key_pos]."""
    n_tokens = question.n_tokens
    offset = {"induction": n_tokens - 1, "duplicate": n_tokens, "previous": 1}[question.kind]
    first = 1 if question.kind == "previous" else n_tokens
    return pattern.diagonal(-offset, dim1=-2, dim2=-1)[:, first - offset :].mean(-1)
