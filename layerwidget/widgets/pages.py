"""The pages that an explorer has, in the order of their tabs. A new one needs a line here."""

from __future__ import annotations

from layerwidget.widgets.attention_page import AttentionPage
from layerwidget.widgets.attribution_view import AttributionView
from layerwidget.widgets.compare_page import ComparePage
from layerwidget.widgets.depth_profile import DepthProfile
from layerwidget.widgets.lens_page import LensPage
from layerwidget.widgets.map_page import MapPage
from layerwidget.widgets.neurons_view import NeuronsView
from layerwidget.widgets.page import Page
from layerwidget.widgets.residual_view import ResidualView
from layerwidget.widgets.tuned_page import TunedPage

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
