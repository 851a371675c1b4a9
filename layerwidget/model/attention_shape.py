"""Read the numbers of heads off an attention operation that was seen in a pass."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from layerwidget.model.watched import AttentionOp, Call, WatchedPass
from layerwidget.model.weight_products import is_product, product_flops

_COPIES = frozenset({"expand", "repeat", "repeat_interleave", "index_select"})


@dataclass(frozen=True)
class Moment:
    """When a call of a module begins, or ends.

    Attributes:
        module: its path.
        call: which call of that module within a pass, from 0.
        begins: whether it is the beginning.
    """

    module: str
    call: int
    begins: bool


@dataclass(frozen=True)
class AttentionSite:
    """An attention operation of a layer.

    Attributes:
        kernel: `sdpa` (fused: query, key and mask give the pattern) or `softmax` (its output is the pattern).
        by_name: whether it is a call of fused attention by its name in `torch.nn.functional`: there it can be heard
            without looking at every operation.
        between: the last beginning or end of a call before it, and the first after it; the layer's own where it is
            called by its name.
        nth: how many operations of this kernel (calls by that name) run before it between these moments.
        n_heads: query heads.
        n_kv_heads: key/value heads.
        d_head: width of a query head; 0 where it could not be told.
        n_sinks: extra columns of the softmax that are no position (learned sinks).
        merged: whether one softmax runs over the positions of the stream and then those of the encoder.
        padded: whether it runs over all rows of a stream that has more rows than positions.
        flops_per_key: floating-point operations of its two products (query with key, weight with value) for each
            position that a token looks at, all heads together; None where they could not be told.
    """

    kernel: str
    between: tuple[Moment, Moment]
    nth: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    n_sinks: int = 0
    merged: bool = False
    padded: bool = False
    by_name: bool = False
    flops_per_key: int | None = None

    @property
    def shares_rows(self) -> bool:
        """Whether something else than the positions looked at takes a part of each row, so that it sums below 1."""
        return self.merged or self.padded or self.n_sinks > 0


def attention_site(watched: WatchedPass, layer: Call, ops: list[AttentionOp], chosen: AttentionOp) -> AttentionSite:
    """Describe one of a layer's attention operations.

    Args:
        watched: the pass.
        layer: the layer's call.
        ops: all attention operations in it, in order.
        chosen: the one to describe.
    """
    by_name = chosen.output in watched.fused
    between, nth = _in_layer(watched, layer, chosen) if by_name else _in_call(watched, ops, chosen)
    site = _heads(watched, between, nth, chosen)
    return replace(site, by_name=by_name, flops_per_key=_flops_per_key(watched, chosen, site))


def _in_layer(watched: WatchedPass, layer: Call, op: AttentionOp) -> tuple[tuple[Moment, Moment], int]:
    """The layer's beginning and end, and how many calls by name come before an operation."""
    first, last = layer.members[0], layer.members[-1]
    between = Moment(first.name, first.nth, begins=True), Moment(last.name, last.nth, begins=False)
    return between, sum(layer.start <= node < op.output for node in watched.fused)


def _heads(watched: WatchedPass, between: tuple[Moment, Moment], nth: int, chosen: AttentionOp) -> AttentionSite:
    nodes = watched.flow.nodes
    n_keys = watched.n_keys(chosen)
    merged = watched.is_self_attention(chosen) and watched.is_cross_attention(chosen)
    padded = watched.is_padded(chosen)
    if chosen.kernel == "sdpa":
        query, key = chosen.inputs[:2]
        shape = nodes[query].shape
        n_heads = math.prod(shape) // (watched.n_batch * shape[-2] * shape[-1])
        n_kv = _n_kv(watched, key, shape[-1], n_heads, n_keys)
        return AttentionSite("sdpa", between, nth, n_heads, n_kv, shape[-1], merged=merged, padded=padded)
    shape = nodes[chosen.output].shape
    n_heads = math.prod(shape) // (watched.n_batch * shape[-2] * shape[-1])
    n_sinks = 0 if merged or padded else n_keys - max(n for n in (watched.n_pos, watched.n_source) if n <= n_keys)
    query_key = _product_behind(watched, chosen.inputs[0])
    if query_key is None:
        return AttentionSite("softmax", between, nth, n_heads, n_heads, 0, n_sinks, merged, padded)
    d_head = nodes[query_key[0]].shape[-1]
    n_kv = _n_kv(watched, query_key[1], d_head, n_heads, n_keys - n_sinks)
    return AttentionSite("softmax", between, nth, n_heads, n_kv, d_head, n_sinks, merged, padded)


