"""The pages that an explorer has, in the order of their tabs. A new one needs a line here."""

from __future__ import annotations

from layerwidget.widgets.attention_page import AttentionPage
from layerwidget.widgets.attribution_view import AttributionView
from layerwidget.widgets.compare_page import ComparePage
from layerwidget.widgets.cross_page import CrossAttentionPage
from layerwidget.widgets.depth_profile import DepthProfile
from layerwidget.widgets.lens_page import LensPage
from layerwidget.widgets.map_page import MapPage
from layerwidget.widgets.neurons_view import NeuronsView
from layerwidget.widgets.page import Page
from layerwidget.widgets.residual_view import ResidualView
from layerwidget.widgets.tuned_page import TunedPage

#: Those of every model.
PAGES: tuple[type[Page], ...] = (
    LensPage,
    TunedPage,
    ResidualView,
    AttentionPage,
    AttributionView,
    NeuronsView,
    DepthProfile,
    ComparePage,
    MapPage,
)

#: Those of files, too: what is recorded of a model with an encoder can be drawn without it.
ALL_PAGES: tuple[type[Page], ...] = (*PAGES, CrossAttentionPage)


def pages_of(has_encoder: bool) -> tuple[type[Page], ...]:
    """The pages of a model; only a decoder that looks at an encoder has cross-attention."""
    return ALL_PAGES if has_encoder else PAGES
