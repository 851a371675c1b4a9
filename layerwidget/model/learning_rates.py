"""Layer-wise learning rates: the deeper a layer, the faster it learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from layerwidget.errors import QuestionError
from layerwidget.model.anatomy import Anatomy
from layerwidget.model.hooked_model import HookedModel


@dataclass(frozen=True)
class _Floor:
    """A depth of a stack: the embeddings, a layer, or what follows the layers."""

    name: str
    depth: int
    below_top: int


def layerwise_lr(model: HookedModel, lr: float, decay: float = 0.9) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimizer, with a learning rate that decays from the head down to the embeddings.

    With n layers, `lr_depth = lr * decay ** (n + 1 - depth)`: what makes the stream before the first layer (embeddings
    of tokens and positions, their norms) has depth 0, layer i depth i + 1, what follows the last layer (final norm,
    head) depth n + 1. On which side of the layers a parameter works is read off the watched pass; one that no pass
    uses goes with the head. Every parameter of the model is in exactly one group, frozen ones too.

    A parameter that works at several depths is in the group of the smallest rate, as what it does there is what must
    change least: a head tied to the embedding is at depth 0, a module that is all layers at once (ALBERT) at depth 1.
    In an encoder-decoder each stack counts its own depth, so that the last layer of the encoder learns as fast as that
    of the decoder, and what both share goes with the deeper stack.

        optimizer = torch.optim.AdamW(lw.layerwise_lr(model, lr=2e-5, decay=0.9), weight_decay=0.01)

    Args:
        model: a hooked model; its own weights are in the groups.
        lr: the rate of the head, above 0.
        decay: what each step down multiplies it by, above 0 and at most 1.

    Returns:
        One dictionary for each depth that has parameters: `params` (a list), `lr`, `name` (`embeddings`, `layer 3`,
        `head`; in an encoder-decoder `encoder layer 3`, `decoder layer 3`) and `depth`. An optimizer keeps both.

    Raises:
        QuestionError: for a model that is not hooked: where its layers are is not known.
        ValueError: for a rate or a decay out of range.

    Source: science.md, "Layer-wise learning rates" (Clark et al. 2020, ELECTRA).
    """
    if not isinstance(model, HookedModel):
        raise QuestionError(
            f"Layer-wise learning rates need a hooked model, which knows where its layers are; got "
            f"{type(model).__name__}. Wrap it first: lw.layerwise_lr(lw.HookedModel(model), lr, decay)."
        )
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"A learning rate is a number above 0; got {lr!r}.")
    if not 0 < decay <= 1:
        raise ValueError(f"A decay is above 0 and at most 1; got {decay!r}.")
    groups: dict[_Floor, list[nn.Parameter]] = {floor: [] for floor in _floors(model.anatomy)}
    floor_of = _floor_of_weights(model)
    top = list(groups)[-1]
    for weight in model.hf_model.parameters():
        groups[floor_of.get(id(weight), top)].append(weight)
    return [
        {"params": weights, "lr": lr * decay**floor.below_top, "name": floor.name, "depth": floor.depth}
        for floor, weights in groups.items()
        if weights
    ]


def _stacks(anatomy: Anatomy) -> Iterator[tuple[str, Anatomy]]:
    """What the names of its floors begin with, and the stack."""
    if anatomy.encoder is not None:
        yield "encoder ", anatomy.encoder
    yield ("decoder " if anatomy.encoder is not None else ""), anatomy


def _floors(anatomy: Anatomy) -> Iterator[_Floor]:
    for title, stack in _stacks(anatomy):
        names = ["embeddings", *(f"layer {layer.layer}" for layer in stack.layers)]
        names.append("head" if stack is anatomy else "final norm")
        yield from (_Floor(f"{title}{name}", depth, len(names) - 1 - depth) for depth, name in enumerate(names))


def _floor_of_weights(model: HookedModel) -> dict[int, _Floor]:
    """`id` of a parameter -> the floor of the smallest rate, of those where it works."""
    floors = {(floor.name, floor.depth): floor for floor in _floors(model.anatomy)}
    by_stack = _by_stack(model.anatomy, list(floors.values()))
    found: dict[int, _Floor] = {}
    for stack, own in by_stack:
        for weight, depth in _depths(model.hf_model, stack):
            known = found.get(id(weight))
            if known is None or own[depth].below_top > known.below_top:
                found[id(weight)] = own[depth]
    return found


def _by_stack(anatomy: Anatomy, floors: list[_Floor]) -> Iterator[tuple[Anatomy, list[_Floor]]]:
    for _, stack in _stacks(anatomy):
        n_floors = stack.n_layers + 2
        yield stack, floors[:n_floors]
        floors = floors[n_floors:]


def _depths(model: nn.Module, stack: Anatomy) -> Iterator[tuple[nn.Parameter, int]]:
    """Every parameter that works in a stack, and at which depth."""
    for layer in stack.layers:
        for path in layer.modules:
            yield from ((weight, layer.layer + 1) for weight in model.get_submodule(path).parameters())
    named = dict(model.named_parameters(remove_duplicate=False))
    for path, side in stack.ends.items():
        if path in named:
            yield named[path], 0 if side == "before" else stack.n_layers + 1
    if stack.embedding is not None:
        yield from ((weight, 0) for weight in model.get_submodule(stack.embedding).parameters())
