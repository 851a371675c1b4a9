"""The curves as a small SVG, written by hand: three panels, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from tests.bench.scaling import Curve

_WIDTH, _HEIGHT, _GAP, _LEFT, _TOP = 190, 150, 62, 52, 30
_COLOURS = {"cold": "#d95f02", "append": "#1b9e77"}
_NAMES = {"cold": "new prompt", "append": "one token appended"}
#: Readable on white and on black.
_GREY = "#808080"


def chart(curves: Sequence[Curve]) -> str:
    """The picture; all panels share the axis of time."""
    overs = list(dict.fromkeys(curve.over for curve in curves))
    times = [ms for curve in curves for ms in curve.ms]
    decades = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    width = _LEFT + len(overs) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + 44
    panels = [
        _panel(over, [curve for curve in curves if curve.over == over], _LEFT + index * (_WIDTH + _GAP), decades)
        for index, over in enumerate(overs)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11" fill="{_GREY}">\n{_legend()}\n{"".join(panels)}</svg>\n'
    )


def _legend() -> str:
    return "".join(
        f'<text x="{_LEFT + index * 110}" y="14" fill="{_COLOURS[row]}">{name}</text>'
        for index, (row, name) in enumerate(_NAMES.items())
    )


def _panel(over: str, curves: Sequence[Curve], left: float, decades: tuple[int, int]) -> str:
    sizes = sorted({size for curve in curves for size in curve.sizes})
    parts = [f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="{_GREY}"/>']
    for decade in range(decades[0], decades[1] + 1):
        y = _y(10.0**decade, decades)
        parts.append(f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="{_GREY}" stroke-opacity=".25"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{_time(decade)}</text>')
    for size in sizes:
        parts.append(f'<text x="{_x(size, sizes, left):.1f}" y="{_TOP + _HEIGHT + 15}" text-anchor="middle">'
                     f"{_short(size)}</text>")  # fmt: skip
    parts.append(f'<text x="{left + _WIDTH / 2}" y="{_TOP + _HEIGHT + 33}" text-anchor="middle">{escape(over)}</text>')
    return "".join([*parts, *(_line(curve, sizes, left, decades) for curve in curves)]) + "\n"


def _line(curve: Curve, sizes: Sequence[int], left: float, decades: tuple[int, int]) -> str:
    places = [(_x(size, sizes, left), _y(ms, decades)) for size, ms in zip(curve.sizes, curve.ms, strict=True)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    colour = _COLOURS[curve.row]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'


def _x(size: int, sizes: Sequence[int], left: float) -> float:
    first, last = math.log(sizes[0]), math.log(sizes[-1])
    share = (math.log(size) - first) / (last - first) if last > first else 0.5
    return left + 12 + share * (_WIDTH - 24)


def _y(ms: float, decades: tuple[int, int]) -> float:
    low, high = decades
    return _TOP + _HEIGHT * (1 - (math.log10(ms) - low) / max(1, high - low))


def _time(decade: int) -> str:
    return f"{10 ** (decade - 3)} s" if decade >= 3 else f"{10.0**decade:g} ms"


def _short(size: int) -> str:
    return f"{size // 1000}k" if size >= 1000 else str(size)
