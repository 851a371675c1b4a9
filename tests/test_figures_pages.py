"""Every page and the whole explorer as a figure: any prompt, one token, one layer, nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.figures.themes import colour_of, ramp, theme_of
from layerwidget.widgets.pages import PAGES
from tests.model_maps import MAPS
from tests.pictures import elements, embedded, words
from tests.test_figures import HOSTILE
from tests.tiny import N_LAYERS, letters, tiny

NAMES = tuple(page.page_name for page in PAGES)


@pytest.fixture(scope="module")
def explorer() -> Iterator[lw.Explorer]:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny<&>"), "abcdef", pages=NAMES)
    explorer.wait()
    yield explorer
    explorer.close()


@pytest.mark.parametrize("layers", ["all", "1"])
@pytest.mark.parametrize("prompt", ["abcdef", "a", "", HOSTILE])
def test_every_page_is_a_figure_of_any_prompt(explorer: lw.Explorer, prompt: str, layers: str) -> None:
    explorer.prompt, explorer.layers = prompt, layers
    explorer.wait()
    for name in NAMES:
        page = explorer.page(name)
        for theme in ("paper", "dark"):
            svg = page.to_svg(theme=theme)
            assert words(svg)
            assert "<script" not in svg
        assert page.to_text().strip()
        assert "Traceback" not in page.to_text()


def test_an_explorer_says_which_model_and_prompt(explorer: lw.Explorer) -> None:
    explorer.prompt, explorer.layers, explorer.pages = "hello", "all", ["lens", "depth"]
    explorer.wait()
    svg = explorer.to_svg()
    said = words(svg)
    assert {"tiny<&>", *"helo", "Lens + attention", "Depth profile", "Loss by position"} <= set(said)
    assert f"{explorer.status.facts} · 5 tokens" in said
    assert "prompt: 'hello'" in explorer.to_text()
    assert explorer.to_png(scale=0.3).startswith(b"\x89PNG")
    assert explorer.to_pdf().startswith(b"%PDF-")
    # The pages stand under each other as they are open.
    explorer.pages = ["depth"]
    explorer.wait()
    assert "Lens + attention" not in words(explorer.to_svg())


def test_the_layers_in_view_are_the_rows_of_every_grid(explorer: lw.Explorer) -> None:
    explorer.prompt, explorer.layers, explorer.pages = "hello", "1-2", ["lens", "residual"]
    explorer.wait()
    for name in ("lens", "residual"):
        rows = [int(cell["data-layer"]) for cell in elements(explorer.page(name).to_svg(), "rect", "lw-cell")
                if "data-layer" in cell]  # fmt: skip
        assert rows == sorted(rows, reverse=True)
        assert set(rows) == {1, 2}


def test_the_map_draws_every_layer(explorer: lw.Explorer) -> None:
    explorer.layers, explorer.layer = "0-1", 1
    page = explorer.page("map")
    chips = elements(page.to_svg(), "rect", "lw-chip")
    assert {int(chip["data-layer"]) for chip in chips} == set(range(N_LAYERS))
    assert "Inside layer 1" in words(page.to_svg())


@pytest.mark.parametrize("found", MAPS.values(), ids=MAPS)
def test_any_map_is_a_figure(found: Callable[[], lw.ModelMap]) -> None:
    made = found()
    view = lw.LayerMap(made)
    svg = view.to_svg()
    assert "<script" not in svg
    names = ["encoder", "decoder"] if made.encoder else []
    assert [word for word in words(svg) if word in ("encoder", "decoder")] == names
    n_encoder = len(made.encoder.layers) if made.encoder else 0
    circles = [one for one in elements(svg, "circle", "") if one.get("stroke-width") == "1.5"]
    assert len(circles) == len(made.layers) + n_encoder
    assert view.to_text().count("\n") >= len(made.layers)


def test_bars_rows_and_strips_hold_the_numbers_of_the_results(explorer: lw.Explorer) -> None:
    explorer.prompt, explorer.layers = "hello", "0-1"
    explorer.pages = ["depth", "attribution", "neurons"]
    explorer.layer, explorer.head, explorer.position = 1, 2, 4
    explorer.wait()
    found = explorer.results
    depth, attribution = explorer.page("depth"), explorer.page("attribution")
    assert isinstance(depth, lw.DepthProfile)
    assert isinstance(attribution, lw.AttributionView)

    def drawn(view: Any) -> list[dict[str, str]]:
        return elements(view.to_svg(), "rect", "lw-cell")

    def values(view: Any) -> list[float]:
        return [float(cell["data-value"]) for cell in drawn(view)]

    nats = found["position_loss"].nats
    np.testing.assert_allclose(values(depth.loss), nats[np.isfinite(nats)], rtol=1e-5)
    np.testing.assert_allclose(values(attribution.sources), found["head_sources"].sources, rtol=1e-5)
    largest = [value for _, value in found["attribution"].largest(12)]
    np.testing.assert_allclose(values(attribution.parts)[: len(largest)], largest, rtol=1e-5)
    np.testing.assert_allclose(values(attribution.heads), found["attribution"].heads[[1, 0]].ravel(), rtol=1e-5)
    neurons = drawn(explorer.page("neurons"))
    assert [int(row["data-neuron"]) for row in neurons] == found["neurons"].neurons.tolist()
    settled, ranks = found["settle_depth"].layer, found["settle_depth"].final_ranks
    k = found["emergence"].k
    levels = {(int(cell["data-layer"]), int(cell["data-position"])): int(cell["data-level"])
              for cell in drawn(depth.strip)}  # fmt: skip
    for layer in (0, 1):
        for position in range(5):
            rank = ranks[layer, position]
            expected = 3 if layer >= settled[position] else 2 if rank == 0 else int(rank < k)
            assert levels.get((layer, position), 0) == expected


def painted(svg: str, name: str) -> np.ndarray:
    (image,) = (one for one in elements(svg, "image", "lw-pair") if one["data-name"] == name)
    return embedded(image)


@pytest.mark.parametrize("theme", ["paper", "dark"])
def test_the_head_of_two_runs_is_a_figure(theme: str) -> None:
    model = lw.HookedModel(tiny("llama"), letters(), "tiny")
    a, b = (lw.Attention().run(model.trace(prompt)).pattern[1, 2] for prompt in ("abde", "abxce"))
    view = lw.CompareView(*(lw.Attention().run(model.trace(prompt)) for prompt in ("abde", "abxce")), layer=1, head=2)
    view.head_view.position = 3
    svg = view.to_svg(theme=theme)
    # Columns: a b | d | x c | e
    at_a, at_b, common = [0, 1, 2, 5], [0, 1, 3, 4, 5], [0, 1, 5]
    whole = np.full((2, 6, 6), np.nan, np.float32)
    whole[0][np.ix_(at_a, at_a)], whole[1][np.ix_(at_b, at_b)] = a, b
    change = whole[1] - whole[0]
    look = theme_of(theme)
    for name, values in (("A", whole[0]), ("B", whole[1]), ("B − A", change)):
        drawn = painted(svg, name)
        np.testing.assert_array_equal(drawn[..., 3], np.where(np.isnan(values), 0, 255))
        for query, key in np.argwhere(np.isfinite(values)):
            value = float(values[query, key])
            side = "plain" if name != "B − A" else "below" if value < 0 else "above"
            fill = ramp(look, side).fills[int(np.sqrt(abs(value)) * 255 + 0.5)]  # type: ignore[arg-type]
            assert tuple(drawn[query, key, :3]) == colour_of(fill), (name, query, key)
    size = np.abs(np.nan_to_num(whole[1, 5]) - np.nan_to_num(whole[0, 5]))
    order = [key for key in np.argsort(-size, kind="stable")[:5] if size[key] > 0]
    bars = [cell for cell in elements(svg, "rect", "lw-cell") if "data-layer" not in cell]
    expected = [value for key in order for value in (*whole[:, 5, key], change[5, key]) if np.isfinite(value)]
    np.testing.assert_allclose([float(bar["data-value"]) for bar in bars], expected, atol=1e-5)
    table = view.head_view.to_text().splitlines()
    assert [row.split()[0] for row in table[2 : 2 + len(order)]] == ["abdxce"[key] for key in order]
    assert len(common) == (~np.isnan(change[5])).sum()
    assert "layer 1 · head 2 · √ scale" in words(svg)
    # What is not compared is said.
    only = lw.Attention("1").run(model.trace("abde"))
    single = lw.HeadCompareView(lw.difference(only, only), layer=2)
    assert "is not compared" in " ".join(words(single.to_svg()))
    assert "is not compared" in single.to_text()


def test_what_wraps_on_the_screen_wraps_on_paper() -> None:
    model = lw.HookedModel(tiny("llama"), letters(), "tiny")
    view = lw.CompareView(*(lw.Attention().run(model.trace(prompt)) for prompt in ("abde", "abxce")))
    heights = {}
    for view.mode in ("change", "both"):
        root = elements(view.to_svg(), "svg", "")[0]
        assert float(root["width"]) <= 1280 + 24
        heights[view.mode] = float(root["height"])
    assert heights["both"] > heights["change"] + 100
