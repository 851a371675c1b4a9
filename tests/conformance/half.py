"""What is measured of a copy in half precision: the lens against fp32, on the same residual vectors."""

from __future__ import annotations

import copy
import re
from typing import Any

import torch

from layerwidget.model.paths import tensor_at, with_tensor_at
from tests.conformance.build import Entry
from tests.conformance.checks import Subject, logits_of
from tests.conformance.compare import DisagreementError, close

HALF_CHECKS = ("built", "located", "lens")


class HalfSubject(Subject):
    """One model in half precision. Its checks are those of `HALF_CHECKS`."""

    def __init__(self, one: Entry, dtype: torch.dtype) -> None:
        super().__init__(one)
        self.dtype = dtype

    def make(self) -> Any:
        """The tiny model, rounded; like a checkpoint that is loaded in this type, with some weights in fp32."""
        model: Any = super().make()
        exact = [weight for name, weight in model.named_parameters() if self._stays_in_fp32(model, name)]
        kept = [weight.detach().clone() for weight in exact]
        model.to(self.dtype)
        for weight, value in zip(exact, kept, strict=True):
            weight.data = value
        return model

    def _stays_in_fp32(self, model: Any, name: str) -> bool:
        keys = {*(model._keep_in_fp32_modules_strict or ())}
        if self.dtype == torch.float16:
            keys |= {*(model._keep_in_fp32_modules or ())}
        return any(re.search(rf"(^|\.){key}(\.|$)", name) for key in keys)

    def lens(self) -> None:
        """As an fp32 copy of the tail says; and the native replay of the last layer is the model, bit by bit."""
        assert self.trace is not None
        last = self.trace.activations["resid_post"][self.hooked.anatomy.n_layers - 1]
        with torch.no_grad():
            native = self.hooked._native_tail(last, self.hooked._any_input)
        if not torch.equal(native, self.before):
            off = float((native - self.before).float().abs().max())
            raise DisagreementError(f"the tail, replayed as it is, differs from the model by {off:.1e}")
        found, expected = self.hooked.tail(last), self._in_fp32(last.float())
        close("log-probabilities", found.log_softmax(-1), expected.log_softmax(-1), 1e-4)

    def _in_fp32(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits of an fp32 copy of the whole model whose last layer is made to return these vectors."""
        twin, layout, last = (
            copy.deepcopy(self.model).float(),
            self.hooked.anatomy.layout,
            self.hooked.anatomy.layers[-1],
        )
        calls: list[int] = []

        def leave(module: Any, args: Any, output: Any) -> Any:
            calls.append(len(calls))
            if calls[-1] != last.call:
                return None
            stream = layout.stream(rows, tensor_at(output, last.output.path))
            return with_tensor_at(output, last.output.path, stream)

        twin.get_submodule(last.last[0]).register_forward_hook(leave)
        return logits_of(self._plain(twin))[0]
