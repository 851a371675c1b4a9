"""Views from a file: what was recorded of some prompts, linked as in an explorer, without a model and without torch."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.errors import RecordingError
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.model_map import ModelMap
from layerwidget.recording import RecordedPrompt, Recording, read
from layerwidget.results import Grid
from layerwidget.widgets.explorer_picture import explorer_picture, explorer_text
from layerwidget.widgets.layer_slider import LayerSlider
from layerwidget.widgets.page import Page
from layerwidget.widgets.page_stack import PageStack
from layerwidget.widgets.pages import ALL_PAGES
from layerwidget.widgets.pictured_box import PicturedBox
from layerwidget.widgets.state import recorded_choices, recorded_selection, set_all
from layerwidget.widgets.status_line import StatusLine
from layerwidget.widgets.traits import SHARED, SelectionTraits


class Replay(PicturedBox, SelectionTraits):
    """The recorded answers about one prompt, each in the view that draws it; several prompts to choose from.

    Attributes:
        recording: what is shown.
        prompt_index: which of its prompts.
        layers, layer, head, position, token, tokens: what is chosen; all views share it.
        answers: what is drawn of the prompt, by its names.
        left_out: names of answers that no page draws.
        stack, slider, chooser, status: the widgets it is made of.
    """

    picture_width: ClassVar[float] = 1280

    prompt_index = t.Int(0)

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._placed = [placed(one.answers) for one in recording.prompts]
        self._names = {name for one in self._placed for name in one}
        kinds = [kind for kind in ALL_PAGES if kind.draws.keys() & self._names]
        if not kinds:
            raise RecordingError(f"No view draws what is recorded: {', '.join(recording.prompts[0].answers)}.")
        self.n_layers, self.n_heads = _sizes(recording)
        super().__init__(group=uuid.uuid4().hex)
        self.slider = LayerSlider(max=(self.n_layers or 1) - 1, **self._shared())
        self.status = StatusLine(
            group=self.group, model_name=recording.model_name or "a model", facts="recorded answers", state="fresh"
        )
        texts = [_text_of(one) for one in recording.prompts]
        self.chooser = ipywidgets.Dropdown(
            options=[(text, place) for place, text in enumerate(texts)], value=0, description="Prompt",
            layout=ipywidgets.Layout(width="100%"),
        )  # fmt: skip
        self.stack = PageStack(kinds, self._build_page, self.slider, [kind.page_name for kind in kinds])
        body = ipywidgets.VBox([self.chooser, self.stack], layout=ipywidgets.Layout(width="100%"))
        body.add_class("lw-body")
        self.children = (self.status, body)
        self.add_class("lw-explorer")
        t.link((self, "prompt_index"), (self.chooser, "value"))
        self.slider.observe(self._take, list(SHARED))
        self.observe(self._spread, list(SHARED))
        self.observe(lambda _change: self._show(), "prompt_index")
        self._show()

    @t.validate("prompt_index")
    def _known_prompt(self, proposal: dict[str, Any]) -> int:
        place, n = int(proposal["value"]), len(self.recording.prompts)
        if not 0 <= place < n:
            raise RecordingError(f"Prompt {place} is out of range: {n} are recorded, 0 to {n - 1}.")
        return place

    def to_text(self) -> str:
        """Model, prompt, and the tables of the pages."""
        head = explorer_text(self.status, self.recording.prompts[self.prompt_index].prompt)
        return "\n\n".join([head, *(page.to_text() for page in self.stack.open_pages)])

    def _picture(self, theme: Theme, width: float) -> Picture:
        grids = (answer for answer in self.answers.values() if isinstance(answer, Grid))
        words = next(([piece.visible for piece in grid.prompt_pieces()] for grid in grids), [])
        return explorer_picture(self.status, words, self.position, self.stack.open_pages, theme, width)

    @property
    def answers(self) -> Mapping[str, Any]:
        """What is drawn, by its names."""
        return self._placed[self.prompt_index]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of answers about the prompt that no page draws."""
        drawn = {id(answer) for answer in self.answers.values()}
        recorded = self.recording.prompts[self.prompt_index].answers
        return tuple(name for name, answer in recorded.items() if id(answer) not in drawn)

    def page(self, name: str) -> Page:
        """One of its pages: `replay.page("lens").lens_view`.

        Raises:
            SelectionError: when there is none of that name.
        """
        return self.stack.page(name)

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*SHARED, "group")}

    def _build_page(self, kind: type[Page]) -> Page:
        page = kind.for_file(**self._shared())
        page.stand_alone(page.draws.keys() & self._names)
        for view in page.views:
            view.n_layers, view.n_heads = self.n_layers, self.n_heads
            view.observe(self._take, list(SHARED))
        return page

    def _take(self, change: dict[str, Any]) -> None:
        setattr(self, change["name"], change["new"])

    def _spread(self, change: dict[str, Any]) -> None:
        views = (view for page in self.stack.made_pages for view in page.views)
        for view in (self.slider, *views):
            setattr(view, change["name"], getattr(self, change["name"]))

    def _show(self) -> None:
        """Draw the prompt that is chosen, where the reader was when it was recorded."""
        one = self.recording.prompts[self.prompt_index]
        for page in self.stack.open_pages:
            page.clear(one.prompt)
            for name, answer in self.answers.items():
                if name in page.draws:
                    _draw(page, name, answer, one.prompt)
        self._restore(one)
        left_out = f"without a view: {', '.join(self.left_out)}" if self.left_out else ""
        with self.status.hold_sync():
            self.status.work, self.status.prompt = left_out, one.prompt

    def _restore(self, one: RecordedPrompt) -> None:
        if one.state is None:
            return
        pages = {page.page_name: page for page in self.stack.open_pages}
        set_all(recorded_selection(self, one.state))
        set_all(recorded_choices(pages, one.state))


