"""What was seen during one forward pass: the tree of module calls, the data flow, the attention operations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from layerwidget.model.dataflow import DataFlow
from layerwidget.model.paths import Path


@dataclass(eq=False)
class Call:
    """One call of one module.

    Attributes:
        name: path of the module in the model, `""` for the model itself.
        nth: how often the module was called before, in this pass.
        parent: the call inside which it happened.
        depth: how many calls enclose it.
        args, kwargs: what it was called with.
        inputs: path in `("args" or "kwargs", ...)` -> node.
        outputs: path in the output -> node.
        output: what it returned.
        start, end: the range of nodes made during the call.
    """

    module: nn.Module
    name: str
    nth: int
    parent: Call | None
    depth: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: dict[Path, int]
    start: int
    outputs: dict[Path, int] = field(default_factory=dict)
    output: Any = None
    end: int = -1

    @property
    def n_ops(self) -> int:
        """How many values were computed during the call."""
        return self.end - self.start

    @property
    def members(self) -> tuple[Call, ...]:
        """The calls that it stands for: itself; several for a layer that is no module."""
        return (self,)

    @property
    def runner(self) -> Call:
        """The call that has to be repeated to repeat this one."""
        return self

    def encloses(self, other: Call) -> bool:
        """Whether another call happened inside this one."""
        step = other.parent
        while step is not None:
            if step is self:
                return True
            step = step.parent
        return False


@dataclass(frozen=True)
class AttentionOp:
    """A call of fused attention (`sdpa`), or of a softmax that may belong to attention.

    Attributes:
        kernel: `sdpa` or `softmax`.
        inputs: nodes of the tensor arguments: query, key, value (and mask), or the scores.
        output: node of what it returned.
    """

    kernel: str
    inputs: tuple[int, ...]
    output: int


@dataclass(eq=False)
class WatchedPass:
    """What was seen during one forward pass.

    Attributes:
        flow: the data-flow graph.
        calls: module calls in the order in which they began; the first is the model's own.
        attention: attention operations in order.
        fused: what calls of fused attention returned that were made by its name in `torch.nn.functional`, as nodes.
        ids: the token ids whose positions the stream has, shape [batch, pos].
        source: the token ids that the encoder of an encoder-decoder read, shape [batch, source_pos], or None.
        weights: `id` of every parameter and buffer -> its path; offloaded ones exist only during their module's call.
        n_rows: how many rows the stream of a located stack has for each prompt, where it has more than positions;
            else 0.
    """

    flow: DataFlow
    ids: torch.Tensor
    source: torch.Tensor | None = None
    calls: list[Call] = field(default_factory=list)
    attention: list[AttentionOp] = field(default_factory=list)
    fused: list[int] = field(default_factory=list)
    weights: dict[int, str] = field(default_factory=dict)
    n_rows: int = 0

    @property
    def n_batch(self) -> int:
        """How many prompts were read at once."""
        return int(self.ids.shape[0])

    @property
    def n_pos(self) -> int:
        """How many positions each prompt had."""
        return int(self.ids.shape[1])

    @property
    def n_source(self) -> int:
        """How many positions the encoder read; 0 without one."""
        return 0 if self.source is None else int(self.source.shape[1])

    def of_encoder(self) -> WatchedPass:
        """The same pass, with the positions of the encoder's stream."""
        assert self.source is not None
        return replace(self, ids=self.source, source=None, n_rows=0)

    def n_keys(self, op: AttentionOp) -> int:
        """How many things each position can look at: positions, and perhaps learned sinks."""
        shape = self.flow.nodes[op.inputs[1] if op.kernel == "sdpa" else op.output].shape
        return shape[-2] if op.kernel == "sdpa" else shape[-1]

    def is_self_attention(self, op: AttentionOp) -> bool:
        """Whether weights run from every position to every position (and perhaps a sink, or the encoder's)."""
        allowed = {self.n_pos, self.n_pos + (op.kernel == "softmax"), self.n_pos + self.n_source}
        return (self._n_queries(op) == self.n_pos and self.n_keys(op) in allowed) or self.is_padded(op)

    def is_padded(self, op: AttentionOp) -> bool:
        """Whether weights run from every row to every row of a stream that has more rows than positions."""
        return bool(self.n_rows) and self._n_queries(op) == self.n_keys(op) == self.n_rows

    def is_cross_attention(self, op: AttentionOp) -> bool:
        """Whether weights run from every position to every position that the encoder read (and perhaps the own)."""
        allowed = {self.n_source, self.n_pos + self.n_source}
        return bool(self.n_source) and self._n_queries(op) == self.n_pos and self.n_keys(op) in allowed

    def _n_queries(self, op: AttentionOp) -> int:
        shape = self.flow.nodes[op.inputs[0] if op.kernel == "sdpa" else op.output].shape
        return shape[-2] if len(shape) >= 3 else 0

    def ancestors(self, node: int, start: int = 0, stop: frozenset[int] = frozenset()) -> set[int]:
        """All nodes from `start` on that a node was computed from, itself included, not looking past `stop`."""
        seen: set[int] = set()
        waiting = [node]
        while waiting:
            current = waiting.pop()
            if current in seen or current < start:
                continue
            seen.add(current)
            if current not in stop:
                waiting.extend(self.flow.nodes[current].parents)
        return seen
