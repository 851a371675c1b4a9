"""Find a model's parts by structure: one watched pass, read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import nn

from layerwidget.errors import StructureError
from layerwidget.model.anatomy import Anatomy, absent_components
from layerwidget.model.head import read_head
from layerwidget.model.layer_anatomy import LayerDescriber
from layerwidget.model.outside import Outside
from layerwidget.model.parts import LayerAnatomy
from layerwidget.model.paths import Path
from layerwidget.model.running import ModelInput, reads_source
from layerwidget.model.stack import Stack, find_stack
from layerwidget.model.sublayers import is_norm
from layerwidget.model.tail import Returned
from layerwidget.model.tracing import watch
from layerwidget.model.watched import Call, WatchedPass
from layerwidget.model.weight_products import WeightFlops


def probe(model: nn.Module, n_embeddings: int, n_ctx: int | None) -> ModelInput:
    """Two prompts for the watched pass, of a length that no other axis of the model has.

    An encoder reads prompts of another such length, so that the two streams can be told apart.
    """
    sizes = {size for weight in model.parameters() for size in weight.shape}
    lengths = range(7, 64) if n_ctx is None else range(7, min(64, n_ctx + 1))
    free = [n for n in lengths if not sizes & {n, n + 1} and all(size % n for size in sizes if size < 1024)]
    n_pos = free[0] if free else min(n_ctx or 63, 63)
    if not reads_source(model):
        return ModelInput(_two_prompts(n_pos, n_embeddings, seed=1))
    n_source = next((n for n in free if n > n_pos + 1 and not sizes & {n + n_pos}), n_pos + 3)
    return ModelInput(_two_prompts(n_pos, n_embeddings, seed=1), _two_prompts(n_source, n_embeddings, seed=3))


def _two_prompts(n_pos: int, n_embeddings: int, seed: int) -> torch.Tensor:
    return random_ids(2 * n_pos, n_embeddings, seed).reshape(2, n_pos)


def random_ids(n_ids: int, n_embeddings: int, seed: int) -> torch.Tensor:
    """Token ids from the middle of the vocabulary, away from padding and other special tokens, shape [n_ids]."""
    low, high = n_embeddings // 4, max(n_embeddings // 4 + 1, 3 * n_embeddings // 4)
    return torch.randint(low, high, (n_ids,), generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Located:
    """What the watched pass told.

    Attributes:
        anatomy: where everything is.
        returned: path of each layer's module -> what it returned, for those who stand in for it. Where no module is the
            layer, of each of its modules that return something of the stream's form.
    """

    anatomy: Anatomy
    returned: Mapping[str, Returned]


def locate(model: nn.Module, name: str, read: ModelInput, run: Callable[[ModelInput], Any]) -> Located:
    """The anatomy of a model.

    Args:
        model: the model; its hooks are as before afterwards.
        name: what to call it.
        read: token ids of the watched pass, two prompts.
        run: calls the model with them.

    Raises:
        StructureError: when the model makes no logits or no layer stack is found.
    """
    watched = watch(model, read, run)
    anatomy = _Locator(model, watched).anatomy(name)
    return Located(anatomy, dict(_returned(watched, anatomy)))


def _returned(watched: WatchedPass, anatomy: Anatomy) -> Iterator[tuple[str, Returned]]:
    last = {layer.last[0]: layer for layer in anatomy.layers}
    others = {path for layer in anatomy.layers for path in layer.modules} - last.keys()
    nodes = watched.flow.nodes
    form = next(nodes[call.outputs[last[call.name].output.path]].shape for call in watched.calls if call.name in last)
    for call in watched.calls:
        if call.name in last:
            yield call.name, Returned(call.output, last[call.name].output.path, last[call.name].input.path)
        elif call.name in others:
            alike = (path for path, node in call.outputs.items() if nodes[node].shape == form)
            yield from ((call.name, Returned(call.output, path)) for path in islice(alike, 1))


class _Locator:
    def __init__(self, model: nn.Module, watched: WatchedPass) -> None:
        self.model = model
        self.watched = watched
        self.flow = watched.flow
        self.modules = dict(model.named_modules())
        self.weights = watched.weights

    def anatomy(self, name: str) -> Anatomy:
        path, logits = self._logits()
        stack = find_stack(self.watched, logits, self.modules)
        embedding, n_embeddings = self._embedding(self.watched)
        d_vocab = self.flow.nodes[logits].shape[-1]
        if d_vocab == stack.layout.d_model and d_vocab != n_embeddings:
            raise StructureError(
                f"{name} returns vectors of width {d_vocab} (its d_model), not logits over its {n_embeddings} tokens. "
                f"Load it with its language-model head, e.g. AutoModelForCausalLM instead of AutoModel."
            )
        layers = self._layers(self.watched, stack)
        final_norm, head = self._tail_modules(stack, logits)
        output = read_head(self.watched, logits)
        matrix = None if output.weight is None else id(self.flow.tensors[output.weight])
        encoder = self._encoder(name, logits) if self.watched.source is not None else None
        outside = Outside(self.watched, layers, encoder.layers if encoder else ())
        return Anatomy(
            name=name,
            layers=layers,
            layout=stack.layout,
            logits=path,
            embedding=embedding,
            n_embeddings=n_embeddings or d_vocab,
            final_norm=final_norm,
            head=head,
            d_vocab=d_vocab,
            n_params=sum(weight.numel() for weight in self.model.parameters()),
            causal=None,
            absent=absent_components(layers),
            encoder=encoder and replace(encoder, ends=outside.ends_of_encoder),
            transform=output.transform,
            ends=outside.ends,
            flops_outside=outside.flops,
            tied=matrix is not None and self.weights.get(matrix, "").rpartition(".")[0] == embedding,
            **self._described(layers),
        )

    def _described(self, layers: tuple[LayerAnatomy, ...]) -> dict[str, Any]:
        """Names of classes, and the parameters outside the layers."""
        inside = tuple(f"{path}." for layer in layers for path in layer.modules)
        named = self.model.named_parameters(remove_duplicate=False)
        return {
            "classes": {path: type(module).__name__ for path, module in self.modules.items()},
            "weights": tuple((path, tuple(weight.shape)) for path, weight in named if not path.startswith(inside)),
        }

    def _layers(self, watched: WatchedPass, stack: Stack) -> tuple[LayerAnatomy, ...]:
        describe = LayerDescriber(watched, stack, self.weights)
        return tuple(describe.layer(index) for index in range(len(stack.calls)))

    def _encoder(self, name: str, logits: int) -> Anatomy:
        """The stack through which the stream of the encoder's positions runs."""
        watched = self.watched.of_encoder()
        stack = find_stack(watched, logits, self.modules)
        embedding, n_embeddings = self._embedding(watched)
        layers = self._layers(watched, stack)
        return Anatomy(
            name=f"encoder of {name}",
            layers=layers,
            layout=stack.layout,
            logits=(),
            embedding=embedding,
            n_embeddings=n_embeddings,
            final_norm=self._norm_after(stack, logits),
            head=None,
            d_vocab=0,
            n_params=sum(layer.n_params for layer in layers),
            causal=None,
            absent=absent_components(layers),
            flops_outside=WeightFlops(0),
            **self._described(layers),
        )

    def _logits(self) -> tuple[Path, int]:
        root = self.watched.calls[0]
        for path, node in root.outputs.items():
            shape = self.flow.nodes[node].shape
            if len(shape) == 3 and shape[:2] == (self.watched.n_batch, self.watched.n_pos):
                return path, node
        raise StructureError(
            f"The model returns no logits of shape [batch, pos, d_vocab]; for {tuple(self.watched.ids.shape)} ids it "
            f"returned {[self.flow.nodes[node].shape for node in root.outputs.values()]}."
        )

    def _embedding(self, watched: WatchedPass) -> tuple[str | None, int]:
        """The first table that is looked up with the token ids, or else with something computed from them."""
        nodes = self.flow.nodes
        ids = self.flow.node_of(watched.ids)
        lookups = [node for node in nodes if node.op == "embedding" and ids in watched.ancestors(node.parents[1])]
        for lookup in sorted(lookups, key=lambda node: not self._is_moved(node.parents[1], ids)):
            path = self.weights.get(id(self.flow.tensors[lookup.parents[0]]), "")
            return path.rpartition(".")[0] or None, nodes[lookup.parents[0]].shape[0]
        return None, 0

    def _is_moved(self, node: int, origin: int) -> bool:
        """Whether a node holds the values of another, arranged in another way."""
        while node != origin and self.flow.nodes[node].moves:
            node = self.flow.nodes[node].parents[0]
        return node == origin

    def _tail_modules(self, stack: Stack, logits: int) -> tuple[str | None, str | None]:
        """The module that norms the last layer's output, and the one that makes something as wide as the vocabulary."""
        width = self.flow.nodes[logits].shape[-1:]
        heads = [call for call in self._later(stack) if self._returns(call, width, logits)]
        return self._norm_after(stack, logits), max(heads, key=lambda call: call.depth).name if heads else None

    def _norm_after(self, stack: Stack, logits: int) -> str | None:
        leaving = stack.calls[-1].outputs[stack.output]
        reading = [call for call in self._later(stack) if leaving in call.inputs.values()]
        norms = [
            call
            for call in reading
            if is_norm(call.module) and self._returns(call, self.flow.nodes[leaving].shape, logits)
        ]
        return norms[0].name if norms else None

    def _later(self, stack: Stack) -> list[Call]:
        return [call for call in self.watched.calls if call.start >= stack.calls[-1].end and call.n_ops > 0]

    def _returns(self, call: Call, shape: tuple[int, ...], logits: int) -> bool:
        used = self.watched.ancestors(logits)
        nodes = self.flow.nodes
        return any(node in used and nodes[node].shape[-len(shape) :] == shape for node in call.outputs.values())
