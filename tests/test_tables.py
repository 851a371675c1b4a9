"""Every result as a table: axes, coordinates, units, and the numbers that went in."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.axes import Tabular, along, fields_along, naming
from tests.every_answer import kinds_in_questions, one_of_each
from tests.tiny import N_HEADS, N_LAYERS

ANSWERS = [name for name in one_of_each() if name != "all_scores"]


def test_every_type_of_result_is_among_them() -> None:
    assert kinds_in_questions(is_question=False) == {type(one) for one in one_of_each().values()} - {tuple}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_array_keeps_its_numbers_and_its_axes(name: str) -> None:
    answer = one_of_each()[name]
    data = answer.to_xarray()
    variables = data.to_dataset(name=data.name) if hasattr(data, "to_dataset") else data
    arrays = [one for one in vars(answer).values() if isinstance(one, np.ndarray) and one.dtype.kind in "fb"]
    held = [variables[key].values for key in variables.variables if variables[key].dtype.kind in "fb"]
    for array in arrays:
        assert any(there.shape == array.shape and np.array_equal(there, array, equal_nan=True) for there in held)
    for key in variables.data_vars:
        assert len(set(variables[key].dims)) == variables[key].ndim
    if hasattr(answer, "model_name"):
        assert data.attrs["model"] == "tiny llama"


@pytest.mark.parametrize("name", ANSWERS)
def test_every_result_is_a_table_with_a_row_for_each_cell(name: str) -> None:
    answer = one_of_each()[name]
    frame = answer.to_pandas()
    assert len(frame)
    assert len(frame.columns) > 1
    assert len(set(frame.columns)) == len(frame.columns)


@pytest.mark.parametrize("name", ANSWERS)
def test_units_are_those_that_the_names_say(name: str) -> None:
    data = one_of_each()[name].to_xarray()
    for key in getattr(data, "data_vars", ()):
        if str(key).endswith("_nats"):
            assert data[key].attrs["units"] == "nats"


def test_attention_is_found_by_layer_head_and_position() -> None:
    grid = one_of_each()["attention"]
    frame = grid.to_pandas().set_index(["layer", "head", "query_pos", "key_pos"])
    assert len(frame) == 2 * 3 * 6 * 6
    assert frame.pattern[1, 3, 5, 2] == grid.pattern[1, 2, 5, 2]
    assert frame.kv_head[1, 3, 5, 2] == 1
    assert frame.key_piece[1, 3, 5, 2] == f"#{grid.token_ids[2]}"
    assert frame.query_token_id[1, 3, 5, 2] == grid.token_ids[5]
    np.testing.assert_allclose(frame.groupby(level=[0, 1, 2]).pattern.sum(), 1, atol=1e-5)
    data = grid.to_xarray()
    assert data.name == "pattern"
    assert float(data.sel(layer=1, head=3, query_pos=5, key_pos=2)) == frame.pattern[1, 3, 5, 2]


def test_cross_attention_has_the_source_across() -> None:
    grid = one_of_each()["cross"]
    data = grid.to_xarray()
    assert data.sizes == {"layer": N_LAYERS, "head": N_HEADS, "target_pos": 3, "source_pos": 4}
    assert data.source_token_id.values.tolist() == grid.source_ids.tolist()
    assert data.target_token_id.values.tolist() == grid.token_ids.tolist()


def test_names_that_tables_have_had_stay() -> None:
    lens = one_of_each()["lens"].to_xarray()
    assert lens.sizes == {"layer": 3, "pos": 6, "k": 2, "token": 2}
    assert lens.token.values.tolist() == [7, 9]
    assert {"top_ids", "final_ranks", "token_log_probs"} <= set(lens.data_vars)
    residual = one_of_each()["residual"].to_xarray()
    assert residual.norms.dims == ("component", "layer", "pos")
    assert residual.form.values.tolist() == ["sum"] * N_LAYERS


def test_golden_identities() -> None:
    found: dict[str, Any] = one_of_each()
    parts = found["attribution"].to_xarray()
    assert float(parts.logit.sum()) + parts.attrs["error"] == pytest.approx(found["attribution"].logit, abs=1e-4)
    assert parts.logit.sel(part="mlp1").part_layer == 1
    lens = found["lens"].to_xarray()
    first = lens.token_ranks == 0
    assert bool((lens.top_ids.isel(k=0).where(first, lens.token) == lens.token).all())
    np.testing.assert_allclose(lens.kl_to_final_nats.sel(layer=N_LAYERS - 1), 0, atol=1e-4)
    np.testing.assert_allclose(
        found["rollout"].to_xarray().rollout.isel(query_pos=slice(1, None)).sum("key_pos"), 1, atol=1e-5
    )
    sink = found["sink"].to_pandas()
    np.testing.assert_allclose(
        sink[sink.query_pos > 0].groupby(["layer", "head"]).on_first.mean(), found["sink"].share.ravel(), atol=1e-6
    )
    change = found["lens_difference"].to_xarray()
    np.testing.assert_allclose(change["entropy (B)"] - change["entropy (A)"], change["entropy (change)"], atol=1e-6)
    assert change["entropy (A)"].attrs["units"] == "nats"
    skipped = found["skipped"].to_xarray()
    np.testing.assert_allclose(skipped.kl_nats.mean("pos"), found["skipped"].to_pandas().mean_kl_nats, atol=1e-6)
    settled = found["settle"].to_xarray()
    ranks = settled.final_ranks.sel(layer=settled.found_layer)
    assert not ranks.any()


@dataclass(frozen=True, eq=False)
class _Crossed(Tabular):
    """A result of somebody's own, whose arrays have their axes in another order."""

    rows: np.ndarray = field(metadata=along("layer pos", "logits"))
    columns: np.ndarray = field(metadata=along("pos layer"))
    names: tuple[str, ...] = field(metadata=naming("pos", "word"))


def test_axes_are_found_by_their_names() -> None:
    values = np.arange(6.0).reshape(2, 3)
    answer = _Crossed(values, values.T.copy(), ("a", "b", "c"))
    frame = answer.to_pandas()
    assert frame.columns.tolist() == ["layer", "pos", "word", "rows", "columns"]
    assert frame["rows"].tolist() == frame["columns"].tolist() == values.ravel().tolist()
    assert frame.word.tolist() == ["a", "b", "c"] * 2
    assert answer.to_xarray()["rows"].attrs == {"units": "logits"}
    assert "2 places along pos" in _Crossed(values[:, :2], values.T, ("a", "b")).misfit()


def test_what_is_declared_fits_what_is_measured() -> None:
    for answer in one_of_each().values():
        for one in answer if isinstance(answer, tuple) else (answer,):
            assert one.misfit() == ""
            for place, told in fields_along(one):
                value = getattr(one, place.name)
                if isinstance(value, np.ndarray):
                    assert value.ndim == len(told.axes), place.name


@pytest.mark.parametrize(("library", "method"), [("pandas", "to_pandas"), ("xarray", "to_xarray")])
def test_a_missing_library_is_named(library: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setitem(__import__("sys").modules, library, None)
    monkeypatch.setattr(builtins, "__import__", without)
    for answer in (one_of_each()["lens"], one_of_each()["attention"]):
        with pytest.raises(lw.MissingExtraError, match=r"pip install 'layerwidget\[data\]'"):
            getattr(answer, method)()
