"""Attention on paper: every head of the layers in view, and the matrix of the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np

from layerwidget.figures.heading import TEXT_SIZE, heading
from layerwidget.figures.heat_figure import heat_legend
from layerwidget.figures.layer_grid import placeholder
from layerwidget.figures.matrix_figure import (
    MATRIX_HEIGHT,
    MOST_LINES,
    Matrix,
    arcs_picture,
    matrix_picture,
    matrix_text,
    unpacked,
)
from layerwidget.figures.number_words import exact_value, layers_title, short_value
from layerwidget.figures.pixels import bitmap
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Markup, Picture, above, beside, joined, rect, text
from layerwidget.figures.tables import said
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import fitted, text_width, wrapped

_TITLE = "Attention heads"
_EMPTY = "Where every head looks appears here."
_NUMBERS, _SIDE, _ARCS = 30, 380, 300


@dataclass(frozen=True, eq=False)
class Attention:
    """What an attention view shows.

    Attributes:
        shown: gallery and chosen matrix as the browser has them.
        place: where the reader is.
        show_heads: whether the matrix is one `head`, or the `mean` or `max` of all in view.
        hide_first: whether the first key is left out.
        arcs: whether the chosen query is drawn as lines, too.
        head_note: a layer, a head, and what is said of it.
    """

    shown: Shown
    place: Place
    show_heads: str
    hide_first: bool
    arcs: bool
    head_note: tuple[int, int, str]

    @property
    def meta(self) -> Any:
        """What the browser knows besides numbers."""
        return self.shown.meta

    @property
    def hides(self) -> bool:
        """Whether the first key is left out where there are others."""
        return self.hide_first and self.meta["n_pos"] > 1

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """The layers in view that have attention, the last one first."""
        meta = self.meta
        return self.place.in_view(meta["layers" if meta["prompt"] is None else "attention_layers"])[::-1]

    @property
    def single_key(self) -> bool:
        """Whether there is one key only, which has all of every head's attention."""
        return int(self.meta["n_keys"]) == 1 and not self.meta["unit"]

    @property
    def held(self) -> tuple[int, ...]:
        """Those of them whose attention is computed, ascending."""
        return tuple(layer for layer in self.rows[::-1] if layer in self.shown.layers)

    @cached_property
    def gallery(self) -> np.ndarray:
        """Places on the ramp, shape [layer, head, query, key]; square-root scale."""
        meta, size = self.meta, int(self.meta["size"])
        n_matrices, n_keys = len(meta["layers"]) * len(meta["heads"]), ceil(meta["n_keys"] / meta["block"])
        roots = np.zeros((n_matrices, size, n_keys), np.uint8)
        start = 0
        for query in range(size):
            length = query + 1 if meta["causal"] else n_keys
            stop = start + n_matrices * length
            roots[:, query, :length] = self.shown.arrays["roots"][start:stop].reshape(n_matrices, length)
            start = stop
        # Pooled matrices, and lengths, come masked from the kernel.
        if self.hides and size == meta["n_pos"] and not meta["unit"]:
            roots = _without_first(roots)
        return roots.reshape(len(meta["layers"]), len(meta["heads"]), size, n_keys)

    @cached_property
    def matrix(self) -> Matrix | None:
        """The chosen matrix; None where it is not computed."""
        meta, one = self.meta, self.show_heads == "head"
        key = f"{self.place.layer}.{self.place.head}" if one else f"{self.show_heads}.{self.place.layers}"
        if "focus" not in self.shown.arrays or meta["focus_key"] != key:
            return None
        weights = unpacked(self.shown.values("focus").ravel(), meta["n_pos"], meta["n_keys"], meta["causal"])
        limit = None
        if meta["unit"]:
            limit = float(weights[:, 1 if self.hides else 0 :].max(initial=0.0)) or 1.0
        position = min(self.place.position, meta["n_pos"] - 1)
        return Matrix(weights, meta["prompt_visible"], meta["key_visible"], position, self.hides, limit)


def _without_first(roots: np.ndarray) -> np.ndarray:
    """Roots without their first key, the rest of each row scaled so that its squares sum to 1."""
    rest = roots.astype(np.float64)
    rest[..., 0] = 0
    total = (rest**2).sum(-1, keepdims=True)
    scaled = np.divide(rest * 255, np.sqrt(total), out=np.zeros_like(rest), where=total > 0)
    places: np.ndarray = np.floor(scaled + 0.5).clip(0, 255).astype(np.uint8)
    return places


def attention_picture(attention: Attention, width: float, theme: Theme) -> Picture:
    """Title line, gallery, matrix, and lines where they are wanted."""
    if not attention.shown.layers:
        empty = attention.meta.get("note") or _EMPTY
        return above([heading(_TITLE, "", width, theme), placeholder(empty, width, 160, theme)])
    beside_it = _SIDE + 16 + (_ARCS + 16 if attention.arcs else 0)
    pieces = [_gallery(attention, max(160.0, width - beside_it), theme), _matrix_side(attention, theme)]
    if attention.arcs:
        pieces.append(_arc_side(attention, theme))
    body = beside(pieces, 16)
    meta = attention.meta
    legend = None
    if meta["unit"]:
        sheet = {"kind": "one-sided", "limits": (0.0, meta["limit"]), "clipped": (False, False), "unit": meta["unit"],
                 "absent": False}  # fmt: skip
        legend = heat_legend(sheet, theme)
    return above([heading(_TITLE, _detail(attention), body.width, theme, legend), body])


