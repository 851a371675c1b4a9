"""Direct logit attribution: a logit as the sum of what every part of the model gives to it.

Source: science.md, "Direct logit attribution".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from layerwidget.analysis.about import about
from layerwidget.cancellation import checkpoint
from layerwidget.errors import MissingComponentError, SelectionError
from layerwidget.ledger import Added, Scaled
from layerwidget.model.head_writing import HeadWriting, head_writing
from layerwidget.model.unembedding import LogitDirection, logit_direction
from layerwidget.questions import answers
from layerwidget.questions.attribution import AttributionGrid, DirectLogitAttribution, HeadSources, SourceGrid
from layerwidget.rounding import tolerance
from layerwidget.trace import Trace

_NAMES = {"attention": "attn", "cross_attention": "cross_attn", "mlp": "mlp", "mixer": "mixer", "bias": "bias"}
#: How many of the most probable tokens a result names.
_K = 10


@answers(DirectLogitAttribution)
@torch.no_grad()
def direct_logit_attribution(question: DirectLogitAttribution, trace: Trace) -> AttributionGrid:
    """What every part, every head, and every source of one head gives to a logit.

    Raises:
        SelectionError: when token, position or head are out of range.
        MissingComponentError: when the model is not a sum of parts, these do not sum to the logit, or the asked head
            cannot be told from the others.
    """
    _valid(question, trace, question.head)
    position = question.position % len(trace.tokens)
    stream = _Stream.of(trace, position)
    top_ids = _top_ids(trace, position)
    token = top_ids[0] if question.token is None else question.token
    direction = logit_direction(trace, token, question.minus, position)
    names, layers = stream.names(), tuple(layer for _, layer in stream.kinds)
    exact = [float(value @ direction.direction) for value in stream.values]
    exact += [direction.norm_bias, direction.head_bias]
    _adds_up(trace, position, direction, sum(exact))
    heads, biases, notes = _heads(trace, position, direction, stream)
    return AttributionGrid(
        **about(trace, tuple(range(trace.anatomy.n_layers)), {*top_ids, *_asked(token, question.minus)}),
        position=position,
        token=token,
        minus=question.minus,
        top_ids=np.array(top_ids, dtype=np.int64),
        logit=direction.logit,
        error=direction.logit - sum(exact),
        names=(*names, "norm_bias", "head_bias"),
        part_layers=(*layers, None, None),
        values=np.array(exact, dtype=np.float32),
        heads=heads,
        projection_biases=biases,
        head=question.head,
        sources=None if question.head is None else _sources(trace, position, direction, stream, question.head),
        note=" ".join([*_transform_note(direction), *notes]),
    )


@answers(HeadSources)
@torch.no_grad()
def head_sources(question: HeadSources, trace: Trace) -> SourceGrid:
    """What one head takes from every position to a logit.

    Raises:
        SelectionError: when layer, head, token or position are out of range.
        MissingComponentError: when the model is not a sum of parts, or the head cannot be told from the others.
    """
    head = (question.layer, question.head)
    _valid(question, trace, head)
    position = question.position % len(trace.tokens)
    stream = _Stream.of(trace, position)
    token = _top_ids(trace, position)[0] if question.token is None else question.token
    direction = logit_direction(trace, token, question.minus, position)
    return SourceGrid(
        **about(trace, (question.layer,), _asked(token, question.minus)),
        position=position,
        token=token,
        minus=question.minus,
        head=head,
        sources=_sources(trace, position, direction, stream, head),
    )


def _adds_up(trace: Trace, position: int, direction: LogitDirection, total: float) -> None:
    """Raise unless the parts sum to the logit, but for rounding, as a share of the largest logit at the position."""
    stream = trace.rows("resid_post", trace.anatomy.n_layers - 1, position, position + 1)
    error, allowed = abs(direction.logit - total) / direction.largest, tolerance(stream.dtype)
    if not error <= allowed:
        raise MissingComponentError(
            f"The logits of {trace.anatomy.name} cannot be split over its parts: they sum to {total:.6g}, the logit is "
            f"{direction.logit:.6g}, which is {error:.1e} of the largest logit there (allowed {allowed:.0e}). "
            f"lw.check(model) shows in which layer the stream is not its parts' sum; a model in half precision may "
            f"only need to be loaded in fp32."
        )


def _top_ids(trace: Trace, position: int) -> list[int]:
    """The most probable next tokens, best first."""
    logits = trace.logits_between(position, position + 1)[0]
    found: list[int] = logits.topk(min(_K, len(logits))).indices.tolist()
    return found


def _asked(token: int, minus: int | None) -> set[int]:
    return {token} if minus is None else {token, minus}


@dataclass
class _Stream:
    """The final stream at one position as a sum.

    Attributes:
        kinds: (kind, layer) of each part; of the first, what enters the first layer, the layer is None.
        values: what each has given to the final stream, shape [d_model], fp64.
        later: by what each was multiplied after it was added: a number, or shape [d_model].
    """

    kinds: list[tuple[str, int | None]]
    values: list[torch.Tensor]
    later: list[torch.Tensor | float]

    @classmethod
    def of(cls, trace: Trace, position: int) -> _Stream:
        """From the ledgers of a trace."""
        entered = trace.rows("resid_pre", 0, position, position + 1)[0]
        stream = cls([("embed", None)], [_exact(entered)], [1.0])
        for layer in range(trace.anatomy.n_layers):
            ledger = trace.ledger(layer)
            if not ledger:
                raise MissingComponentError(
                    f"The stream of {trace.anatomy.name} is not a sum of parts: in layer {layer}, "
                    f"{trace.anatomy.layers[layer].trouble or 'no parts were found'}."
                )
            for entry in ledger:
                if isinstance(entry, Added):
                    stream._add(entry.kind, layer, _exact(entry.value[position]))
                elif isinstance(entry, Scaled):
                    stream._scale(entry.factor)
                elif len(stream.kinds) == 1:  # nothing was added yet: it belongs to the embedding
                    stream = cls([("embed", None)], [_exact(entry.after[position])], [1.0])
                else:
                    raise MissingComponentError(
                        f"The stream of {trace.anatomy.name} is not a sum of parts: in layer {layer} it passes "
                        f"through a norm itself (a post-norm model)."
                    )
        return stream

    def _add(self, kind: str, layer: int, value: torch.Tensor) -> None:
        if (kind, layer) == self.kinds[-1] and isinstance(self.later[-1], float) and self.later[-1] == 1.0:
            self.values[-1] = self.values[-1] + value
        else:
            self.kinds.append((kind, layer))
            self.values.append(value)
            self.later.append(1.0)

    def _scale(self, factor: torch.Tensor | float) -> None:
        by = _exact(factor) if isinstance(factor, torch.Tensor) else factor
        self.values = [value * by for value in self.values]
        self.later = [later * by for later in self.later]

    def names(self) -> tuple[str, ...]:
        """`embed`, `attn0`, `mlp0`, ..."""
        return tuple(kind if layer is None else f"{_NAMES.get(kind, kind)}{layer}" for kind, layer in self.kinds)

    def after_attention(self, layer: int) -> torch.Tensor | float:
        """By what the stream is multiplied after a layer's attention was added."""
        return self.later[self.kinds.index(("attention", layer))]


