"""Where predictions settle, on paper: a bar per token over the layers, and the shares beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerwidget.figures.curves import layer_ticks
from layerwidget.figures.heading import TEXT_SIZE, heading
from layerwidget.figures.layer_grid import (
    Box,
    Columns,
    cell_size,
    grid_columns,
    grid_picture,
    placeholder,
    row_height,
)
from layerwidget.figures.number_words import layers_title
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Attributes, Markup, Picture, above, beside, joined, line, rect, text
from layerwidget.figures.tables import columns_around, cut_words, said, table
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import fitted, text_width

_SHADES = (0, 46, 118, 205)
_SIDE, _SIDE_HEIGHT = 250, 442


@dataclass(frozen=True, eq=False)
class Settled:
    """What the strip shows: the data as the browser has them, where the reader is, and the title."""

    shown: Shown
    place: Place
    title: str

    @property
    def rows(self) -> tuple[int, ...]:
        """Layers in view, the last one first."""
        return self.place.in_view(self.shown.layers)[::-1]

    @property
    def labels(self) -> Sequence[str]:
        """The tokens of the prompt."""
        labels: Sequence[str] = self.shown.meta["labels"]
        return labels

    @property
    def here(self) -> tuple[int, int]:
        """The chosen layer and position."""
        return self.place.row(self.shown.layers), min(self.place.position, len(self.labels) - 1)

    def rank(self, layer: int, position: int) -> int:
        """The rank of the model's own next token at a layer."""
        return int(self.shown.arrays["ranks"][self.shown.layers.index(layer), position])

    def level(self, layer: int, position: int) -> int:
        """3: most probable for good; 2: most probable; 1: among the k most probable; 0: none of these."""
        if layer >= self.shown.arrays["settled"][position]:
            return 3
        rank = self.rank(layer, position)
        return 2 if rank == 0 else int(rank < self.shown.meta["k"])

    def settled_by(self) -> list[int]:
        """At how many positions the prediction is settled by each layer."""
        settled = self.shown.arrays["settled"]
        return [int((settled <= layer).sum()) for layer in range(len(self.shown.layers))]


def percent(share: float) -> str:
    """A share in per cent, for people."""
    return f"{int(share * 100 + 0.5)} %"


def settle_picture(settled: Settled, empty: str, width: float, theme: Theme) -> Picture:
    """Title line, strip, shares, and the chosen cell in words."""
    if not settled.shown.layers:
        return above([heading(settled.title, "", width, theme), placeholder(empty, width, 160, theme)])
    columns = grid_columns(len(settled.labels), settled.here[1], width - _SIDE - 20)
    paint = _painter(settled, columns, theme)
    grid = grid_picture(settled.rows, settled.labels, columns, settled.here, paint, theme)
    body = beside([grid, _shares(settled, theme)], 20)
    whole = max(body.width, 560)
    readout = fitted(_words(settled), whole, TEXT_SIZE)
    return above([
        heading(settled.title, _detail(settled, columns.cut), whole, theme, _legend(settled, theme)), body,
        Picture(whole, 20, text(0, 10, readout, size=TEXT_SIZE, fill=theme.muted)),
    ])  # fmt: skip


def _detail(settled: Settled, cut: str = "") -> str:
    shares, count = settled.shown.meta["shares"], len(settled.labels)
    parts = [f"{name} {percent(share)}" for name, share in shares.items()]
    parts[-1:] = [f"{parts[-1]} of {count} prediction{' settles' if count == 1 else 's settle'}"] if parts else []
    return " · ".join([*parts, layers_title(settled.rows[::-1]), "last layer on top", *([cut] if cut else [])])


def _levels(settled: Settled) -> list[str]:
    return ["", f"top {settled.shown.meta['k']}", "top 1", "top 1 for good"]


def _legend(settled: Settled, theme: Theme) -> Picture:
    parts, x = [], 0.0
    for level, name in enumerate(_levels(settled)):
        if level:
            parts += [
                rect(x, 5, 10, 10, fill=ramp(theme).fills[_SHADES[level]]),
                text(x + 15, 10, name, size=10, fill=theme.muted),
            ]
            x += 27 + text_width(name, 10)
    return Picture(x - 12, 20, joined(parts))


def _words(settled: Settled) -> str:
    (layer, position), meta, arrays = settled.here, settled.shown.meta, settled.shown.arrays
    rank = settled.rank(layer, position)
    return (
        f"after “{settled.labels[position]}” (position {position}): “{meta['words'][position]}” is settled from layer "
        f"{arrays['settled'][position]} on, among the top {meta['k']} first at layer {arrays['emerged'][position]} · "
        f"layer {layer}: rank {rank}{'' if rank else ', the most probable'}"
    )


