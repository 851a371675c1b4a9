"""A small builder of well-formed SVG: whatever is typed into a prompt becomes text, never markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from xml.sax.saxutils import escape

from layerwidget.figures.themes import Theme
from layerwidget.tokens import well_formed

NAMESPACE = "http://www.w3.org/2000/svg"
# What XML 1.0 cannot hold, and C1 controls, which it discourages.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")


#: Attributes by their names in Python: `_` where SVG has `-`.
Attributes: TypeAlias = Mapping[str, str | float | None]


class Markup(str):
    """Text that is SVG already; every other text is escaped."""

    __slots__ = ()


def plain(text: str) -> str:
    """Text that XML can hold: a control character becomes its picture, what else cannot be held U+FFFD."""
    return _UNWRITABLE.sub(
        lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", well_formed(str(text))
    )


def tag(name: str, attributes: dict[str, str | float | None], *children: str) -> Markup:
    """An element; attributes that are None are left out, and children that are not `Markup` are escaped."""
    written = "".join(
        f' {key}="{escape(plain(_written(value)), {chr(34): "&quot;"})}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(child if isinstance(child, Markup) else escape(plain(child)) for child in children)
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")


def joined(parts: Iterable[Markup]) -> Markup:
    """Elements after each other."""
    return Markup("".join(parts))


def _written(value: str | float) -> str:
    if isinstance(value, str):
        return value
    short = f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
    return "0" if short == "-0" else short


def rect(x: float, y: float, width: float, height: float, **attributes: str | float | None) -> Markup:
    """A rectangle; the names of attributes have `_` where SVG has `-`."""
    return tag("rect", {"x": x, "y": y, "width": width, "height": height, **_named(attributes)})


def line(x1: float, y1: float, x2: float, y2: float, **attributes: str | float | None) -> Markup:
    """A straight line."""
    return tag("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **_named(attributes)})


def circle(x: float, y: float, radius: float, **attributes: str | float | None) -> Markup:
    """A dot."""
    return tag("circle", {"cx": x, "cy": y, "r": radius, **_named(attributes)})


def polyline(points: Sequence[tuple[float, float]], **attributes: str | float | None) -> Markup:
    """Lines through points."""
    path = "M" + "L".join(f"{_written(x)},{_written(y)}" for x, y in points)
    return tag("path", {"d": path, "fill": "none", **_named(attributes)})


def text(x: float, y: float, words: str, *, size: float = 11, **attributes: str | float | None) -> Markup:
    """A line of text, its middle at height `y`; starts at `x` unless `text_anchor` says otherwise."""
    # Not `dominant-baseline`: not every program that draws SVG knows it.
    place = {"x": x, "y": y + 0.36 * size, "font-size": size, **_named(attributes), "xml:space": "preserve"}
    return tag("text", place, words)


def group(parts: Iterable[Markup], **attributes: str | float | None) -> Markup:
    """Elements that share attributes."""
    return tag("g", _named(attributes), *parts)


def _named(attributes: dict[str, str | float | None]) -> dict[str, str | float | None]:
    return {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}


@dataclass(frozen=True)
class Picture:
    """A piece of a figure.

    Attributes:
        width, height: in px.
        body: what is drawn, with the origin at its upper left corner.
    """

    width: float
    height: float
    body: Markup

    def moved(self, x: float, y: float) -> Markup:
        """Its elements with the upper left corner at another place."""
        return group([self.body], transform=f"translate({_written(x)} {_written(y)})") if x or y else self.body

    def shifted(self, x: float) -> Picture:
        """The same with so much more room on its left."""
        return Picture(self.width + x, self.height, self.moved(x, 0))


def above(pictures: Iterable[Picture], gap: float = 0) -> Picture:
    """Pictures under each other, the first on top."""
    parts, y, width = list[Markup](), 0.0, 0.0
    for picture in pictures:
        y += gap if parts else 0
        parts.append(picture.moved(0, y))
        y, width = y + picture.height, max(width, picture.width)
    return Picture(width, y, joined(parts))


def beside(pictures: Iterable[Picture], gap: float = 0) -> Picture:
    """Pictures beside each other, the first on the left, their upper edges at one height."""
    parts, x, height = list[Markup](), 0.0, 0.0
    for picture in pictures:
        x += gap if parts else 0
        parts.append(picture.moved(x, 0))
        x, height = x + picture.width, max(height, picture.height)
    return Picture(x, height, joined(parts))


def document(picture: Picture, theme: Theme, name: str, *, margin: float = 12, **data: str | float | None) -> str:
    """A whole SVG file.

    Args:
        picture: what is on it.
        theme: the colour of the ground, and the fonts.
        name: what it is, in words, for those who cannot see it.
        margin: in px around the picture.
        data: attributes of the root element.
    """
    width, height = picture.width + 2 * margin, picture.height + 2 * margin
    root = {
        "xmlns": NAMESPACE, "width": width, "height": height, "viewBox": f"0 0 {_written(width)} {_written(height)}",
        "role": "img", "font-family": theme.font, "fill": theme.ink, **_named(data),
    }  # fmt: skip
    ground = [] if theme.ground is None else [rect(0, 0, width, height, fill=theme.ground)]
    return tag("svg", root, tag("title", {}, name), *ground, picture.moved(margin, margin))
