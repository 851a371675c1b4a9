"""Named axes: what the arrays of a result run over, and the same result as a pandas or xarray table.

A field says it itself: `field(metadata=along("layer pos", "nats"))`. That is all that `to_xarray`, `to_pandas` and
whoever reads a result from a file need to know.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwidget.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

#: Field -> what it is called among the attributes of a table.
_ATTRIBUTES = {"model_name": "model"}


@dataclass(frozen=True)
class Along:
    """What one field runs over.

    Attributes:
        axes: the names of its axes.
        unit: of its values; empty for counts, ids and shares of 1.
        name: what it is called in a table; the name of the field where it is empty.
        is_coordinate: whether it names the places along its axis, and measures nothing.
    """

    axes: tuple[str, ...]
    unit: str = ""
    name: str = ""
    is_coordinate: bool = False


def along(axes: str, unit: str = "", *, name: str = "") -> Mapping[str, Along]:
    """Metadata of a field that holds measured values, one for each place.

    Args:
        axes: names of its axes, in their order: `"layer pos"`.
        unit: of the values.
        name: what it is called in a table, where that is not the name of the field.
    """
    return {"along": Along(tuple(axes.split()), unit, name)}


def naming(axis: str, name: str = "") -> Mapping[str, Along]:
    """Metadata of a field that says what stands at each place of an axis.

    Args:
        axis: the axis.
        name: what it is called in a table; by default it numbers the axis itself.
    """
    return {"along": Along((axis,), "", name or axis, is_coordinate=True)}


@dataclass(frozen=True, eq=False)
class Series:
    """Values along named axes.

    Attributes:
        name: what they are.
        along: the axes and the unit.
        values: as many axes as there are names.
    """

    name: str
    along: Along
    values: np.ndarray


def fields_along(kind: Any) -> Iterator[tuple[Field[Any], Along]]:
    """The fields of a result, or a type of results, that run over named axes."""
    for one in fields(kind):
        if "along" in one.metadata:
            yield one, one.metadata["along"]


class Tabular:
    """A result with named axes, as tables for pandas and xarray."""

    def series(self) -> Iterator[Series]:
        """Everything in it that runs over named axes; coordinates too."""
        for one, told in fields_along(self):
            value = getattr(self, one.name)
            if value is not None:
                yield Series(told.name or one.name, told, as_array(value))

    def misfit(self) -> str:
        """What of it does not fit together, in words; empty where all does. Whoever made it by hand is not asked."""
        sizes: dict[str, tuple[str, int]] = {}
        for one in self.series():
            if one.values.ndim != len(one.along.axes):
                return f"{one.name} has {one.values.ndim} axes, and should have {', '.join(one.along.axes)}"
            for axis, n in zip(one.along.axes, one.values.shape, strict=True):
                name, there = sizes.setdefault(axis, (one.name, n))
                if n != there:
                    return f"{name} has {there} places along {axis}, {one.name} has {n}"
        return ""

    def _attributes(self) -> dict[str, Any]:
        """What holds for all of it."""
        found: dict[str, Any] = {}
        for one in fields(self):  # type: ignore[arg-type]  # whoever inherits is a dataclass
            value = getattr(self, one.name)
            if "along" not in one.metadata and isinstance(value, str | int | float):
                # NetCDF knows no truth values.
                found[_ATTRIBUTES.get(one.name, one.name)] = int(value) if isinstance(value, bool) else value
        return found

    def to_xarray(self) -> xr.Dataset | xr.DataArray:
        """Its arrays with named axes, coordinates and units; a `DataArray` where it holds one, else a `Dataset`.

        Raises:
            MissingExtraError: when xarray is not installed.
        """
        xarray = extra("xarray")
        variables: dict[str, Any] = {}
        coordinates: dict[str, Any] = {}
        for one in self.series():
            held = coordinates if one.along.is_coordinate else variables
            held[one.name] = (one.along.axes, one.values, {"units": one.along.unit} if one.along.unit else {})
        sizes = {axis: n for axes, values, _ in variables.values() for axis, n in zip(axes, values.shape, strict=True)}
        here = {name: held for name, held in coordinates.items() if set(held[0]) <= sizes.keys()}
        counted = {axis: np.arange(n) for axis, n in sizes.items() if axis not in here}
        data = xarray.Dataset(variables, coords={**counted, **here}, attrs=self._attributes())
        found: xr.Dataset | xr.DataArray = data
        if len(variables) == 1:
            array = data[next(iter(variables))]
            found = array.assign_attrs(data.attrs)
        return found

    def to_pandas(self) -> pd.DataFrame:
        """One row for each cell of its first array: where it is, and everything that is known of that place.

        Raises:
            MissingExtraError: when pandas is not installed.
        """
        pd = extra("pandas")
        held = list(self.series())
        axes, shape = next((one.along.axes, one.values.shape) for one in held if not one.along.is_coordinate)
        counted = [
            Series(axis, Along((axis,)), np.arange(n))
            for axis, n in zip(axes, shape, strict=True)
            if axis not in {one.name for one in held}
        ]
        places = [one for axis in axes for one in (*counted, *held) if one.along.axes == (axis,) and one.name == axis]
        names = [one for one in held if one.along.is_coordinate and one.name not in axes]
        rest = [one for one in held if not one.along.is_coordinate]
        columns = (one for one in (*places, *names, *rest) if set(one.along.axes) <= set(axes))
        return pd.DataFrame({one.name: _spread(one, axes, shape) for one in columns})


def as_array(value: Any) -> np.ndarray:
    """Values along an axis as an array: of numbers of which some are missing, with NaN there."""
    if isinstance(value, np.ndarray):
        return value
    if any(one is None for one in value) and not any(isinstance(one, str) for one in value):
        return np.array([np.nan if one is None else one for one in value], dtype=np.float64)
    if not len(value):
        return np.zeros(0, dtype=np.int64)
    return np.array(value)


def _spread(one: Series, axes: Sequence[str], shape: Sequence[int]) -> np.ndarray:
    """Values over all cells of other axes, shape [cell]."""
    order = sorted(range(len(one.along.axes)), key=lambda place: axes.index(one.along.axes[place]))
    sizes = [n if axis in one.along.axes else 1 for axis, n in zip(axes, shape, strict=True)]
    spread: np.ndarray = np.broadcast_to(one.values.transpose(order).reshape(sizes), shape).ravel()
    return spread


def extra(module: str) -> ModuleType:
    """An optional library.

    Raises:
        MissingExtraError: when it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"This needs {module}, which is not installed. Install it with: pip install 'layerwidget[data]'"
        ) from error