def _flops_per_key(watched: WatchedPass, op: AttentionOp, site: AttentionSite) -> int | None:
    nodes = watched.flow.nodes
    if op.kernel == "sdpa":
        query, _, value = (nodes[node].shape for node in op.inputs[:3])
        return 2 * site.n_heads * (query[-1] + value[-1])
    products = _score_product(watched, op.inputs[0]), _value_product(watched, op.output)
    shape = nodes[op.output].shape
    n_pairs = watched.n_batch * shape[-2] * (shape[-1] - site.n_sinks)
    if None in products or any(product_flops(nodes[one], nodes) % n_pairs for one in products if one is not None):
        return None
    return sum(product_flops(nodes[one], nodes) // n_pairs for one in products if one is not None)


def _value_product(watched: WatchedPass, weights: int) -> int | None:
    """The matrix product that reads attention weights."""
    nodes = watched.flow.nodes
    same = {weights}
    for number in range(weights + 1, len(nodes)):
        step = nodes[number]
        if not same.isdisjoint(step.parents):
            if is_product(step):
                return number
            if step.parents[0] in same:
                same.add(number)
    return None


def _in_call(watched: WatchedPass, ops: list[AttentionOp], chosen: AttentionOp) -> tuple[tuple[Moment, Moment], int]:
    """The moments around an operation, and how many like it come before it between them."""
    between = _between(watched, chosen)
    alike = [op for op in ops if op.kernel == chosen.kernel and _between(watched, op) == between]
    return between, alike.index(chosen)


def _between(watched: WatchedPass, op: AttentionOp) -> tuple[Moment, Moment]:
    """The beginnings and ends of calls next to an operation: whoever looks for it looks at little else."""
    around = max((call for call in watched.calls if call.start <= op.output < call.end), key=lambda call: call.depth)
    inside = [call for call in watched.calls if call.parent is around]
    before = [Moment(call.name, call.nth, begins=False) for call in inside if call.end <= op.output]
    after = [Moment(call.name, call.nth, begins=True) for call in inside if call.start > op.output]
    first, last = Moment(around.name, around.nth, begins=True), Moment(around.name, around.nth, begins=False)
    return [first, *before][-1], [*after, last][0]


def _n_kv(watched: WatchedPass, key: int, d_head: int, n_heads: int, n_keys: int) -> int:
    """Heads of the key before it was repeated for grouped queries."""
    nodes = watched.flow.nodes
    smallest = math.prod(nodes[key].shape)
    step = key
    while nodes[step].parents and (nodes[step].moves or nodes[step].op in _COPIES):
        step = nodes[step].parents[0]
        smallest = min(smallest, math.prod(nodes[step].shape))
    n_kv = smallest // (watched.n_batch * n_keys * d_head)
    return n_kv if n_kv and n_heads % n_kv == 0 else n_heads


def _product_behind(watched: WatchedPass, scores: int) -> tuple[int, int] | None:
    """Query and key of the matrix product that made the scores."""
    product = _score_product(watched, scores)
    parents = () if product is None else watched.flow.nodes[product].parents
    return (parents[-2], parents[-1]) if parents else None


def _score_product(watched: WatchedPass, scores: int) -> int | None:
    """The matrix product that made the scores."""
    nodes = watched.flow.nodes
    waiting = [scores]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        step = nodes[current]
        if step.op in {"bmm", "baddbmm", "matmul"}:
            return current
        if current not in seen:
            seen.add(current)
            waiting.extend(parent for parent in reversed(step.parents) if nodes[parent].op)
    return None