def _detail(attention: Attention) -> str:
    meta, hidden = attention.meta, ""
    if attention.hides:
        share = meta["first_share"]
        part = "" if share is None else f" ({100 * share:.0f} % of a row)"
        hidden = f"first token hidden{part}" if meta["unit"] else "first token hidden, rest scaled to 1"
    missing = len(attention.rows) - len(attention.held)
    scale = [hidden, "√ scale"] if meta["unit"] else ["√ scale", hidden]
    if attention.single_key:
        scale = ["one token: its weight is 1 in all heads"]
    parts = [
        meta["quantity"], layers_title(attention.rows[::-1]) if attention.rows else "no layer with attention",
        f"{missing} not computed" if missing else "", *scale,
        f"largest of {meta['block']} × {meta['block']} cells" if meta["size"] < meta["n_pos"] else "",
        "last layer on top",
    ]  # fmt: skip
    return " · ".join(part for part in parts if part)


def _gallery(attention: Attention, room: float, theme: Theme) -> Picture:
    rows, heads = attention.rows, attention.meta["heads"]
    height = min(44.0, max(10.0, MATRIX_HEIGHT / max(1, len(rows))))
    width = min(max(56.0, height * 2.1), max(10.0, (room - _NUMBERS) / len(heads)))
    gap, every = (3 if height > 16 else 1), ceil(11 / height)
    parts: list[Markup] = []
    for row, layer in enumerate(rows):
        if row % every == 0 or layer == attention.place.layer:
            colour = theme.accent if layer == attention.place.layer else theme.muted
            size = min(11.0, height + 1)
            parts.append(
                text(_NUMBERS - 6, (row + 0.5) * height, str(layer), size=size, text_anchor="end", fill=colour)
            )
        for column, head in enumerate(heads):
            box = (_NUMBERS + column * width, row * height, width - gap, height - gap)
            if layer in attention.shown.layers and not attention.single_key:
                places = attention.gallery[attention.shown.layers.index(layer), column]
                said = {"class_": "lw-tile", "data_layer": layer, "data_head": head}
                parts.append(bitmap(places, ramp(theme), *box, **said))
            else:
                parts.append(rect(*box, fill=theme.line))
    foot = len(rows) * height
    each = ceil(16 / width)
    parts += [
        text(_NUMBERS + (column + 0.5) * width - gap / 2, foot + 8, str(head), size=10, text_anchor="middle",
             fill=theme.accent if attention.show_heads == "head" and head == attention.place.head else theme.muted)
        for column, head in enumerate(heads) if column % each == 0
    ]  # fmt: skip
    parts.append(
        text(_NUMBERS + len(heads) * width / 2, foot + 23, "head", size=10, text_anchor="middle", fill=theme.muted)
    )
    chosen = (attention.place.layer, attention.place.head)
    if attention.show_heads == "head" and chosen[0] in rows and chosen[1] in heads:
        row, column = rows.index(chosen[0]), heads.index(chosen[1])
        parts.append(
            rect(_NUMBERS + column * width - 1, max(0.5, row * height - 1), width - gap + 2, height - gap + 2,
                 fill="none", stroke=theme.accent, stroke_width=2, class_="lw-here")
        )  # fmt: skip
    total = max(_NUMBERS + len(heads) * width, min(room, 240))
    return Picture(total, foot + 32, joined(parts))


def _matrix_title(attention: Attention) -> tuple[str, str]:
    meta, place = attention.meta, attention.place
    word = meta["prompt_visible"][min(place.position, meta["n_pos"] - 1)]
    if attention.show_heads != "head":
        return f"{attention.show_heads} of {layers_title(attention.held)}, all heads", f"from “{word}”"
    shared = ""
    if meta["grouped"] and place.head in meta["heads"]:
        shared = f"kv head {meta['kv_heads'][meta['heads'].index(place.head)]} · "
    layer, head, note = attention.head_note
    named = f"{note} · " if note and (layer, head) == (place.layer, place.head) else shared
    return f"layer {place.layer} · head {place.head}", f"{named}from “{word}”"


def _titled(title: str, detail: str, width: float, theme: Theme) -> Picture:
    start = text_width(title, 12, "bold") + 8
    rest = fitted(detail, width - start, TEXT_SIZE) if detail else ""
    return Picture(width, 22, joined([
        text(0, 9, title, size=12, font_weight="bold"), text(start, 9.5, rest, size=TEXT_SIZE, fill=theme.muted),
    ]))  # fmt: skip


