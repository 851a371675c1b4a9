"""The title line of a figure, its legend of names, and a scale of colours with its ends."""

from __future__ import annotations

from collections.abc import Sequence

from layerwidget.figures.svg import Markup, Picture, circle, joined, rect, text
from layerwidget.figures.themes import Theme
from layerwidget.figures.words import flowed, text_width, wrapped

_LINE = 18
TITLE_SIZE, TEXT_SIZE = 13, 11


def heading(title: str, detail: str, width: float, theme: Theme, legend: Picture | None = None) -> Picture:
    """The title, what is said besides it, and on the right what the colours mean; as many lines as it takes."""
    if not title and not detail and legend is None:
        return Picture(width, 0, Markup(""))
    taken = 0.0 if legend is None else legend.width + 14
    start = text_width(title, TITLE_SIZE, "bold") + 10 if title else 0.0
    lines = wrapped(detail, width - taken, TEXT_SIZE, first=max(0.0, width - taken - start)) if detail else []
    parts = [text(0, 10, title, size=TITLE_SIZE, font_weight="bold")]
    for row, words in enumerate(lines):
        if words:
            parts.append(text(0 if row else start, 10.5 + row * _LINE, words, size=TEXT_SIZE, fill=theme.muted))
    if legend is not None:
        parts.append(legend.moved(width - legend.width, 0))
    return Picture(width, max(_LINE * max(1, len(lines)), legend.height if legend else 0) + 6, joined(parts))


def colour_scale(
    low: str, high: str, colours: Sequence[str], theme: Theme, *, before: str = "", absent: bool = False
) -> Picture:
    """A ramp between the words for its ends; hatched where there is no value."""
    parts: list[Markup] = []
    x = 0.0

    def say(words: str, colour: str) -> None:
        nonlocal x
        if words:
            parts.append(text(x, 10, words, size=10, fill=colour))
            x += text_width(words, 10) + 6

    say(before, theme.accent)
    say(low, theme.muted)
    step = 72 / len(colours)
    parts.extend(rect(x + place * step, 5, step + 0.3, 10, fill=colour) for place, colour in enumerate(colours))
    parts.append(rect(x, 5, 72, 10, fill="none", stroke=theme.edge))
    x += 78
    say(high, theme.muted)
    if absent:
        parts.append(hatched(x + 2, 5, 16, 10, theme))
        x += 24
        say("no value", theme.muted)
    return Picture(max(0.0, x - 6), 20, joined(parts))


def hatched(x: float, y: float, width: float, height: float, theme: Theme) -> Markup:
    """Diagonal lines: there is no value."""
    strokes = []
    for start in range(-int(height), int(width), 6):
        # From the lower left to the upper right, cut at the edges of the cell.
        first, last = max(0.0, -start), min(height, width - start)
        if last > first:
            strokes.append(
                f"M{x + start + first:.1f},{y + height - first:.1f}L{x + start + last:.1f},{y + height - last:.1f}"
            )
    return Markup(f'<path d="{"".join(strokes)}" stroke="{theme.edge}" fill="none"/>')


def names_legend(names: Sequence[str], colours: Sequence[str], width: float, theme: Theme) -> Picture:
    """A dot and a name for each curve; as many lines as it takes. Nothing for curves without a name."""
    shown = [(name, colour) for name, colour in zip(names, colours, strict=True) if name]
    if not shown:
        return Picture(width, 0, Markup(""))
    widths = [12 + text_width(name, TEXT_SIZE) for name, _ in shown]
    parts, rows = [], 0
    for (name, colour), (x, row) in zip(shown, flowed(widths, width, 14), strict=True):
        parts += [
            circle(x + 4, 9 + row * _LINE, 4, fill=colour),
            text(x + 12, 9 + row * _LINE, name, size=TEXT_SIZE, fill=theme.ink),
        ]
        rows = row + 1
    return Picture(width, rows * _LINE + 2, joined(parts))
