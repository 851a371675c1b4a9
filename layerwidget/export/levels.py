"""A recorded gallery in half the room: its colours and what makes them exact as one number, in groups that are alike.

Where a head looks hardly differs from one query to the next. So the numbers of a gallery are sorted by what stands
above them: by the same key of the query before. Each group has numbers of about one size, and compresses better than
they all do in their order. `js/recorded_levels.js` puts them back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Levels below this one are roots of what is 0.000; level `FIRST - 1 + n` stands for n thousandths.
FIRST = 6
#: The group of those that have nothing above them.
NOTHING_ABOVE = 16
_N_GROUPS = NOTHING_ABOVE + 1


@dataclass(frozen=True)
class Rows:
    """How the numbers of a gallery lie one after the other: the first row of every matrix, then the second, ...

    Attributes:
        size: how many queries a matrix has.
        keys: how many keys; of causal ones, a row ends with its own query.
        causal: whether they are.
        count: how many matrices there are.
    """

    size: int
    keys: int
    causal: bool
    count: int

    def lengths(self) -> list[int]:
        """How many keys each row has."""
        return [query + 1 if self.causal else self.keys for query in range(self.size)]


def levels_of(roots: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """One number for each weight: what it is in thousandths, or its root where that is none; uint16.

    Args:
        roots: `eight_bit_roots`.
        steps: `thousandth_steps`.
    """
    near = (roots.astype(np.float64) / 255) ** 2
    thousandths = np.floor(near.astype(np.float32).astype(np.float64) * 1000 + 0.5).astype(np.int64) + steps - 128
    levels: np.ndarray = np.where(thousandths > 0, FIRST - 1 + thousandths, np.minimum(roots, FIRST - 1))
    return levels.astype(np.uint16)


def grouped(levels: np.ndarray, rows: Rows) -> tuple[bytes, list[int]]:
    """Levels sorted by the group of what is above them, and how many there are in each group.

    One byte for each level, 255 where it is larger; then how much larger, the low bytes and then the high ones.
    """
    groups = _groups(levels, rows)
    ordered = levels[np.argsort(groups, kind="stable")].astype(np.int64)
    beyond = ordered[ordered >= 255] - 255
    parts = (np.minimum(ordered, 255), beyond & 255, beyond >> 8)
    data = b"".join(part.astype(np.uint8).tobytes() for part in parts)
    return data, np.bincount(groups, minlength=_N_GROUPS).tolist()


def _groups(levels: np.ndarray, rows: Rows) -> np.ndarray:
    """The group of each level: by the size of the level above it."""
    lengths = rows.lengths()
    cells = np.split(levels, np.cumsum(lengths)[:-1] * rows.count)
    above = np.full((rows.count, 0), NOTHING_ABOVE)
    found = []
    for row, length in zip(cells, lengths, strict=True):
        here = np.full((rows.count, length), NOTHING_ABOVE)
        here[:, : above.shape[1]] = above
        found.append(here.reshape(-1))
        above = group_of(row.reshape(rows.count, length))
    return np.concatenate(found).astype(np.uint8)


def group_of(levels: np.ndarray) -> np.ndarray:
    """Small levels each have a group of their own; of the others, those of the same power of two share one."""
    powers = np.log2(np.maximum(levels.astype(np.int64) - (FIRST - 1), 1)).astype(np.int64)
    groups: np.ndarray = np.where(levels < FIRST, levels, FIRST + powers)
    return groups
