"""What attention weights a twin with eager attention uses: what layerwidget's patterns are compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
import transformers
from torch import nn
from torch.overrides import TorchFunctionMode

from tests.conformance.build import without_timm
from tests.conformance.references import Place

Run = Callable[..., Any]

#: Functions that normalise over positions. Mixture-of-experts routers use them too, on matrices.
_NORMALISING = {"softmax", "log_softmax", "logsumexp", "_safe_softmax"}
_FUSED = {"scaled_dot_product_attention", "flex_attention"}


def eager_twin(model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """The same weights with eager attention."""
    with without_timm():
        twin = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager")
    twin.load_state_dict(model.state_dict())
    eager: transformers.PreTrainedModel = twin.eval()
    return eager


@dataclass
class Operations(TorchFunctionMode):
    """Context manager: what looks like attention while a model runs, by layer.

    Attributes:
        model: the model; hooks stay on it, so that it should be a twin.
        places: its layers.
        softmaxes: layer -> outputs of softmax that have more than two axes, in order; -1 for those outside the layers.
        others: layer -> names of other functions that attention is made of.
    """

    model: nn.Module
    places: Sequence[Place]
    softmaxes: dict[int, list[torch.Tensor]] = field(default_factory=dict)
    others: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._layers = {(place.module, place.call): layer for layer, place in enumerate(self.places)}
        self._now: list[int] = [-1]
        for path, last in {place.module: place.last[0] for place in self.places}.items():
            self._listen(path, last)

    def _listen(self, path: str, last: str) -> None:
        calls: list[int] = []

        def enter(module: nn.Module, args: Any) -> None:
            self._now.append(self._layers.get((path, len(calls)), -1))
            calls.append(len(calls))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self._now.pop()

        self.model.get_submodule(path).register_forward_pre_hook(enter)
        self.model.get_submodule(last).register_forward_hook(leave)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name, layer = getattr(func, "__name__", ""), self._now[-1]
        if name == "softmax" and out.dim() > 2:
            self.softmaxes.setdefault(layer, []).append(out.detach())
        elif name in _FUSED or (name in _NORMALISING and args and args[0].dim() > 2):
            self.others.setdefault(layer, []).append(name)
        return out

    @property
    def in_layers(self) -> list[str]:
        """Names of all that happened inside the layers."""
        softmaxes = [["softmax"] * len(found) for layer, found in self.softmaxes.items() if layer >= 0]
        return [*chain(*softmaxes), *chain(*(names for layer, names in self.others.items() if layer >= 0))]

    def patterns(self, layer: int, n_query: int, n_key: int) -> list[torch.Tensor]:
        """Softmaxes of a layer over so many positions, each of shape [head, query_pos, key_pos] (learned sinks cut)."""
        found = self.softmaxes.get(layer, [])
        return [_heads(one, n_key) for one in found if _is_pattern(one, n_query, n_key)]


def returned(output: Any, names: Sequence[str], n_query: int, n_key: int) -> list[torch.Tensor]:
    """Attention weights that transformers returned, each of shape [head, query_pos, key_pos]; some return scores."""
    for name in names:
        given = getattr(output, name, None)
        if given:
            tensors = [one for one in given if isinstance(one, torch.Tensor)]
            found = [_heads(one, n_key) for one in tensors if _is_pattern(one, n_query, n_key)]
            return [one for one in found if bool((one >= 0).all()) and bool((one.sum(-1) <= 1.01).all())]
    return []


def per_layer(given: Sequence[torch.Tensor], made: Sequence[Sequence[torch.Tensor]]) -> dict[int, torch.Tensor]:
    """Layer -> heads of all its attention operations, in order.

    Args:
        given: what transformers returned.
        made: layer -> what its softmaxes made, which tells what belongs to which layer.
    """
    attending = [layer for layer, patterns in enumerate(made) if patterns]
    if not attending:  # it is not made by a softmax
        return dict(enumerate(given)) if len(given) == len(made) else {}
    heads = {layer: torch.cat(list(made[layer])) for layer in attending}
    each, rest = divmod(len(given), len(attending))
    if given and not rest:
        for index, layer in enumerate(attending):
            said = torch.cat(list(given[index * each : (index + 1) * each]))
            heads[layer] = said if said.shape == heads[layer].shape else heads[layer]
    return heads


def _is_pattern(weights: torch.Tensor, n_query: int, n_key: int) -> bool:
    return weights.dim() > 2 and weights.shape[-2] == n_query and weights.shape[-1] in (n_key, n_key + 1)


def _heads(weights: torch.Tensor, n_key: int) -> torch.Tensor:
    return weights[..., :n_key].float().flatten(0, -3)
