"""The first page: the logit lens, where every head looks, and the curves over depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.engine.fitting import attention_that_fits
from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion
from layerwidget.questions.attention import AttentionGrid, CrossAttentionGrid
from layerwidget.questions.lens import HEAD, NEURON, LensGrid, LogitLens, decodable
from layerwidget.widgets.attention_view import AttentionView
from layerwidget.widgets.depth_curves import DepthCurves
from layerwidget.widgets.logit_lens_view import TYPE_A_PROMPT, LogitLensView
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.traits import SelectionTraits

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

_WORDS_PER_CELL = 10
#: What colours and curves call the same.
_DISTANCES = ("kl", "jsd")
#: Attention weights held at once; beyond it, fewer layers are computed and the page says so.
ATTENTION_BYTES = 256 * 2**20


class LensPage(Page):
    """Words in every cell, the gallery of heads under it.

    Attributes:
        lens_view, attention_view, curves: its views.
        jsd: whether the curves need the Jensen-Shannon divergence; colours need it, too.
        follow: of how many of the model's own next words, at each position, the answer knows all layers without their
            being pinned; 0 while somebody answers.
    """

    follow = t.Int(0, min=0)
    jsd = t.Bool(False)

    page_name = "lens"
    page_title = "Lens + attention"
    choices: ClassVar[Mapping[str, str]] = {
        "colour": "lens_view.colour",
        "component": "lens_view.component",
        "show_heads": "attention_view.show_heads",
        "hide_first": "attention_view.hide_first",
        "quantity": "curves.quantity",
    }
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "lens": (LensGrid,),
        "attention": (AttentionGrid, CrossAttentionGrid),
    }

    def __init__(self, components: tuple[str, ...] = (), **shared: Any) -> None:
        self.lens_view = LogitLensView(components=list(components), **shared)
        self.attention_view = AttentionView(**shared)
        self.curves = DepthCurves(**shared)
        self.curves.layout = ipywidgets.Layout(width="250px", flex="0 0 auto")
        self.curves.talk_size = (250, 196)
        # Whoever asks how far to trust the lens sees it over all layers, too.
        self._quantity = self.curves.quantity
        self.lens_view.observe(self._trust, "colour")
        self.curves.observe(self._needs_jsd, "quantity")
        layout = ipywidgets.Layout(align_items="flex-start", width="100%")
        row = ipywidgets.HBox([self.attention_view, self.curves], layout=layout)
        super().__init__(self.lens_view, row.add_class("lw-row").add_class("lw-lens-row"))

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> LensPage:
        """With a switch for what the lens decodes."""
        return cls(decodable(model.anatomy), **shared)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return self.lens_view, self.attention_view, self.curves.driver

    @property
    def places(self) -> Mapping[str, tuple[ipywidgets.Widget, ...]]:
        """The lens with its curves, and attention."""
        return {"lens": (self.lens_view, self.curves), "attention": (self.attention_view,)}

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """The lens of all layers, and as much attention of those in view as fits into memory."""
        component = self.lens_view.component
        head = standpoint.head if component == HEAD else None
        lens = LogitLens(
            k=_WORDS_PER_CELL, tokens=standpoint.pinned, component=component, head=head, follow=self.follow,
            neuron=standpoint.neuron if component == NEURON else None, jsd=self.jsd or self.lens_view.colour == "jsd",
        )  # fmt: skip
        attention, _ = _attention(standpoint)
        return {"lens": lens} if attention is None else {"lens": lens, "attention": attention}

    def begin(self, standpoint: Standpoint, prompt: str) -> None:
        """Say what attention is left out."""
        attention, note = _attention(standpoint)
        self.note = note if attention else ""
        if attention is None:
            self.attention_view.show(None, prompt, note)

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw the lens, or attention."""
        if name == "attention":
            self.attention_view.show(answer, prompt)
        else:
            self.lens_view.empty = TYPE_A_PROMPT
            self.lens_view.show(answer, prompt)

    def finish(self, name: str, answer: Any, prompt: str) -> None:
        """Draw the curves of the lens: they are redrawn in several steps, for which the grid does not wait."""
        if name == "lens":
            self.curves.show(answer, prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """What cannot be told apart is said in the place of the lens; anything else is the whole explorer's."""
        if name != "lens" or self.lens_view.component not in (HEAD, NEURON):
            raise error
        self.lens_view.empty = str(error)
        self.lens_view.show(None, prompt)
        self.curves.show(None, prompt)

    def _trust(self, change: dict[str, Any]) -> None:
        """Cells coloured by how far the final prediction is go with curves of it."""
        old, new, curves = change["old"], change["new"], self.curves
        if old not in _DISTANCES and new in _DISTANCES:
            self._quantity = curves.quantity
        if new in _DISTANCES:
            curves.quantity = new
        elif old in _DISTANCES and curves.quantity == old:
            curves.quantity = self._quantity

    def _needs_jsd(self, change: dict[str, Any]) -> None:
        self.jsd = change["new"] == "jsd"

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self.lens_view.empty = TYPE_A_PROMPT
        self.lens_view.show(None, prompt)
        self.attention_view.show(None, prompt)
        self.curves.show(None)


def _attention(standpoint: Standpoint) -> tuple[Any, str]:
    return attention_that_fits(
        standpoint.anatomy,
        standpoint.layers,
        len(standpoint.tokens),
        standpoint.layer,
        standpoint.head,
        ATTENTION_BYTES,
    )
