"""Pages: what an explorer shows behind one tab, the questions that it needs, and where their answers go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.errors import LayerWidgetError
from layerwidget.figures.layer_grid import placeholder
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.model.interventions import described
from layerwidget.questions import ModelQuestion, TraceQuestion
from layerwidget.tokens import Tokens
from layerwidget.widgets.picture import boxed, texts_of
from layerwidget.widgets.pictured_box import PicturedBox
from layerwidget.widgets.request_bar import RequestBar
from layerwidget.widgets.traits import SelectionTraits

if TYPE_CHECKING:
    from typing_extensions import Self

    from layerwidget.engine.other_run import OtherRun
    from layerwidget.model.anatomy import Anatomy
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.questions.translators import Translators


@dataclass(frozen=True, eq=False)
class Standpoint:
    """Where the reader is, read once: what pages phrase their questions from.

    Attributes:
        tokens: the prompt.
        anatomy: where everything is in the model.
        layers: the layers in view, a selection.
        layer, head, position, token: what is chosen.
        pinned: the token ids that are pinned.
        interventions: what is changed in the run that is on screen.
        translators: what the tuned lens of this explorer is made of; None before there are any.
        minus: the token whose logit is taken off in attributions, as their page has it; mostly None.
        neuron: layer and number of the neuron that is followed, as the page of neurons has it; mostly None.
    """

    tokens: Tokens
    anatomy: Anatomy
    layers: str
    layer: int
    head: int
    position: int
    token: int | None
    pinned: tuple[int, ...]
    interventions: tuple[Any, ...] = ()
    translators: Translators | None = None
    minus: int | None = None
    neuron: tuple[int, int] | None = None

    @property
    def changed(self) -> str:
        """What is changed, in a few words; mostly nothing."""
        return described(self.interventions, self.anatomy.n_layers)


@dataclass(frozen=True, eq=False)
class Request:
    """A question that needs passes of its own: it is asked when the reader presses a button.

    Attributes:
        bar: the button, with cost, progress and stop.
        question: what is asked, of where the reader is; raises a `LayerWidgetError` where nothing can be.
        show: draws the answer; is also told which text it is about, or None when it is about none.
        of_prompt: whether the answer is about the prompt, and the run of it that is on screen; else it is about the
            model as it is, whatever is changed in that run.
    """

    bar: RequestBar
    question: Callable[[Standpoint], ModelQuestion[Any]]
    show: Callable[[Any, str | None], None]
    of_prompt: bool = True


class Page(PicturedBox):
    """What stands behind one tab. A page that is not open asks nothing, and nothing is drawn of it.

    To make one, name it and say which views it has, what it asks, and where an answer goes. It works alone, too.

    Attributes:
        rephrased: counts up when its requests ask something else, and not because the reader is elsewhere.
        page_name: what it is called in `Explorer.pages`.
        page_title: what its tab says.
        has_rail: whether its rows are the layers in view, so that the layer slider stands beside it.
        beside: the widget beside the slider.
        below: the widgets under both.
        above: the widgets over both, such as controls; mostly none.
        views: those of its parts that take part in the selection.
        requests: what is asked on request.
        note: what is left out of its answers, for the status line; mostly nothing.
        choices: what the reader chooses on it besides the selection, and is part of `Explorer.state`: name -> trait,
            of the page (`"n"`) or of one of its parts (`"lens_view.colour"`), in the order in which they are set.
        draws: the names of the answers that it can draw from a file -> their types.
    """

    rephrased = t.Int(0)

    page_name: ClassVar[str] = ""
    page_title: ClassVar[str] = ""
    has_rail: ClassVar[bool] = True
    picture_width: ClassVar[float] = 1280
    choices: ClassVar[Mapping[str, str]] = {}
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {}

    def __init__(self, beside: ipywidgets.Widget, *below: ipywidgets.Widget) -> None:
        self.beside, self.below = beside, below
        self.above: tuple[ipywidgets.Widget, ...] = ()
        self.requests: tuple[Request, ...] = ()
        self.note = ""
        super().__init__([beside, *below], layout=ipywidgets.Layout(width="100%"))

    @classmethod
    def for_model(cls, model: HookedModel, **shared: Any) -> Self:
        """A page of an explorer of this model; `shared` are the traits that all views have in common."""
        return cls(**shared)

    @classmethod
    def for_file(cls, **shared: Any) -> Page:
        """A page where there is no model, which draws what was recorded: mostly of the same kind."""
        return cls(**shared)

    @property
    def places(self) -> Mapping[str, tuple[ipywidgets.Widget, ...]]:
        """Name of an answer -> the widgets that have nothing to show without it."""
        return {}

    @property
    def besides(self) -> Mapping[str, Any]:
        """Answers that it shows and that come from none of its questions about a prompt: they are recorded, too."""
        return {}

    def stand_alone(self, names: Collection[str]) -> None:
        """Nobody answers: hide what would ask, and what has nothing to show.

        Args:
            names: of the answers that there will be.
        """
        places = self.places
        used = {widget for name in names for widget in places.get(name, ())}
        unused = {widget for found in places.values() for widget in found} - used
        # Not hidden but absent: bqplot cannot draw where there is no room.
        self.below = tuple(widget for widget in self.below if widget not in unused)
        for part in (self, self.beside, *self.below):
            _take_out(part, unused)
        if self.beside in unused:
            self.beside.layout.display = "none"
        for request in self.requests:
            request.bar.layout.display = "none"

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those of its parts that take part in the selection."""
        return ()

    def questions(self, standpoint: Standpoint) -> Mapping[str, TraceQuestion[Any]]:
        """What it needs to know, by the names that `Explorer.results` has. It is called often and computes nothing."""
        return {}

    def other(self, standpoint: Standpoint) -> OtherRun | None:
        """What it needs to know of a second run, which is answered after its own questions; mostly there is none."""
        return None

    def n_beside(self, tokens: Tokens) -> int:
        """How many tokens a text has that it reads besides the prompt; mostly there is none."""
        return 0

    def answer_other(self, run: OtherRun, answers: Mapping[str, Any], prompt: str) -> None:
        """Draw the answers of a second run, by the names of its questions; errors where there are none."""

    def begin(self, standpoint: Standpoint, prompt: str) -> None:
        """Told before a prompt is computed: say now what will be left out."""

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw an answer, perhaps in part, to the question of that name about a prompt."""

    def finish(self, name: str, answer: Any, prompt: str) -> None:
        """Draw what of an answer comes second: called after `answer`, when the page's other answers are there as well.

        Of a part it is called at once, and of what has come in parts. A browser reads all that it is told before it
        draws any of it: what is told here does not hold up the rest.
        """

    def refuse(self, name: str, error: LayerWidgetError, prompt: str) -> None:
        """Say why this model or prompt has no such answer. By default the whole explorer says so."""
        raise error

    def clear(self, prompt: str) -> None:
        """There is no prompt: draw nothing."""

    def to_text(self) -> str:
        """The tables of its views, one after the other."""
        return texts_of(self)

    def _picture(self, theme: Theme, width: float) -> Picture:
        """Its views as they stand."""
        return boxed(self, theme, width) or placeholder("Nothing is drawn yet.", width, 120, theme)

    def _picture_name(self) -> str:
        return self.page_title or type(self).__name__


def _take_out(part: ipywidgets.Widget, unused: Collection[ipywidgets.Widget]) -> None:
    """Leave some widgets out of a box, and of the boxes in it."""
    if isinstance(part, ipywidgets.Box):
        kept = tuple(one for one in part.children if one not in unused)
        if len(kept) < len(part.children):
            part.children = kept
        for one in kept:
            _take_out(one, unused)
