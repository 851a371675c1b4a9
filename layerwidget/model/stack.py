"""Find the layer stack of a watched pass: the chain of calls through which one stream of residual vectors runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from torch import nn

from layerwidget.errors import StructureError
from layerwidget.model.interleaved import interleaved
from layerwidget.model.paths import Path
from layerwidget.model.stream import StreamForm, StreamLayout
from layerwidget.model.watched import Call, WatchedPass

#: A stack that does less than this share of the largest stack's work is a head or a pooler, not the model's layers.
_MIN_SHARE = 0.25

_Ports: TypeAlias = tuple[Path, Path]


@dataclass(frozen=True)
class Stack:
    """The layers in the order in which the stream runs through them.

    Attributes:
        calls: one call per layer, or a span over several; a module that is called several times is several layers.
        output: where the stream sits in a layer's output.
        inputs: where it sits in `{"args": args, "kwargs": kwargs}` of each layer.
        layout: how the stream's axes are arranged.
        carried: what else a layer hands to the next, such as a router's state: (output, input).
        n_rows: how many rows the stream has for each prompt, where it has more than positions; else 0.
    """

    calls: tuple[Call, ...]
    output: Path
    inputs: tuple[Path, ...]
    layout: StreamLayout
    carried: tuple[_Ports, ...] = ()
    n_rows: int = 0

    @property
    def n_ops(self) -> int:
        """How many values the layers computed."""
        return sum(call.n_ops for call in self.calls)


def find_stack(watched: WatchedPass, logits: int, modules: dict[str, nn.Module]) -> Stack:
    """The layer stack that the logits were computed from.

    Args:
        watched: the pass.
        logits: node of the logits.
        modules: every module by its path.

    Raises:
        StructureError: when no chain of calls carries a stream.
    """
    for stacks in _candidates(watched, watched.ancestors(logits), modules):
        if stacks:
            largest = max(stack.n_ops for stack in stacks)
            return [stack for stack in stacks if stack.n_ops >= _MIN_SHARE * largest][-1]
    raise StructureError(
        f"No layer stack found: among {len(watched.calls)} module calls, no two that follow each other hand on a "
        f"stream of shape [batch, pos, d_model] on which the logits depend. Is this a transformer with layers?"
    )


@dataclass(frozen=True)
class _Look:
    """What to look at, and for what."""

    watched: WatchedPass
    form: StreamForm
    used: set[int]
    ids: int


def _candidates(watched: WatchedPass, used: set[int], modules: dict[str, nn.Module]) -> Iterator[list[Stack]]:
    """Stacks for one form of the stream after the other, and at last those of layers that are no modules."""
    looks = [_Look(watched, form, used, watched.flow.node_of(watched.ids)) for form in _forms(watched)]
    yield from (_stacks(look, modules) for look in looks)
    channels_first = StreamForm(watched.n_batch, watched.n_pos, watched.n_pos, channels_first=True)
    yield from (_stacks_of_spans(look, modules) for look in (looks[0], replace(looks[0], form=channels_first)))


def _forms(watched: WatchedPass) -> Iterator[StreamForm]:
    """What the stream may look like: a row for each position, several streams side by side, or more rows."""
    n_batch, n_pos = watched.n_batch, watched.n_pos
    yield StreamForm(n_batch, n_pos, n_pos)
    yield StreamForm(n_batch, n_pos, n_pos, parallel=True)
    shapes = [watched.flow.nodes[node].shape for call in watched.calls for node in call.outputs.values()]
    padded = [shape for shape in shapes if len(shape) == 3 and shape[0] == n_batch and n_pos not in shape[1:]]
    longer = Counter(shape[1] for shape in padded if shape[1] > n_pos)
    yield from (StreamForm(n_batch, n_pos, n_rows) for n_rows, _ in longer.most_common() if n_rows != watched.n_source)


def _stacks(look: _Look, modules: dict[str, nn.Module]) -> list[Stack]:
    groups = list(_groups(look.watched.calls, modules))
    stacks = [stack for group in groups for stack in _chains(look, group)]
    if not stacks:
        stacks = [stack for group in groups if len(group) == 1 for stack in _single(look, group[0], modules)]
    return [one for one in stacks if not any(_nested(one, other) for other in stacks)]


def _stacks_of_spans(look: _Look, modules: dict[str, nn.Module]) -> list[Stack]:
    """Stacks of layers that are no modules, each of which hands on the whole stream as its last module's output."""
    stacks = [stack for spans in interleaved(look.watched.calls, modules) for stack in _chains(look, spans)]
    return [
        stack for stack in stacks if not any(_bypassed(look, stack, layer) for layer in range(len(stack.calls) - 1))
    ]


def _bypassed(look: _Look, stack: Stack, index: int) -> bool:
    """Whether something of what enters a layer reaches the next one without having been in its output."""
    entry, after = (stack.calls[layer].inputs[stack.inputs[layer]] for layer in (index, index + 1))
    leaving = stack.calls[index].outputs[stack.output]
    return entry in look.watched.ancestors(after, start=entry, stop=frozenset({leaving}))


