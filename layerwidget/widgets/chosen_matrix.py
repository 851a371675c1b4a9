"""The chosen matrix of a gallery of heads: numbers while they are few, else colours, and numbers row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from layerwidget.layers import parse_layers
from layerwidget.questions.attention import HeadGrid
from layerwidget.results import FloatArray
from layerwidget.widgets.gallery_packing import cells_of, queries_of

#: A matrix is sent as numbers up to this size: 723 causal tokens, or 512 x 512. Then pointing at one asks nobody.
NUMBERS_BYTES = 2**20
#: Larger ones are colours, a byte each, and no more than these: pooled beyond 1,024 causal tokens.
COLOURS_BYTES = 1024 * 1025 // 2


@dataclass(frozen=True)
class Choice:
    """What the matrix shows, read once: the reader may go on to the next while this one is sent."""

    show_heads: str
    layers: str
    layer: int
    head: int

    @property
    def key(self) -> str:
        """Its name in the browser."""
        return f"{self.layer}.{self.head}" if self.show_heads == "head" else f"{self.show_heads}.{self.layers}"

    def matrix(self, grid: HeadGrid, queries: slice = slice(None)) -> FloatArray | None:
        """Some queries of it, shape [query, key]; None where the result does not hold it."""
        if self.show_heads == "head":
            held = self.layer in grid.layers and self.head in grid.heads
            place = (grid.layers.index(self.layer), grid.heads.index(self.head)) if held else None
            return None if place is None else grid.matrices[place][queries]
        wanted = parse_layers(self.layers, grid.n_layers)
        rows = [row for row, layer in enumerate(grid.layers) if layer in wanted]
        if not rows:
            return None
        gapless = rows[-1] - rows[0] + 1 == len(rows)
        # Only layers with gaps have to be copied.
        matrices = grid.matrices[:, :, queries][slice(rows[0], rows[-1] + 1) if gapless else rows]
        combined: FloatArray = matrices.mean(axis=(0, 1)) if self.show_heads == "mean" else matrices.max(axis=(0, 1))
        return combined


@dataclass(frozen=True, eq=False)
class Chosen:
    """A chosen matrix as the browser has it.

    Attributes:
        grid: the result.
        choice: which matrix of it.
        block: how many queries, and keys, share a cell; 0 where the browser has the numbers.
        without_first: whether the colours leave out the first key.
        limit: what the last colour stands for.
        rows: the colours, row by row.
    """

    grid: HeadGrid
    choice: Choice
    block: int = 0
    without_first: bool = False
    limit: float = 1.0
    rows: tuple[bytes, ...] = ()

    @property
    def masked(self) -> bool:
        """Whether another choice of `hide_first` makes other colours; else the browser leaves out the first key."""
        return self.block > 1 or (self.block > 0 and bool(self.grid.unit))

    def packed(self, position: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the browser needs to draw it: with colours only, the numbers at the reader's position come along."""
        meta: dict[str, Any] = {"focus_key": self.choice.key, "focus_block": self.block}
        if not self.block:
            matrix = self.choice.matrix(self.grid)
            assert matrix is not None
            return meta, {"focus": matrix[np.tri(len(matrix), dtype=bool)] if self.grid.causal else matrix}
        colours = np.frombuffer(b"".join(self.rows), np.uint8)
        first, numbers = self.numbers(position // self.block)
        return {**meta, "focus_limit": self.limit, "row_first": first}, {"focus": colours, "row": numbers}

    def numbers(self, row: int) -> tuple[int, FloatArray]:
        """Of a row of cells: its first query, and the numbers of all its queries, shape [query, key]."""
        queries = queries_of(self.grid, row, self.block)
        matrix = self.choice.matrix(self.grid, queries)
        assert matrix is not None
        return queries.start, matrix[:, : queries.stop] if self.grid.causal else matrix


def chosen_matrix(grid: HeadGrid, choice: Choice, hide_first: bool, before: Chosen | None = None) -> Chosen | None:
    """What the browser is to have of a matrix; None where the result does not hold it.

    Args:
        grid: the result.
        choice: which matrix of it.
        hide_first: whether the first key is to be left out where it is left out here.
        before: what the browser has; its colours stay where they are of the same numbers.
    """
    if choice.matrix(grid, slice(0)) is None:
        return None
    block = _block(grid)
    made = Chosen(grid, choice, block)
    if not block:
        return made
    hidden = hide_first and made.masked
    limit = _largest(grid, choice, hidden) if grid.unit else 1.0
    look = (choice.key, block, hidden, limit)
    alike = before is not None and (before.choice.key, before.block, before.without_first, before.limit) == look
    kept = before.rows[: before.grid.n_alike(grid) // block] if before is not None and alike else ()
    made = Chosen(grid, choice, block, hidden, limit)
    n_rows = -(-len(grid.token_ids) // block)
    new = (cells_of(made.numbers(row)[1], block, hidden, grid.unit, limit) for row in range(len(kept), n_rows))
    return Chosen(grid, choice, block, hidden, limit, (*kept, *(row.tobytes() for row in new)))


def _block(grid: HeadGrid) -> int:
    """0 where the numbers of a matrix fit into `NUMBERS_BYTES`, else what makes its colours fit."""
    n_queries, n_keys = grid.matrices.shape[-2:]
    if 4 * _n_cells(n_queries, n_keys, grid.causal) <= NUMBERS_BYTES:
        return 0
    block = 1
    while _n_cells(-(-n_queries // block), -(-n_keys // block), grid.causal) > COLOURS_BYTES:
        block += 1
    return block


def _n_cells(n_queries: int, n_keys: int, causal: bool) -> int:
    return n_queries * (n_queries + 1) // 2 if causal else n_queries * n_keys


def _largest(grid: HeadGrid, choice: Choice, hidden: bool) -> float:
    matrix = choice.matrix(grid)
    assert matrix is not None
    return float(matrix[:, 1 if hidden else 0 :].max(initial=0.0)) or 1.0
