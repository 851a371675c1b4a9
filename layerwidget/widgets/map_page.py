"""The page with the map of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from layerwidget.model_map import ModelMap
from layerwidget.widgets.layer_map import LayerMap
from layerwidget.widgets.page import Page
from layerwidget.widgets.traits import SelectionTraits

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel


class MapPage(Page):
    """The model as the stack it is.

    Attributes:
        layer_map: its view.
    """

    page_name = "map"
    page_title = "Model map"
    has_rail = False
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {"map": (ModelMap,)}

    def __init__(self, source: object = None, **shared: Any) -> None:
        self.layer_map = LayerMap(source, **shared)
        super().__init__(self.layer_map)

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> MapPage:
        """The map of this model."""
        return cls(model, **shared)

    @property
    def besides(self) -> Mapping[str, Any]:
        """The map."""
        return {} if self.layer_map.model_map is None else {"map": self.layer_map.model_map}

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw a map that was recorded."""
        self.layer_map.show(answer)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """The map."""
        return (self.layer_map,)
