"""The page of an encoder-decoder that shows where its decoder looks in what the encoder has read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from layerwidget.engine.fitting import attention_that_fits
from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion
from layerwidget.questions.attention import Attention, CrossAttention, CrossAttentionGrid
from layerwidget.widgets.attention_view import AttentionView
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.traits import SelectionTraits

#: Numbers of the gallery held at once; beyond it, fewer layers are computed and the page says so.
_BYTES = 128 * 2**20


class CrossAttentionPage(Page):
    """The gallery of all heads in view, rows the target, columns the source, and the matrix of the chosen one.

    Attributes:
        attention_view: its view.
    """

    page_name = "cross"
    page_title = "Cross-attention"
    choices: ClassVar[Mapping[str, str]] = {
        "cross_heads": "attention_view.show_heads",
        "cross_arcs": "attention_view.arcs",
    }
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {"cross": (CrossAttentionGrid,)}

    def __init__(self, **shared: Any) -> None:
        # The first token of another text is no place to rest.
        self.attention_view = AttentionView(hide_first=False, can_hide=False, arcs=True, **shared)
        super().__init__(self.attention_view)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return (self.attention_view,)

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """As much of the layers in view as fits into memory."""
        shown, _ = _fitting(standpoint)
        return {} if shown is None else {"cross": CrossAttention(shown.layers, shown.heads)}

    def begin(self, standpoint: Standpoint, prompt: str) -> None:
        """Say what is left out."""
        shown, note = _fitting(standpoint)
        self.note = "" if shown is None else note.replace("attention", "cross-attention", 1)
        if shown is None:
            self.attention_view.show(None, prompt, note)

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw the gallery."""
        self.attention_view.show(answer, prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say in the picture's place why there is none."""
        self.attention_view.show(None, prompt, str(error))

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self.attention_view.show(None, prompt)


def _fitting(standpoint: Standpoint) -> tuple[Attention | None, str]:
    tokens = standpoint.tokens
    n_pos = max(len(tokens), len(tokens.source or tokens))
    return attention_that_fits(standpoint.anatomy, standpoint.layers, n_pos, standpoint.layer, standpoint.head, _BYTES)
