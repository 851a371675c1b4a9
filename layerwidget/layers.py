"""Layer selections and depth bands: the grammar `15`, `14-16`, `-1`, `25%-75%`, `early`, `::2`, `all`.

Numbers are 0-based and ranges are inclusive, everywhere. Source: science.md, "Layer bands and selections".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from layerwidget.errors import SelectionError

LayerSelection: TypeAlias = str | int | Sequence[int]

#: Name of each band -> test of a layer's depth, which runs from 0.0 (first layer) to 1.0 (last layer).
BANDS: dict[str, Callable[[float], bool]] = {
    "early": lambda depth: depth < 0.25,
    "middle": lambda depth: 0.25 <= depth < 0.75,
    "late": lambda depth: depth >= 0.75,
}

_FORMS = (
    "a layer (15, -1), a range (14-16), a share (25%-75%), early, middle, late, all, "
    "every n-th (::2), or a list (10,15,20)"
)
_NUMBER = re.compile(r"-?\d+")
_RANGE = re.compile(r"(-?\d+)\s*-\s*(-?\d+)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%(?:\s*-\s*(\d+(?:\.\d+)?)%)?")
_STEP = re.compile(r"::(\d+)")


def depth(layer: int, n_layers: int) -> float:
    """Depth of a layer as a share of the stack: 0.0 for the first layer, 1.0 for the last."""
    return layer / (n_layers - 1) if n_layers > 1 else 0.0


def band_layers(name: str, n_layers: int) -> tuple[int, ...]:
    """Layer numbers of the band `early` [0, 25 %), `middle` [25 %, 75 %) or `late` [75 %, 100 %]."""
    inside = BANDS[name]
    return tuple(layer for layer in range(n_layers) if inside(depth(layer, n_layers)))


def parse_layers(selection: LayerSelection, n_layers: int, what: str = "layer") -> tuple[int, ...]:
    """Layer numbers of a selection, ascending and without repeats.

    Args:
        selection: text in the selection grammar, one number, or a sequence of numbers.
        n_layers: how many layers (or heads) there are.
        what: the noun used in error messages.

    Raises:
        SelectionError: names the offending part and the valid range.
    """
    if isinstance(selection, str):
        parts: Iterable[str | int] = [part.strip() for part in selection.split(",")]
    elif isinstance(selection, int):
        parts = [selection]
    else:
        parts = list(selection)
    found: set[int] = set()
    for part in parts:
        if isinstance(part, str):
            found.update(_parse_part(part, n_layers, what, str(selection)))
        else:
            found.add(_number(int(part), n_layers, what, repr(selection)))
    if not found:
        raise SelectionError(f"The {what} selection {selection!r} is empty. Expected {_FORMS}.")
    return tuple(sorted(found))


def frozen_selection(selection: LayerSelection) -> str | int | tuple[int, ...]:
    """A selection that can be compared and hashed.

    Raises:
        SelectionError: when it is neither text nor numbers.
    """
    if isinstance(selection, str | int):
        return selection
    if isinstance(selection, Sequence):
        return tuple(int(number) for number in selection)
    raise SelectionError(f"A selection is text, a number or a list of numbers; got {type(selection).__name__}.")


def format_layers(layers: Sequence[int]) -> str:
    """The shortest selection text of some layer numbers: `(3, 4, 5, 9)` -> `"3-5,9"`."""
    runs: list[list[int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _parse_part(part: str, n_layers: int, what: str, whole: str) -> tuple[int, ...]:
    word = part.lower()
    if word == "all":
        return tuple(range(n_layers))
    if word in BANDS:
        layers = band_layers(word, n_layers)
        if not layers:
            raise SelectionError(f"The band {word!r} holds no {what} of a model with {n_layers}.")
        return layers
    if word == "auto":
        raise SelectionError(f"{what} selection 'auto' is measured by a sweep; here, name the {what}s: {_FORMS}.")
    if match := _STEP.fullmatch(word):
        step = int(match[1])
        if step < 1:
            raise SelectionError(f"In {whole!r}: the step of {part!r} must be 1 or more.")
        return tuple(range(0, n_layers, step))
    if match := _PERCENT.fullmatch(word):
        return _percent(match, n_layers, what, part, whole)
    if match := _RANGE.fullmatch(word):
        first, last = (_number(int(number), n_layers, what, whole) for number in match.groups())
        if first > last:
            raise SelectionError(
                f"In {whole!r}: the range {part!r} runs backwards ({first} > {last}). Write {last}-{first}."
            )
        return tuple(range(first, last + 1))
    if _NUMBER.fullmatch(word):
        return (_number(int(word), n_layers, what, whole),)
    raise SelectionError(
        f"In the {what} selection {whole!r}: {part!r} cannot be read. "
        f"Expected {_FORMS}; numbers run from 0 to {n_layers - 1}."
    )


def _number(number: int, n_layers: int, what: str, whole: str) -> int:
    if not -n_layers <= number < n_layers:
        raise SelectionError(
            f"In the {what} selection {whole!r}: {number} is out of range. This model has {n_layers} {what}s, "
            f"0 to {n_layers - 1} (or -{n_layers} to -1 from the end)."
        )
    return number % n_layers


def _percent(match: re.Match[str], n_layers: int, what: str, part: str, whole: str) -> tuple[int, ...]:
    low = float(match[1]) / 100
    high = float(match[2]) / 100 if match[2] else low
    if high > 1 or low > high:
        raise SelectionError(f"In {whole!r}: the share {part!r} must rise and stay within 0% to 100%.")
    if match[2] is None:
        return (round(low * (n_layers - 1)),)
    layers = tuple(layer for layer in range(n_layers) if low <= depth(layer, n_layers) <= high)
    if not layers:
        raise SelectionError(f"In {whole!r}: no {what} of {n_layers} lies within {part!r}.")
    return layers
