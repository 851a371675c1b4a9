"""The page with the map of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

    def __init__(self, source: object = None, **shared: Any) -> None:
        self.layer_map = LayerMap(source, **shared)
        super().__init__(self.layer_map)

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> MapPage:
        """The map of this model."""
        return cls(model, **shared)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """The map."""
        return (self.layer_map,)
