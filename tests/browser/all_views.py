"""A page with every view that an export can have, of a small model, and what Python says of the same prompts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import transformers

import layerwidget as lw
from layerwidget.widgets.request_bar import RequestBar
from tests.tiny import D_VOCAB, letters

#: Every letter once, so that a word says its place; the other prompt has another one at place 2.
PROMPT, OTHER = "thequickbrownfx", "thaquickbrownfx"
N_LAYERS, N_HEADS, FIRST, LAST = 8, 4, 2, 6
LAYER, HEAD, POSITION, NEURON, N_SCORED = 4, 1, 9, 5, 32
PAGES = ["lens", "tuned", "residual", "attention", "attribution", "neurons", "depth", "compare", "map"]
_PATIENCE_S = 60

#: What is drawn of one quantity: for each curve its value at every layer.
Lines = list[np.ndarray]


def random_model() -> lw.HookedModel:
    """Weights so large that layers, heads and tokens differ in the first of three decimals."""
    config = transformers.LlamaConfig(
        vocab_size=D_VOCAB, hidden_size=36, intermediate_size=52, num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS, num_key_value_heads=2, head_dim=8, max_position_embeddings=2 * N_SCORED,
        initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(3)
    return lw.HookedModel(transformers.LlamaForCausalLM(config).eval(), letters(), "tiny")


def random_encoder_decoder() -> lw.HookedModel:
    """The same of a model with an encoder."""
    config = transformers.BartConfig(
        vocab_size=D_VOCAB, d_model=32, encoder_layers=1, decoder_layers=3, decoder_attention_heads=N_HEADS,
        encoder_attention_heads=N_HEADS, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=32,
        init_std=0.3,
    )  # fmt: skip
    torch.manual_seed(3)
    return lw.HookedModel(transformers.BartForConditionalGeneration(config).eval(), letters(), "tiny")


def press(bar: RequestBar) -> None:
    """Ask for what is computed on request only, and wait until it is there."""
    ended = threading.Event()
    bar.observe(lambda change: ended.set() if change["new"] in ("done", "failed") else None, "state")
    bar._handle_custom_msg({"type": "run"}, [])
    assert ended.wait(_PATIENCE_S)
    assert bar.state == "done", bar.message


def recorded_views(path: Path) -> Recorded:
    """Write the page, with what is only computed on request."""
    model = random_model()
    place = lw.Selection(layer=LAYER, head=HEAD, position=POSITION)
    explorer = lw.Explorer(model, PROMPT, layers=f"{FIRST}-{LAST}", selection=place, pages=PAGES)
    tuned, attention = explorer.page("tuned"), explorer.page("attention")
    explorer.page("compare").prompt = OTHER
    explorer.page("neurons").table.neuron = NEURON
    attention.attention_view.quantity = "value-weighted"
    tuned.text, tuned.epochs = PROMPT * 8, 1
    explorer.wait()
    for bar in (tuned.bar, attention.score_bar, explorer.page("depth").skip_bar):
        press(bar)
    explorer.wait()
    training = tuned.training
    assert training is not None
    explorer.to_html(path)
    explorer.close()
    return Recorded(path, model, model.trace(PROMPT), model.trace(OTHER), training)


@dataclass(frozen=True)
class Recorded:
    """A page, and Python's answers to what its views ask, each asked here anew."""

    path: Path
    model: lw.HookedModel
    trace: lw.Trace
    other: lw.Trace
    training: lw.TunedLensTraining

    #: The sheets of the comparison whose cells say something in words.
    WORDS: ClassVar[tuple[str, ...]] = ("top-1 token", "settled", "among the 10 most probable")

    @cached_property
    def lenses(self) -> list[lw.LensGrid]:
        """Of the first tab, and, of the second, the tuned and the plain one."""
        tuned = lw.TunedLens(self.training.translators, k=10).run(self.trace)
        plain = lw.LogitLens(component="resid_pre", k=10).run(self.trace)
        return [lw.LogitLens(k=10).run(self.trace), tuned, plain]

    @cached_property
    def residual(self) -> lw.ResidualGrid:
        return lw.ResidualStream().run(self.trace)

    @cached_property
    def attribution(self) -> lw.AttributionGrid:
        return lw.DirectLogitAttribution(position=POSITION).run(self.trace)

    @cached_property
    def patterns(self) -> tuple[np.ndarray, np.ndarray]:
        """Of both prompts."""
        first, second = (lw.Attention().run(trace).pattern for trace in (self.trace, self.other))
        return first, second

    def sheets(self, page: str) -> Mapping[str, np.ndarray]:
        """What each sheet of a page's first heat grid shows, [layer, column]."""
        if page == "residual":
            return self._residual_sheets()
        if page == "attention":
            kinds = ("induction", "previous", "duplicate")
            scores = {kind: lw.HeadScores(kind, N_SCORED).run(self.model).values for kind in kinds}
            return {"sink share": self.patterns[0][:, :, 1:, 0].mean(-1), **scores}
        if page == "attribution":
            return {"head": self.attribution.heads}
        return self._compared_sheets()

    def _residual_sheets(self) -> dict[str, np.ndarray]:
        grid = self.residual
        norms = {
            "stream after the layer": "resid_post", "what the FFN adds": "mlp_out", "what attention adds": "attn_out",
            "stream before the layer": "resid_pre",
        }  # fmt: skip
        turns = {"cosine with the layer before": grid.cos_previous, "cosine with the final stream": grid.cos_final}
        return {**{f"norm: {said}": grid.norm(name) for said, name in norms.items()}, **turns, "error": grid.error}

    def _compared_sheets(self) -> dict[str, np.ndarray]:
        questions = (lw.LogitLens(), lw.ResidualStream())
        found: dict[str, np.ndarray] = {}
        for question in questions:
            compared = lw.difference(question.run(self.trace), question.run(self.other))
            found |= {name: one.change for name, one in compared.quantities.items() if name != "top-1 token"}
        losses = [lw.PositionLoss().run(trace).nats for trace in (self.trace, self.other)]
        return {**found, "loss of the token": np.tile(losses[1] - losses[0], (N_LAYERS, 1))}

    def words(self, sheet: str, layer: int, position: int) -> tuple[str, float]:
        """What such a sheet says of a cell: the words, and the number behind them, which is not said where it is 0."""
        if sheet != "top-1 token":
            question: Any = lw.SettleDepth() if sheet == "settled" else lw.Emergence(k=10)
            a, b = (int(question.run(trace).layer[position]) for trace in (self.trace, self.other))
            return f"A from layer {a} on, B from layer {b} on, B − A {b - a:+d}", float(layer >= b) - float(layer >= a)
        lenses = [lw.LogitLens(k=1).run(trace) for trace in (self.trace, self.other)]
        a_word, b_word = (lens.pieces[int(lens.top_ids[layer, position, 0])].visible for lens in lenses)
        if a_word == b_word:
            return f"“{a_word}” in both", 0.0
        return f"A “{a_word}”, B “{b_word}”, probability in B", float(lenses[1].top_probs[layer, position, 0])

    def moved_heads(self) -> dict[str, np.ndarray]:
        """What the second heat grid of the comparison shows."""
        found = lw.difference(lw.Attention().run(self.trace), lw.Attention().run(self.other))
        return {"moved attention": found.moved, "sink share": found.sink.change}

    def figures(self, page: str) -> list[dict[str, Lines]]:
        """Of each figure of a page, in their order: quantity -> its curves."""
        return {
            "lens": self._lens_curves, "tuned": self._tuned_curves, "residual": self._residual_curves,
            "attribution": self._attribution_curves, "depth": self._depth_curves,
        }[page]()  # fmt: skip

    def _lens_curves(self) -> list[dict[str, Lines]]:
        lens = self.lenses[0]
        arrays = {
            "probability": lens.final_probs, "rank": lens.final_ranks + 1, "entropy": lens.entropy_nats,
            "kl": lens.kl_to_final_nats,
        }  # fmt: skip
        return [{name: [values[:, POSITION]] for name, values in arrays.items()}]

    def _tuned_curves(self) -> list[dict[str, Lines]]:
        both = self.lenses[2], self.lenses[1]
        trust = {
            "kl": [lens.kl_to_final_nats[:, POSITION] for lens in both],
            "probability": [lens.final_probs[:, POSITION] for lens in both],
        }
        return [trust, {"kl": [self.training.untrained_kl_nats, self.training.kl_nats]}]

    def _residual_curves(self) -> list[dict[str, Lines]]:
        grid = self.residual
        norms = [grid.norm(name) for name in ("resid_post", "mlp_out", "attn_out")]
        arrays = {"norms": norms, "cosines": [grid.cos_previous, grid.cos_final], "error": [grid.error]}
        return [{name: [values[:, POSITION] for values in several] for name, several in arrays.items()}]

    def _attribution_curves(self) -> list[dict[str, Lines]]:
        values = dict(zip(self.attribution.names, self.attribution.values.tolist(), strict=True))
        parts = [np.array([values[f"{kind}{layer}"] for layer in range(N_LAYERS)]) for kind in ("attn", "mlp")]
        return [{"logits": [*parts, values["embed"] + np.cumsum(sum(parts))]}]

    def _depth_curves(self) -> list[dict[str, Lines]]:
        influence = [lw.BlockInfluence().run(self.trace).values]
        angles = lw.AngularDistance(N_LAYERS // 2).run(self.trace).values
        skipped = lw.SkipEffect(tuple(self.trace.tokens.ids.tolist())).run(self.model)
        losses = skipped.skipped_nats[:, 1:].mean(1) - skipped.nats[1:].mean()
        kl = {"kl": [skipped.kl_nats.mean(1)], "last": [skipped.kl_nats[:, -1]], "loss": [losses]}
        return [{"influence": influence, "log": influence}, {"angle": [angles]}, kl]
