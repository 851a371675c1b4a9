"""How the residual stream's axes are arranged inside the model, and the way to and from `[pos, d_model]`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from layerwidget.plain import registered


@registered
@dataclass(frozen=True)
class StreamLayout:
    """An arrangement of axes.

    Attributes:
        axes: `"batch pos d_model"`, `"pos batch d_model"`, `"batch*pos d_model"`, `"batch d_model pos"`; with several
            parallel streams `"batch pos streams d_stream"` or `"streams batch pos d_stream"`.
        d_model: width of the stream; of several parallel streams, of all together.
        inner: sizes of the axes that make up `d_model`.
        place: where the prompt's positions are: `all` of the rows, or among more rows at the `start`, at the `end`, or
            `second` (as many rows come before them).
    """

    axes: str
    d_model: int
    inner: tuple[int, ...]
    place: str = "all"

    @property
    def has_rows_apart(self) -> bool:
        """Whether `rows` copies, or takes some rows of many."""
        return self.place != "all" or self.axes.startswith("streams") or self.axes.endswith("pos")

    def rows(self, stream: torch.Tensor, n_pos: int | None = None) -> torch.Tensor:
        """The rows of a stream that holds one prompt of so many positions, shape [pos, d_model]; a view if possible."""
        if self.axes.startswith("streams"):
            stream = stream.movedim(0, 2)
        if self.axes.endswith("pos"):
            stream = stream.movedim(-1, 1)
        rows = stream.reshape(-1, self.d_model)
        return rows if self.place == "all" or n_pos is None else rows[self.positions(len(rows), n_pos)]

    def stream(self, rows: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
        """A stream that holds one prompt, from its rows, shape [pos, d_model].

        Args:
            rows: the rows.
            like: a stream for as many positions, of which the rows that are no positions are taken.
        """
        if self.place != "all" and like is not None:
            around = replace(self, place="all").rows(like).to(rows.dtype).clone()
            around[self.positions(len(around), len(rows))] = rows
            rows = around
        inner = rows.reshape(len(rows), *self.inner)
        if self.axes.startswith("streams"):
            return inner.movedim(1, 0).unsqueeze(1)
        if self.axes.endswith("pos"):
            return inner.T.unsqueeze(0)
        return inner.unsqueeze(0) if self.axes.startswith("batch pos") else self._flat(inner)

    def positions(self, n_rows: int, n_pos: int) -> slice:
        """Which of so many rows are the prompt's positions."""
        first = {"all": 0, "start": 0, "end": n_rows - n_pos, "second": n_pos}[self.place]
        return slice(first, first + n_pos)

    def candidates(self) -> Iterator[StreamLayout]:
        """This layout, or where the place of the positions is not known, one for each place."""
        if self.place == "all":
            yield self
        else:
            yield from (replace(self, place=place) for place in ("start", "end", "second"))

    def _flat(self, inner: torch.Tensor) -> torch.Tensor:
        return inner.unsqueeze(1) if self.axes.startswith("pos") else inner


@dataclass(frozen=True)
class StreamForm:
    """What a stream looks like in a pass of known size.

    Attributes:
        n_batch: how many prompts were read at once.
        n_pos: how many positions each had.
        n_rows: how many rows the stream has for each prompt: its positions, or more.
        parallel: whether it is several streams side by side.
        channels_first: whether its positions come last.
    """

    n_batch: int
    n_pos: int
    n_rows: int
    parallel: bool = False
    channels_first: bool = False

    def layout(self, shape: tuple[int, ...]) -> StreamLayout | None:
        """The layout of a stream of this shape, or None where the shape is not that of a stream."""
        if len(shape) < 2 or shape[-1] < 2:
            return None
        if self.channels_first:
            fits = len(shape) == 3 and (shape[0], shape[2]) == (self.n_batch, self.n_rows)
            return StreamLayout("batch d_model pos", shape[1], shape[1:2]) if fits else None
        axes, inner = (self._several(shape), shape[2:]) if self.parallel else (self._single(shape), shape[-1:])
        if axes is None:
            return None
        inner = (shape[0], shape[-1]) if axes.startswith("streams") else inner
        return StreamLayout(axes, math.prod(inner), tuple(inner), "all" if self.n_rows == self.n_pos else "start")

    def _single(self, shape: tuple[int, ...]) -> str | None:
        leading = {
            (self.n_batch, self.n_rows): "batch pos d_model",
            (self.n_rows, self.n_batch): "pos batch d_model",
            (self.n_batch * self.n_rows,): "batch*pos d_model",
        }
        return leading.get(tuple(shape[:-1]))

    def _several(self, shape: tuple[int, ...]) -> str | None:
        if len(shape) != 4 or shape.count(self.n_rows) != 1:
            return None
        if shape[:2] == (self.n_batch, self.n_rows):
            return "batch pos streams d_stream"
        return "streams batch pos d_stream" if shape[1:3] == (self.n_batch, self.n_rows) else None
