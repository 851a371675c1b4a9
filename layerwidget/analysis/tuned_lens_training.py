"""Training translators: Adam on KL(final || layer), one layer after the other. Source: science.md, "Tuned lens".

A translator is trained in units of its layer's spread, `x + s * (A n + b)` with `n = (x - mean) / s`, so that one step
size suits every layer of every model: streams grow by orders of magnitude on their way. It is judged and handed over as
`x + weight @ x + bias`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from layerwidget.analysis.final_divergence import FinalPrediction, check_differentiable
from layerwidget.cancellation import checkpoint
from layerwidget.model.hooked_model import HookedModel
from layerwidget.questions import answers
from layerwidget.questions.translators import Translators
from layerwidget.questions.tuned_lens_training import TrainTunedLens, TunedLensTraining

#: Positions of one step, and of one piece of what is held out.
_BATCH = 64
#: Epochs without a smaller held-out KL after which a layer is left.
_PATIENCE = 3
#: By how much steps get shorter after such an epoch.
_SHORTER = 5


@answers(TrainTunedLens)
def train_tuned_lens(
    question: TrainTunedLens, model: HookedModel, progress: Callable[[int, int], None]
) -> TunedLensTraining:
    """One pass over each passage, then every layer is trained on what they left behind.

    Progress counts the passes and, after them, the epochs of all layers. It is told again between two steps, of the
    same number: whoever is told may let others go first.

    Raises:
        PromptError: when the model cannot read the text.
        QuestionError: for a text that is too short, an encoder-decoder, or a model whose tail has no gradient.
        Cancelled: between two passes or two steps, when the answer is no longer wanted.
    """
    passages, epochs, n_layers = question.passages(model), question.epochs, model.anatomy.n_layers
    total = len(passages) + n_layers * epochs
    generator = torch.Generator().manual_seed(question.seed)
    held_out = _held_out(len(passages), question.held_out, generator)
    streams = _Streams.of(passages, held_out, model, lambda done: progress(done, total))
    check_differentiable(model, streams.entered[n_layers // 2][:5])
    final = FinalPrediction.of(model, streams.final, lambda: progress(len(passages), total))
    weights = np.zeros((n_layers, model.anatomy.d_model, model.anatomy.d_model), np.float32)
    biases = np.zeros(weights.shape[:2], np.float32)
    curves = np.full((n_layers, 1 + epochs), np.nan, np.float32)
    for layer in range(n_layers):
        done = len(passages) + layer * epochs
        training = _Training(question, final, streams, layer, generator, partial(progress, done, total))
        for epoch in range(epochs):
            if not training.over:
                training.run_epoch(partial(progress, done + epoch, total))
            progress(done + epoch + 1, total)
        curves[layer, : len(training.curve)] = training.curve
        weights[layer], biases[layer] = (one.cpu().numpy() for one in training.best)
    return TunedLensTraining(
        translators=Translators(weights, biases, model.name),
        untrained_kl_nats=curves[:, 0].copy(),
        kl_nats=np.nanmin(curves, axis=1),
        curves=curves,
        n_train=len(streams.train),
        held_out=tuple(passages[index] for index in held_out),
    )


def _held_out(n_passages: int, share: float, generator: torch.Generator) -> list[int]:
    """Which passages are held out: at least one, and not all."""
    n = min(max(1, round(share * n_passages)), n_passages - 1)
    chosen: list[int] = torch.randperm(n_passages, generator=generator)[:n].sort().values.tolist()
    return chosen


@dataclass(frozen=True, eq=False)
class _Streams:
    """What a text leaves behind in a model.

    Attributes:
        entered: layer -> what enters it, shape [pos, d_model], fp32.
        final: what leaves the last layer, shape [pos, d_model], fp32.
        train: positions to train on.
        held: positions that are held out.
    """

    entered: list[torch.Tensor]
    final: torch.Tensor
    train: torch.Tensor
    held: torch.Tensor

    @classmethod
    def of(
        cls,
        passages: list[tuple[int, ...]],
        held_out: list[int],
        model: HookedModel,
        told: Callable[[int], None],
    ) -> _Streams:
        n_layers = model.anatomy.n_layers
        entered: list[list[torch.Tensor]] = [[] for _ in range(n_layers)]
        final, is_held = [], []
        for index, passage in enumerate(passages):
            checkpoint(f"passage {index}")
            trace = model.trace(list(passage))
            device = trace.logits_device
            for layer, rows in enumerate(entered):
                rows.append(trace.rows("resid_pre", layer, 0, len(passage)).to(device, torch.float32))
            final.append(trace.rows("resid_post", n_layers - 1, 0, len(passage)).to(device, torch.float32))
            is_held += [index in held_out] * len(passage)
            told(index + 1)
        held = torch.tensor(is_held, device=device)
        # One layer at a time, so that its pieces are given back before the next one is put together.
        whole = [torch.cat(entered.pop(0)) for _ in range(n_layers)]
        return cls(whole, torch.cat(final), (~held).nonzero()[:, 0], held.nonzero()[:, 0])


class _Training:
    """One layer's translator, while it is trained.

    Attributes:
        curve: mean held-out KL in nats, before and after each epoch.
        best: weight [d_model, d_model] and bias [d_model] of the state with the smallest.
    """

    def __init__(
        self,
        question: TrainTunedLens,
        final: FinalPrediction,
        streams: _Streams,
        layer: int,
        generator: torch.Generator,
        told: Callable[[], None],
    ) -> None:
        self._layer, self._generator = layer, generator
        self._final, self._streams, self._stream = final, streams, streams.entered[layer]
        self._mean, self._spread = _units(self._stream[streams.train])
        d_model = self._stream.shape[1]
        self._A = torch.zeros(d_model, d_model, device=self._stream.device)
        self._b = torch.zeros(d_model, device=self._stream.device)
        self._rates = [question.learning_rate / d_model**0.5, question.learning_rate]
        self._adam = torch.optim.AdamW(
            [{"params": [self._A], "weight_decay": question.weight_decay}, {"params": [self._b], "weight_decay": 0.0}]
        )
        self._n_steps, self._step_number = question.epochs * -(-len(streams.train) // _BATCH), 0
        self._kept = (self._A.clone(), self._b.clone())
        self.best = self._translator()
        self.curve = [self._held_out_kl(told)]

    @property
    def over(self) -> bool:
        """Whether it got worse often enough."""
        return len(self.curve) - 1 - int(np.argmin(self.curve)) >= _PATIENCE

    def run_epoch(self, told: Callable[[], None]) -> None:
        """See every position once; keep what came of it if it is better, else as much of it as is.

        Args:
            told: called between two steps.
        """
        train = self._streams.train
        order = torch.randperm(len(train), generator=self._generator).to(train.device)
        for at in train[order].split(_BATCH):
            checkpoint(f"training the lens of layer {self._layer}")
            self._step(at)
            told()
        kl = self._held_out_kl(told)
        if not self._kept_if_better(kl):
            kl = self._taken_back(kl, told)
        self.curve.append(kl)

    def _kept_if_better(self, kl: float) -> bool:
        better = kl < min(self.curve)
        if better:
            self.best, self._kept = self._translator(), (self._A.clone(), self._b.clone())
        return better

    def _taken_back(self, kl: float, told: Callable[[], None]) -> float:
        """Go a part of the way only, or none of it, and on from there with shorter steps; returns the held-out KL."""
        ways = [now - kept for now, kept in zip((self._A, self._b), self._kept, strict=True)]
        self._adam.state.clear()
        self._rates = [rate / _SHORTER for rate in self._rates]
        for share in (1 / _SHORTER, 1 / _SHORTER**2, 0.0):
            for now, kept, way in zip((self._A, self._b), self._kept, ways, strict=True):
                now.copy_(kept + share * way)
            part = self._held_out_kl(told) if share else kl
            if self._kept_if_better(part):
                return part
        return kl

    def _step(self, at: torch.Tensor) -> None:
        units = (self._stream[at] - self._mean) / self._spread
        moved = self._stream[at] + self._spread * torch.addmm(self._b, units, self._A.T)
        slope = self._final.gradient(moved, at) * self._spread / len(at)
        self._A.grad, self._b.grad = slope.T @ units, slope.sum(0)
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * (1 - self._step_number / self._n_steps)
        self._adam.step()
        self._step_number += 1

    def _translator(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias as they are applied to the stream itself."""
        weight = self._spread[:, None] * self._A / self._spread
        return weight, self._spread * self._b - weight @ self._mean

    def _held_out_kl(self, told: Callable[[], None]) -> float:
        weight, bias = self._translator()
        found = []
        for at in self._streams.held.split(_BATCH):
            checkpoint(f"judging the lens of layer {self._layer}")
            stream = self._stream[at]
            found.append(self._final.kl_nats(stream + torch.addmm(bias, stream, weight.T), at))
            told()
        return float(torch.cat(found).mean())


def _units(stream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle and spread of each direction, shape [d_model]: half the range of the middle two thirds.

    Few positions (the first one, in many models) are hundreds of times larger than all others, and do not count.
    """
    low, middle, high = stream.quantile(torch.tensor([0.16, 0.5, 0.84], device=stream.device), dim=0)
    spread = (high - low) / 2
    return middle, spread.clamp(min=1e-3 * float(spread.mean()) + 1e-12)
