"""The tuned lens: translators, then the logit lens. Source: science.md, "Tuned lens"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from weakref import WeakKeyDictionary

import torch

from layerwidget.analysis.logit_lens import lens_steps
from layerwidget.questions import OnScreen, steps
from layerwidget.questions.lens import LensGrid, LogitLens
from layerwidget.questions.translators import Translators
from layerwidget.questions.tuned_lens import TunedLens
from layerwidget.trace import Trace

#: What answers call the vectors that were decoded.
COMPONENT = "tuned resid_pre"

# Translators on the devices where they are used, layer by layer, for as long as somebody holds them.
_placed: WeakKeyDictionary[Translators, dict[tuple[int, torch.device], tuple[torch.Tensor, torch.Tensor]]]
_placed = WeakKeyDictionary()


@steps(TunedLens)
def tuned_lens_steps(
    question: TunedLens, trace: Trace, before: LensGrid | None, n_same: int, on_screen: OnScreen
) -> Iterator[LensGrid]:
    """What the logit lens says of translated streams, in the same parts.

    Raises:
        QuestionError: when the translators are for a model of another shape.
        SelectionError: when layers or tokens are out of range.
    """
    translators = question.translators
    translators.check_fits(trace.anatomy.n_layers, trace.anatomy.d_model, trace.anatomy.name)
    plain = LogitLens(question.layers, "resid_pre", question.k, question.tokens, jsd=question.jsd)
    for grid in lens_steps(plain, trace, before, n_same, on_screen, partial(_translated, translators, trace)):
        yield replace(grid, component=COMPONENT)


def _translated(translators: Translators, trace: Trace, layer: int, start: int, stop: int) -> torch.Tensor:
    stream = trace.rows("resid_pre", layer, start, stop).float()
    weight, bias = placed(translators, layer, stream.device)
    return stream + torch.addmm(bias, stream, weight.T)


def placed(translators: Translators, layer: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's weight [d_model, d_model] and bias [d_model] on a device."""
    held = _placed.setdefault(translators, {})
    if (layer, device) not in held:
        # A copy on the processor too: torch takes no array that it must not write to.
        held[layer, device] = (
            torch.tensor(translators.weights[layer], device=device),
            torch.tensor(translators.biases[layer], device=device),
        )
    return held[layer, device]
