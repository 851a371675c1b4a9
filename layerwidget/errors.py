"""Every error that layerwidget raises on purpose: what was expected, what came, what to do."""

from __future__ import annotations


class LayerWidgetError(Exception):
    """The base of all errors raised by layerwidget."""


class SelectionError(LayerWidgetError, ValueError):
    """A selection of layers, heads or positions that cannot be read or is out of range."""


class PromptError(LayerWidgetError, ValueError):
    """A prompt that the model cannot read: empty, too long, or not text."""


class EmptyPromptError(PromptError):
    """A prompt without a single token."""


class ModelLoadError(LayerWidgetError, RuntimeError):
    """A model that could not be found, downloaded, read or converted."""


class StructureError(LayerWidgetError, RuntimeError):
    """A model in which the layer stack, or a part that was asked for, could not be located."""


class MissingComponentError(LayerWidgetError, LookupError):
    """An activation that this architecture does not have, such as `resid_mid` in a parallel block."""


class QuestionError(LayerWidgetError, TypeError):
    """A question that cannot be asked of this trace or model."""


class ExportError(LayerWidgetError, OSError):
    """A page or figure that could not be made or written."""


class FigureError(LayerWidgetError, ValueError):
    """A picture that cannot be made or written: its size, its suffix or its folder."""


class Cancelled(LayerWidgetError):  # noqa: N818 - an outcome, not a fault
    """The pass was given up because a newer edit came in or the user pressed Stop."""


class StateError(LayerWidgetError, ValueError):
    """A state that an explorer cannot be brought into; nothing was changed."""


class SceneError(LayerWidgetError, ValueError):
    """A scene that is wrong, or that this explorer cannot show; nothing was changed."""


class MissingExtraError(LayerWidgetError, ImportError):
    """An optional library that is not installed."""


class RecordingError(LayerWidgetError, ValueError):
    """A file of answers, a trace or a state that cannot be read: damaged, of another kind or version, or wrong."""