def replay(source: str | os.PathLike[str] | Recording) -> Replay:
    """Show what is in a file of answers: `lw.replay("france.safetensors")`. It needs neither a model nor torch.

    Args:
        source: a file that `lw.save` or `Explorer.save` wrote; or what `lw.read` read of it.

    Raises:
        RecordingError: when there is no such file, it is damaged, of another kind or version, or holds nothing that
            can be drawn.
    """
    return Replay(source if isinstance(source, Recording) else read(source))


def placed(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Answers by the names under which pages draw them: their own where it is one, else by their type.

    Of pages that draw the same type, an answer without such a name belongs to the first.
    """
    slots = {name: kinds for page in ALL_PAGES for name, kinds in page.draws.items()}
    found = {name: one for name, one in answers.items() if name in slots and _fits(one, slots[name])}
    # Where predictions settle (k = 1) comes before where they emerge: both are depths.
    others = sorted((one for name, one in answers.items() if name not in found), key=lambda one: getattr(one, "k", 0))
    for one in others:
        here = next((page.draws for page in ALL_PAGES if any(_fits(one, kinds) for kinds in page.draws.values())), {})
        name = next((name for name, kinds in here.items() if name not in found and _fits(one, kinds)), None)
        if name is not None:
            found[name] = one
    return found


def _fits(answer: Any, kinds: tuple[type, ...]) -> bool:
    several = answer if isinstance(answer, tuple) and answer else (answer,)
    return all(isinstance(one, kinds) for one in several)


def _text_of(one: RecordedPrompt) -> str:
    """The prompt, and the target where there is one."""
    target = one.state.get("target") if isinstance(one.state, Mapping) else None
    return f"{one.prompt} → {target}" if target else one.prompt or "no prompt"


def _draw(page: Page, name: str, answer: Any, prompt: str) -> None:
    try:
        page.answer(name, answer, prompt)
        page.finish(name, answer, prompt)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise RecordingError(f"The recorded {name!r} cannot be drawn: {error}. The file is damaged.") from error


def _each(answers: Iterable[Any]) -> Iterator[Any]:
    for one in answers:
        yield from one if isinstance(one, tuple) else (one,)


def _sizes(recording: Recording) -> tuple[int | None, int | None]:
    """How many layers and heads the model has, as far as the answers say it."""
    several = [answer for one in recording.prompts for answer in _each(one.answers.values())]
    layers = [one.n_layers for one in several if isinstance(one, Grid)]
    layers += [one.a.n_layers for one in several if isinstance(getattr(one, "a", None), Grid)]
    layers += [len(one.layers) for one in several if isinstance(one, ModelMap)]
    layers += [len(one.kl_nats) for one in several if hasattr(one, "held_out")]
    heads = [max(one.heads) + 1 for one in several if isinstance(getattr(one, "heads", None), tuple) and one.heads]
    return max(layers, default=None), max(heads, default=None)
