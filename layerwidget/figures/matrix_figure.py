"""One attention matrix on paper: query tokens down, key tokens across, the chosen query outlined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from layerwidget.figures.number_words import short_value
from layerwidget.figures.pixels import bitmap
from layerwidget.figures.svg import Markup, Picture, group, joined, rect, text
from layerwidget.figures.tables import columns_around, said, table
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import fitted, text_width
from layerwidget.questions.attention import rows_to_one
from layerwidget.results import FloatArray

_LABEL_WIDTH, _LABEL_HEIGHT = 72, 60
_CELLS_DRAWN = 2500
# As `js/pattern_matrix.js` has them.
_LARGEST, _NUMBERED = 64.0, 34.0
MATRIX_HEIGHT = 336


@dataclass(frozen=True, eq=False)
class Matrix:
    """What a matrix shows.

    Attributes:
        weights: shape [query, key]; 0 for what a causal query does not see.
        words, key_words: the tokens of both axes.
        position: the chosen query.
        hide_first: whether the first key is left out, the rest of each row of shares scaled to sum to 1.
        limit: the number that the last colour stands for; None for shares of 1.
    """

    weights: FloatArray
    words: Sequence[str]
    key_words: Sequence[str]
    position: int
    hide_first: bool = False
    limit: float | None = None

    def shares(self) -> np.ndarray:
        """The matrix as it is drawn, 0 to 1."""
        shares: np.ndarray = self.weights.astype(np.float64) / (self.limit or 1.0)
        if not self.hide_first:
            return shares
        shares[:, 0] = 0
        return shares if self.limit else rows_to_one(shares)

    def places(self) -> np.ndarray:
        """The places on the ramp of colours; square-root scale."""
        places: np.ndarray = np.floor(np.sqrt(self.shares()) * 255 + 0.5).clip(0, 255).astype(np.uint8)
        return places

    @property
    def strongest(self) -> int:
        """The key with the largest share of the chosen query."""
        return int(self.shares()[self.position].argmax())


def unpacked(packed: FloatArray, n_queries: int, n_keys: int, causal: bool) -> FloatArray:
    """A matrix from the numbers that the browser has, causal ones without what is never seen."""
    if not causal:
        return packed.reshape(n_queries, n_keys)
    matrix = np.zeros((n_queries, n_keys), np.float32)
    matrix[np.tri(n_queries, n_keys, dtype=bool)] = packed
    return matrix


def matrix_picture(matrix: Matrix, width: float, theme: Theme, height: float = MATRIX_HEIGHT) -> Picture:
    """Cells, labels of both axes, and the outline of the chosen query."""
    n_queries, n_keys = matrix.weights.shape
    across, down = (
        min(_LARGEST, (width - _LABEL_WIDTH) / n_keys),
        min(_LARGEST, (height - _LABEL_HEIGHT) / n_queries),
    )
    if n_keys == n_queries:
        across = down = min(across, down)
    side, foot = across * n_keys, down * n_queries
    parts = [rect(_LABEL_WIDTH, 0, side, foot, fill=ramp(theme).fills[0], stroke=theme.edge)]
    parts += _cells(matrix, across, down, theme)
    if min(across, down) >= _NUMBERED:
        parts += _numbers(matrix, across, down, theme)
    parts += _labels(matrix, across, down, theme)
    top = matrix.position * down
    thick = max(1.0, min(2.0, down / 4))
    parts.append(
        rect(
            _LABEL_WIDTH,
            top,
            side,
            max(2.0, down),
            fill="none",
            stroke=theme.accent,
            stroke_width=thick,
            class_="lw-here",
        )
    )
    return Picture(_LABEL_WIDTH + side + 12, foot + _LABEL_HEIGHT, joined(parts))


def _cells(matrix: Matrix, across: float, down: float, theme: Theme) -> Iterator[Markup]:
    places, fills = matrix.places(), ramp(theme).fills
    if places.size > _CELLS_DRAWN:
        yield bitmap(places, ramp(theme), _LABEL_WIDTH, 0, across * places.shape[1], down * places.shape[0])
        return
    for query, row in enumerate(places.tolist()):
        for key, place in enumerate(row):
            if place:
                # A hair wider: no seams between cells.
                yield rect(
                    _LABEL_WIDTH + key * across, query * down, across + 0.2, down + 0.2, fill=fills[place],
                    class_="lw-cell", data_query=query, data_key=key,
                    data_value=f"{float(matrix.weights[query, key]):.6g}",
                )  # fmt: skip


def _numbers(matrix: Matrix, across: float, down: float, theme: Theme) -> Iterator[Markup]:
    """The numbers of the cells that have a colour."""
    inks = ramp(theme).inks
    for query, row in enumerate(matrix.places().tolist()):
        for key, place in enumerate(row):
            words = short_value(float(matrix.weights[query, key]), 2)
            if place and text_width(words, 11) < across - 4:
                x, y = _LABEL_WIDTH + (key + 0.5) * across, (query + 0.5) * down
                yield text(x, y, words, size=11, text_anchor="middle", fill=inks[place])


def labelled(count: int, cell: float, chosen: int | None) -> list[int]:
    """Which tokens of an axis get a label: the chosen one, and as many others as have room."""
    every = ceil(11 / cell)
    near = -every if chosen is None else chosen
    return [
        place for place in range(count)
        if place == chosen or (place % every == 0 and (chosen is None or abs(place - near) >= every))
    ]  # fmt: skip


def _labels(matrix: Matrix, across: float, down: float, theme: Theme) -> Iterator[Markup]:
    yield from row_labels(matrix.words, down, matrix.position, _LABEL_WIDTH, theme)
    yield from column_labels(matrix.key_words, across, _LABEL_WIDTH, down * len(matrix.words), theme)


def row_labels(
    words: Sequence[str], cell: float, chosen: int, width: float, theme: Theme, top: float = 0
) -> Iterator[Markup]:
    """The words of the queries, in so much room on the left of a matrix that begins at `top`."""
    size = min(11.0, 10.0 if cell < 11 else cell - 1)
    for place in labelled(len(words), cell, chosen):
        colour = theme.accent if place == chosen else theme.muted
        word = fitted(words[place], width - 8, size, "mono")
        y = top + max(6.0, (place + 0.5) * cell)
        yield text(width - 5, y, word, size=size, text_anchor="end", font_family=theme.mono, fill=colour)


def column_labels(words: Sequence[str], cell: float, left: float, foot: float, theme: Theme) -> Iterator[Markup]:
    """The words of the keys, aslant below a matrix that begins at `left` and ends at `foot`."""
    size = min(10.0, 9.0 if cell < 10 else cell - 1)
    for place in labelled(len(words), cell, None):
        word = fitted(words[place], _LABEL_HEIGHT, size, "mono")
        label = text(0, 2, word, size=size, text_anchor="end", font_family=theme.mono, fill=theme.muted)
        x = left + (place + 0.5) * cell
        yield group([label], transform=f"translate({x:.1f} {foot + 6:.1f}) rotate(-60)")


def matrix_text(matrix: Matrix) -> str:
    """The matrix as a table: queries down, keys across."""
    n_queries, n_keys = matrix.weights.shape
    keys, queries = columns_around(n_keys, matrix.strongest), columns_around(n_queries, matrix.position)
    rows = [
        [matrix.words[query], *(_number(float(matrix.weights[query, key]), matrix.limit) for key in keys)]
        for query in queries
    ]
    cut = "" if len(keys) == n_keys and len(queries) == n_queries else (
        f"Queries {queries[0]} to {queries[-1]} of {n_queries}, keys {keys[0]} to {keys[-1]} of {n_keys}; "
        "the others are cut."
    )  # fmt: skip
    return said(table(["query ↓ key →", *(matrix.key_words[key] for key in keys)], rows), cut)


def _number(weight: float, limit: float | None) -> str:
    return f"{weight:.3f}" if limit is None else short_value(weight, 3)


#: Lines can be told apart up to so many tokens.
MOST_LINES = 40


def arcs_picture(matrix: Matrix, theme: Theme, width: float = 300, height: float = MATRIX_HEIGHT) -> Picture:
    """The chosen query's numbers as lines: queries on the left, keys on the right."""
    height = min(height, 20.0 * max(len(matrix.words), len(matrix.key_words)))
    words_width, shares = 76.0, matrix.shares()[matrix.position]
    start, end = words_width, width - words_width

    def y(place: int, count: int) -> float:
        return (place + 0.5) * min(20.0, height / count)

    drawn = sorted((share, key) for key, share in enumerate(shares.tolist()) if share >= 0.01)
    parts = []
    for share, key in drawn:
        ends, bend = (y(matrix.position, len(matrix.words)), y(key, len(matrix.key_words))), (end - start) / 2
        path = f"M{start},{ends[0]:.1f}C{start + bend},{ends[0]:.1f} {end - bend},{ends[1]:.1f} {end},{ends[1]:.1f}"
        fill = ramp(theme).at(sqrt(min(1.0, share)))[0]
        parts.append(Markup(f'<path d="{path}" fill="none" stroke="{fill}" stroke-width="{0.75 + 5.25 * share:.2f}"/>'))
    looked = {key for _, key in drawn}
    for words, x, anchor in ((matrix.words, start - 5, "end"), (matrix.key_words, end + 5, "start")):
        size = min(11.0, max(8.0, min(20.0, height / len(words)) - 1))
        for place, word in enumerate(words):
            here = place == matrix.position if anchor == "end" else place in looked
            colour = (theme.accent if anchor == "end" else theme.ink) if here else theme.muted
            parts.append(text(x, y(place, len(words)), fitted(word, words_width - 8, size, "mono"), size=size,
                              text_anchor=anchor, font_family=theme.mono, fill=colour))  # fmt: skip
    return Picture(width, height, joined(parts))