def _exact(value: torch.Tensor) -> torch.Tensor:
    return value.detach().cpu().double()


def _heads(
    trace: Trace, position: int, direction: LogitDirection, stream: _Stream
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """What each head gives, shape [layer, head], and the bias beside them [layer]; and why some are missing."""
    anatomy = trace.anatomy
    heads = np.full((anatomy.n_layers, max(layer.n_heads for layer in anatomy.layers)), np.nan, dtype=np.float32)
    biases = np.full(anatomy.n_layers, np.nan, dtype=np.float32)
    missing: dict[str, int] = {}
    for layer in anatomy.layers:
        if not layer.attention_sites:
            continue
        checkpoint(f"the heads of layer {layer.layer}")
        try:
            given, bias = _given_by_heads(trace, layer.layer, position, direction, stream)
        except MissingComponentError as error:
            missing.setdefault(str(error).partition(": ")[2] or str(error), layer.layer)
        else:
            heads[layer.layer, : layer.n_heads], biases[layer.layer] = given, bias
    notes = tuple(f"Heads are not told apart from layer {layer} on: {why}" for why, layer in missing.items())
    return heads, biases, notes


def _given_by_heads(
    trace: Trace, layer: int, position: int, direction: LogitDirection, stream: _Stream
) -> tuple[np.ndarray | float, float]:
    if layer not in trace.patterns:
        return 0.0, 0.0  # the layer was skipped
    weights, values = trace.head_row(layer, position)
    outputs, writing = _written(trace, layer, position, weights, values)
    later = stream.after_attention(layer)
    bias = float(_exact(writing.constant[0]) * later @ direction.direction)
    return _given(writing, writing.raw(outputs), direction, later)[:, 0], bias


def _written(
    trace: Trace, layer: int, position: int, weights: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, HeadWriting]:
    """What a layer's heads have read at a position, shape [head, 1, d_head], and how they write it."""
    outputs = torch.einsum("hk,hkd->hd", weights, values)[:, None]
    return outputs, head_writing(trace, layer, outputs, position)


def _given(
    writing: HeadWriting, raw: torch.Tensor, direction: LogitDirection, later: torch.Tensor | float
) -> np.ndarray:
    """What parts of the raw attention output, shape [..., d_model], give to the logit."""
    given: np.ndarray = (_exact(writing.added(raw)) * later @ direction.direction).numpy()
    return given


def _sources(
    trace: Trace, position: int, direction: LogitDirection, stream: _Stream, head: tuple[int, int]
) -> np.ndarray:
    """What one head takes from each position, shape [key_pos]."""
    layer, number = head
    sources = np.zeros(len(trace.tokens), dtype=np.float32)
    if layer not in trace.patterns and trace.anatomy.layers[layer].attention_sites:
        return sources  # the layer was skipped
    weights, values = trace.head_row(layer, position)
    _, writing = _written(trace, layer, position, weights, values)
    read = (weights[number, :, None] * values[number]).to(writing.W_O.device)
    # One source after another along the first axis: the norm after them has one scale for this position.
    raw = (read @ writing.W_O[number])[:, None]
    sources[: len(raw)] = _given(writing, raw, direction, stream.after_attention(layer))[:, 0]
    return sources


def _transform_note(direction: LogitDirection) -> tuple[str, ...]:
    if not direction.transform:
        return ()
    return (f"Logits are those before the model's output transform ({', '.join(direction.transform)}).",)


def _valid(question: DirectLogitAttribution | HeadSources, trace: Trace, asked: tuple[int, int] | None) -> None:
    d_vocab, n_pos, anatomy = trace.anatomy.d_vocab, len(trace.tokens), trace.anatomy
    for token in (question.token, question.minus):
        if token is not None and trace.held_logits is not None and not 0 <= token < d_vocab:
            raise SelectionError(
                f"Token id {token} is out of range: this model has {d_vocab} tokens, 0 to {d_vocab - 1}."
            )
    if not -n_pos <= question.position < n_pos:
        raise SelectionError(f"Position {question.position} is out of range: the prompt has {n_pos}, 0 to {n_pos - 1}.")
    if asked is None:
        return
    layer, head = asked
    if not 0 <= layer < anatomy.n_layers:
        raise SelectionError(
            f"Layer {layer} is out of range: this model has {anatomy.n_layers} layers, 0 to {anatomy.n_layers - 1}."
        )
    if not anatomy.layers[layer].n_heads:
        raise MissingComponentError(f"Layer {layer} of {anatomy.name} has no attention heads.")
    if not 0 <= head < anatomy.layers[layer].n_heads:
        n_heads = anatomy.layers[layer].n_heads
        raise SelectionError(f"Head {head} is out of range: layer {layer} has {n_heads} heads, 0 to {n_heads - 1}.")
