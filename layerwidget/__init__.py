"""See inside a transformer while you type: live logit lens and attention for Hugging Face models in a notebook."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from layerwidget.analysis.check import check as check
    from layerwidget.engine.local import Live as Live
    from layerwidget.errors import (
        EmptyPromptError as EmptyPromptError,
        LayerWidgetError as LayerWidgetError,
        MissingComponentError as MissingComponentError,
        ModelLoadError as ModelLoadError,
        PromptError as PromptError,
        QuestionError as QuestionError,
        SelectionError as SelectionError,
        StructureError as StructureError,
    )
    from layerwidget.explorer import Explorer as Explorer, explore as explore
    from layerwidget.model.hooked_model import HookedModel as HookedModel
    from layerwidget.model.interventions import SkipLayers as SkipLayers
    from layerwidget.model.load import load as load
    from layerwidget.model_map import ModelMap as ModelMap
    from layerwidget.questions.attention import Attention as Attention, AttentionGrid as AttentionGrid
    from layerwidget.questions.lens import LensGrid as LensGrid, LogitLens as LogitLens
    from layerwidget.tokens import Tokens as Tokens
    from layerwidget.trace import Trace as Trace
    from layerwidget.widgets.attention_view import AttentionView as AttentionView
    from layerwidget.widgets.depth_curves import DepthCurves as DepthCurves
    from layerwidget.widgets.layer_map import LayerMap as LayerMap
    from layerwidget.widgets.layer_slider import LayerSlider as LayerSlider
    from layerwidget.widgets.logit_lens_view import LogitLensView as LogitLensView
    from layerwidget.widgets.prompt_editor import PromptEditor as PromptEditor
    from layerwidget.widgets.traits import Selection as Selection

# Public name -> module. Loaded on first use, so that data and views can be read without torch.
_HOMES = {
    "Attention": "questions.attention",
    "AttentionGrid": "questions.attention",
    "AttentionView": "widgets.attention_view",
    "DepthCurves": "widgets.depth_curves",
    "EmptyPromptError": "errors",
    "Explorer": "explorer",
    "HookedModel": "model.hooked_model",
    "LayerMap": "widgets.layer_map",
    "LayerSlider": "widgets.layer_slider",
    "LayerWidgetError": "errors",
    "LensGrid": "questions.lens",
    "Live": "engine.local",
    "LogitLens": "questions.lens",
    "LogitLensView": "widgets.logit_lens_view",
    "MissingComponentError": "errors",
    "ModelLoadError": "errors",
    "ModelMap": "model_map",
    "PromptEditor": "widgets.prompt_editor",
    "PromptError": "errors",
    "QuestionError": "errors",
    "Selection": "widgets.traits",
    "SelectionError": "errors",
    "SkipLayers": "model.interventions",
    "StructureError": "errors",
    "Tokens": "tokens",
    "Trace": "trace",
    "check": "analysis.check",
    "explore": "explorer",
    "load": "model.load",
}
# Whoever has a model can ask questions of its traces.
_WITH_ANALYSES = {"HookedModel", "load", "Live", "Explorer", "explore"}

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
