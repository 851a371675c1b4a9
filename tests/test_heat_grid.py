"""Heat grids: what they send to the browser, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import layerwidget as lw
from layerwidget import HeatColumns, HeatGrid, Sheet
from tests.test_views import sent
from tests.tiny import ids, tiny

LAYERS = (1, 2, 5)
VALUES = np.array([[0, 1, 2, 4], [0.5, 0, 8, 3], [6, 7, 1, 0.25]], np.float32)
NAMED = HeatColumns(("a", "b", "c", "d"))


def test_all_sheets_come_in_one_message() -> None:
    view = HeatGrid(layers="all", title="Some numbers")
    signed = VALUES - 3
    view.show(
        [Sheet("size", VALUES, "nats"), Sheet("sign", signed, kind="signed", digits=3)],
        NAMED, layers=LAYERS, n_layers=7, prompt="text",
    )  # fmt: skip
    meta, arrays = sent(view)
    np.testing.assert_array_equal(arrays["values"], np.stack([VALUES, signed]))
    assert (meta["layers"], meta["prompt"], view.n_layers, view.layers) == ([1, 2, 5], "text", 7, "0-6")
    assert meta["columns"] == {"labels": ["a", "b", "c", "d"], "picks": "column", "numbers": [0, 1, 2, 3], "names": []}
    size, sign = meta["sheets"]
    assert (size["limits"], size["unit"], size["clipped"], size["absent"]) == ([0, 8], "nats", [False, False], False)
    assert (sign["limits"], sign["kind"], sign["digits"]) == ([-5, 5], "signed", 3)
    assert view.sheet == "size"
    view.sheet = "sign"
    view.show([Sheet("sign", signed, kind="signed")], NAMED, layers=LAYERS)
    assert (view.sheet, view.n_layers) == ("sign", 6)
    view.show([Sheet("other", VALUES)], NAMED, layers=LAYERS)
    assert view.sheet == "other"
    view.show(None)
    assert sent(view) == ({"layers": [], "prompt": None}, {})


def test_what_is_absent_stays_absent() -> None:
    values = VALUES.copy()
    values[1, 2] = np.nan
    view = HeatGrid()
    view.show([Sheet("size", values), Sheet("none", np.full_like(VALUES, np.nan))], NAMED, layers=LAYERS)
    meta, arrays = sent(view)
    np.testing.assert_array_equal(np.isnan(arrays["values"][0]), np.isnan(values))
    assert [(sheet["limits"], sheet["absent"]) for sheet in meta["sheets"]] == [([0, 7], True), ([0, 1], True)]


@pytest.mark.parametrize(
    ("sheet", "ends", "clipped"),
    [
        (Sheet("x", VALUES, limits=5.0), (0, 5), [False, True]),
        (Sheet("x", VALUES - 3, kind="signed", limits=2.5), (-2.5, 2.5), [True, True]),
        (Sheet("x", VALUES + 0.5, kind="log"), (0.5, 8.5), [False, False]),
        (Sheet("x", VALUES + 0.5, kind="log", limits=(1.0, 100.0)), (1, 100), [True, False]),
        (Sheet("x", np.zeros((1, 1), np.float32)), (0, 1), [False, False]),
        (Sheet("x", np.float32([[0.1]])), (0, np.float32(0.1)), [False, False]),
        (Sheet("x", np.full((1, 2), np.nan, np.float32), kind="log"), (1, 1), [False, False]),
    ],
)
def test_limits_are_given_or_those_of_all_layers(sheet: Sheet, ends: tuple[float, float], clipped: list[bool]) -> None:
    assert sheet.ends == ends
    view = HeatGrid()
    labels = tuple(map(str, range(sheet.values.shape[1])))
    view.show([sheet], HeatColumns(labels), layers=range(len(sheet.values)))
    assert sent(view)[0]["sheets"][0]["clipped"] == clipped


def test_columns_are_the_positions_of_a_result_or_heads() -> None:
    lens = lw.LogitLens().run(lw.HookedModel(tiny("llama")).trace(ids(7)))
    view = HeatGrid(position=30)
    columns = HeatColumns.positions(lens)
    view.show([Sheet("entropy", lens.entropy_nats, "nats")], columns, layers=lens.layers, n_layers=lens.n_layers)
    assert (columns.labels, columns.picks) == (tuple(piece.visible for piece in lens.prompt_pieces()), "position")
    assert view.position == 6
    heads = HeatColumns.heads(range(2, 5))
    assert (heads.labels, heads.picks, heads.numbers) == (("2", "3", "4"), "head", (2, 3, 4))


@pytest.mark.parametrize(
    ("values", "keywords", "message"),
    [
        (VALUES - 1, {}, "one-sided: expected values from 0, got -1"),
        (VALUES, {"kind": "log"}, "log: expected values above 0, got 0"),
        (VALUES[0], {}, r"shape \[layer, column\]"),
        (np.where(VALUES > 7, np.inf, VALUES), {}, "finite values or NaN"),
        (VALUES, {"limits": -1.0}, "no limits of a one-sided"),
        (VALUES + 1, {"kind": "log", "limits": (0.0, 2.0)}, "no limits of a log"),
    ],
)
def test_values_that_do_not_fit_their_kind_are_refused(values: np.ndarray, keywords: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sheet("x", values, **keywords)


def test_sheets_that_do_not_fit_each_other_are_refused() -> None:
    view = HeatGrid()
    for sheets in ([Sheet("x", VALUES), Sheet("x", VALUES)], [Sheet("x", VALUES[:2])]):
        with pytest.raises(ValueError, match=r"different names and shape \[layer, column\] = \(3, 4\)"):
            view.show(sheets, NAMED, layers=LAYERS)
    with pytest.raises(ValueError, match="got 2 and 1"):
        HeatColumns(("a", "b"), "head", (3,))
    with pytest.raises(ValueError, match="got 2 and 0"):
        HeatColumns(("a", "b"), names=("one",))
    with pytest.raises(ValueError, match="got 0 and 0"):
        HeatColumns(())
