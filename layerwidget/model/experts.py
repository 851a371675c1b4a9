"""The experts of an FFN that are one module: called with vectors, with the experts each goes through, and weights.

So it can be asked for one expert alone. Modules of another form are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from layerwidget.errors import MissingComponentError
from layerwidget.model.ffn_again import FfnAgain
from layerwidget.model.hooking import Hooks
from layerwidget.model.paths import Path, tensor_at, tensors_in, with_tensor_at


@dataclass(frozen=True, eq=False)
class ExpertsCall:
    """One call of a module of experts.

    Attributes:
        module: the module, in fp32.
        named: `{"args": args, "kwargs": kwargs}` of the call.
        hidden: where the vectors sit in that, shape [pos, d_model].
        chosen: where the experts of each sit, shape [pos, n_active].
        weights: where their weights sit, same shape.
        raw: what the module returned, shape [pos, d_model].
        output: what the whole FFN made of that, shape [pos, d_model].
    """

    module: nn.Module
    named: dict[str, Any]
    hidden: Path
    chosen: Path
    weights: Path
    raw: torch.Tensor
    output: torch.Tensor

    @classmethod
    def of(cls, again: FfnAgain, rows: torch.Tensor) -> ExpertsCall:
        """What the FFN calls its experts with, for some vectors of the stream.

        Raises:
            MissingComponentError: when they are no module of this form.
        """
        module = again.module_of(again.ffn.down)
        calls: list[dict[str, Any]] = []
        returned: list[Any] = []
        hooks = Hooks()
        hooks.before("", 0, lambda _, named: calls.append(named))
        hooks.after("", 0, lambda _, output: returned.append(output))
        with hooks.on(module, again):
            output = again.output(rows)
        places = _places(calls[0], len(rows), again.ffn.n_experts) if calls else None
        if places is None or not isinstance(returned[0], torch.Tensor) or returned[0].shape != output.shape:
            raise MissingComponentError(
                f"{again.refusal}: {again.ffn.down} is in no module that is called with the experts of every token and "
                f"their weights."
            )
        return cls(module, calls[0], *places, returned[0], output)

    @property
    def n_active(self) -> int:
        """How many experts each vector goes through."""
        return int(self.experts.shape[1])

    @property
    def experts(self) -> torch.Tensor:
        """Which experts each vector goes through, shape [pos, n_active]."""
        return tensor_at(self.named, self.chosen)

    @property
    def shares(self) -> torch.Tensor:
        """By what what each of them makes is multiplied, shape [pos, n_active]."""
        return tensor_at(self.named, self.weights).float()

    def alone(self, expert: int, positions: torch.Tensor) -> torch.Tensor:
        """What one expert makes of some of the vectors, shape [n, d_model]."""
        chosen = torch.full_like(self.experts[positions][:, :1], expert)
        named: Any = with_tensor_at(self.named, self.hidden, tensor_at(self.named, self.hidden)[positions])
        named = with_tensor_at(named, self.chosen, chosen)
        named = with_tensor_at(named, self.weights, torch.ones_like(tensor_at(named, self.weights)[positions][:, :1]))
        made: torch.Tensor = self.module(*named["args"], **named["kwargs"])
        return made


def _places(named: dict[str, Any], n_pos: int, n_experts: int) -> tuple[Path, Path, Path] | None:
    """Where vectors, experts and weights sit; None where there are not exactly these three."""
    tensors = dict(tensors_in(named))
    chosen = [path for path, one in tensors.items() if not one.is_floating_point() and one.dim() == 2]
    if len(tensors) != 3 or len(chosen) != 1 or not bool((tensors[chosen[0]] < n_experts).all()):
        return None
    others = [path for path in tensors if path != chosen[0]]
    shape = tensors[chosen[0]].shape
    weights = [path for path in others if tensors[path].shape == shape]
    hidden = [path for path in others if tensors[path].dim() == 2 and path not in weights]
    if len(weights) != 1 or len(hidden) != 1 or {n_pos} != {len(tensors[path]) for path in tensors}:
        return None
    return hidden[0], chosen[0], weights[0]
