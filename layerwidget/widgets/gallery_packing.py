"""How the matrices of a gallery of heads are packed for the browser: 8-bit square roots, row by row."""

from __future__ import annotations

import numpy as np

from layerwidget.questions.attention import HeadGrid, rows_to_one
from layerwidget.results import FloatArray


def gallery_row(grid: HeadGrid, row: int, block: int, hidden: bool, limit: float = 1.0) -> bytes:
    """One row of all matrices of the gallery: `eight_bit_roots` of shape [layer, head, key].

    Args:
        grid: the result.
        row: which queries: those from `row * block` to before `(row + 1) * block`.
        block: how many queries, and keys, share a cell; it shows the largest of their numbers.
        hidden: whether the first key is left out; weights are those `without_first` then.
        limit: the number that has the root 255.

    A causal row ends with the cell of its own queries: they see nothing behind it.
    """
    queries = queries_of(grid, row, block)
    numbers = grid.matrices[:, :, queries, : queries.stop if grid.causal else None]
    return cells_of(numbers, block, hidden, grid.unit, limit).tobytes()


def queries_of(grid: HeadGrid, row: int, block: int) -> slice:
    """Which queries share a row of cells."""
    return slice(row * block, min((row + 1) * block, len(grid.token_ids)))


def cells_of(numbers: FloatArray, block: int, hidden: bool, unit: str, limit: float) -> np.ndarray:
    """`eight_bit_roots` of the largest numbers of a row of cells, shape [..., cell].

    Args:
        numbers: those of the queries that share the row, shape [..., query, key].
        block: how many keys share a cell.
        hidden: whether the first key is left out.
        unit: of the numbers; shares of 1 have none.
        limit: the number that has the root 255, of what is no share.
    """
    if hidden:
        numbers = _without_column(numbers) if unit else without_first(numbers)
    highest = numbers.max(axis=-2)
    if block > 1:
        highest = np.maximum.reduceat(highest, np.arange(0, highest.shape[-1], block), axis=-1)
    return eight_bit_roots(highest / limit if unit else highest)


def eight_bit_roots(weights: FloatArray) -> np.ndarray:
    """Square roots of weights as the nearest of 255 steps: the places of their colours on a square-root scale.

    As a weight, `(root / 255)²`, it is wrong by up to 0.004, and one below 4e-6 is 0.
    """
    roots: np.ndarray = np.rint(np.sqrt(np.clip(weights, 0, 1)) * 255).astype(np.uint8)
    return roots


def thousandth_steps(grid: HeadGrid) -> np.ndarray:
    """What makes the roots of an unpooled gallery exact to three decimals: shape and order are those of all its rows.

    A step is by how many thousandths the rounded weight is above the rounded weight of its root, plus 128: never off by
    more than 4, and mostly 0, so that it takes little room where it is compressed.
    """
    rows = []
    for row in range(len(grid.token_ids)):
        weights = grid.matrices[:, :, row, : row + 1 if grid.causal else None]
        roots = eight_bit_roots(weights).astype(np.float64)
        rows.append(_thousandths(weights) - _thousandths((roots / 255) ** 2))
    return (np.concatenate([row.reshape(-1) for row in rows]) + 128).astype(np.uint8)


def _thousandths(weights: FloatArray | np.ndarray) -> np.ndarray:
    """As the browser rounds the float32 that it holds: halves go up."""
    rounded: np.ndarray = np.floor(weights.astype(np.float32).astype(np.float64) * 1000 + 0.5).astype(np.int64)
    return rounded


def without_first(pattern: FloatArray) -> FloatArray:
    """Patterns without their first key, the rest of each row scaled to sum to 1; rows that held nothing else are 0."""
    return rows_to_one(_without_column(pattern))


def _without_column(numbers: FloatArray) -> FloatArray:
    rest = numbers.copy()
    rest[..., 0] = 0
    return rest


def largest(grid: HeadGrid, hidden: bool) -> float:
    """The largest number of a result, without the first key where it is hidden; 1 where there is none above 0."""
    return float(grid.matrices[..., 1 if hidden else 0 :].max(initial=0.0)) or 1.0


def first_share(grid: HeadGrid) -> float | None:
    """The share of the first key in a row, mean over layers, heads and all queries but the first; None without such.

    Rows that hold nothing are left out.
    """
    rows = grid.matrices[:, :, 1:]
    total = rows.sum(-1)
    return float((rows[..., 0][total > 0] / total[total > 0]).mean()) if (total > 0).any() else None
