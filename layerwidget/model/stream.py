"""How the residual stream's axes are arranged inside the model, and the way to and from `[pos, d_model]`."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class StreamLayout:
    """An arrangement of axes.

    Attributes:
        axes: `"batch pos d_model"`, `"pos batch d_model"` or `"batch*pos d_model"`.
        d_model: width of the stream.
    """

    axes: str
    d_model: int

    @classmethod
    def of(cls, shape: tuple[int, ...], n_batch: int, n_pos: int) -> StreamLayout | None:
        """The layout of a stream of this shape, or None where the shape is not that of a stream."""
        leading = {
            (n_batch, n_pos): "batch pos d_model",
            (n_pos, n_batch): "pos batch d_model",
            (n_batch * n_pos,): "batch*pos d_model",
        }
        axes = leading.get(tuple(shape[:-1]))
        return cls(axes, shape[-1]) if axes and shape[-1] > 1 else None

    def rows(self, stream: torch.Tensor) -> torch.Tensor:
        """The rows of a stream that holds one prompt, shape [pos, d_model]; a view where possible."""
        return stream.reshape(-1, self.d_model)

    def stream(self, rows: torch.Tensor) -> torch.Tensor:
        """A stream that holds one prompt, from its rows, shape [pos, d_model]."""
        if self.axes == "batch pos d_model":
            return rows.unsqueeze(0)
        if self.axes == "pos batch d_model":
            return rows.unsqueeze(1)
        return rows