def _matrix_side(attention: Attention, theme: Theme) -> Picture:
    title = _titled(*_matrix_title(attention), _SIDE, theme)
    matrix = attention.matrix
    if matrix is None:
        missing = "The attention of this head is not computed."
        return above([title, placeholder(missing, _SIDE - 12, 120, theme)])
    lines = wrapped(strongest_words(attention, matrix), _SIDE - 8, TEXT_SIZE)
    words = [text(0, 10 + 16 * row, line, size=TEXT_SIZE, fill=theme.muted) for row, line in enumerate(lines)]
    picture = matrix_picture(matrix, _SIDE, theme)
    return above([title, picture, Picture(_SIDE, 16 * len(lines) + 6, joined(words))])


def _arc_side(attention: Attention, theme: Theme) -> Picture:
    matrix, unit = attention.matrix, attention.meta["unit"]
    many = max(len(attention.meta["prompt_visible"]), len(attention.meta["key_visible"])) > MOST_LINES
    if matrix is None or many:
        why = f"Lines can be told apart up to {MOST_LINES} tokens." if many else "Not computed."
        return above([_titled("Lines", "", _ARCS, theme), placeholder(why, _ARCS, 120, theme)])
    detail = f"from “{matrix.words[matrix.position]}” · width by {'length' if unit else 'weight'}"
    return above([_titled("Lines", detail, _ARCS, theme), arcs_picture(matrix, theme, _ARCS)])


def strongest_words(attention: Attention, matrix: Matrix) -> str:
    """One line of truth: the strongest key of the chosen query."""
    unit, query, key = attention.meta["unit"], matrix.position, matrix.strongest
    if matrix.hide_first and query == 0 and attention.meta["causal"]:
        return "The first query sees only the first token, which is hidden."
    if matrix.hide_first and not matrix.shares()[query, key]:
        return "All weight rests on the first token, which is hidden."

    def written(slot: int) -> str:
        number = float(matrix.weights[query, slot])
        return f"{exact_value(number)} {unit}" if unit else f"{number:.3f}"

    sink = f" · hidden on the first token: {written(0)}" if matrix.hide_first else ""
    scaled = f" · colours to {short_value(matrix.limit or 1.0, 3)} {unit}" if unit else ""
    return f"strongest: “{matrix.words[query]}” → “{matrix.key_words[key]}” {written(key)}{sink}{scaled}"


def attention_text(attention: Attention) -> str:
    """The chosen matrix as a table."""
    if not attention.shown.layers:
        return said(_TITLE, attention.meta.get("note") or _EMPTY)
    lines: Sequence[str] = [f"{_TITLE} · {_detail(attention)}", " · ".join(_matrix_title(attention))]
    matrix = attention.matrix
    if matrix is None:
        return said(*lines, "The attention of this head is not computed.")
    return said(*lines, matrix_text(matrix), strongest_words(attention, matrix))


@dataclass(frozen=True, eq=False)
class Rollout:
    """What a rollout view shows: the data as the browser has them, and where the reader is."""

    shown: Shown
    place: Place

    @property
    def matrix(self) -> Matrix:
        """The matrix."""
        meta = self.shown.meta
        n_pos, words = meta["n_pos"], meta["prompt_visible"]
        weights = unpacked(self.shown.values("rollout").ravel(), n_pos, n_pos, meta["causal"])
        return Matrix(weights, words, words, min(self.place.position, n_pos - 1))

    def words(self) -> str:
        """From which token most of the chosen one comes."""
        matrix = self.matrix
        word, key = matrix.words[matrix.position], matrix.strongest
        share = float(matrix.weights[matrix.position, key])
        if not share:
            return f"“{word}” looks at nothing but the first token, which is left out."
        return f"most: “{word}” from “{matrix.words[key]}” {share:.3f}"


def rollout_picture(rollout: Rollout, width: float, theme: Theme) -> Picture:
    """Title line, matrix, and the largest share of the chosen token."""
    meta = rollout.shown.meta
    if not rollout.shown.layers:
        empty = meta.get("note") or "Attention through all layers of the range appears here."
        return above([heading("Rollout", "", width, theme), placeholder(empty, width, 160, theme)])
    room = min(width, 440.0)
    note = meta["note"] or "Each row sums to 1."
    return above([
        heading("Rollout", f"{layers_title(rollout.shown.layers)} · √ scale · {note}", room, theme),
        matrix_picture(rollout.matrix, room, theme),
        Picture(room, 20, text(0, 10, rollout.words(), size=TEXT_SIZE, fill=theme.muted)),
    ])  # fmt: skip


def rollout_text(rollout: Rollout) -> str:
    """The matrix as a table."""
    if not rollout.shown.layers:
        return said(
            "Rollout", rollout.shown.meta.get("note") or "Attention through all layers of the range appears here."
        )
    note = rollout.shown.meta["note"] or "Each row sums to 1."
    return said(
        f"Rollout · {layers_title(rollout.shown.layers)} · {note}", matrix_text(rollout.matrix), rollout.words()
    )
