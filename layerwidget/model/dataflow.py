"""Which tensor was computed from which: the data-flow graph of one forward pass.

A *node* is one value of one tensor: writing into a tensor in place makes a new node. Nodes are numbered in the order in
which they were made, so a module call is a range of node numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from layerwidget.model.paths import tensors_in

_MOVES = frozenset(
    {"view", "_unsafe_view", "_reshape_alias", "unsqueeze", "squeeze", "transpose", "permute", "t"}
    | {"alias", "detach", "clone", "_to_copy", "lift_fresh"}
)
_ADDS = frozenset({"add", "add_"})
_PRODUCTS = frozenset({"mul", "mul_", "div", "div_"})


@dataclass(frozen=True)
class Node:
    """One value.

    Attributes:
        op: name of the operation that made it, "" for what the pass was given (weights, ids, constants).
        parents: nodes of the tensors that went in, in the order of the arguments.
        shape: shape of the value.
        scale: for a sum, what the second addend is multiplied by; for a product with a plain number, that number.
    """

    op: str
    parents: tuple[int, ...]
    shape: tuple[int, ...]
    scale: float = 1.0

    @property
    def moves(self) -> bool:
        """Whether the values are those of the first parent, arranged or stored in another way."""
        return self.op in _MOVES

    @property
    def adds(self) -> bool:
        """Whether this is the sum of two tensors."""
        return self.op in _ADDS and len(self.parents) == 2

    @property
    def multiplies(self) -> bool:
        """Whether this is a product or quotient of two factors."""
        return self.op in _PRODUCTS


class DataFlow(TorchDispatchMode):
    """Records the graph while it is active. Keeps every tensor alive, so that no address is used twice.

    Attributes:
        on_leaf: told of every tensor that comes in from outside (weights, ids, constants), and its node.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.on_leaf: Callable[[torch.Tensor, int], None] = _ignore
        self.nodes: list[Node] = []
        self.tensors: list[torch.Tensor] = []
        self.overwritten: set[int] = set()
        self._current: dict[int, int] = {}
        self._aliases: dict[int, dict[int, torch.Tensor]] = {}

    def node_of(self, tensor: torch.Tensor) -> int:
        """The node that holds the tensor's value at this moment; a new one without parents for an unknown tensor."""
        known = self._current.get(id(tensor))
        if known is not None:
            return known
        # A parameter that was brought in during the pass is a view of what was loaded, and is a weight all the same.
        same = None if isinstance(tensor, torch.nn.Parameter) else self._same_memory(tensor)
        node = self._add(tensor, "", ()) if same is None else same
        if same is not None:
            self._register(tensor, same)
        if not self.nodes[node].op:
            self.on_leaf(tensor, node)
        return node

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation and note what it read and what it wrote."""
        kwargs = kwargs or {}
        parents = tuple(self.node_of(tensor) for _, tensor in tensors_in((args, kwargs)))
        out = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")  # type: ignore[attr-defined]
        scale = _scale(name, args, kwargs)
        written = _written(func, args, kwargs)
        for tensor in written:
            self._overwrite(tensor, name, parents, scale)
        for _, tensor in tensors_in(out):
            if id(tensor) not in self._current:
                self._add(tensor, name, parents, scale)
        return out

    def _add(self, tensor: torch.Tensor, op: str, parents: tuple[int, ...], scale: float = 1.0) -> int:
        self.nodes.append(Node(op, parents, tuple(tensor.shape), float(scale)))
        self.tensors.append(tensor)
        self._register(tensor, len(self.nodes) - 1)
        return len(self.nodes) - 1

    def _register(self, tensor: torch.Tensor, node: int) -> None:
        self._current[id(tensor)] = node
        aliases = self._aliases.setdefault(_storage(tensor), {})
        aliases[id(tensor)] = tensor

    def _same_memory(self, tensor: torch.Tensor) -> int | None:
        # `detach` and a few others hand Python a new object for a tensor that the mode saw as another object.
        for other in self._aliases.get(_storage(tensor), {}).values():
            if (
                other.data_ptr() == tensor.data_ptr()
                and other.shape == tensor.shape
                and other.stride() == tensor.stride()
                and other.dtype == tensor.dtype
            ):
                return self._current[id(other)]
        return None

    def _overwrite(self, tensor: torch.Tensor, op: str, parents: tuple[int, ...], scale: float) -> None:
        aliases = list(self._aliases.get(_storage(tensor), {}).values())
        self.overwritten.update(self._current[id(alias)] for alias in aliases)
        before = {id(alias): self._current[id(alias)] for alias in aliases}
        written = self._add(tensor, op, parents, scale)
        for alias in aliases:
            if alias is not tensor:
                self._add(alias, "write through a view", (before[id(alias)], written))


def _ignore(tensor: torch.Tensor, node: int) -> None:
    pass


def _scale(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    if name in _PRODUCTS and isinstance(args[1], int | float):
        return float(args[1])
    alpha = kwargs.get("alpha", 1.0)
    return float(alpha) if isinstance(alpha, int | float) else 1.0


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            found.extend(tensor for _, tensor in tensors_in(value))
    return found
