"""The figure and the browser draw alike: colours and numbers of Python against those of the JavaScript, with node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright._impl._driver import compute_driver_executable

import layerwidget
from layerwidget.figures.column_words import NARROWEST_WORD, on_end
from layerwidget.figures.heat_figure import heat_share
from layerwidget.figures.map_figure import short_amount
from layerwidget.figures.number_words import exact_value, layers_title, short_count, short_probability, short_value
from layerwidget.figures.themes import DARK, PAPER, Theme, colour_of, ramp

HOME = Path(layerwidget.__file__).parent / "widgets" / "js"


def in_javascript(module: str, names: str, expression: str, data: Any) -> Any:
    """What an expression over `data` is worth in a module of the views."""
    node, _driver = compute_driver_executable()
    code = (
        f'import {{ {names} }} from "{(HOME / module).as_uri()}"; const data = JSON.parse(process.argv[1]);'
        f"console.log(JSON.stringify({expression}));"
    )
    run = subprocess.run(
        [node, "--input-type=module", "-e", code, json.dumps(data)], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("theme", [PAPER, DARK])
def test_both_have_the_same_colours(theme: Theme) -> None:
    ground = list(colour_of(str(theme.ground)))
    expected = in_javascript("colour.js", "signedRamps", "signedRamps(data.ground, data.dark)",
                             {"ground": ground, "dark": theme.dark})  # fmt: skip
    for side in ("above", "below"):
        assert [list(colour_of(fill)) for fill in ramp(theme, side).fills] == expected[side]  # type: ignore[arg-type]
    inks = in_javascript(
        "colour.js", "luminance", "data.map((colour) => (luminance(colour) > 0.179 ? '#000000' : '#ffffff'))",
        [list(colour_of(fill)) for fill in ramp(theme).fills],
    )  # fmt: skip
    assert list(ramp(theme).inks) == inks


def test_the_plain_ramp_has_the_stops_of_the_browser() -> None:
    source = (HOME / "colour.js").read_text()
    for name, theme in (("LIGHT_RAMP", PAPER), ("DARK_RAMP", DARK)):
        stops = json.loads(source.split(f"const {name} = ")[1].split(";")[0])
        assert ramp(theme).fills[255] == stops[-1]
        expected = in_javascript("colour.js", "makeRamp", "makeRamp(data[0], data[1])",
                                 [list(colour_of(str(theme.ground))), stops])  # fmt: skip
        assert [list(colour_of(fill)) for fill in ramp(theme).fills] == expected


def test_both_write_numbers_alike() -> None:
    random = np.random.default_rng(0)
    size = 10.0 ** random.uniform(-9, 16, 400)
    values = [0.0, 0.5, 999.4, 999.6, 9999.5, 0.9995, 1e-3, 0.1, *size.tolist(), *(-size[:50]).tolist()]
    for digits in (2, 3):
        said = in_javascript("heat_cells.js", "shortValue", f"data.map((value) => shortValue(value, {digits}))", values)
        assert [short_value(value, digits) for value in values] == said
    said = in_javascript("heat_cells.js", "exactValue", "data.map(exactValue)", values)
    assert [exact_value(value) for value in values] == said


def test_both_write_probabilities_counts_and_layers_alike() -> None:
    shares = [0, 0.0004, 0.0005, 0.01, 0.971, 0.9994, 0.9996, 1]
    assert [short_probability(share) for share in shares] == in_javascript(
        "lens_colours.js", "shortProbability", "data.map(shortProbability)", shares
    )
    counts = [0, 9999, 10000, 49152, 262144]
    assert [short_count(count) for count in counts] == in_javascript(
        "lens_colours.js", "shortCount", "data.map(shortCount)", counts
    )
    layers: list[tuple[int, ...]] = [(), (4,), (3, 4, 5), (1, 5, 9)]
    assert [layers_title(some) for some in layers] == in_javascript(
        "rows.js", "layersTitle", "data.map(layersTitle)", layers
    )
    amounts = [576, 999, 9996, 999_950, 3540672, 134515008]
    assert [short_amount(count) for count in amounts] == in_javascript(
        "map_words.js", "shortAmount", "data.map(shortAmount)", amounts
    )


def test_values_lie_on_the_scale_alike() -> None:
    cases = [(2.0, "one-sided", 0, 8), (-2.0, "signed", -5, 5), (3.0, "log", 0.5, 100), (0.0, "log", 0.5, 100)]
    said = in_javascript("heat_cells.js", "heatShare",
                         "data.map(([value, kind, low, high]) => heatShare(value, { kind, limits: [low, high] }))",
                         cases)  # fmt: skip
    assert [heat_share(*case) for case in cases] == pytest.approx(said, abs=1e-12)


def test_words_below_columns_stand_alike() -> None:
    # Of half the narrowest column to more than the widest bar.
    columns = [width / 2 for width in range(12, 300)]
    said = in_javascript("column_words.js", "NARROWEST_WORD, onEnd",
                         "data.map((column) => [column >= NARROWEST_WORD, onEnd(column)])", columns)  # fmt: skip
    assert [[column >= NARROWEST_WORD, on_end(column)] for column in columns] == said
