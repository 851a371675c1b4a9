"""How surprised the model is by each token of the prompt, with the lengths that it was made for."""

from __future__ import annotations

from typing import Any, ClassVar

import traitlets as t

from layerwidget.figures.loss_figure import Loss, loss_picture, loss_text
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.layers import format_layers
from layerwidget.questions.position import LossGrid
from layerwidget.widgets.base import View
from layerwidget.widgets.picture import Pictured, place_of


class PositionLossView(Pictured, View, module="position_loss_view"):
    """A bar per position: the negative log likelihood of its token, in nats.

    The trained length and the windows of attention are marked where they fall inside the prompt; what lies past the
    trained length is marked as extrapolation.

    Attributes:
        title: the name in the title line.
        placeholder: what stands in place of the picture while there is nothing to show.
    """

    heeds: ClassVar[tuple[str, ...]] = ("position",)

    title = t.Unicode("Loss by position").tag(sync=True)
    placeholder = t.Unicode("Type a prompt, and how surprising each of its tokens is appears here.").tag(sync=True)

    def __init__(self, loss: LossGrid | None = None, **traits: Any) -> None:
        super().__init__(**traits)
        if loss is not None:
            self.show(loss)

    def show(self, loss: LossGrid | None, prompt: str | None = None) -> None:
        """Draw a result; None clears the picture; `prompt` is the text it is about."""
        if loss is None:
            self._publish({"layers": [], "prompt": prompt}, {})
            return
        self._keep_within(len(loss.token_ids))
        meta = {
            "prompt": prompt,
            "layers": list(loss.layers),
            "labels": [piece.visible for piece in loss.prompt_pieces()],
            "n_ctx": loss.n_ctx,
            "windows": _windows(loss),
        }
        self._publish(meta, {"nats": loss.nats})

    def to_text(self) -> str:
        """The losses as a table: a row per position."""
        return loss_text(Loss(self.shown, place_of(self), self.title), self.placeholder)

    def _picture(self, theme: Theme, width: float) -> Picture:
        return loss_picture(Loss(self.shown, place_of(self), self.title), self.placeholder, width, theme)


def _windows(loss: LossGrid) -> list[dict[str, Any]]:
    """Every window that attention has, shortest first, and in which layers."""
    widths = sorted({window for window in loss.windows if window is not None})
    return [
        {
            "width": width,
            "layers": format_layers([layer for layer, window in enumerate(loss.windows) if window == width]),
        }
        for width in widths
    ]
