"""The strongest neurons on paper: a row for each, and the followed one over the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerwidget.figures.heading import TEXT_SIZE, heading
from layerwidget.figures.layer_grid import placeholder
from layerwidget.figures.number_words import exact_value
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Markup, Picture, above, joined, line, rect, text
from layerwidget.figures.tables import said, table
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import fitted, flowed, text_width, wrapped

_ROW = 17.5
_TITLE = "FFN neurons"
_EMPTY = "The strongest neurons of the chosen layer appear here."


@dataclass(frozen=True, eq=False)
class NeuronRows:
    """What the table shows: the data as the browser has them, and where the reader is."""

    shown: Shown
    place: Place

    def name(self, neuron: int) -> str:
        """A neuron's number; with experts, that of the expert and its number within it."""
        n_neurons = self.shown.meta["n_neurons"]
        return f"{neuron // n_neurons} · {neuron % n_neurons}" if self.shown.meta["n_experts"] else str(neuron)

    def columns(self) -> list[str]:
        """Heads of the columns with numbers, in their order."""
        gates = ["gate", "up"] if "gates" in self.shown.arrays else []
        return ["|m| ‖v‖", "activation m", *gates]

    def numbers(self, row: int) -> list[str]:
        """The numbers of a row."""
        arrays = self.shown.arrays
        names = ["contributions", "activations", *(["gates", "ups"] if "gates" in arrays else [])]
        return [exact_value(float(arrays[name][row])) if name in arrays else "" for name in names]

    def words(self, name: str, row: int) -> str:
        """The tokens that a row promotes or demotes, or that the lens reads in what it adds."""
        found: Sequence[Sequence[str]] | None = self.shown.meta.get(name)
        return "" if found is None else "  ".join(found[row])

    def experts(self, position: int) -> str:
        """The experts that a position goes through."""
        experts = self.shown.meta["experts"]
        return " ".join(map(str, experts[position])) if experts else ""

    def weighted_experts(self, position: int) -> str:
        """The experts that a position goes through, each with the router's weight."""
        pairs = zip(self.shown.meta["experts"][position], self.shown.arrays["router_weights"][position], strict=True)
        return ", ".join(f"{expert} (× {float(weight):.3f})" for expert, weight in pairs)


def _detail(rows: NeuronRows) -> str:
    meta = rows.shown.meta
    word = meta["prompt_visible"][meta["position"]]
    return (
        f"layer {meta['layers'][0]} · at “{word}” (position {meta['position']}) · the strongest {len(meta['neurons'])} "
        f"carry {100 * meta['share']:.0f} % of all contributions, {meta['n_half']} carry half"
    )


def _note(rows: NeuronRows) -> str:
    error = rows.shown.meta["error"]
    written = f"{error:.1e}".replace("e-0", "e-") if error else "0"
    return f"Sum over all neurons against the FFN's own output: error {written}. {rows.shown.meta['note']}".strip()


def _followed(rows: NeuronRows) -> str:
    meta = rows.shown.meta
    if meta["followed"] is None:
        return "Experts of every token." if meta["experts"] else ""
    name = rows.name(meta["followed"])
    return (
        f"neuron {name} of layer {meta['layers'][0]} over the prompt: activation, blue above zero, yellow-green below"
    )


def _readout(rows: NeuronRows) -> str:
    """What is known at the chosen position, as `js/neuron_table.js` says it."""
    meta, values = rows.shown.meta, rows.shown.arrays.get("by_position")
    place = min(meta["position"], len(meta["prompt_visible"]) - 1)
    parts = [f"“{meta['prompt_visible'][place]}” (position {place})"]
    if values is not None:
        value = float(values[place])
        parts.append("its expert was not chosen here" if np.isnan(value) else f"activation {exact_value(value)}")
    if meta["experts"]:
        parts.append(f"experts {rows.weighted_experts(place)}")
    return " · ".join(parts)


def neuron_picture(rows: NeuronRows, width: float, theme: Theme) -> Picture:
    """Title line, rows, the followed neuron over the prompt."""
    if not rows.shown.layers:
        empty = rows.shown.meta.get("note") or _EMPTY
        return above([heading(_TITLE, "", width, theme), placeholder(empty, width, 160, theme)])
    width = max(width, 720)
    pieces = [heading(_TITLE, _detail(rows), width, theme), _table(rows, width, theme)]
    lines = wrapped(_note(rows), width, TEXT_SIZE)
    notes = [text(0, 10 + 16 * place, words, size=TEXT_SIZE, fill=theme.muted) for place, words in enumerate(lines)]
    pieces.append(Picture(width, 16 * len(lines) + 8, joined(notes)))
    if _followed(rows):
        pieces += [
            Picture(width, 22, text(0, 10, _followed(rows), size=TEXT_SIZE)), _strip(rows, width, theme),
            Picture(width, 20, text(0, 10, fitted(_readout(rows), width, TEXT_SIZE), size=TEXT_SIZE, fill=theme.muted)),
        ]  # fmt: skip
    return above(pieces)