def _groups(calls: Iterable[Call], modules: dict[str, nn.Module]) -> Iterable[list[Call]]:
    """Calls that may be layers of one stack: same caller, and same list of modules or same class."""
    groups: dict[tuple[int, object], list[Call]] = {}
    for call in calls:
        if call.parent is None or call.n_ops == 0:
            continue
        holder = call.name.rpartition(".")[0]
        in_list = isinstance(modules.get(holder), nn.ModuleList | nn.Sequential)
        groups.setdefault((id(call.parent), holder if in_list else type(call.module)), []).append(call)
    return sorted(groups.values(), key=lambda group: group[0].start)


def _chains(look: _Look, group: list[Call]) -> Iterable[Stack]:
    links = [set(_links(look, one, other)) for one, other in pairwise(group)]
    votes = Counter(ports for link in links for ports in link)
    if not votes:
        return
    # Layers may hand on something beside the stream: what enters the first and leaves the last for the logits counts.
    ports = max(
        votes, key=lambda one: (group[-1].outputs.get(one[0]) in look.used, one[1] in group[0].inputs, votes[one])
    )
    run: list[Call] = [group[0]]
    for link, call in zip([*links, set()], [*group[1:], None], strict=True):
        if ports in link and call is not None:
            run.append(call)
            continue
        layers = _without_leaves(run, look.watched)
        if len(layers) > 1:
            yield from _stack(look, layers, ports)
        run = [call] if call is not None else []


def _links(look: _Look, one: Call, other: Call) -> Iterable[_Ports]:
    """Pairs of output and input path over which a stream runs from one call to the next."""
    nodes, tensors = look.watched.flow.nodes, look.watched.flow.tensors
    for in_path, entering in other.inputs.items():
        is_stream = look.form.layout(nodes[entering].shape) is not None and tensors[entering].is_floating_point()
        if not is_stream or entering not in look.used:
            continue
        origins = _origins(look.watched, entering, one.end)
        for out_path, leaving in one.outputs.items():
            passed_through = leaving in one.inputs.values()
            if leaving in origins and not passed_through and nodes[leaving].shape == nodes[entering].shape:
                yield out_path, in_path


def _origins(watched: WatchedPass, node: int, made_before: int) -> set[int]:
    """Nodes of which a value is a rearranged, scaled or added-to copy; not searched beyond those made earlier."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        seen.add(current)
        step = watched.flow.nodes[current]
        if current >= made_before and (step.moves or step.adds or step.multiplies):
            waiting.extend(parent for parent in step.parents if parent not in seen)
    return seen


def _without_leaves(run: list[Call], watched: WatchedPass) -> list[Call]:
    """Drop norms at both ends of a chain (modules without parts); keep the chain when it has no other elements."""
    parents = {id(call.parent) for call in watched.calls}
    inner = [index for index, call in enumerate(run) if id(call) in parents or len(call.members) > 1]
    return run[inner[0] : inner[-1] + 1] if inner else []


def _single(look: _Look, call: Call, modules: dict[str, nn.Module]) -> Iterable[Stack]:
    """A stack of one layer: the only element of a list of modules, with a stream in and out."""
    if not isinstance(modules.get(call.name.rpartition(".")[0]), nn.ModuleList):
        return
    nodes = look.watched.flow.nodes
    for out_path, leaving in call.outputs.items():
        for in_path, entering in call.inputs.items():
            layout = look.form.layout(nodes[leaving].shape)
            same_shape = nodes[leaving].shape == nodes[entering].shape
            if layout and same_shape and leaving in look.used and leaving != entering:
                yield from _stack(look, [call], (out_path, in_path), at_least=1)
                return


def _stack(look: _Look, layers: list[Call], ports: _Ports, at_least: int = 2) -> Iterable[Stack]:
    """The stack of those layers into and out of which the stream can be seen; the first may take it in another way."""
    output, entry = ports
    nodes = look.watched.flow.nodes
    shape = nodes[layers[0].outputs[output]].shape
    layout = look.form.layout(shape)
    while layers and (output not in layers[-1].outputs or nodes[layers[-1].outputs[output]].shape != shape):
        layers = layers[:-1]
    while layout is not None and len(layers) >= at_least:
        entering = [entry] if entry in layers[0].inputs else []
        if entering and look.ids not in look.watched.ancestors(layers[0].inputs[entry]):
            return  # such as a stream of global tokens, which stand for no position
        others = [path for path, node in layers[0].inputs.items() if nodes[node].shape == shape]
        if entering or others:
            inputs = ((entering or others)[0], *([entry] * (len(layers) - 1)))
            n_rows = 0 if layout.place == "all" else look.form.n_rows
            yield Stack(tuple(layers), output, inputs, layout, _carried(layers, ports), n_rows)
            return
        layers = layers[1:]


def _carried(layers: list[Call], stream: _Ports) -> tuple[_Ports, ...]:
    """What every layer makes and hands to the next as it is, beside the stream."""
    found: set[_Ports] | None = None
    for one, other in pairwise(layers):
        made = {path: node for path, node in one.outputs.items() if node not in one.inputs.values()}
        pairs = {(out, place) for out, node in made.items() for place, taken in other.inputs.items() if node == taken}
        found = pairs if found is None else found & pairs
    return tuple(sorted((pair for pair in found or () if pair[0] != stream[0]), key=str))


def _nested(one: Stack, other: Stack) -> bool:
    return one is not other and any(layer.encloses(one.calls[0]) for layer in other.calls)
