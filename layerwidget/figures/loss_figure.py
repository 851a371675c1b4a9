"""Loss by position on paper: a bar per token, with the lengths that the model was made for."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, floor, isfinite, log10
from typing import Any

import numpy as np

from layerwidget.figures.column_words import NARROWEST_WORD, UPRIGHT_HEIGHT, column_word, on_end, unit_label
from layerwidget.figures.heading import TEXT_SIZE, heading
from layerwidget.figures.layer_grid import Columns, placeholder
from layerwidget.figures.number_words import precision_text, tick_text
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Markup, Picture, above, joined, line, rect, text
from layerwidget.figures.tables import columns_around, cut_words, said, table
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import fitted, text_width

_HEIGHT, _LEFT, _TOP, _WORDS = 170, 56, 20, 64
# As `js/loss_bars.js` has them.
_BARS = (136.0, 96.0, 72.0, 60.0, 50.0, 42.0, 36.0)
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True, eq=False)
class Loss:
    """What the bars show: the data as the browser has them, where the reader is, and the title."""

    shown: Shown
    place: Place
    title: str

    @property
    def labels(self) -> list[str]:
        """The tokens of the prompt."""
        return list(self.shown.meta["labels"])

    @property
    def here(self) -> int:
        """The chosen position."""
        return min(self.place.position, len(self.labels) - 1)

    @property
    def nats(self) -> np.ndarray[Any, Any]:
        """The loss at every position; NaN where there is none."""
        return self.shown.values("nats")

    @property
    def mean(self) -> float:
        """Over the positions that have a loss; NaN without any."""
        there = self.nats[np.isfinite(self.nats)]
        return float(there.mean(dtype=np.float64)) if len(there) else float("nan")


def loss_picture(loss: Loss, empty: str, width: float, theme: Theme) -> Picture:
    """Title line, bars, and the chosen position in words."""
    if not loss.shown.layers:
        return above([heading(loss.title, "", width, theme), placeholder(empty, width, _HEIGHT, theme)])
    if not np.isfinite(loss.nats).any():
        return above([heading(loss.title, "", width, theme), placeholder(_without(loss), width, _HEIGHT, theme)])
    room = width - _LEFT - 8
    step = next((wide for wide in _BARS if wide * len(loss.labels) <= room), room / len(loss.labels))
    columns = Columns.fitting(len(loss.labels), loss.here, room, [max(step, 1.0)])
    plot = Plot(loss, columns, theme)
    whole = max(plot.right + 8, min(width, 560))
    readout = fitted(loss_words(loss), whole, TEXT_SIZE)
    return above([
        heading(loss.title, _detail(loss, columns.cut), whole, theme), plot.picture(whole),
        Picture(whole, 20, text(0, 10, readout, size=TEXT_SIZE, fill=theme.muted)),
    ])  # fmt: skip


def _without(loss: Loss) -> str:
    """What stands in place of the bars where no token has a loss, as `js/loss_bars.js` has it."""
    if len(loss.labels) > 1:
        return "No token of this prompt has a loss."
    return "One token has no loss: nothing predicts the first token."


def _detail(loss: Loss, cut: str = "") -> str:
    count, n_ctx = len(loss.labels), loss.shown.meta["n_ctx"]
    parts = ["nats per token", f"mean {loss.mean:.3f} (dashed)" if count > 1 else ""]
    if n_ctx is None:
        parts.append("no trained length known")
    elif n_ctx >= count:
        parts.append(f"trained for {n_ctx} positions: all inside")
    else:
        parts.append(f"trained for {n_ctx} positions: {count - n_ctx} past it are extrapolation")
    for window in loss.shown.meta["windows"]:
        inside = ": all inside" if window["width"] >= count else ""
        parts.append(f"window {window['width']} in layers {window['layers']}{inside}")
    return " · ".join(part for part in [*parts, cut.replace("columns", "positions")] if part)


def loss_words(loss: Loss) -> str:
    """What is said of the chosen position."""
    place, n_ctx = loss.here, loss.shown.meta["n_ctx"]
    value, where = float(loss.nats[place]), f"“{loss.labels[place]}” (position {place})"
    past = " · past the trained length" if n_ctx is not None and place >= n_ctx else ""
    if isfinite(value):
        return f"{where}: {value:.3f} nats, probability {precision_text(exp(-value), 3)}{past}"
    return f"{where}: no value{past}" if place else f"{where}: nothing predicts the first token"


@dataclass(frozen=True, eq=False)
class Plot:
    """The bars with their axes."""

    loss: Loss
    columns: Columns
    theme: Theme

    @property
    def right(self) -> float:
        """The end of the x axis."""
        return _LEFT + self.columns.width * (self.columns.stop - self.columns.first)

    @property
    def high(self) -> float:
        """The end of the y axis."""
        return float(np.nan_to_num(self.loss.nats, nan=0.0, posinf=0.0).max(initial=0.0)) or 1.0

    def x(self, position: int) -> float:
        """The left edge of a bar."""
        return _LEFT + (position - self.columns.first) * self.columns.width

    def y(self, value: float) -> float:
        """The height of a value."""
        return _TOP + _HEIGHT * (1 - value / self.high)

    def picture(self, width: float) -> Picture:
        """Everything between and beside the axes."""
        n_ctx, step, parts = self.loss.shown.meta["n_ctx"], self.columns.width, list[Markup]()
        past = n_ctx is not None and n_ctx < self.columns.stop
        if past:
            start = max(self.x(n_ctx), _LEFT)
            parts.append(rect(start, _TOP, self.right - start, _HEIGHT, fill=self.theme.line))
        parts += self._axes()
        for position in range(self.columns.first, self.columns.stop):
            value = float(self.loss.nats[position])
            if isfinite(value):
                parts.append(
                    rect(self.x(position), self.y(value), max(0.5, step - (1 if step > 4 else 0)),
                         _TOP + _HEIGHT - self.y(value), fill=ramp(self.theme).fills[150], class_="lw-cell",
                         data_position=position, data_value=f"{value:.6g}")
                )  # fmt: skip
        if isfinite(self.loss.mean):
            y = self.y(self.loss.mean)
            parts.append(line(_LEFT, y, self.right, y, stroke=self.theme.muted, stroke_dasharray="4 4"))
        for window in self.loss.shown.meta["windows"]:
            parts += self._mark(window["width"], f"window {window['width']} (layers {window['layers']})", width)
        if past:
            parts += self._mark(n_ctx, f"trained length {n_ctx}: extrapolation from here", width)
        here = rect(self.x(self.loss.here), _TOP, max(3.0, step - 1), _HEIGHT, fill="none", stroke=self.theme.accent,
                    stroke_width=2)  # fmt: skip
        foot = _WORDS if step >= NARROWEST_WORD and on_end(step) else UPRIGHT_HEIGHT
        return Picture(width, _TOP + _HEIGHT + foot, joined([*parts, here]))

    def _axes(self) -> list[Markup]:
        parts, decade = [], 10.0 ** floor(log10(self.high / 4))
        tick = next(each * decade for each in (1, 2, 5, 10) if self.high / (each * decade) <= 4.000001)
        for place in range(int(self.high / tick + 1e-6) + 1):
            y = self.y(place * tick)
            parts += [
                line(_LEFT, y, self.right, y, stroke=self.theme.edge),
                text(_LEFT - 5, y, tick_text(place * tick, "~g"), size=10, text_anchor="end", fill=self.theme.muted),
            ]
        parts.append(unit_label("nats", _TOP + _HEIGHT / 2, self.theme))
        return [*parts, *self._below()]

    def _below(self) -> list[Markup]:
        """Tokens where they have room, else numbers of positions."""
        width, foot, parts = self.columns.width, _TOP + _HEIGHT, []
        worded = width >= NARROWEST_WORD
        each = 1 if worded else next((step for step in _STEPS if step * width >= 34), _STEPS[-1])
        for position in range(self.columns.first, self.columns.stop):
            if position % each:
                continue
            x = self.x(position) + width / 2
            colour = self.theme.accent if position == self.loss.here else self.theme.muted
            if worded:
                word = self.loss.labels[position]
                parts.append(column_word(word, x, foot, width, _WORDS - 6, colour, self.theme))
            else:
                parts.append(text(x, foot + 10, str(position), size=10, text_anchor="middle", fill=colour))
        return parts

    def _mark(self, position: int, words: str, width: float) -> list[Markup]:
        if not self.columns.first <= position < self.columns.stop:
            return []
        x = self.x(position)
        beside = x + 4 + text_width(words, 10) < width
        anchor = "start" if beside else "end"
        return [
            line(x, 2, x, _TOP + _HEIGHT, stroke=self.theme.ink, stroke_dasharray="3 3"),
            text(x + (4 if beside else -4), 9, words, size=10, text_anchor=anchor),
        ]


def loss_text(loss: Loss, empty: str) -> str:
    """The same as a table: a row per position."""
    if not loss.shown.layers:
        return said(loss.title, empty)
    shown = columns_around(len(loss.labels), loss.here, 40)
    rows = [
        [str(place), loss.labels[place], f"{loss.nats[place]:.3f}" if isfinite(loss.nats[place]) else "–"]
        for place in shown
    ]
    cut = cut_words(shown, len(loss.labels)).replace("Columns", "Positions")
    return said(f"{loss.title} · {_detail(loss)}", table(["position", "token", "nats"], rows), cut, loss_words(loss))
