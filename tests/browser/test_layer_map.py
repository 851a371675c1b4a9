"""The layer map in a real JupyterLab: click, drag, keys, and what Python and the other views learn of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import watched
from tests.browser.notebook import Notebook
from tests.model_maps import MAPS

CELLS = (
    "import layerwidget as lw\nfrom tests.model_maps import MAPS, encoder_decoder, pre_norm, with_trouble",
    "own = lw.LayerMap(pre_norm(), group='g')\nown",
    "slider = lw.LayerSlider(max=29, group='g')\nslider",
    "both = lw.LayerMap(encoder_decoder())\nboth",
)
FIRST_STATE = """
own.show(pre_norm()); own.layers, own.layer = "18-29", 24; slider.layers, slider.layer = "18-29", 24
both.show(encoder_decoder()); both.layers, both.layer = "0-5", 2
"""


@pytest.fixture(scope="module")
def notebook(scratch: Notebook) -> Notebook:
    scratch.begin_anew(*CELLS)
    return scratch


class MapPage:
    """One layer map of an open notebook, by its parts."""

    def __init__(self, notebook: Notebook, place: int) -> None:
        self.notebook = notebook
        self.root = notebook.page.locator(".lw-map").nth(place)
        self.list = self.root.locator(".lw-map-stack:not(.lw-map-encoder) .lw-map-layers")
        self.encoder = self.root.locator(".lw-map-encoder .lw-map-layers")
        self.title = self.root.locator(".lw-map-head-title")
        self.pane = self.root.locator(".lw-map-pane")
        self.in_view = self.root.locator(".lw-map-view")

    def row(self, layer: int) -> Locator:
        return self.list.locator(f"[data-layer='{layer}']")

    def drag(self, first: int, last: int) -> None:
        """Press on a layer and move to another one, without letting go."""
        places = [self.row(layer).bounding_box() for layer in (first, last)]
        mouse = self.notebook.page.mouse
        for number, box in enumerate(places):
            assert box is not None
            mouse.move(box["x"] + 80, box["y"] + box["height"] / 2, steps=5)
            if not number:
                mouse.down()


def fresh(notebook: Notebook, place: int, layer: int) -> MapPage:
    notebook.use_theme("light")
    notebook.run(FIRST_STATE)
    page = MapPage(notebook, place)
    page.root.scroll_into_view_if_needed()
    expect(page.row(layer)).to_have_class(re.compile("lw-here"))
    expect(page.title).to_have_text(re.compile(f"ayer {layer}$"))
    return page


@pytest.fixture
def own(request: pytest.FixtureRequest, notebook: Notebook) -> Iterator[MapPage]:
    yield from checked(request, fresh(notebook, 0, 24))


@pytest.fixture
def both(request: pytest.FixtureRequest, notebook: Notebook) -> Iterator[MapPage]:
    yield from checked(request, fresh(notebook, 1, 2))


def checked(request: pytest.FixtureRequest, page: MapPage) -> Iterator[MapPage]:
    with watched(request, page.notebook):
        yield page


def test_a_click_chooses_a_layer_and_shows_what_is_inside(own: MapPage) -> None:
    own.row(7).click()
    expect(own.title).to_have_text("Layer 7")
    expect(own.row(7)).to_have_class(re.compile("lw-here"))
    expect(own.pane).to_contain_text("model.layers.7.self_attn")
    expect(own.pane).to_contain_text("9 heads (3 key/value) of width 64")
    expect(own.pane.locator(".lw-map-weight").filter(has_text="gate_proj")).to_contain_text("1,536 × 576")
    expect(own.pane.locator(".lw-map-plus")).to_have_count(2)
    expect(own.pane.locator(".lw-map-costs")).to_have_text("7.08 MFLOP/token · cache 1.54 kB/token")
    # As on the slider: the range reaches out to the layer.
    own.notebook.expect_value("[own.layer, own.layers]", [7, "7-29"])
    own.notebook.run("own.layer = 3")
    expect(own.pane).to_contain_text("model.layers.3.mlp")


def test_a_drag_brings_layers_into_view_and_sends_nothing_until_release(own: MapPage) -> None:
    own.notebook.count_messages()
    own.drag(22, 12)
    expect(own.in_view).to_have_text("layers 12–22 in view")
    expect(own.row(12)).to_have_class(re.compile("lw-in"))
    expect(own.row(11)).not_to_have_class(re.compile("lw-in"))
    assert own.notebook.page.evaluate("window.sentToKernel") == 0
    own.notebook.page.mouse.up()
    own.notebook.expect_value("[own.layers, own.layer]", ["12-22", 24])


def test_the_slider_of_the_same_group_follows_and_leads(own: MapPage) -> None:
    bright = own.notebook.page.locator(".lw-rail-layer.lw-in")
    expect(bright).to_have_count(12)
    own.drag(3, 5)
    expect(bright).to_have_count(3)
    own.notebook.page.mouse.up()
    own.notebook.page.locator("[data-preset=early]").click()
    expect(own.in_view).to_have_text("layers 0–7 in view")
    expect(own.list.locator(".lw-in")).to_have_count(8)
    own.notebook.expect_value("slider.layers", "0-7")


def test_every_layer_is_reached_by_keys(own: MapPage) -> None:
    keys = own.notebook.page.keyboard
    cells = own.notebook.page.locator(".jp-Cell").count()
    own.list.focus()
    keys.press("ArrowUp")
    expect(own.title).to_have_text("Layer 25")
    keys.press("Home")
    expect(own.title).to_have_text("Layer 0")
    keys.press("ArrowDown")
    keys.press("PageUp")
    expect(own.title).to_have_text("Layer 5")
    active = own.list.get_attribute("aria-activedescendant")
    assert active == own.row(5).get_attribute("id")
    for _ in range(3):
        keys.press("Shift+ArrowUp")
    expect(own.in_view).to_have_text("layers 5–8 in view")
    keys.press("Shift+ArrowDown")
    own.notebook.expect_value("[own.layer, own.layers]", [7, "5-7"])
    assert own.notebook.page.locator(".jp-Cell").count() == cells


def test_enter_closes_and_opens(own: MapPage) -> None:
    own.list.focus()
    own.notebook.page.keyboard.press("Enter")
    expect(own.title).to_have_text("The whole model")
    expect(own.pane.locator(".lw-map-sort")).to_have_text(
        re.compile("30 ×.*attention · gated FFN · norm before.*all 30")
    )
    expect(own.pane.locator(".lw-map-share").filter(has_text="attention")).to_contain_text("26.5M")
    own.notebook.page.keyboard.press("ArrowUp")
    expect(own.row(25)).to_have_class(re.compile("lw-here"))
    expect(own.title).to_have_text("The whole model")
    own.notebook.page.keyboard.press("Enter")
    expect(own.title).to_have_text("Layer 25")
    own.pane.get_by_role("button", name="Close").click()
    expect(own.title).to_have_text("The whole model")


def test_one_layer_leads_to_the_next_and_the_ends_open_too(own: MapPage) -> None:
    own.pane.get_by_role("button", name="layer 25").click()
    expect(own.title).to_have_text("Layer 25")
    own.notebook.expect_value("own.layer", 25)
    own.root.get_by_role("button", name=re.compile("token embedding")).click()
    expect(own.title).to_have_text("Before layer 0")
    expect(own.pane).to_contain_text("49,152 × 576")
    own.root.get_by_role("button", name=re.compile("head")).click()
    expect(own.title).to_have_text("After layer 29")
    expect(own.pane).to_contain_text("head tied to the embedding")


def test_the_encoder_stands_beside_and_opens_without_moving_the_traits(both: MapPage) -> None:
    expect(both.list.locator(".lw-map-kind-cross_attention")).to_have_count(6)
    expect(both.pane).to_contain_text("reads the encoder’s output")
    both.encoder.locator("[data-layer='4']").click()
    expect(both.title).to_have_text("Encoder layer 4")
    expect(both.pane).to_contain_text("encoder.block.4.layer.1.DenseReluDense")
    expect(both.row(2)).to_have_class(re.compile("lw-here"))
    both.encoder.press("ArrowDown")
    expect(both.title).to_have_text("Encoder layer 3")
    both.notebook.expect_value("[both.layer, both.layers]", [2, "0-5"])


def test_names_are_text_and_trouble_is_told(own: MapPage) -> None:
    own.notebook.run("own.show(with_trouble()); own.layer = 3")
    expect(own.title).to_have_text("Layer 3")
    expect(own.root.locator(".lw-detail")).to_contain_text("<i>odd</i> model")
    expect(own.pane.locator(".lw-map-card b")).to_have_text("<b>attention</b>")
    expect(own.pane.locator(".lw-map-card .lw-map-path")).to_contain_text("<img src=x onerror=")
    assert own.root.locator("img, i:not(.lw-map-bridge i), b b").count() == 0
    own.notebook.run("own.layer = 2")
    expect(own.pane).to_contain_text("largest difference 0.37")
    expect(own.row(2)).to_contain_text("could not be taken apart")


CUT = """nodes => nodes.filter((node) => node.scrollWidth > node.clientWidth + 1)
    .map((node) => [node.className, node.textContent.slice(0, 60), node.scrollWidth, node.clientWidth])"""
SIZES = "nodes => nodes.map((node) => [node.offsetLeft, node.offsetTop, node.offsetWidth, node.offsetHeight])"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_or_jumps_in_either_theme(own: MapPage, theme: str) -> None:
    own.notebook.use_theme(theme)  # type: ignore[arg-type]
    parts = own.root.locator(".lw-map-stack, .lw-map-layers, .lw-map-row, .lw-map-pane")
    before = parts.evaluate_all(SIZES)
    own.notebook.screenshot(f"layer-map-{theme}", ".lw-map")
    for layer in (0, 29):
        own.row(layer).click()
        expect(own.title).to_have_text(f"Layer {layer}")
    own.pane.get_by_role("button", name="Close").click()
    expect(own.title).to_have_text("The whole model")
    assert parts.evaluate_all(SIZES) == before
    words = own.notebook.page.locator(".lw-map *:not(.lw-map-path-head, .lw-bar)")
    for name in MAPS:
        own.notebook.run(f"own.show(MAPS[{name!r}]()); own.layer = 1")
        expect(own.title).to_have_text(re.compile("ayer 1$"))
        assert words.evaluate_all(CUT) == [], name
        flow = own.pane.locator(".lw-map-scroll")
        assert flow.evaluate("node => node.scrollHeight - node.clientHeight") <= 0, name
