"""A head in two runs on paper: its matrices A, B and B - A, and the keys whose weight changes most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np

from layerwidget.figures.heading import TEXT_SIZE, colour_scale, hatched, heading
from layerwidget.figures.heat_figure import heat_colours
from layerwidget.figures.layer_grid import placeholder
from layerwidget.figures.matrix_figure import column_labels, row_labels
from layerwidget.figures.pixels import painted
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Markup, Picture, above, beside, joined, line, rect, text
from layerwidget.figures.tables import said, table
from layerwidget.figures.themes import Theme, colour_of, ramp
from layerwidget.figures.words import fitted, text_width
from layerwidget.results import FloatArray

_TITLE = "The chosen head"
_MOVED = "· the keys whose weight changes most"
_EMPTY = "The chosen head in A and in B appears here."
_MATRICES = ("A", "B", "B − A")
# As `js/matrix_row.js` has them.
_WORDS_WIDTH, _WORDS_HEIGHT, _TOP, _GAP = 92, 60, 18, 16
_LARGEST_SIDE, _LARGEST_CELL = 340, 44
_SAID_KEYS = 5


@dataclass(frozen=True, eq=False)
class HeadPair:
    """What the view of a head in two runs shows: data as the browser has them, and where the reader is."""

    shown: Shown
    place: Place

    @property
    def meta(self) -> Any:
        """What the browser knows besides numbers."""
        return self.shown.meta

    @cached_property
    def matrices(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """A, B and B - A, shape [query column, key column]; NaN where there is no such token."""
        a, b = self.shown.values("a"), self.shown.values("b")
        return a, b, b - a

    @property
    def query(self) -> int:
        """The column of the chosen query, a token of A."""
        places: list[int] = self.meta["places_a"]
        return places.index(min(self.place.position, max(places)))

    @cached_property
    def words(self) -> list[str]:
        """The token of every column; both where they differ."""
        pairs = zip(self.meta["words_a"], self.meta["words_b"], strict=True)
        return [f"{a}→{b}" if a and b and a != b else a or b for a, b in pairs]

    def moved(self, most: int = _SAID_KEYS) -> list[int]:
        """The keys of the chosen query whose weight changes most; a token that is not there has no weight."""
        a, b, _ = (np.nan_to_num(matrix[self.query]) for matrix in self.matrices)
        change = np.abs(b.astype(np.float64) - a)
        return [int(key) for key in np.argsort(-change, kind="stable")[:most] if change[key] > 0]

    def numbers(self, key: int) -> tuple[str, str, str]:
        """Both weights of a key of the chosen query, and the difference, in words."""
        a, b, change = (float(matrix[self.query, key]) for matrix in self.matrices)
        return _weight(a), _weight(b), _signed(change) if isfinite(change) else ""

    def readout(self) -> str:
        """The largest change of the chosen query."""
        largest = self.moved(1)
        if not largest:
            return f"Nothing changes for “{self.words[self.query]}”."
        a, b, change = self.numbers(largest[0])
        where = f"{self._where(self.query)} → {self._where(largest[0])}"
        return f"largest change: {where} · A {a} · B {b}{f' · B − A {change}' if change else ''}"

    def _where(self, column: int) -> str:
        at, other = self.meta["places_a"][column], self.meta["places_b"][column]
        place = f"B {other}" if at < 0 else f"A {at}" if other < 0 else f"{at}" if at == other else f"{at}, B {other}"
        return f"“{self.words[column]}” ({place})"

    @property
    def title(self) -> str:
        """What is drawn."""
        return str(self.meta.get("title", _TITLE))

    def detail(self) -> str:
        """What the title line says besides."""
        return f"{self.meta['what']} · √ scale"

    @property
    def limit(self) -> float:
        """What the last colour, and a full bar, stand for."""
        limit: float = self.meta["limit"]
        return limit


def _weight(weight: float) -> str:
    return f"{weight:.3f}" if isfinite(weight) else "no token"


def _signed(change: float) -> str:
    rounded = f"{change:.3f}"
    return "0.000" if rounded == "-0.000" else f"+{rounded}" if change >= 0.0005 else rounded


def head_pair_picture(pair: HeadPair, width: float, theme: Theme) -> Picture:
    """Title line, the three matrices, and the keys whose weight changes most."""
    if not pair.shown.layers:
        empty = pair.meta.get("note") or _EMPTY
        return above([heading(_TITLE, "", width, theme), placeholder(empty, width, 160, theme)])
    readout = fitted(pair.readout(), width, TEXT_SIZE)
    title = fitted(f"From “{pair.words[pair.query]}”", width, 12, "bold")
    start = text_width(title, 12, "bold") + 4
    return above([
        heading(pair.title, pair.detail(), width, theme), _legend(pair, theme), _matrices(pair, width, theme),
        Picture(width, 20, text(0, 10, readout, size=TEXT_SIZE, fill=theme.muted)),
        Picture(width, 22, joined([
            text(0, 11, title, size=12, font_weight="bold"),
            text(start, 11, fitted(_MOVED, width - start, 12), size=12, fill=theme.muted),
        ])),
        _moved_rows(pair, width, theme),
    ])  # fmt: skip


def _legend(pair: HeadPair, theme: Theme) -> Picture:
    absent = any(not np.isfinite(matrix).all() for matrix in pair.matrices)
    end = "1" if pair.limit == 1 else f"{pair.limit:.2g}"
    return beside([
        colour_scale("A, B: 0", end, heat_colours("one-sided", theme), theme),
        colour_scale(f"B − A: −{end}", end, heat_colours("signed", theme), theme, absent=absent),
    ], 18)  # fmt: skip


def _matrices(pair: HeadPair, width: float, theme: Theme) -> Picture:
    size = len(pair.words)
    slot = max(60.0, min(_LARGEST_SIDE, (width - _WORDS_WIDTH - 2 * _GAP - 2) // 3))
    cell = min(_LARGEST_CELL, slot / size)
    foot = cell * size
    parts = list(row_labels(pair.words, cell, pair.query, _WORDS_WIDTH, theme, _TOP))
    shares = [matrix / pair.limit for matrix in pair.matrices]
    for place, own in enumerate((pair.meta["words_a"], pair.meta["words_b"], pair.words)):
        left = _WORDS_WIDTH + place * (slot + _GAP)
        parts += [
            text(left, _TOP / 2 - 1, _MATRICES[place], size=12, font_weight="bold"),
            hatched(left, _TOP, foot, foot, theme),
            painted(_pixels(shares[place], place == 2, theme), left, _TOP, foot, foot, class_="lw-pair",
                    data_name=_MATRICES[place]),
            rect(left, _TOP, foot, foot, fill="none", stroke=theme.edge),
            rect(left, _TOP + pair.query * cell, foot, max(2.0, cell), fill="none", stroke=theme.accent,
                 stroke_width=max(1.0, min(2.0, cell / 4)), class_="lw-here"),
            *column_labels(own, cell, left, _TOP + foot, theme),
        ]  # fmt: skip
    return Picture(width, _TOP + foot + _WORDS_HEIGHT, joined(parts))


def _pixels(matrix: FloatArray, is_signed: bool, theme: Theme) -> np.ndarray:
    """Red, green, blue and how opaque, uint8 [query, key, 4]; see-through where there is no value."""
    there = np.isfinite(matrix)
    filled = np.where(there, matrix, 0)
    at = np.floor(np.sqrt(np.abs(filled.astype(np.float64))) * 255 + 0.5).clip(0, 255).astype(np.intp)
    sides = [ramp(theme, side) for side in ("below", "above")] if is_signed else [ramp(theme)] * 2
    below, from_zero = (np.array([colour_of(fill) for fill in side.fills], np.uint8)[at] for side in sides)
    colours = np.where((filled < 0)[..., None], below, from_zero)
    opaque = np.where(there, 255, 0).astype(np.uint8)
    return np.concatenate([colours, opaque[..., None]], axis=-1)


def _moved_rows(pair: HeadPair, width: float, theme: Theme) -> Picture:
    """A row per key: its weight in both as bars from 0 to the limit, and the difference from a middle line."""
    bar = max(20.0, (width - 150 - 2 * 56 - 52 - 6 * 8) / 3)
    lefts = [158.0, 222.0, 230.0 + bar, 294.0 + bar, 302.0 + 2 * bar, 362.0 + 2 * bar]
    parts: list[Markup] = [text(0, 11, "key", size=TEXT_SIZE, fill=theme.muted)]
    for name, left, room in zip(_MATRICES, lefts[::2], (56, 56, 52), strict=True):
        parts.append(text(left + room, 11, name, size=TEXT_SIZE, text_anchor="end", fill=theme.muted))
    keys = pair.moved()
    for row, key in enumerate(keys, 1):
        y = 22.0 * row
        word = fitted(pair.words[key], 150, TEXT_SIZE, "mono")
        parts.append(text(0, y + 11, word, size=TEXT_SIZE, font_family=theme.mono))
        for number, left, room in zip(pair.numbers(key), lefts[::2], (56, 56, 52), strict=True):
            parts.append(text(left + room, y + 11, number, size=TEXT_SIZE, text_anchor="end", fill=theme.ink))
        values = [float(matrix[pair.query, key]) for matrix in pair.matrices]
        parts += _bars(values, pair.limit, lefts[1::2], bar, y + 6, theme)
    return Picture(width, 22.0 * (len(keys) + 1) + 4, joined(parts))


def _bars(
    values: list[float], limit: float, lefts: list[float], room: float, y: float, theme: Theme
) -> Iterator[Markup]:
    for place, (value, left) in enumerate(zip(values, lefts, strict=True)):
        if not isfinite(value):
            yield hatched(left, y, room, 10, theme)
        elif place < 2:
            yield rect(left, y, room * value / limit, 10, fill=theme.data, class_="lw-cell", data_value=f"{value:.6g}")
        else:
            half = room / 2
            yield line(left + half, y - 1, left + half, y + 11, stroke=theme.edge)
            start = left + half * (1 + min(0.0, value / limit))
            fill = theme.below if value < 0 else theme.above
            yield rect(start, y, half * abs(value) / limit, 10, fill=fill, class_="lw-cell", data_value=f"{value:.6g}")


def head_pair_text(pair: HeadPair) -> str:
    """The keys of the chosen query whose weight changes most, as a table."""
    if not pair.shown.layers:
        return said(_TITLE, pair.meta.get("note") or _EMPTY)
    rows = [[pair.words[key], *pair.numbers(key)] for key in pair.moved()]
    heads = [f"from “{pair.words[pair.query]}” to", *_MATRICES]
    found = table(heads, rows, widest=28) if rows else ""
    return said(f"{pair.title} · {pair.detail()}", found, pair.readout())
