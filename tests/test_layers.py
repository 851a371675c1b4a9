"""The selection grammar."""

from __future__ import annotations

import pytest

from layerwidget.errors import SelectionError
from layerwidget.layers import band_layers, format_layers, parse_layers


@pytest.mark.parametrize(
    ("selection", "layers"),
    [
        ("15", (15,)),
        ("10,15,20", (10, 15, 20)),
        ("20, 10 ,15,10", (10, 15, 20)),
        ("14-16", (14, 15, 16)),
        ("-1", (29,)),
        ("-3--1", (27, 28, 29)),
        ("0-2,-1", (0, 1, 2, 29)),
        ("all", tuple(range(30))),
        ("ALL", tuple(range(30))),
        ("early", tuple(range(8))),
        ("middle", tuple(range(8, 22))),
        ("late", tuple(range(22, 30))),
        ("::2", tuple(range(0, 30, 2))),
        ("25%-75%", tuple(range(8, 22))),
        ("0%-100%", tuple(range(30))),
        ("50%", (14,)),
        (7, (7,)),
        (-2, (28,)),
        ((3, 1), (1, 3)),
        (range(4), (0, 1, 2, 3)),
    ],
)
def test_every_form(selection: object, layers: tuple[int, ...]) -> None:
    assert parse_layers(selection, 30) == layers  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ("30", "30 is out of range"),
        ("28-31", "31 is out of range"),
        ("-31", "-31 is out of range"),
        ("5-3", "runs backwards"),
        ("", "cannot be read"),
        ("ten", "'ten' cannot be read"),
        ("1,,2", "'' cannot be read"),
        ("::0", "step"),
        ("80%-20%", "must rise"),
        ("0%-120%", "must rise"),
        ("auto", "sweep"),
        ((), "is empty"),
        ((1, 99), "99 is out of range"),
    ],
)
def test_errors_name_the_part_and_the_range(selection: object, says: str) -> None:
    with pytest.raises(SelectionError, match=says):
        parse_layers(selection, 30)  # type: ignore[arg-type]


def test_the_bands_cover_every_layer_once() -> None:
    for n_layers in range(1, 130):
        layers = [layer for band in ("early", "middle", "late") for layer in band_layers(band, n_layers)]
        assert layers == list(range(n_layers))


def test_a_band_without_layers_says_so() -> None:
    with pytest.raises(SelectionError, match="'late' holds no layer"):
        parse_layers("late", 1)


@pytest.mark.parametrize("layers", [(0,), (3, 4, 5, 9), (0, 2, 4), tuple(range(30))])
def test_the_shortest_form_reads_back(layers: tuple[int, ...]) -> None:
    assert parse_layers(format_layers(layers), 30) == layers


def test_the_noun_is_the_callers() -> None:
    with pytest.raises(SelectionError, match="9 heads"):
        parse_layers("9", 9, "head")
