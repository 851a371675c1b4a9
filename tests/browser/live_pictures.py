"""What views draw in a browser, written down: words, boxes and bitmaps of their canvases, texts and bars beside them.

Without a notebook: every view gets its traits and its messages as a page without a kernel has them, its arrays as
base64 text, as Colab and VS Code get them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page

from layerwidget.figures.themes import Colour, Theme, colour_of
from layerwidget.widgets.base import Panel, View
from layerwidget.widgets.esm import registry_text, style_text
from layerwidget.widgets.messages import without_buffers

_SCRIPT = Path(__file__).with_suffix(".js")
#: A view that is at rest is so long before.
_MOST_READINGS = 100


@dataclass(frozen=True)
class Drawn:
    """What one view has drawn.

    Attributes:
        canvases: of each canvas the calls that have drawn it, in their order.
        texts: every text outside canvases, and the whole text of every element.
        said: the texts outside canvases that say something about the data: not those of controls.
        layers: of the layers that are elements: number, whether it is in view, and whether it is chosen.
        bars: of the bars that are elements: left end and width as shares of their track, and colour.
        chips: the words of tokens that are elements, and their colour.
    """

    canvases: list[list[dict[str, Any]]]
    texts: list[str]
    said: list[str]
    layers: list[tuple[int, bool, bool]]
    bars: list[tuple[float, float, str]]
    chips: list[tuple[str, str]]

    def words(self) -> list[tuple[str, Colour]]:
        """What is written on all canvases, with its colour."""
        calls = [call for canvas in self.canvases for call in canvas if call["kind"] == "words"]
        return [(call["words"], colour_of(call["colour"])) for call in calls]

    def boxes(self, canvas: int = 0) -> list[tuple[list[float], Colour]]:
        """The rectangles on a canvas: x, y, width and height, and colour."""
        calls = [call for call in self.canvases[canvas] if call["kind"] == "box"]
        return [(call["box"], colour_of(call["colour"])) for call in calls]

    def bitmaps(self, canvas: int = 0) -> list[np.ndarray]:
        """The bitmaps on a canvas, uint8 [row, column, 4]."""
        calls = [call for call in self.canvases[canvas] if call["kind"] == "image"]
        return [np.array(call["pixels"], np.uint8).reshape(call["height"], call["width"], 4) for call in calls]


def css_colour(text: str) -> Colour:
    """Red, green and blue of a computed style."""
    red, green, blue = (int(number) for number in re.findall(r"\d+", text)[:3])
    return red, green, blue


def recorded(view: View, width: float) -> dict[str, Any]:
    """What a browser needs to draw a view as it is now."""
    # In a page without a kernel, some of them would show what is recorded of other choices.
    messages = [without_buffers(message)[0] for message in View.recorded_messages(view)]
    own = {**Panel.recorded_traits(view), "group": view.model_id}
    return {"module": view.js_module, "traits": own, "messages": messages, "width": width}


def drawn_in(browser: Browser, cases: Mapping[str, dict[str, Any]], theme: Theme) -> dict[str, Drawn]:
    """Draw views in a page of their own; name -> what was drawn. An error in the console fails."""
    names = sorted({case["module"] for case in cases.values()} | {"recorded_model"})
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, offline=True)
    page, errors = context.new_page(), list[str]()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    host = f"--jp-layout-color0: {theme.ground}; --jp-ui-font-color0: {theme.ink}; --jp-ui-font-color1: {theme.ink};"
    page.set_content(
        f'<!DOCTYPE html><html data-jp-theme-light="{str(not theme.dark).lower()}"><head><style>:root {{ {host} }}'
        f"{style_text()}</style></head><body></body></html>"
    )
    page.add_script_tag(content=f"{registry_text(names, 'modules')}\n{_SCRIPT.read_text(encoding='utf-8')}")
    page.evaluate("(cases) => mountViews(cases)", json.loads(json.dumps(list(cases.values()))))
    read = _at_rest(page)
    context.close()
    assert not errors, errors
    return {name: Drawn(**one) for name, one in zip(cases, read, strict=True)}


def _at_rest(page: Page) -> list[dict[str, Any]]:
    """What is drawn when all data are, and nothing changes any more: sizes are known then, and nothing scrolls."""
    before = None
    for _ in range(_MOST_READINGS):
        now: list[dict[str, Any]] = page.evaluate("readViews()")
        if now == before and not page.evaluate("lateViews()"):
            return now
        before = now
    raise AssertionError(f"The views do not come to rest. Nothing is drawn of {page.evaluate('lateViews()')}.")
