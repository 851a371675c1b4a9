"""The model drawn as the stack it is: where every layer is, and what is inside one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from layerwidget.figures.map_figure import map_picture, map_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.layers import parse_layers
from layerwidget.model_map import ModelMap
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured


class LayerMap(Pictured, View, module="layer_map"):
    """The stack of layers with the residual stream as its trunk, beside the inside of the layer that is open.

    A click chooses a layer and opens it, a drag brings a range into view. With the keyboard, arrows choose,
    Shift with an arrow extends the range, and Enter opens and closes. An encoder stands beside its decoder;
    its layers can be opened too.

    Args:
        source: a `ModelMap`, or what has one: a hooked model, or its `anatomy`.

    Attributes:
        layers: the layers in view, those of the decoder where there is an encoder.
        layer: the chosen layer.
        model_map: what is drawn, or None.
    """

    heeds: ClassVar[tuple[str, ...]] = ("layers", "layer")

    def __init__(self, source: object = None, **traits: Any) -> None:
        self._model_map: ModelMap | None = None
        found = None if source is None else model_map_of(source)
        super().__init__(**traits)
        if found is not None:
            self.show(found)

    @property
    def model_map(self) -> ModelMap | None:
        """What is drawn, or None."""
        return self._model_map

    def show(self, source: object) -> None:
        """Draw another model: a `ModelMap`, or what has one.

        Raises:
            TypeError: when it is neither.
        """
        self._model_map = found = model_map_of(source)
        self._bound_to(len(found.layers), None)
        self._publish({"map": asdict(found)}, {})

    def __repr__(self) -> str:
        if self._model_map is None:
            return "LayerMap()"
        n_layers = len(self._model_map.layers)
        return f"LayerMap({self._model_map.name!r}, {n_layers} layers, layers={self.layers!r}, layer={self.layer})"

    def to_text(self) -> str:
        """The layers in view as a table, the last one on top."""
        return map_text(self._model_map, self._in_view(), self.layer)

    def _picture(self, theme: Theme, width: float) -> Picture:
        return map_picture(self._model_map, self._in_view(), self.layer, theme)

    def _in_view(self) -> list[int]:
        return [] if self._model_map is None else list(parse_layers(self.layers, len(self._model_map.layers)))


def model_map_of(source: object) -> ModelMap:
    """The map itself, or that of a hooked model or of an anatomy.

    Raises:
        TypeError: when there is none, or when it holds no layer.
    """
    found = source if isinstance(source, ModelMap) else getattr(getattr(source, "anatomy", source), "map", None)
    if not isinstance(found, ModelMap):
        raise TypeError(
            f"A layer map draws a ModelMap, a HookedModel or its anatomy; got {type(source).__name__}. "
            "Wrap a model first: lw.LayerMap(lw.HookedModel(model, tokenizer))."
        )
    if not found.layers:
        raise TypeError(f"The map of {found.name!r} holds no layer.")
    return found
