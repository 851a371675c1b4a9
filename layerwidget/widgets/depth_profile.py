"""The depth profile: where a prompt is decided, what every layer does to it, and how surprising it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.errors import LayerWidgetError
from layerwidget.questions import TraceQuestion
from layerwidget.questions.depth import (
    AngleGrid,
    AngularDistance,
    BlockInfluence,
    DepthGrid,
    Emergence,
    InfluenceGrid,
    SettleDepth,
)
from layerwidget.questions.position import LossGrid, PositionLoss
from layerwidget.questions.skip_effect import SkipEffect, SkipGrid
from layerwidget.widgets.layer_effects import LONGEST_BLOCK, AngleFigure, InfluenceFigure, SkipFigure, agreement
from layerwidget.widgets.page import Page, Request, Standpoint
from layerwidget.widgets.position_loss_view import PositionLossView
from layerwidget.widgets.request_bar import RequestBar
from layerwidget.widgets.settle_strip import SettleStrip
from layerwidget.widgets.traits import SelectionTraits

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

_ROW = {"align_items": "flex-start", "width": "100%"}


class DepthProfile(Page):
    """Where each next token is decided; influence, angular distance and skip effect over layers; loss by position.

    Attributes:
        n: how many layers the blocks of `AngularDistance` have.
        k: among how many most probable tokens `Emergence` looks.
        strip, influence, angles, skip, loss: its views.
        skip_bar: the button for the skip effect, which runs the model.
        verdict: says how the skip effect and block influence agree.
    """

    page_name = "depth"
    page_title = "Depth profile"
    choices: ClassVar[Mapping[str, str]] = {
        "n": "n",
        "k": "k",
        "influence": "influence.quantity",
        "skip": "skip.quantity",
    }
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "settle_depth": (DepthGrid,),
        "emergence": (DepthGrid,),
        "block_influence": (InfluenceGrid,),
        "angular_distance": (AngleGrid,),
        "position_loss": (LossGrid,),
        "skip_effect": (SkipGrid,),
    }

    n = t.Int(4, min=1, max=LONGEST_BLOCK)
    k = t.Int(10, min=1)

    def __init__(
        self,
        settled: DepthGrid | None = None,
        emerged: DepthGrid | None = None,
        *,
        influence: InfluenceGrid | None = None,
        angles: AngleGrid | None = None,
        skipped: SkipGrid | None = None,
        loss: LossGrid | None = None,
        longest: int = LONGEST_BLOCK,
        **shared: Any,
    ) -> None:
        self.strip = SettleStrip(**shared)
        # Whoever is not told what it shares with others shares it inside.
        shared = {"group": self.strip.group, **shared}
        self.influence = InfluenceFigure(**shared)
        self.angles = AngleFigure(longest=longest, **shared)
        self.skip = SkipFigure(**shared)
        self.loss = PositionLossView(**shared)
        self.skip_bar = RequestBar(label="Skip each layer")
        self.verdict = ipywidgets.Label(layout=ipywidgets.Layout(margin="0 0 0 18px", min_width="0"))
        figures = (self.influence, self.angles, self.skip)
        for figure in figures:
            figure.layout = ipywidgets.Layout(flex="1 1 0", min_width="0", margin="0 14px 0 0")
            figure.talk_size = (330, 170)
        self._depths: dict[str, tuple[str | None, DepthGrid]] = {}
        line = ipywidgets.Layout(width="100%", height="30px", margin="8px 0 0")
        self._figures = ipywidgets.HBox(figures, layout=ipywidgets.Layout(**_ROW)).add_class("lw-side")
        bar = ipywidgets.HBox([self.skip_bar, self.verdict], layout=line).add_class("lw-skip-bar")
        super().__init__(self.strip, bar, self._figures, self.loss)
        self.n = min(self.n, longest)
        t.link((self, "n"), (self.angles, "n"))
        self.requests = (Request(self.skip_bar, _skip_effect, self._show_skipped),)
        self._show_given(settle_depth=settled, emergence=emerged, block_influence=influence, angular_distance=angles,
                         position_loss=loss)  # fmt: skip
        self._show_skipped(skipped, None)

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> DepthProfile:
        """With blocks that are no longer than the model."""
        return cls(longest=min(LONGEST_BLOCK, model.anatomy.n_layers), **shared)

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those that take part in the selection."""
        return self.strip, self.influence.driver, self.angles.driver, self.skip.driver, self.loss

    @property
    def places(self) -> Mapping[str, tuple[ipywidgets.Widget, ...]]:
        """Where each answer is drawn."""
        return {
            "settle_depth": (self.strip,),
            "emergence": (self.strip,),
            "block_influence": (self.influence,),
            "angular_distance": (self.angles,),
            "position_loss": (self.loss,),
            "skip_effect": (self.skip, self.verdict),
        }

    @property
    def besides(self) -> Mapping[str, Any]:
        """The skip effect, where it was asked for."""
        skipped = self.skip.shown
        return {} if skipped is None else {"skip_effect": skipped}

    def stand_alone(self, names: Collection[str]) -> None:
        """Without the choice of blocks, which would have to be computed."""
        super().stand_alone(names)
        self.angles.choice.layout.display = "none"

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """Where predictions settle and emerge, what layers do to the stream, and the loss."""
        return {
            "settle_depth": SettleDepth(),
            "emergence": Emergence(self.k),
            "block_influence": BlockInfluence(),
            "angular_distance": AngularDistance(self.n),
            "position_loss": PositionLoss(),
        }

    def begin(self, standpoint: Standpoint, prompt: str) -> None:
        """Say whether the skip effect is still that of the run on screen."""
        self.skip.changed = standpoint.changed

    def answer(self, name: str, answer: Any, prompt: str | None) -> None:
        """Draw an answer; where predictions settle together with where they emerge."""
        if name == "skip_effect":
            self._show_skipped(answer, prompt)
            return
        if name not in ("settle_depth", "emergence"):
            self._places[name](answer, prompt)
            return
        self._depths[name] = prompt, answer
        # The same text has other tokens where it is read by an encoder: those of the target.
        about = {(text, grid.token_ids.tobytes()) for text, grid in self._depths.values()}
        if len(self._depths) == 2 and about == {(prompt, answer.token_ids.tobytes())}:
            self.strip.show(self._depths["settle_depth"][1], self._depths["emergence"][1], prompt)

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say why there is no such answer where it would be drawn."""
        if name in ("settle_depth", "emergence"):
            self.strip.placeholder = str(error)
            self.strip.show(None, None, prompt)
            return
        self._places[name](None, prompt)
        if name == "position_loss":
            self.loss.placeholder = str(error)
        else:
            figure = self.influence if name == "block_influence" else self.angles
            figure.driver.detail = str(error)

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self._depths = {}
        for view in (self.strip, self.loss):
            view.placeholder = type(view).placeholder.default_value
        self.strip.show(None, None, prompt)
        for show in self._places.values():
            show(None, prompt)
        self._show_skipped(None, prompt)

    @property
    def _places(self) -> dict[str, Callable[[Any, str | None], None]]:
        return {
            "block_influence": self.influence.show,
            "angular_distance": self.angles.show,
            "position_loss": self.loss.show,
        }

    def _show_given(self, **given: Any) -> None:
        for name, answer in given.items():
            if answer is not None:
                self.answer(name, answer, None)

    def _show_skipped(self, skipped: SkipGrid | None, prompt: str | None) -> None:
        self.skip.show(skipped, prompt)
        self.verdict.value = "" if skipped is None else agreement(skipped)
        # Where there is room for two figures only, `js/style.css` leaves out another one for it.
        self._figures.remove_class("lw-skipped") if skipped is None else self._figures.add_class("lw-skipped")


def _skip_effect(standpoint: Standpoint) -> SkipEffect:
    return SkipEffect.of_tokens(standpoint.tokens, standpoint.interventions)