def _mark(layer: int, rows: Sequence[int]) -> tuple[int, str]:
    """Where a mark of a layer stands among rows that may not hold it, and what it says."""
    if layer > rows[0]:
        return rows[0], f"▴{layer}"
    if layer < rows[-1]:
        return rows[-1], f"▾{layer}"
    return min(row for row in rows if row >= layer), str(layer)


def _painter(settled: Settled, columns: Columns, theme: Theme) -> Callable[[int, int, Box], list[Markup]]:
    rows, colours, arrays = settled.rows, ramp(theme), settled.shown.arrays
    size = cell_size(Columns(0, 1, 1, 0), len(rows))
    marks = {
        position: [_mark(int(arrays[name][position]), rows) for name in ("settled", "emerged")]
        for position in range(columns.first, columns.stop)
    }

    def paint(layer: int, position: int, box: Box) -> list[Markup]:
        level = settled.level(layer, position)
        fill, ink = colours.fills[_SHADES[level]], colours.inks[_SHADES[level]]
        seamless = level == 3 and layer != arrays["settled"][position]
        said: Attributes = {"class_": "lw-cell", "data_layer": layer, "data_position": position, "data_level": level}
        parts = [box.filled(fill, said, seamless=seamless)] if level else []
        words = next((words for row, words in marks[position] if row == layer), "")
        if words and row_height(len(rows)) >= 11:
            x, y = box.middle
            colour = ink if level else theme.muted
            parts.append(text(x, y, words, size=size, text_anchor="middle", fill=colour))
        return parts

    return paint


def _shares(settled: Settled, theme: Theme) -> Picture:
    """The share of positions whose prediction is settled by each layer, on the bands."""
    left, right, top, bottom = 40.0, _SIDE - 8.0, 40.0, _SIDE_HEIGHT - 40.0
    n_layers, total = len(settled.shown.layers), len(settled.labels)
    step = (right - left) / n_layers
    parts: list[Markup] = []
    for place, (name, (first, last)) in enumerate(settled.shown.meta["bands"].items()):
        x, band = left + first * step, (last + 1 - first) * step
        if place % 2 == 0:
            parts.append(rect(x, top, band, bottom - top, fill=theme.line))
        if band > 30:
            words = percent(settled.shown.meta["shares"][name])
            parts += [
                text(x + band / 2, top - 28, name, size=11, text_anchor="middle", fill=theme.muted),
                text(x + band / 2, top - 11, words, size=12, text_anchor="middle", font_weight="bold"),
            ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - top)
        parts += [
            line(left, y, right, y, stroke=theme.edge),
            text(left - 5, y, percent(share), size=10, text_anchor="end", fill=theme.muted),
        ]
    before = 0
    for layer, count in enumerate(settled.settled_by()):
        x, low, high = left + layer * step, (before / total) * (bottom - top), (count / total) * (bottom - top)
        width, fills = step - (1 if step > 4 else 0), ramp(theme).fills
        said: Attributes = {"data_layer": layer, "data_count": count}
        parts += [
            rect(x, bottom - low, width, low, fill=fills[_SHADES[1]]),
            rect(x, bottom - high, width, high - low, fill=fills[_SHADES[3]], **said),
        ]
        before = count
    for layer in layer_ticks(n_layers):
        parts.append(text(left + (layer + 0.5) * step, bottom + 14, str(layer), size=10, text_anchor="middle",
                          fill=theme.muted))  # fmt: skip
    in_view = [rect(left + layer * step, bottom + 2, step, 3, fill=ramp(theme).fills[150]) for layer in settled.rows]
    x = left + settled.here[0] * step
    parts += [
        *in_view,
        text((left + right) / 2, bottom + 31, "settled by layer", size=11, text_anchor="middle", fill=theme.muted),
        rect(x - 0.5, top - 0.5, step, bottom - top + 1, fill="none", stroke=theme.accent, stroke_width=2),
    ]  # fmt: skip
    return Picture(_SIDE, _SIDE_HEIGHT, joined(parts))


def settle_text(settled: Settled, empty: str) -> str:
    """The same as a table: layers by tokens."""
    if not settled.shown.layers:
        return said(settled.title, empty)
    shown, k = columns_around(len(settled.labels), settled.here[1]), settled.shown.meta["k"]
    names = ["·", f"top {k}", "top 1", "good"]
    rows = [[str(layer), *(names[settled.level(layer, position)] for position in shown)] for layer in settled.rows]
    return said(
        f"{settled.title} · {_detail(settled)}",
        table(["layer", *(settled.labels[position] for position in shown)], rows),
        f"top {k}, top 1: the next token is among the {k} most probable, is the most probable; good: is that for good",
        cut_words(shown, len(settled.labels)), _words(settled),
    )  # fmt: skip
