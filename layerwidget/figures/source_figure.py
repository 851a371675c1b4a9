"""Bars on paper: what a head takes from each token, and the largest parts of a logit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerwidget.figures.column_words import column_word, on_end, unit_label
from layerwidget.figures.heading import TEXT_SIZE, heading
from layerwidget.figures.layer_grid import Columns, placeholder
from layerwidget.figures.number_words import exact_value, short_value
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Markup, Picture, above, joined, line, rect, text
from layerwidget.figures.tables import columns_around, cut_words, said, table
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import fitted

_PLOT, _WORDS, _AXIS, _PAD = 190, 78, 60, 14
_WIDTHS = (52, 36, 24, 16, 12)
_PANEL = 300


@dataclass(frozen=True, eq=False)
class Sources:
    """What the bars of a head show: the data as the browser has them, and where the reader is."""

    shown: Shown
    place: Place
    title: str = "Source tokens"

    @property
    def labels(self) -> Sequence[str]:
        """The tokens of the prompt."""
        labels: Sequence[str] = self.shown.meta["labels"]
        return labels

    @property
    def values(self) -> list[float]:
        """What the head takes from each, in logits."""
        return [float(value) for value in self.shown.arrays["sources"]]

    @property
    def largest(self) -> int:
        """The position of the value that is farthest from 0."""
        return max(range(len(self.values)), key=lambda place: abs(self.values[place]))


def source_picture(sources: Sources, empty: str, width: float, theme: Theme) -> Picture:
    """Title line, bars, and the largest of them in words."""
    if not sources.shown.layers:
        return above([heading(sources.title, "", width, theme), placeholder(empty, width, 160, theme)])
    values, most = sources.values, sources.largest
    columns = Columns.fitting(len(values), most, width - _AXIS, _WIDTHS)
    high = max(map(abs, values)) or 1.0
    low = -high if min(values) < 0 else 0.0

    def y(value: float) -> float:
        return _PAD + (high - value) / (high - low) * (_PLOT - 2 * _PAD)

    right = _AXIS + (columns.stop - columns.first) * columns.width
    parts: list[Markup] = [unit_label("logits", _PLOT / 2, theme)]
    for value in {high, 0.0, low}:
        parts += [
            line(_AXIS, y(value), right, y(value), stroke=theme.edge if value else theme.muted),
            text(_AXIS - 6, y(value), short_value(value, 3), size=10, text_anchor="end", fill=theme.muted),
        ]
    for place in range(columns.first, columns.stop):
        left = _AXIS + (place - columns.first) * columns.width
        parts += _source_bar(sources, place, left, columns.width, (y(0), y(values[place])), theme)
    whole = max(right, min(width, 460))
    words = f"most from “{sources.labels[most]}” (position {most}): {exact_value(values[most])} logits"
    return above([
        heading(sources.title, _source_detail(sources, columns.cut), whole, theme),
        Picture(right, _PLOT + (_WORDS if on_end(columns.width) else 26), joined(parts)),
        Picture(whole, 20, text(0, 10, fitted(words, whole, TEXT_SIZE), size=TEXT_SIZE, fill=theme.muted)),
    ])  # fmt: skip


def _source_detail(sources: Sources, cut: str = "") -> str:
    meta = sources.shown.meta
    whose = _whose(meta)
    parts = [
        f"layer {meta['layers'][0]} head {meta['head']}",
        f"to {whose}",
        f"sum {exact_value(meta['total'])} logits",
    ]
    return " · ".join([*parts, *([cut.replace("columns", "positions")] if cut else [])])


def _whose(meta: Mapping[str, Any]) -> str:
    return f"“{meta['token']}”" + ("" if meta["minus"] is None else f" minus “{meta['minus']}”")


def _source_bar(
    sources: Sources, place: int, left: float, width: float, ends: tuple[float, float], theme: Theme
) -> list[Markup]:
    value, (top, foot), middle = sources.values[place], sorted(ends), left + width / 2
    fill = ramp(theme, "below" if value < 0 else "above").fills[170]
    bar = rect(
        left + 1.5, top, width - 3, max(1.0 if value else 0.0, foot - top), fill=fill, class_="lw-cell",
        data_position=place, data_value=f"{value:.6g}",
    )  # fmt: skip
    colour = theme.accent if place == sources.place.position else theme.muted
    parts = [bar, column_word(sources.labels[place], middle, _PLOT, width, _WORDS - 8, colour, theme)]
    if width >= 36 and value:
        y = foot + 8 if value < 0 else top - 7
        parts.append(text(middle, y, short_value(value, 2), size=10, text_anchor="middle", fill=theme.muted))
    return parts


def source_text(sources: Sources, empty: str) -> str:
    """The same as a table: a row per token."""
    if not sources.shown.layers:
        return said(sources.title, empty)
    shown = columns_around(len(sources.values), sources.largest, 40)
    rows = [[str(place), sources.labels[place], exact_value(sources.values[place])] for place in shown]
    cut = cut_words(shown, len(sources.values)).replace("Columns", "Positions")
    return said(f"{sources.title} · {_source_detail(sources)}", table(["position", "token", "logits"], rows), cut)


@dataclass(frozen=True, eq=False)
class Parts:
    """What the panel of the largest parts shows: the data as the browser has them, and where the reader is."""

    shown: Shown
    place: Place
    title: str = "Largest parts"

    def rows(self) -> list[tuple[str, float, str]]:
        """Name, logit and kind of the largest parts, all others in one, the error and their sum."""
        meta = self.shown.meta
        found = [(str(part["name"]), float(part["logit"]), "part") for part in meta["parts"]]
        n_others = meta["n_others"]
        if n_others:
            found.append((f"{n_others} other{'s' if n_others > 1 else ''}", float(meta["others"]), "rest"))
        return [*found, ("error", float(meta["error"]), "error"), ("logit", float(meta["logit"]), "total")]

    def layer_of(self, row: int) -> int | None:
        """The layer of a row; None where it is not one part of a layer."""
        parts = self.shown.meta["parts"]
        return parts[row]["layer"] if row < len(parts) else None


def _written(value: float, kind: str) -> str:
    if kind != "error":
        return exact_value(value)
    return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+")


def _parts_detail(parts: Parts) -> str:
    meta = parts.shown.meta
    return f"{_whose(meta)} · logits · after “{meta['after']}” (position {meta['position']})"


def parts_picture(parts: Parts, empty: str, theme: Theme, width: float = _PANEL) -> Picture:
    """Title line, a bar for each part, and what is left out."""
    if not parts.shown.layers:
        return above([heading(parts.title, "", width, theme), placeholder(empty, width, 160, theme)])
    rows, drawn = parts.rows(), list[Markup]()
    largest = max((abs(value) for _, value, kind in rows if kind in ("part", "rest")), default=0.0) or 1.0
    start, track = 108.0, width - 108 - 66
    for row, (name, value, kind) in enumerate(rows):
        y, layer = 11.0 + 22 * row, parts.layer_of(row)
        colour = theme.muted if kind in ("rest", "error") else theme.ink
        name_colour = theme.accent if layer is not None and layer == parts.place.layer else colour
        bold = "bold" if kind == "total" else None
        drawn.append(text(0, y, fitted(name, start - 6, 11), size=11, fill=name_colour, font_weight=bold))
        drawn.append(text(width, y, _written(value, kind), size=11, text_anchor="end", fill=colour, font_weight=bold))
        if kind in ("part", "rest"):
            length = min(0.5, abs(value) / largest / 2) * track
            left = start + track / 2 - (length if value < 0 else 0)
            fill = theme.below if value < 0 else theme.above
            drawn.append(rect(left, y - 6, length, 12, fill=fill, class_="lw-cell", data_name=name,
                              data_value=f"{value:.6g}"))  # fmt: skip
        if kind == "total":
            drawn.append(line(0, y - 11, width, y - 11, stroke=theme.edge))
    zero = line(start + track / 2, 0, start + track / 2, 22 * len(rows) - 44, stroke=theme.edge)
    body = Picture(width, 22 * len(rows) + 6, joined([zero, *drawn]))
    note = heading("", parts.shown.meta["note"], width, theme) if parts.shown.meta["note"] else None
    return above([heading(parts.title, _parts_detail(parts), width, theme), body, *([note] if note else [])])


def parts_text(parts: Parts, empty: str) -> str:
    """The same as a table: a row per part."""
    if not parts.shown.layers:
        return said(parts.title, empty)
    rows = [[name, _written(value, kind)] for name, value, kind in parts.rows()]
    return said(f"{parts.title} · {_parts_detail(parts)}", table(["part", "logits"], rows), parts.shown.meta["note"])
