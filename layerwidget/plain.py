"""Frozen values as plain ones and back: JSON, with raw arrays beside it by name. Nothing that is read is ever run.

Text, whole numbers, truth values, None and finite numbers are themselves; a tuple is a JSON array. Everything else is
an object that says what it is: `{"type": "LogitLens", "layers": "all", ...}` for a frozen dataclass, by the name it is
registered under, and `list`, `map`, `float` (of what is no finite number) and `array`.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import numpy as np

from layerwidget.axes import Tabular
from layerwidget.errors import LayerWidgetError, RecordingError
from layerwidget.hints import fits, hints_of

_Kind = TypeVar("_Kind", bound=type)

#: Where the frozen dataclasses are that anybody may read; others are `registered`.
_HOMES = ("layerwidget.questions", "layerwidget.tokens", "layerwidget.model_map", "layerwidget.grades")
_BUILT_IN = ("list", "map", "float", "array")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_registered: dict[str, type] = {}


def registered(kind: _Kind) -> _Kind:
    """Decorator: values of this frozen dataclass, or enumeration, can be written to files and read from them.

    Raises:
        TypeError: for another kind of class, or a name that is taken.
    """
    name = kind.__name__
    if not _is_frozen(kind) and not issubclass(kind, Enum):
        raise TypeError(f"Expected a frozen dataclass or an enumeration, got {name}.")
    before = _registered.get(name, kind)
    # A cell of a notebook that is run again defines its class again.
    is_taken = (before.__module__, before.__qualname__) != (kind.__module__, kind.__qualname__)
    if name in _BUILT_IN or is_taken or "type" in _field_names(kind):
        raise TypeError(f"{name} cannot be registered: the name is taken, or a field of it is called 'type'.")
    _registered[name] = kind
    return kind


def known_types() -> Mapping[str, type]:
    """Name -> type of what can be written and read."""
    _collect()
    return _registered


@cache
def _collect() -> None:
    """Register what `_HOMES` hold, once."""
    for home in _HOMES:
        module = importlib.import_module(home)
        inside = pkgutil.iter_modules(module.__path__) if hasattr(module, "__path__") else ()
        for one in (module, *(importlib.import_module(f"{home}.{found.name}") for found in inside)):
            for kind in vars(one).values():
                if _is_frozen(kind) and kind.__module__ == one.__name__ and not kind.__name__.startswith("_"):
                    registered(kind)


def _is_frozen(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind) if one.init) if is_dataclass(kind) else ()


def packed(value: Any, keep: Callable[[Any, str], dict[str, Any] | None], at: str = "") -> Any:
    """A value as JSON.

    Args:
        value: what is to be written.
        keep: takes an array, and where in the value it is, and returns what refers to it; None for what is no array.
        at: where in a larger value it is.

    Raises:
        RecordingError: for what has no such form, or is of a type that is not registered.
    """
    kept = keep(value, at)
    if kept is not None:
        return {"type": "array", **kept}
    if isinstance(value, Enum) or (is_dataclass(value) and not isinstance(value, type)):
        return _packed_object(value, keep, at)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"type": "float", "value": str(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple | list):
        items = [packed(one, keep, f"{at}.{place}") for place, one in enumerate(value)]
        return items if isinstance(value, tuple) else {"type": "list", "items": items}
    if isinstance(value, Mapping):
        items = [[packed(key, keep), packed(one, keep, f"{at}.{key}")] for key, one in value.items()]
        return {"type": "map", "items": items}
    raise RecordingError(
        f"{at or 'This'} is of the type {type(value).__name__}, which is not written to files. Expected frozen "
        "dataclasses of text, numbers, arrays, tuples and mappings."
    )


def _packed_object(value: Any, keep: Callable[[Any, str], dict[str, Any] | None], at: str) -> dict[str, Any]:
    name = type(value).__name__
    if known_types().get(name) is not type(value):
        raise RecordingError(
            f"{at or 'This'} is of the type {name}, which nothing reads again. Register it: "
            "@layerwidget.plain.registered over the frozen dataclass."
        )
    if isinstance(value, Enum):
        return {"type": name, "member": value.name}
    return {
        "type": name,
        **{name: packed(getattr(value, name), keep, f"{at}.{name}") for name in _field_names(type(value))},
    }


def unpacked(plain: Any, fetch: Callable[[dict[str, Any]], Any] | None = None, at: str = "the file") -> Any:
    """The value that `packed` wrote.

    Args:
        plain: JSON.
        fetch: returns the array that was kept; without it, arrays are refused.
        at: where in the file it is, for errors.

    Raises:
        RecordingError: for what `packed` does not write: unknown types, missing or unknown fields, values of another
            type than the field has, arrays that do not fit each other.
    """
    if plain is None or isinstance(plain, str | int | float):
        return plain
    if isinstance(plain, list):
        return tuple(unpacked(one, fetch, f"{at}, item {place}") for place, one in enumerate(plain))
    if not isinstance(plain, dict) or not isinstance(plain.get("type"), str):
        raise RecordingError(f"In {at}: expected an object that says its type, got {_short(plain)}.")
    kind, rest = plain["type"], {name: value for name, value in plain.items() if name != "type"}
    if kind == "array":
        if fetch is None:
            raise RecordingError(f"In {at}: there is an array where none can be.")
        return fetch(rest)
    if kind == "float":
        return _of(_NOT_FINITE, rest.get("value"), at)
    if kind in ("list", "map"):
        return _unpacked_items(kind, rest.get("items"), fetch, at)
    return _unpacked_object(_of(known_types(), kind, at), rest, fetch, at)


def _of(known: Mapping[str, Any], name: Any, at: str) -> Any:
    if not isinstance(name, str) or name not in known:
        raise RecordingError(f"In {at}: {_short(name)} is not known here. Known: {', '.join(sorted(known))}.")
    return known[name]


def _unpacked_items(kind: str, items: Any, fetch: Any, at: str) -> Any:
    pairs = kind == "map"
    if not isinstance(items, list) or (pairs and any(not isinstance(one, list) or len(one) != 2 for one in items)):
        raise RecordingError(f"In {at}: a {kind} has a list of items, of pairs in a map; got {_short(items)}.")
    if not pairs:
        return [unpacked(one, fetch, f"{at}, item {place}") for place, one in enumerate(items)]
    keys = [unpacked(key, None, at) for key, _ in items]
    if any(not isinstance(key, str | int) for key in keys):
        raise RecordingError(f"In {at}: the keys of a map are text or whole numbers; got {_short(keys)}.")
    return {key: unpacked(one, fetch, f"{at}, {key}") for key, (_, one) in zip(keys, items, strict=True)}


def _unpacked_object(kind: Any, found: dict[str, Any], fetch: Any, at: str) -> Any:
    at = f"{at}, {kind.__name__}"
    if issubclass(kind, Enum):
        return _of(kind.__members__, found.get("member"), at)
    known = {one.name: one for one in fields(kind) if one.init}
    values = {name: unpacked(value, fetch, f"{at}.{name}") for name, value in found.items() if name in known}
    unknown = sorted(found.keys() - known.keys())
    try:
        if unknown:
            raise TypeError(f"it has no field {', '.join(unknown)}")
        for name, value in values.items():
            if not fits(value, hints_of(kind)[name]):
                raise TypeError(f"{name} is {_short(value)}, and should be {hints_of(kind)[name]}")
        result = kind(**values)
        misfit = result.misfit() if isinstance(result, Tabular) else ""
    except (LayerWidgetError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise RecordingError(
            f"In {at}: these values do not make one: {error}. The file is damaged, or another version wrote it."
        ) from error
    if misfit:
        raise RecordingError(f"In {at}: {misfit}. The file is damaged.")
    return result


def _short(value: Any) -> str:
    said = f"an array of {value.dtype} {list(value.shape)}" if hasattr(value, "dtype") else repr(value)
    return said if len(said) < 80 else f"{said[:77]}..."
