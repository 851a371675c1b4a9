"""What makes logits of the last vectors: the matrix, and what is done to its product afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

from layerwidget.model.watched import WatchedPass

_PRODUCTS = frozenset({"mm", "addmm", "bmm", "matmul", "linear"})
_PASSES = frozenset({"slice", "select", "index", "_to_copy"})


@dataclass(frozen=True)
class Head:
    """The output end of a model.

    Attributes:
        weight: node of the matrix, or None where it could not be told.
        transform: what is done to the product, in order: `+ bias`, `× 0.0625`, `soft-cap 30`; `other` if unknown.
    """

    weight: int | None
    transform: tuple[str, ...]


def read_head(watched: WatchedPass, logits: int) -> Head:
    """Follow the logits back to the matrix that made them."""
    nodes, tensors = watched.flow.nodes, watched.flow.tensors
    steps: list[str | float] = []
    node = logits
    while True:
        step = nodes[node]
        if step.op in _PRODUCTS:
            matrices = [parent for parent in step.parents if _leaf(watched, parent) is not None]
            wide = [one for one in matrices if len(nodes[one].shape) == 2]
            weight = _leaf(watched, wide[-1]) if wide else None
            bias = step.op == "addmm" or (step.op == "linear" and len(step.parents) == 3)
            return Head(weight, _described([*steps, *(["+ bias"] if bias else [])][::-1]))
        if step.multiplies and len(step.parents) == 1:
            steps.append(1 / step.scale if step.op.startswith("div") else step.scale)
        elif step.multiplies and tensors[step.parents[1]].numel() == 1 and not nodes[step.parents[1]].op:
            number = float(tensors[step.parents[1]])
            steps.append(1 / number if step.op.startswith("div") else number)
        elif step.adds and not nodes[step.parents[1]].op:
            steps.append("+ bias")
        elif step.op == "tanh":
            steps.append("tanh")
        elif not (step.moves or step.op in _PASSES) or not step.parents:
            return Head(None, ("other",))
        node = step.parents[0]


def _leaf(watched: WatchedPass, node: int) -> int | None:
    step = watched.flow.nodes[node]
    while step.moves and step.parents:
        node = step.parents[0]
        step = watched.flow.nodes[node]
    return None if step.op else node


def _described(steps: list[str | float]) -> tuple[str, ...]:
    """The steps in words; a tanh between a number and its inverse is a soft-cap."""
    found: list[str] = []
    rest = list(steps)
    while rest:
        cap = rest[2] if len(rest) > 2 and rest[1] == "tanh" else None
        if isinstance(cap, float) and isinstance(rest[0], float) and math.isclose(rest[0] * cap, 1.0, rel_tol=1e-4):
            found.append(f"soft-cap {cap:g}")
            rest = rest[3:]
        else:
            step = rest.pop(0)
            if step != 1.0:
                found.append(f"× {step:g}" if isinstance(step, float) else step)
    return tuple(found)
