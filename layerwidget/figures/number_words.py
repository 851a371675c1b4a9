"""Numbers as the browser writes them: d3's formats on axes, a few letters in cells, all places in full."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from math import floor, isfinite, log10

_FORMAT = re.compile(r"(?:\.(\d+))?(~?)([gfesd])")
_PREFIXES = {-5: "f", -4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P"}


def tick_text(value: float, how: str) -> str:
    """A number on an axis in one of d3's formats: `.3~g`, `.2~f`, `~s`, `.0~e`, `d`."""
    found = _FORMAT.fullmatch(how)
    places, trim, kind = found.groups() if found else ("3", "~", "g")
    digits = 6 if places is None else int(places)
    size = abs(value)
    if kind == "s":
        step = max(-5, min(5, floor(log10(size) / 3))) if size else 0
        written = _trimmed(precision_text(size / 1000.0**step, digits), bool(trim)) + _PREFIXES[step]
    elif kind == "d":
        written = f"{size:.0f}"
    else:
        plain = precision_text(size, digits) if kind == "g" else f"{size:.{digits}{kind}}"
        written = _trimmed(_short_exponent(plain), bool(trim))
    return f"−{written}" if value < 0 and float(f"{size:.12g}") else written


def precision_text(value: float, digits: int) -> str:
    """JavaScript's `toPrecision`: significant places, with an exponent where the number is very large or small."""
    digits = max(1, digits)
    if value == 0:
        return f"{0:.{digits - 1}f}"
    exponent = floor(log10(abs(float(f"{value:.{digits - 1}e}"))) + 1e-9)
    if exponent < -6 or exponent >= digits:
        return _short_exponent(f"{value:.{digits - 1}e}")
    # As JavaScript rounds: the exact value of the number, a half away from zero.
    step = Decimal(1).scaleb(exponent - digits + 1)
    return format(Decimal(value).quantize(step, ROUND_HALF_UP), "f")


def _short_exponent(text: str) -> str:
    """1e-05 -> 1e-5."""
    return re.sub(r"e([+-])0*(\d)", r"e\1\2", text)


def _trimmed(text: str, trim: bool) -> str:
    if not trim:
        return text
    return re.sub(r"(\.\d*?)0+(?=e|$)", lambda found: found[1].rstrip("."), text)


def short_value(value: float, digits: int) -> str:
    """A value in a few letters, as `shortValue` of `js/heat_cells.js`: 1234 -> `1.2k`, 0.0123 -> `.012`."""
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e15:
        return _short_exponent(f"{value:.0e}").replace("e+", "e")
    step = min(4, floor((log10(float(precision_text(size, digits))) + 1e-12) / 3))
    scaled = value / 1000.0**step if step > 0 else value
    rounded = float(precision_text(scaled, digits))
    text = f"{scaled:.0f}" if abs(rounded) >= 10**digits else _shortest(rounded)
    return re.sub(r"^(-?)0\.", r"\1.", text) + ("kMGT"[step - 1] if step > 0 else "")


def _shortest(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else repr(value)


def exact_value(value: float) -> str:
    """A value in full, as `exactValue` of `js/heat_cells.js`."""
    if not isfinite(value):
        return "no value"
    size = abs(value)
    if size == 0 or 0.1 <= size < 10000:
        return f"{value:.3f}"
    if size < 0.1:
        return _short_exponent(f"{value:.2e}") if size < 1e-6 else precision_text(value, 3)
    return precision_text(value, 7)


def short_probability(value: float) -> str:
    """As `shortProbability` of `js/lens_colours.js`: 0.971 -> `.971`."""
    if value >= 0.9995:
        return "1"
    return "0" if value < 0.0005 else f"{value:.3f}"[1:]


def short_count(value: int) -> str:
    """As `shortCount` of `js/lens_colours.js`: 49152 -> `49k`."""
    return str(value) if value < 10000 else f"{floor(value / 1000 + 0.5)}k"


def layers_title(layers: tuple[int, ...]) -> str:
    """Ascending layer numbers for people, as `layersTitle` of `js/rows.js`: `layers 18–29`."""
    if not layers:
        return "no layers"
    if len(layers) == 1:
        return f"layer {layers[0]}"
    ends = f"layers {layers[0]}–{layers[-1]}"
    return ends if len(layers) == layers[-1] - layers[0] + 1 else f"{len(layers)} of the {ends}"
