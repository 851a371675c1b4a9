"""See inside a transformer while you type: live logit lens and attention for Hugging Face models in a notebook."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from layerwidget.analysis.check import check as check
    from layerwidget.analysis.comparing import stream_cosine as stream_cosine
    from layerwidget.engine.local import Live as Live
    from layerwidget.errors import (
        EmptyPromptError as EmptyPromptError,
        ExportError as ExportError,
        FigureError as FigureError,
        LayerWidgetError as LayerWidgetError,
        MissingComponentError as MissingComponentError,
        MissingExtraError as MissingExtraError,
        ModelLoadError as ModelLoadError,
        PromptError as PromptError,
        QuestionError as QuestionError,
        RecordingError as RecordingError,
        SceneError as SceneError,
        SelectionError as SelectionError,
        StateError as StateError,
        StructureError as StructureError,
    )
    from layerwidget.explorer import Explorer as Explorer
    from layerwidget.export.replay import Replay as Replay, replay as replay
    from layerwidget.figures.sheets import HeatColumns as HeatColumns, Sheet as Sheet
    from layerwidget.model.hooked_model import HookedModel as HookedModel
    from layerwidget.model.interventions import SkipLayers as SkipLayers
    from layerwidget.model.learning_rates import layerwise_lr as layerwise_lr
    from layerwidget.model.load import load as load
    from layerwidget.model.translator_files import (
        load_translators as load_translators,
        save_translators as save_translators,
    )
    from layerwidget.model_map import ModelMap as ModelMap
    from layerwidget.opening import compare as compare, explore as explore
    from layerwidget.questions.alignment import Alignment as Alignment, aligned as aligned
    from layerwidget.questions.attention import (
        Attention as Attention,
        AttentionGrid as AttentionGrid,
        CrossAttention as CrossAttention,
        CrossAttentionGrid as CrossAttentionGrid,
    )
    from layerwidget.questions.attention_flow import (
        AllHeadScores as AllHeadScores,
        AttentionRollout as AttentionRollout,
        AttentionSink as AttentionSink,
        HeadScoreGrid as HeadScoreGrid,
        HeadScores as HeadScores,
        RolloutGrid as RolloutGrid,
        SinkGrid as SinkGrid,
        ValueWeightedAttention as ValueWeightedAttention,
        ValueWeightedGrid as ValueWeightedGrid,
    )
    from layerwidget.questions.attribution import (
        AttributionGrid as AttributionGrid,
        DirectLogitAttribution as DirectLogitAttribution,
        HeadSources as HeadSources,
        SourceGrid as SourceGrid,
    )
    from layerwidget.questions.compared import (
        AttentionDifference as AttentionDifference,
        ColumnDifference as ColumnDifference,
        Compared as Compared,
        Difference as Difference,
        MatrixDifference as MatrixDifference,
    )
    from layerwidget.questions.comparing import difference as difference
    from layerwidget.questions.depth import (
        AngleGrid as AngleGrid,
        AngularDistance as AngularDistance,
        BlockInfluence as BlockInfluence,
        DepthGrid as DepthGrid,
        Emergence as Emergence,
        InfluenceGrid as InfluenceGrid,
        SettleDepth as SettleDepth,
    )
    from layerwidget.questions.lens import LensGrid as LensGrid, LogitLens as LogitLens
    from layerwidget.questions.neurons import (
        ActivationGrid as ActivationGrid,
        NeuronActivations as NeuronActivations,
        NeuronGrid as NeuronGrid,
        Neurons as Neurons,
    )
    from layerwidget.questions.position import LossGrid as LossGrid, PositionLoss as PositionLoss
    from layerwidget.questions.residual import ResidualGrid as ResidualGrid, ResidualStream as ResidualStream
    from layerwidget.questions.skip_effect import SkipEffect as SkipEffect, SkipGrid as SkipGrid
    from layerwidget.questions.translators import Translators as Translators
    from layerwidget.questions.tuned_lens import TunedLens as TunedLens
    from layerwidget.questions.tuned_lens_training import (
        TrainTunedLens as TrainTunedLens,
        TunedLensTraining as TunedLensTraining,
    )
    from layerwidget.recording import Recording as Recording, read as read, save as save
    from layerwidget.scenes import Scene as Scene, Scenes as Scenes
    from layerwidget.tokens import Tokens as Tokens
    from layerwidget.trace import Trace as Trace
    from layerwidget.widgets.attention_view import AttentionView as AttentionView
    from layerwidget.widgets.attribution_view import AttributionView as AttributionView
    from layerwidget.widgets.compare_view import CompareView as CompareView
    from layerwidget.widgets.depth_curves import DepthCurves as DepthCurves
    from layerwidget.widgets.depth_profile import DepthProfile as DepthProfile
    from layerwidget.widgets.head_compare_view import HeadCompareView as HeadCompareView
    from layerwidget.widgets.head_map import HeadMap as HeadMap
    from layerwidget.widgets.heat_grid import HeatGrid as HeatGrid
    from layerwidget.widgets.layer_map import LayerMap as LayerMap
    from layerwidget.widgets.layer_slider import LayerSlider as LayerSlider
    from layerwidget.widgets.logit_lens_view import LogitLensView as LogitLensView
    from layerwidget.widgets.neurons_view import NeuronsView as NeuronsView
    from layerwidget.widgets.prompt_editor import PromptEditor as PromptEditor
    from layerwidget.widgets.residual_view import ResidualView as ResidualView
    from layerwidget.widgets.rollout_view import RolloutView as RolloutView
    from layerwidget.widgets.traits import Selection as Selection

# Public name -> module. Loaded on first use, so that data and views can be read without torch.
_HOMES = {
    "ActivationGrid": "questions.neurons",
    "NeuronActivations": "questions.neurons",
    "AllHeadScores": "questions.attention_flow",
    "Alignment": "questions.alignment",
    "AngleGrid": "questions.depth",
    "AngularDistance": "questions.depth",
    "Attention": "questions.attention",
    "AttentionDifference": "questions.compared",
    "AttentionGrid": "questions.attention",
    "AttentionRollout": "questions.attention_flow",
    "AttentionSink": "questions.attention_flow",
    "AttentionView": "widgets.attention_view",
    "AttributionGrid": "questions.attribution",
    "AttributionView": "widgets.attribution_view",
    "BlockInfluence": "questions.depth",
    "CompareView": "widgets.compare_view",
    "ColumnDifference": "questions.compared",
    "Compared": "questions.compared",
    "CrossAttention": "questions.attention",
    "CrossAttentionGrid": "questions.attention",
    "DepthCurves": "widgets.depth_curves",
    "DepthGrid": "questions.depth",
    "DepthProfile": "widgets.depth_profile",
    "Difference": "questions.compared",
    "MatrixDifference": "questions.compared",
    "DirectLogitAttribution": "questions.attribution",
    "Emergence": "questions.depth",
    "EmptyPromptError": "errors",
    "Explorer": "explorer",
    "ExportError": "errors",
    "HeadCompareView": "widgets.head_compare_view",
    "HeadMap": "widgets.head_map",
    "FigureError": "errors",
    "HeadScoreGrid": "questions.attention_flow",
    "HeadScores": "questions.attention_flow",
    "HeadSources": "questions.attribution",
    "HeatColumns": "figures.sheets",
    "HeatGrid": "widgets.heat_grid",
    "HookedModel": "model.hooked_model",
    "InfluenceGrid": "questions.depth",
    "LayerMap": "widgets.layer_map",
    "LayerSlider": "widgets.layer_slider",
    "LayerWidgetError": "errors",
    "LensGrid": "questions.lens",
    "Live": "engine.local",
    "LogitLens": "questions.lens",
    "LogitLensView": "widgets.logit_lens_view",
    "LossGrid": "questions.position",
    "MissingComponentError": "errors",
    "MissingExtraError": "errors",
    "ModelLoadError": "errors",
    "ModelMap": "model_map",
    "NeuronGrid": "questions.neurons",
    "Neurons": "questions.neurons",
    "NeuronsView": "widgets.neurons_view",
    "PositionLoss": "questions.position",
    "PromptEditor": "widgets.prompt_editor",
    "PromptError": "errors",
    "QuestionError": "errors",
    "Recording": "recording",
    "RecordingError": "errors",
    "Replay": "export.replay",
    "ResidualGrid": "questions.residual",
    "ResidualStream": "questions.residual",
    "ResidualView": "widgets.residual_view",
    "RolloutGrid": "questions.attention_flow",
    "RolloutView": "widgets.rollout_view",
    "Scene": "scenes",
    "SceneError": "errors",
    "Scenes": "scenes",
    "Selection": "widgets.traits",
    "SelectionError": "errors",
    "SettleDepth": "questions.depth",
    "Sheet": "figures.sheets",
    "SinkGrid": "questions.attention_flow",
    "SkipEffect": "questions.skip_effect",
    "SkipGrid": "questions.skip_effect",
    "SkipLayers": "model.interventions",
    "SourceGrid": "questions.attribution",
    "StateError": "errors",
    "StructureError": "errors",
    "Tokens": "tokens",
    "Trace": "trace",
    "TrainTunedLens": "questions.tuned_lens_training",
    "Translators": "questions.translators",
    "TunedLens": "questions.tuned_lens",
    "TunedLensTraining": "questions.tuned_lens_training",
    "ValueWeightedAttention": "questions.attention_flow",
    "ValueWeightedGrid": "questions.attention_flow",
    "aligned": "questions.alignment",
    "check": "analysis.check",
    "compare": "opening",
    "difference": "questions.comparing",
    "explore": "opening",
    "layerwise_lr": "model.learning_rates",
    "load": "model.load",
    "load_translators": "model.translator_files",
    "read": "recording",
    "replay": "export.replay",
    "save": "recording",
    "save_translators": "model.translator_files",
    "stream_cosine": "analysis.comparing",
}
# Whoever has a model can ask questions of its traces.
_WITH_ANALYSES = {"HookedModel", "load", "Live", "Explorer", "explore", "compare"}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'layerwidget' has no attribute {name!r}; it offers {', '.join(sorted(_HOMES))}")
    if name in _WITH_ANALYSES:
        importlib.import_module("layerwidget.analysis")
    value = getattr(importlib.import_module(f"layerwidget.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
