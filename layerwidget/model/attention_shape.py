"""Read the numbers of heads off an attention operation that was seen in a pass."""

from __future__ import annotations

from dataclasses import dataclass

from layerwidget.model.tracing import AttentionOp, WatchedPass

_COPIES = frozenset({"expand", "repeat", "repeat_interleave", "index_select"})


@dataclass(frozen=True)
class AttentionSite:
    """The self-attention operation of a layer.

    Attributes:
        kernel: `sdpa` (fused: query, key and mask give the pattern) or `softmax` (its output is the pattern).
        nth: how many operations of this kernel run before it in the layer's call.
        n_heads: query heads.
        n_kv_heads: key/value heads.
        d_head: width of a query head.
        n_sinks: extra columns of the softmax that are no position (learned sinks).
    """

    kernel: str
    nth: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    n_sinks: int = 0


def attention_site(watched: WatchedPass, ops: list[AttentionOp], chosen: AttentionOp) -> AttentionSite:
    """Describe one of a layer's attention operations.

    Args:
        watched: the pass.
        ops: all attention operations of the layer's call, in order.
        chosen: the one to describe.
    """
    nodes = watched.flow.nodes
    nth = [op for op in ops if op.kernel == chosen.kernel].index(chosen)
    if chosen.kernel == "sdpa":
        query, key = chosen.inputs[:2]
        shape = nodes[query].shape
        n_heads = _numel(shape) // (watched.n_batch * watched.n_pos * shape[-1])
        return AttentionSite("sdpa", nth, n_heads, _n_kv(watched, key, shape[-1], n_heads), shape[-1])
    shape = nodes[chosen.output].shape
    n_heads = _numel(shape) // (watched.n_batch * shape[-2] * shape[-1])
    query_key = _product_behind(watched, chosen.inputs[0])
    if query_key is None:
        return AttentionSite("softmax", nth, n_heads, n_heads, 0, shape[-1] - watched.n_pos)
    d_head = nodes[query_key[0]].shape[-1]
    n_kv = _n_kv(watched, query_key[1], d_head, n_heads)
    return AttentionSite("softmax", nth, n_heads, n_kv, d_head, shape[-1] - watched.n_pos)


def is_self_attention(watched: WatchedPass, op: AttentionOp) -> bool:
    """Whether an operation's weights run from every position to every position (and perhaps to a sink column)."""
    nodes = watched.flow.nodes
    if op.kernel == "sdpa":
        query, key = (nodes[node].shape for node in op.inputs[:2])
        return len(query) >= 3 and query[-2] == watched.n_pos and key[-2] == watched.n_pos
    shape = nodes[op.output].shape
    return len(shape) >= 3 and shape[-2] == watched.n_pos and shape[-1] in (watched.n_pos, watched.n_pos + 1)


def _n_kv(watched: WatchedPass, key: int, d_head: int, n_heads: int) -> int:
    """Heads of the key before it was repeated for grouped queries."""
    nodes = watched.flow.nodes
    smallest = _numel(nodes[key].shape)
    step = key
    while nodes[step].parents and (nodes[step].moves or nodes[step].op in _COPIES):
        step = nodes[step].parents[0]
        smallest = min(smallest, _numel(nodes[step].shape))
    n_kv = smallest // (watched.n_batch * watched.n_pos * d_head)
    return n_kv if n_kv and n_heads % n_kv == 0 else n_heads


def _product_behind(watched: WatchedPass, scores: int) -> tuple[int, int] | None:
    """Query and key of the matrix product that made the scores."""
    nodes = watched.flow.nodes
    todo = [scores]
    seen: set[int] = set()
    while todo:
        current = todo.pop()
        step = nodes[current]
        if step.op in {"bmm", "baddbmm", "matmul"}:
            return step.parents[-2], step.parents[-1]
        if current not in seen:
            seen.add(current)
            todo.extend(parent for parent in reversed(step.parents) if nodes[parent].op)
    return None


def _numel(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
