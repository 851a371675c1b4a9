"""The colours and fonts of figures: paper, dark, and those of the page that a figure stands in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

Colour: TypeAlias = tuple[int, int, int]

# The stops of `js/colour.js`; a test holds both to the same 256 colours.
_LIGHT_RAMP = ("#e3e9ff", "#bccafd", "#8aa2f7", "#5573ea", "#3550c9", "#24389a", "#18266b")
_DARK_RAMP = ("#1d2947", "#26407f", "#3559bb", "#5a7fe6", "#8ea9f5", "#c2d0fb", "#f2f5ff")
_LIGHT_BELOW = ("#eaecd5", "#cdd29b", "#a9af48", "#828606", "#626504", "#474a00")
_DARK_BELOW = ("#2b2d05", "#464800", "#636702", "#898d07", "#aeb359")

SANS = (
    "'DejaVu Sans', 'Noto Sans', Verdana, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', "
    "'Noto Sans CJK JP', 'Noto Sans CJK SC', 'Hiragino Sans', 'Microsoft YaHei', 'Noto Color Emoji', "
    "'Apple Color Emoji', 'Segoe UI Emoji', sans-serif"
)
MONO = (
    "'DejaVu Sans Mono', 'Noto Sans Mono', Menlo, Consolas, 'Liberation Mono', 'Courier New', 'Noto Sans Mono CJK JP', "
    "'Noto Sans CJK JP', 'Noto Sans CJK SC', 'Hiragino Sans', 'Microsoft YaHei', 'Noto Color Emoji', "
    "'Apple Color Emoji', 'Segoe UI Emoji', monospace"
)


@dataclass(frozen=True)
class Theme:
    """What a figure is drawn with; the names are those of `js/style.css`.

    Attributes:
        ground: the colour behind everything, or None where the page has its own.
        ink, muted: of text.
        line, edge, raised: of structure.
        accent: where the reader is.
        data: of data that have no scale of colours.
        good, bad: of grades.
        font, mono: font families of text and of tokens.
        dark: whether the scales of colours run from a dark ground.
        above, below: of bars on both sides of zero.
    """

    ground: str | None
    ink: str
    muted: str
    line: str
    edge: str
    raised: str
    accent: str
    data: str
    good: str
    bad: str
    font: str = SANS
    mono: str = MONO
    dark: bool = False
    above: str = "#5573ea"
    below: str = "#828606"


PAPER = Theme(
    "#ffffff", "#000000", "#616b7d", "#eceff4", "#d9dee7", "#f3f5f9", "#c8430d", "#3550c9", "#1f7a34", "#b3261e"
)
DARK = Theme(
    "#111111", "#ffffff", "#98a2b5", "#22262e", "#363c48", "#1c2027", "#ff9a57", "#8ea9f5", "#6cc784", "#ff8a80",
    dark=True, above="#5a7fe6", below="#898d07",
)  # fmt: skip
#: For a figure without scales of colours that stands in a page: it has the page's colours and fonts.
HOST = Theme(
    None, "var(--lw-ink)", "var(--lw-muted)", "var(--lw-line)", "var(--lw-edge)", "var(--lw-raised)",
    "var(--lw-accent)", "var(--lw-data)", "var(--lw-good)", "var(--lw-bad)", "inherit", "var(--lw-mono)",
    above="var(--lw-above)", below="var(--lw-below)",
)  # fmt: skip
_THEMES = {"paper": PAPER, "light": PAPER, "dark": DARK, "host": HOST}


def theme_of(theme: Theme | str | None) -> Theme:
    """A theme by its name; None is the one of the page around the figure.

    Raises:
        ValueError: when there is no such theme.
    """
    if isinstance(theme, Theme):
        return theme
    name = "host" if theme is None else theme
    if name not in _THEMES:
        raise ValueError(f"A theme is one of {', '.join(map(repr, _THEMES))}; got {theme!r}.")
    return _THEMES[name]


def colour_of(text: str) -> Colour:
    """Red, green and blue of `#rrggbb`, each 0 to 255."""
    red, green, blue = (int(text[place : place + 2], 16) for place in (1, 3, 5))
    return red, green, blue


def luminance(colour: Colour) -> float:
    """WCAG relative luminance, 0 to 1."""
    shares = [channel / 255 for channel in colour]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@dataclass(frozen=True)
class Ramp:
    """256 colours from the ground on.

    Attributes:
        fills: to fill with.
        inks: to write on them with.
    """

    fills: tuple[str, ...]
    inks: tuple[str, ...]

    def at(self, share: float) -> tuple[str, str]:
        """Fill and ink of a share between 0 and 1; anything else is clipped."""
        place = min(255, int(share * 255 + 0.5)) if share > 0 else 0
        return self.fills[place], self.inks[place]


@cache
def ramp(theme: Theme, side: Literal["plain", "above", "below"] = "plain") -> Ramp:
    """The colours of values from 0; or of those above, or below, zero where values have a sign."""
    below = _DARK_BELOW if theme.dark else _LIGHT_BELOW
    stops = _DARK_RAMP if theme.dark else _LIGHT_RAMP
    # Both halves of the map for values with a sign end where the two colours can still be told apart.
    chosen = {"plain": stops, "above": stops[: len(below)], "below": below}[side]
    points = [colour_of(theme.ground or PAPER.ground or ""), *map(colour_of, chosen)]
    colours = [_between(points, index / 255 * (len(points) - 1)) for index in range(256)]
    inks = tuple("#000000" if luminance(colour) > 0.179 else "#ffffff" for colour in colours)
    return Ramp(tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in colours), inks)


def _between(points: list[Colour], place: float) -> Colour:
    left = min(len(points) - 2, int(place))
    red, green, blue = (
        int(low + (high - low) * (place - left) + 0.5) for low, high in zip(points[left], points[left + 1], strict=True)
    )
    return red, green, blue