def _table(rows: NeuronRows, width: float, theme: Theme) -> Picture:
    meta, numbers = rows.shown.meta, rows.columns()
    bar, ends = 78.0, [78 + 90 + 62 + 74 * place for place in range(len(numbers))]
    start = ends[-1] + 16
    half = (width - start) / 2
    heads = ["expert · neuron" if meta["n_experts"] else "neuron", "contribution " + numbers[0], *numbers[1:]]
    parts: list[Markup] = [
        text(0, 9, heads[0], size=10, fill=theme.muted),
        text(bar, 9, heads[1], size=10, fill=theme.muted),
    ]
    parts += [
        text(end, 9, head, size=10, text_anchor="end", fill=theme.muted)
        for head, end in zip(heads[2:], ends[1:], strict=True)
    ]
    parts += [
        text(start, 9, "its value promotes", size=10, fill=theme.muted),
        text(start + half, 9, "and demotes", size=10, fill=theme.muted), line(0, 18, width, 18, stroke=theme.edge),
    ]  # fmt: skip
    contributions = rows.shown.arrays["contributions"]
    for row, neuron in enumerate(meta["neurons"]):
        y = 20 + (row + 0.5) * _ROW
        share = float(contributions[row]) / max(1e-30, float(contributions[0]))
        if neuron == meta["followed"]:
            parts.append(rect(-4, y - _ROW / 2, width + 8, _ROW, fill="none", stroke=theme.accent, stroke_width=1.5))
        parts += [
            text(0, y, rows.name(neuron), size=11, font_family=theme.mono),
            rect(bar, y - 5, 84 * share, 10, fill=theme.data, class_="lw-cell", data_neuron=neuron,
                 data_value=f"{float(contributions[row]):.6g}"),
            *(
                text(end, y, number, size=11, text_anchor="end")
                for number, end in zip(rows.numbers(row), ends, strict=True)
            ),
            text(start, y, fitted(rows.words("promotes", row), half - 12, 10, "mono"), size=10, font_family=theme.mono),
            text(start + half, y, fitted(rows.words("demotes", row), half, 10, "mono"), size=10,
                 font_family=theme.mono),
        ]  # fmt: skip
    return Picture(width, 20 + len(meta["neurons"]) * _ROW + 8, joined(parts))


def _strip(rows: NeuronRows, width: float, theme: Theme) -> Picture:
    """The tokens of the prompt in the colours of the followed neuron."""
    meta, values = rows.shown.meta, rows.shown.arrays.get("by_position")
    largest = 1e-30 if values is None else float(np.nanmax(np.abs(values), initial=1e-30))
    words, height = meta["prompt_visible"], 34 if meta["experts"] else 22
    widths = [
        max(text_width(word, 11, "mono"), text_width(rows.experts(place), 9)) + 12 for place, word in enumerate(words)
    ]
    parts, n_lines = list[Markup](), 1
    for place, (x, row) in enumerate(flowed(widths, width, 4)):
        y, value = row * (height + 5), float("nan") if values is None else float(values[place])
        fill, ink = (
            (None, theme.ink)
            if np.isnan(value)
            else ramp(theme, "below" if value < 0 else "above").at(abs(value) / largest)
        )
        here = place == meta["position"]
        parts += [
            rect(x + 1, y + 1, widths[place], height - 2, rx=4, fill=fill or theme.raised, class_="lw-cell",
                 data_position=place, data_value=None if np.isnan(value) else f"{value:.6g}",
                 stroke=theme.accent if here else theme.edge, stroke_width=2 if here else 1),
            text(x + 7, y + 11, words[place], size=11, font_family=theme.mono, fill=ink),
        ]  # fmt: skip
        if meta["experts"]:
            parts.append(text(x + 7, y + 25, rows.experts(place), size=9, fill=ink))
        n_lines = row + 1
    return Picture(width, n_lines * (height + 5) + 4, joined(parts))


def neuron_text(rows: NeuronRows) -> str:
    """The same as a table: a row per neuron."""
    if not rows.shown.layers:
        return said(_TITLE, rows.shown.meta.get("note") or _EMPTY)
    meta = rows.shown.meta
    cells = [
        [rows.name(neuron), *rows.numbers(row), *(rows.words(name, row) for name in ("promotes", "demotes", "lens"))]
        for row, neuron in enumerate(meta["neurons"])
    ]
    head = ["neuron", *rows.columns(), "promotes", "demotes", "lens of what it adds"]
    return said(f"{_TITLE} · {_detail(rows)}", table(head, cells, widest=44), _note(rows))
