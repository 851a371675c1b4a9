"""One layer's FFN, called again on the stream that a trace holds, with everything that happens inside it in sight.

What it gives is compared with what the layer added during the pass: it is the same, or it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from layerwidget.errors import MissingComponentError
from layerwidget.ledger import Added, replayed, rows_of
from layerwidget.model.dataflow import DataFlow
from layerwidget.model.frozen_norm import in_fp32
from layerwidget.model.interventions import skipped_layers
from layerwidget.model.parts import FeedForward, Part
from layerwidget.model.paths import Path, tensor_at
from layerwidget.model.products import Product, Products
from layerwidget.model.running import submodule, weight_at
from layerwidget.rounding import relative_error, tolerance
from layerwidget.trace import Trace


@dataclass(frozen=True, eq=False)
class Watched:
    """What was computed while modules ran.

    Attributes:
        flow: the data-flow graph, with all values.
        products: its matrix products.
        output: what they returned in the end.
    """

    flow: DataFlow
    products: Products
    output: torch.Tensor

    def product_with(self, path: str) -> Product | None:
        """The product with one parameter; None where there is none, or more than one."""
        found = [product for node in range(len(self.flow.nodes)) if (product := self.products.product(node))]
        here = [product for product in found if self.products.path(product.weight) == path]
        return here[0] if len(here) == 1 else None

    def rows(self, node: int) -> torch.Tensor:
        """The value of a node, shape [row, width]."""
        tensor = self.flow.tensors[node]
        return tensor.reshape(-1, tensor.shape[-1])


@dataclass(frozen=True, eq=False)
class FfnAgain:
    """An FFN that can be called again. Whoever calls it holds the model's lock and is `inference`.

    Attributes:
        trace: the trace.
        layer: its layer.
        part: which part of the layer it is.
        ffn: what it is made of.
        modules: path -> module in fp32, of those that lead from the stream to its output.
        place: its entry in the layer's ledger.
        reads: after how many entries of the ledger it reads the stream.
    """

    trace: Trace
    layer: int
    part: Part
    ffn: FeedForward
    modules: dict[str, nn.Module]
    place: int
    reads: int

    @classmethod
    def of(cls, trace: Trace, layer: int, position: int) -> FfnAgain:
        """The FFN of a layer; what it reads is found by what it gives at one position.

        Raises:
            MissingComponentError: when the layer has no FFN that can be called again, or it never gives what was added.
        """
        number, part, ffn = _only_ffn(trace, layer)
        hf_model = trace.model.hf_model
        modules = {step.module: in_fp32(submodule(hf_model, step.module)) for step in ffn.steps}
        added = [index for index, entry in enumerate(trace.ledger(layer)) if isinstance(entry, Added)]
        again = cls(trace, layer, part, ffn, modules, added[number], added[number])
        # It reads the stream as it is where it adds to it; in parallel blocks, as it was before.
        errors: list[tuple[float, int]] = []
        for reads in range(again.place, -1, -1):
            one = replace(again, reads=reads)
            errors.append((one.error(one.output(one.stream(position, position + 1)), position), reads))
            if errors[-1][0] <= again.allowed:
                return one
        raise MissingComponentError(again.disagreement(min(errors)[0]))

    def stream(self, start: int, stop: int) -> torch.Tensor:
        """What it reads at some positions, shape [stop - start, d_model], fp32."""
        entered = self.trace.rows("resid_pre", self.layer, start, stop)
        ledger = [rows_of(entry, slice(start, stop)) for entry in self.trace.ledger(self.layer)[: self.reads]]
        return [entered, *replayed(entered, ledger)][-1].float()

    def output(self, rows: torch.Tensor) -> torch.Tensor:
        """What it makes of the stream, before a norm after it and factors, shapes [pos, d_model], fp32."""
        value = self.trace.anatomy.layout.stream(rows)
        try:
            for step in self.ffn.steps:
                value = tensor_at(_called(self.modules[step.module], step.input, value), step.output)
            return self.trace.anatomy.layout.rows(value)
        except (TypeError, RuntimeError, LookupError) as error:  # its modules want something else than rows
            raise MissingComponentError(f"{self.refusal}: its FFN cannot be called by itself ({error}).") from error

    def added(self, raw: torch.Tensor) -> torch.Tensor:
        """What is added to the stream of its output, shapes [pos, d_model]."""
        norm = self.norm_after
        return (raw if norm is None else norm(raw)) * self.factor

    @property
    def norm_after(self) -> nn.Module | None:
        """The norm through which its output goes, in fp32; or None."""
        path = self.part.norm_after
        return in_fp32(submodule(self.trace.model.hf_model, path)) if path else None

    @property
    def factor(self) -> torch.Tensor | float:
        """What its output is multiplied by before it is added: a number, or shape [d_model]."""
        factor: torch.Tensor | float = 1.0
        for one in self.part.factors:
            factor = factor * (weight_at(self.trace.model.hf_model, one).float() if isinstance(one, str) else one)
        return factor

    def module_of(self, parameter: str) -> nn.Module:
        """The module in which a parameter is, in fp32."""
        holder = parameter.rpartition(".")[0]
        for path, module in self.modules.items():
            if f"{holder}.".startswith(f"{path}."):
                return submodule(module, holder[len(path) + 1 :])
        raise MissingComponentError(f"{self.refusal}: {parameter} is in none of its modules.")

    def watched(self, run: Callable[[], torch.Tensor]) -> Watched:
        """Run something with its modules, and see what happens inside."""
        weights = {
            id(weight): f"{path}.{name}"
            for path, module in self.modules.items()
            for name, weight in module.named_parameters()
        }
        flow = DataFlow()
        with flow:
            output = run()
        return Watched(flow, Products(flow, weights), output)

    def watch(self, start: int, stop: int) -> Watched:
        """Call it on some positions.

        Raises:
            MissingComponentError: when it does not give what the layer added.
        """
        rows = self.stream(start, stop)
        seen = self.watched(lambda: self.output(rows))
        self.check(seen.output, start)
        return seen

    def check(self, raw: torch.Tensor, start: int) -> None:
        """Raise unless its output from a position on leads to what the layer added."""
        error = self.error(raw, start)
        if not error <= self.allowed:
            raise MissingComponentError(self.disagreement(error))

    def error(self, raw: torch.Tensor, start: int) -> float:
        """How far an output is from what the layer added from a position on, as a share of the largest value."""
        expected = self._ledger_value[start : start + len(raw)]
        return relative_error(self.added(raw), expected.to(raw.device))

    @property
    def allowed(self) -> float:
        """The largest error that rounding explains."""
        return tolerance(self._ledger_value.dtype, at_least=1e-5)

    @property
    def _ledger_value(self) -> torch.Tensor:
        entry = self.trace.ledger(self.layer)[self.place]
        assert isinstance(entry, Added)
        return entry.value

    def disagreement(self, error: float) -> str:
        """What to say when it gives something else."""
        return (
            f"{self.refusal}: called again, its FFN gives something else than the layer added (relative error "
            f"{error:.1e})."
        )

    @property
    def refusal(self) -> str:
        """How every refusal begins."""
        return _refusal(self.trace, self.layer)


def _refusal(trace: Trace, layer: int) -> str:
    return f"The neurons of layer {layer} of {trace.anatomy.name} are not known"


def _only_ffn(trace: Trace, layer: int) -> tuple[int, Part, FeedForward]:
    """The only FFN of a layer, and which of its parts that is."""
    found = trace.anatomy.layers[layer]
    ffns = [(number, part) for number, part in enumerate(found.parts) if part.kind == "mlp" and part.module]
    why = ""
    if layer in skipped_layers(trace.interventions, trace.anatomy.n_layers):
        why = "it was skipped"
    elif not ffns:
        why = found.trouble or "it has no FFN"
    elif len(ffns) > 1:
        why = f"it has {len(ffns)} FFNs"
    elif ffns[0][1].gate is not None:
        why = f"what they add is multiplied by {ffns[0][1].gate.module}"
    elif ffns[0][1].feed_forward is None:
        why = "no matrix was found through which its FFN writes"
    elif not ffns[0][1].feed_forward.steps:
        why = "its FFN reads more than the stream, so that it cannot be called by itself"
    if why:
        raise MissingComponentError(f"{_refusal(trace, layer)}: {why}.")
    number, part = ffns[0]
    assert part.feed_forward is not None
    return number, part, part.feed_forward


def _called(module: nn.Module, place: Path, value: torch.Tensor) -> Any:
    """What a module returns for one tensor: its first argument, or one that has a name."""
    return module(value) if place == ("args", 0) else module(**{str(place[1]): value})
