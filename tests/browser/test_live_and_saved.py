"""What is saved is what is on the screen, of every view: cells, bitmaps, bars and words, in both themes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import Browser

import layerwidget as lw
from layerwidget.figures.themes import Colour, Theme, colour_of, ramp, theme_of
from layerwidget.widgets.base import View
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.picture import Pictured
from tests.browser.live_pictures import Drawn, css_colour, drawn_in, recorded
from tests.pictures import SVG, elements, embedded
from tests.tiny import letters, tiny

THEMES = ("paper", "dark")


@dataclass(frozen=True)
class Case:
    """A view as it was at one moment."""

    kind: str
    browser: dict[str, Any]
    saved: dict[str, str]


def case_of(view: Any) -> Case:
    return Case(type(view).__name__, recorded(view), {theme: view.to_svg(theme=theme) for theme in THEMES})


@pytest.fixture(scope="module")
def cases() -> Iterator[dict[str, Case]]:
    """Every view of every page of an explorer, and some of them with other choices."""
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abcdef")
    explorer.pages = [page.page_name for page in PAGES]
    explorer.page("compare").prompt = "abxdef"
    explorer.layer, explorer.position, explorer.head = 1, 3, 2
    explorer.wait()
    found = {}
    for page in (explorer, *explorer.stack.open_pages):
        for part in parts_of(page):
            if isinstance(part, View) and isinstance(part, Pictured) and (part.shown.layers or part._message is None):
                found[f"{type(part).__name__} {part.model_id}"] = case_of(part)
    yield found
    explorer.close()
