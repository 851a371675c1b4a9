"""The head of an explorer on paper: the model, what was checked, and the prompt with its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from layerwidget.figures.heading import TEXT_SIZE
from layerwidget.figures.svg import Markup, Picture, above, joined, line, rect, text
from layerwidget.figures.tables import columns_around, said, table
from layerwidget.figures.themes import Theme
from layerwidget.figures.words import fitted, flowed, text_width, wrapped

_LINES = 6
#: Rows of a table of tokens.
_ROWS = 64


def note_picture(words: str, width: float, theme: Theme, *, colour: str | None = None) -> Picture:
    """Words under each other."""
    lines = wrapped(words, width, TEXT_SIZE)
    parts = [text(0, 10 + 16 * row, one, size=TEXT_SIZE, fill=colour or theme.muted) for row, one in enumerate(lines)]
    return Picture(width, 16 * len(lines) + 6, joined(parts))


def chips_picture(words: Sequence[str], chosen: int | None, width: float, theme: Theme) -> Picture:
    """The tokens of a prompt; of a long one those around the chosen one, and how many are cut."""
    widths = [min(width, text_width(word, 11, "mono") + 12) for word in words]
    first, places = _around(widths, width, chosen or 0)
    parts: list[Markup] = []
    rows = 0
    for offset, (x, row) in enumerate(places):
        place = first + offset
        here, y = place == chosen, row * 25
        edge = theme.accent if here else theme.edge
        parts += [
            rect(x + 0.5, y + 1, widths[place], 20, rx=4, fill=theme.raised, stroke=edge,
                 stroke_width=2 if here else 1),
            text(x + 6.5, y + 11, fitted(words[place], width - 12, 11, "mono"), size=11, font_family=theme.mono),
        ]  # fmt: skip
        rows = row + 1
    n_cut = len(words) - len(places)
    chips = Picture(width, rows * 25 + 2, joined(parts))
    if not n_cut:
        return chips
    cut = f"tokens {first} to {first + len(places) - 1} of {len(words)} drawn, {n_cut} cut"
    return above([chips, note_picture(cut, width, theme)])


def _around(widths: Sequence[float], width: float, chosen: int) -> tuple[int, list[tuple[float, int]]]:
    """The first chip that is drawn, and where it and those after it stand: a few lines around the chosen one."""
    places = list(flowed(list(widths), width, 4))
    if not places or places[-1][1] < _LINES:
        return 0, places
    start = max(0, places[min(chosen, len(places) - 1)][1] - _LINES // 2)
    kept = [place for place, (_, row) in enumerate(places) if start <= row < start + _LINES]
    return kept[0], [(places[place][0], places[place][1] - start) for place in kept]


def header_picture(
    name: str, facts: str, checked: str, failing: bool, work: str, width: float, theme: Theme
) -> Picture:
    """One line: the model, its size, what was checked, and the last pass; a second one where that is too long."""
    parts = [text(0, 11, name, size=14, font_weight="bold")]
    x = text_width(name, 14, "bold") + 14
    rest = [facts, work]
    work_said = " · ".join(part for part in rest if part)
    parts.append(text(x, 11.5, fitted(work_said, width - x, TEXT_SIZE), size=TEXT_SIZE, fill=theme.muted))
    mark = "✗" if failing else "✓"
    colour = theme.bad if failing else theme.good
    checks = [note_picture(f"{mark} {checked}", width, theme, colour=colour)] if checked else []
    rule = Picture(width, 10, line(0, 4, width, 4, stroke=theme.edge))
    return above([Picture(width, 24, joined(parts)), *checks, rule])


def prompt_picture(prompt: str, words: Sequence[str], chosen: int, note: str, width: float, theme: Theme) -> Picture:
    """A text, its tokens, and what is said of them."""
    parts = [note_picture(prompt, width, theme, colour=theme.ink)]
    if words:
        parts.append(chips_picture(words, min(chosen, len(words) - 1), width, theme))
    if note:
        parts.append(note_picture(note, width, theme))
    return above(parts, 4)


def prompt_text(prompt: str, ids: Sequence[int], words: Sequence[str], chosen: int) -> str:
    """The same in letters: a row for each token; of a long text those around the chosen one."""
    shown = columns_around(len(words), chosen, _ROWS)
    rows = [(str(place), words[place], str(ids[place]), "chosen" * (place == chosen)) for place in shown]
    cut = f"tokens {shown[0]} to {shown[-1]} of {len(words)}; the others are cut" if len(shown) < len(words) else ""
    return said(prompt, table(("position", "token", "id", ""), rows) if rows else "", cut)


def section_picture(title: str, width: float, theme: Theme) -> Picture:
    """The name of a page over it."""
    parts = [text(0, 12, title, size=14, font_weight="bold"), line(0, 26, width, 26, stroke=theme.edge)]
    return Picture(width, 32, joined(parts))
