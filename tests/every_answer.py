"""One answer of every type of result, from tiny models: for tests that have to hold for all of them."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import is_dataclass
from functools import cache
from typing import Any

import layerwidget as lw
from layerwidget import questions
from layerwidget.questions import DerivedQuestion, ModelQuestion, OnScreen, TraceQuestion
from layerwidget.questions.attention import HeadGrid, HeadSelection
from layerwidget.questions.attention_flow import AllHeadScores
from layerwidget.questions.compared import TwoResults
from layerwidget.questions.passages import Framed
from tests.tiny import ids, tiny

# Whoever has a model can ask: so it is for those who import `lw.HookedModel`.
importlib.import_module("layerwidget.analysis")

#: Every question that one trace answers, and its arguments.
TRACE_QUESTIONS: dict[str, TraceQuestion[Any]] = {
    "lens": lw.LogitLens(k=2, tokens=(7, 9)),
    "head_lens": lw.LogitLens("1-2", component="head_out", head=1),
    "neuron_lens": lw.LogitLens("1-2", component="neuron_out", neuron=(1, 3)),
    "attention": lw.Attention("0-1", "1-3"),
    "residual": lw.ResidualStream(),
    "ledger": lw.ResidualStream("1-2"),
    "weighted": lw.ValueWeightedAttention(),
    "sink": lw.AttentionSink(),
    "rollout": lw.AttentionRollout(),
    "attribution": lw.DirectLogitAttribution(7, 9, head=(1, 2)),
    "sources": lw.HeadSources(1, 2),
    "settle": lw.SettleDepth(),
    "emergence": lw.Emergence(3),
    "influence": lw.BlockInfluence(),
    "angles": lw.AngularDistance(2),
    "loss": lw.PositionLoss(),
    "neurons": lw.Neurons(1, k=5, neuron=3, n_tokens=4),
    "activations": lw.NeuronActivations(1),
}


def kinds_in_questions(is_question: bool) -> set[type]:
    """The public dataclasses of `questions/` that are questions, or those that are answers."""
    found = set()
    for module in pkgutil.iter_modules(questions.__path__):
        for kind in vars(importlib.import_module(f"layerwidget.questions.{module.name}")).values():
            if isinstance(kind, type) and is_dataclass(kind) and kind.__module__.startswith("layerwidget.questions"):
                asked = issubclass(kind, TraceQuestion | ModelQuestion | DerivedQuestion)
                found |= {kind} if asked == is_question and not kind.__name__.startswith("_") else set()
    # What questions and answers are made of.
    return found - {OnScreen, HeadSelection, HeadGrid, Framed, TwoResults, lw.Translators}


@cache
def one_of_each() -> dict[str, Any]:
    """Name -> answer; every type of result occurs."""
    model = lw.HookedModel(tiny("llama"), name="tiny llama")
    trace, other = model.trace(ids(6)), model.trace([*ids(4), 3])
    found = {name: question.run(trace) for name, question in TRACE_QUESTIONS.items()}
    found["experts"] = lw.Neurons(1, k=5).run(lw.HookedModel(tiny("mixtral"), name="tiny llama").trace(ids(6)))
    found["scores"] = lw.HeadScores(n_tokens=5).run(model)
    found["all_scores"] = AllHeadScores(5).run(model)
    found["skipped"] = lw.SkipEffect(tuple(ids(6)), "1-2").run(model)
    found["training"] = lw.TrainTunedLens((tuple(ids(60)),), epochs=1, max_positions=40).run(model)
    found["cross"] = lw.CrossAttention().run(
        lw.HookedModel(tiny("bart"), name="tiny llama").trace(ids(4), target=ids(3))
    )
    for kind, question in (("lens", TRACE_QUESTIONS["lens"]), ("residual", lw.ResidualStream())):
        found[f"{kind}_difference"] = lw.difference(question.run(trace), question.run(other))
    found["moved"] = lw.difference(lw.Attention().run(trace), lw.Attention().run(other))
    for kind in ("attribution", "settle", "activations"):
        question = TRACE_QUESTIONS[kind]
        found[f"{kind}_difference"] = lw.difference(question.run(trace), question.run(other))
    rollout = lw.AttentionRollout()
    found["rollout_difference"] = lw.difference(rollout.run(trace), rollout.run(other))
    found["compared"] = found["lens_difference"]["entropy"]
    found["aligned"] = lw.aligned(trace.tokens.ids, other.tokens.ids)
    return found
