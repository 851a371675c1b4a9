"""Explorer: a model, its views and its controls, wired together."""

from __future__ import annotations

import os
import threading
import time
import traceback
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.analysis.check import check
from layerwidget.engine.local import Live
from layerwidget.engine.memory import give_back
from layerwidget.engine.other_run import ModelSource
from layerwidget.engine.worker import Worker
from layerwidget.errors import Cancelled, LayerWidgetError
from layerwidget.export.html import write_html
from layerwidget.export.record import recording_of
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.layers import format_layers, parse_layers
from layerwidget.model.interventions import skipped_layers
from layerwidget.questions import TraceQuestion
from layerwidget.questions.comparing import Match
from layerwidget.scenes import Scene, Scenes, Stage
from layerwidget.tokens import well_formed
from layerwidget.widgets.compare_page import ComparePage
from layerwidget.widgets.explorer_picture import explorer_picture, explorer_text
from layerwidget.widgets.layer_slider import LayerSlider
from layerwidget.widgets.lens_page import LensPage
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.page_stack import PageStack
from layerwidget.widgets.pages import PAGES
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.pictured_box import PicturedBox
from layerwidget.widgets.presets import PRESETS, wear
from layerwidget.widgets.prompt_editor import PromptEditor
from layerwidget.widgets.request_desk import RequestDesk
from layerwidget.widgets.scene_bar import SceneBar
from layerwidget.widgets.state import explorer_state, restore
from layerwidget.widgets.status_line import ErrorPanel, StatusLine
from layerwidget.widgets.traits import Selection, SelectionTraits
from layerwidget.widgets.tuned_page import TunedPage

if TYPE_CHECKING:
    from layerwidget.grades import CheckReport
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.questions.translators import Translators
    from layerwidget.tokens import Tokens

_SHARED = ("layers", "layer", "head", "position", "token", "tokens")
#: How long a cell that displays it waits for its first picture, at most.
_SETTLE_S = 10.0
_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})


class Explorer(PicturedBox, SelectionTraits):
    """The whole instrument in one widget: edit the prompt, drag the layers, and every view follows.

    Attributes:
        prompt: the text; typing in the widget sets it.
        layers: the layers in view, a selection such as `"10-20"` or `"late"`, kept in its shortest form.
        layer, head, position, token, tokens: what is chosen; `selection` holds the first four in one value.
        interventions: what is changed during the pass, such as `(lw.SkipLayers("5"),)`.
        pages: the open pages, from top to bottom: `lens`, `map`, ...; those that are not open ask nothing.
        preset: how it is drawn: `explore`; `talk`, large, with strong colours and few controls; or `paper`, black on
            white without controls.
        scenes, scene: prepared steps, and the number of the one that is shown.
        results: the newest answers to what the open pages ask, such as `"lens"` (`LensGrid`) and `"attention"`
            (`AttentionGrid`); none without a prompt. After an error they are those of the last prompt that could be
            computed.
        refusals: what this model or prompt has no answer to -> why.
        model: the hooked model.
        report: what `lw.check` says of it: measured after the first picture, when there is nothing else to do; or None.
        scene_bar, editor, slider, lens_view, attention_view, curves, stack, status, error_panel: the widgets that it is
            made of.

    Args:
        more_pages: types of pages of your own, with tabs behind those that there are (notebook `08_add_a_view`).
    """

    picture_width: ClassVar[float] = 1280

    prompt = t.Unicode()
    pages = t.List(t.Unicode())
    preset = t.Enum(PRESETS, PRESETS[0])
    interventions = t.Tuple()
    results = t.Instance(MappingProxyType, default_value=_NOTHING)

    @t.validate("interventions")
    def _known_interventions(self, proposal: dict[str, Any]) -> tuple[Any, ...]:
        skipped_layers(proposal["value"], self.model.anatomy.n_layers)
        return tuple(proposal["value"])

    @t.validate("pages")
    def _known_pages(self, proposal: dict[str, Any]) -> list[str]:
        return self.stack.checked(proposal["value"])

    @t.validate("prompt")
    def _encodable(self, proposal: dict[str, Any]) -> str:
        text = well_formed(proposal["value"])
        if text != self.prompt:
            replaced = "Half a character, which cannot be encoded, is read as U+FFFD."
            self._note = replaced if text != proposal["value"] else ""
        return text

    @t.validate("position")
    def _chosen_position(self, proposal: dict[str, Any]) -> int:
        self._choosing(proposal["value"])
        return int(proposal["value"])

    def __init__(
        self,
        model: HookedModel,
        prompt: str = "",
        layers: str | int | tuple[int, ...] = "all",
        selection: Selection | None = None,
        tokens: tuple[int, ...] = (),
        interventions: tuple[object, ...] = (),
        pages: Sequence[str] = ("lens",),
        more_pages: Sequence[type[Page]] = (),
        preset: str = PRESETS[0],
        scenes: Iterable[Scene] = (),
    ) -> None:
        anatomy = model.anatomy
        self.model = model
        self.n_layers, self.n_heads = anatomy.n_layers, anatomy.n_heads or None
        self.report: CheckReport | None = None
        self._note = ""
        self._closed = False
        self._stopped = False
        self._live = Live(model)
        self._worker = Worker.of(model)
        self._desk = RequestDesk(model, lambda: self.standpoint)
        self._asked = 0
        self._shown = 0
        self._change = threading.Condition()
        self._error: BaseException | None = None
        self._tokens: Tokens | None = None
        # What was asked last, and of which prompt.
        self._asked_of: tuple[Tokens | None, object] = (None, None)
        self.refusals: dict[str, LayerWidgetError] = {}
        self._placing = threading.RLock()
        numbers = parse_layers(layers, anatomy.n_layers)
        chosen = selection or Selection(layer=numbers[-1])
        super().__init__(
            prompt=prompt, layers=format_layers(numbers), group=uuid.uuid4().hex, tokens=list(tokens),
            layer=chosen.layer, head=chosen.head, position=chosen.position, token=chosen.token,
            interventions=interventions,
        )  # fmt: skip
        self._follows_last = selection is None
        self._build(pages, more_pages)
        self._wire()
        self.preset, self.scenes = preset, scenes
        self._ask(None)

    # What it is made of

    def _build(self, pages: Sequence[str], more_pages: Sequence[type[Page]]) -> None:
        anatomy = self.model.anatomy
        self.editor = PromptEditor(self.prompt, **self._shared())
        self.slider = LayerSlider(max=anatomy.n_layers - 1, **self._shared())
        self.scene_bar = SceneBar(**self._shared())
        self._stage = Stage(self, self.scene_bar)
        self.stack = PageStack((*PAGES, *more_pages), self._build_page, self.slider, pages)
        lens_page = self.page("lens")
        assert isinstance(lens_page, LensPage)
        self.lens_view, self.attention_view, self.curves = (
            lens_page.lens_view, lens_page.attention_view, lens_page.curves,
        )  # fmt: skip
        checked = "exact: " + ", ".join(anatomy.verified)
        self.status = StatusLine(
            group=self.group, model_name=self.model.name, facts=_facts(self.model), checked=checked
        )
        self.error_panel = ErrorPanel()
        body = ipywidgets.VBox([self.editor, self.stack], layout=ipywidgets.Layout(width="100%"))
        body.add_class("lw-body")
        self.add_class("lw-explorer")
        self.children = (self.status, self.scene_bar, body, self.error_panel)
        self.pages = list(self.stack.shown)

    def _build_page(self, kind: type[Page]) -> Page:
        page = kind.for_model(self.model, **self._shared())
        for view in page.views:
            view.n_layers, view.n_heads = self.n_layers, self.n_heads
            view.observe(self._take, list(_SHARED))
            view.observe(self._ask_if_needed)
        page.observe(self._ask_if_needed)
        self._desk.serve(page, self.group)
        wear(page, self.preset)
        return page

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*_SHARED, "group")}

    def page(self, name: str) -> Page:
        """A page, open or not: `ex.page("lens").lens_view`.

        Raises:
            SelectionError: when there is none of that name.
        """
        return self.stack.page(name)

    @property
    def state(self) -> dict[str, Any]:
        """All that is chosen, as JSON: prompt, layers, selection, pinned tokens, pages, interventions, preset, choices.

        Assign one to come back to it, in another session, too; what it does not name stays as it is. A position beyond
        the prompt is the last one. Translators and models to compare with are not in it.

        Raises:
            StateError: on assignment, for unknown keys or values that do not fit; then nothing has changed.
        """
        return explorer_state(self)

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        restore(self, value)

    def stay_at(self, position: int | None, prompt: str) -> None:
        """The reader is at this position of a prompt that is about to be shown, and not with its end wherever it is."""
        if position is not None:
            self._follows_last = position >= len(self.model.tokenize(prompt)) - 1

    def save(self, path: str | os.PathLike[str], prompts: Sequence[str] | None = None) -> None:
        """Write what the open pages show to a file; `lw.replay(path)` shows it again, without a model.

        Args:
            path: the file, which is replaced as a whole.
            prompts: texts to show one after the other and write, to be switched between; the present one where None.

        Raises:
            What `wait` raises; `RecordingError` when there is nothing to write; OSError when it cannot be written.
        """
        recording_of(self, prompts).save(path)

    @property
    def questions(self) -> dict[str, TraceQuestion[Any]]:
        """What the open pages ask of the prompt that is shown, by the names that `results` has."""
        if self._tokens is None:
            return {}
        asked = self._questions(self._standpoint(self._tokens))
        return {name: question for question, wanted in asked.items() for _, name in wanted}

    @property
    def scenes(self) -> Scenes:
        """The prepared steps of a talk; nothing changes before one of them is shown.

        Raises:
            SceneError: on assignment, when one of them is no `Scene`.
        """
        return self._stage.scenes

    @scenes.setter
    def scenes(self, value: Iterable[Scene]) -> None:
        self._stage.put(value)

    @property
    def scene(self) -> int | None:
        """The number of the scene that was shown last, from 0; None where none was. Assign one to show it, or again.

        Raises:
            SceneError: on assignment, when there is none of that number, or this model cannot show it; then nothing
                has changed.
        """
        return self.scene_bar.scene

    @scene.setter
    def scene(self, value: int | None) -> None:
        self._stage.show(value)

    def add_scene(self, title: str, caption: str = "") -> Scene:
        """Keep all that is chosen now as one more scene, after those that there are; it is the one that is shown."""
        scene = Scene.here(self, title, caption)
        self._stage.add(scene)
        return scene

    def complain(self, error: Exception | None) -> None:
        """Say under the views what the reader asked for in vain; what is drawn stays, and nothing failed about it."""
        with self.error_panel.hold_sync():
            self.error_panel.message, self.error_panel.traceback = "" if error is None else str(error), ""

    @property
    def _views(self) -> tuple[Any, ...]:
        """What is drawn and takes part in the selection."""
        return (
            self.scene_bar,
            self.editor,
            self.slider,
            *(view for page in self.stack.open_pages for view in page.views),
        )

    def _wire(self) -> None:
        # Not traitlets.link: it raises when a value moves on while it is being passed along, as it does when
        # the reader and the model's thread change things at the same time. The last value wins instead.
        self.observe(self._spread, [*_SHARED, "prompt"])
        for view in (self.scene_bar, self.editor, self.slider):
            view.observe(self._take, [*_SHARED, "prompt"] if view is self.editor else list(_SHARED))
        self.observe(self._ranged, "layers")
        self.observe(self._placed, "position")
        self.observe(self._ask, ["prompt", "interventions"])
        self.observe(self._ask_if_needed, list(_SHARED))
        self.observe(self._arrange, "pages")
        self.observe(self._dress, "preset")
        self.stack.observe(self._arranged, "shown")
        self.lens_view.observe(self._ask_for_sight, "in_sight")
        self.status.on_stop(self.stop)

    def _spread(self, change: dict[str, Any]) -> None:
        name = change["name"]
        for view in (self.editor,) if name == "prompt" else self._views:
            setattr(view, name, getattr(self, name))

    def _take(self, change: dict[str, Any]) -> None:
        setattr(self, change["name"], change["new"])

    def _arrange(self, _change: object) -> None:
        """Open other pages; a page that was not open has missed what happened meanwhile."""
        self.stack.shown = self.pages
        for name in _SHARED:
            for view in self._views:
                setattr(view, name, getattr(self, name))
        self._ask(None)

    def _dress(self, change: dict[str, Any]) -> None:
        self.remove_class(f"lw-{change['old']}")
        self.add_class(f"lw-{self.preset}")
        for page in self.stack.made_pages:
            wear(page, self.preset)

    def _arranged(self, change: dict[str, Any]) -> None:
        self.pages = change["new"]

    def _ranged(self, _change: object) -> None:
        numbers = parse_layers(self.layers, self.model.anatomy.n_layers)
        if self.layer not in numbers:
            self.layer = min(numbers, key=lambda number: abs(number - self.layer))

    def _placed(self, change: dict[str, Any]) -> None:
        self._choosing(change["new"])

    def _choosing(self, position: int) -> None:
        # Said before the position is there, too: else whoever is at the end would be taken along in that moment.
        with self._placing:
            self._follows_last = self._tokens is not None and position == len(self._tokens) - 1

    # What it does

    def wait(self, timeout_s: float = 60.0) -> None:
        """Return when what is shown matches the prompt, the layers and the pinned tokens.

        Raises:
            TimeoutError: when that takes longer than `timeout_s`.
            LayerWidgetError: when the prompt could not be computed, as the panel under the widget says; when closed.
        """
        with self._change:
            done = self._change.wait_for(lambda: self._shown >= self._asked or self._closed, timeout_s)
            if self._closed:
                raise LayerWidgetError("This explorer is closed. Make another one.")
            if not done:
                raise TimeoutError(
                    f"The explorer is still computing after {timeout_s:g} s; wait longer with wait(timeout_s=...)."
                )
            if self._error is not None:
                raise self._error

    def _settle(self) -> None:
        with suppress(TimeoutError, LayerWidgetError):
            self.wait(_SETTLE_S)

    def stop(self) -> None:
        """Give up what is being computed; what is there already stays, and the next edit goes on from it."""
        self._stopped = True
        was = self._worker.stop(self)
        self._stopped = was == "running"
        if was == "waiting":
            self._show_stopped(self._asked, Cancelled("The work was stopped before it had begun."))

    def to_html(self, path: str | os.PathLike[str], prompts: Sequence[str] = (), title: str | None = None) -> Path:
        """Write what the open pages show as one file that needs neither kernel nor network: a double click opens it.

        Args:
            path: the file.
            prompts: other prompts that are recorded, too, to switch between; the explorer is as before afterwards.
            title: what stands above the page.

        Returns:
            The path of the file.

        Raises:
            ExportError: when there is no prompt, or the file cannot be written.
            LayerWidgetError: when a prompt cannot be computed.
        """
        return write_html(self, path, prompts, title)

    def close(self) -> None:
        """Stop working for this explorer and remove its widgets."""
        if not hasattr(self, "stack"):
            # Python ends what could not be made, too.
            super().close()
            return
        self._leave_picture()
        with self._change:
            self._closed = True
            self._change.notify_all()
        for page in self.stack.made_pages:
            self._desk.leave(page)
        self._worker.leave(self)
        self._worker.leave(self.status)
        self._worker.leave(self.stack)
        made = {part for page in self.stack.made_pages for part in parts_of(page)}
        for widget in parts_of(self) | made:
            if widget is not self:
                widget.close()
        super().close()

    def to_text(self) -> str:
        """Model, prompt, and the tables of the open pages."""
        head = explorer_text(self.status, self.prompt)
        return "\n\n".join([head, *(page.to_text() for page in self.stack.open_pages)])

    def _picture(self, theme: Theme, width: float) -> Picture:
        chosen = self.position if self._tokens is not None else None
        words = self.editor.shown.meta.get("visible") or []
        return explorer_picture(self.status, words, chosen, self.stack.open_pages, theme, width)

    def _picture_name(self) -> str:
        return f"{self.model.name}: {self.prompt}"

    def _ask(self, _change: object) -> None:
        """Something that is shown has changed: compute it, unless a newer change comes first."""
        with self._change:
            if self._closed:
                return
            self._asked += 1
        self._worker.submit(self, self._answer)

    def _ask_if_needed(self, _change: object) -> None:
        """Something was chosen: compute what the open pages need to know of it, unless they know it already."""
        with self._change:
            tokens, asked = self._asked_of
            known = tokens is None or self._closed or self._all_asked(self._standpoint(tokens)) == asked
        if not known:
            self._ask(None)

    @property
    def standpoint(self) -> Standpoint | None:
        """Where the reader is: what the open pages phrase their questions from; None without a prompt."""
        return None if self._tokens is None else self._standpoint(self._tokens)

    def _standpoint(self, tokens: Tokens) -> Standpoint:
        place = {name: getattr(self, name) for name in ("layers", "layer", "head", "position", "token")}
        return Standpoint(
            tokens=tokens, anatomy=self.model.anatomy, pinned=tuple(self.tokens), interventions=self.interventions,
            translators=self._translators, **place,
        )  # fmt: skip

    @property
    def _translators(self) -> Translators | None:
        """Those of the page that trains them, where it was ever open."""
        pages = (page for page in self.stack.made_pages if isinstance(page, TunedPage))
        return next((page.translators for page in pages), None)

    def _all_asked(
        self, standpoint: Standpoint, questions: Mapping[TraceQuestion[Any], object] | None = None
    ) -> tuple[object, ...]:
        """All that is to be known, of second runs too; equal where nothing has to be asked again.

        Args:
            standpoint: where the reader is.
            questions: those of the open pages, where they are at hand.
        """
        asked = self._questions(standpoint) if questions is None else questions
        return frozenset(asked), *(page.other(standpoint) for page in self.stack.open_pages)

    def _questions(self, standpoint: Standpoint) -> dict[TraceQuestion[Any], list[tuple[Page, str]]]:
        """What the open pages need to know, and which of them under which names."""
        found: dict[TraceQuestion[Any], list[tuple[Page, str]]] = {}
        for page in self.stack.open_pages:
            for name, question in page.questions(standpoint).items():
                found.setdefault(question, []).append((page, name))
        return found

    def _ask_for_sight(self, _change: object) -> None:
        """The reader has scrolled; what is not computed yet is now computed in another order."""
        with self._change:
            busy = self._shown < self._asked
        if busy:
            self._ask(None)

    def _answer(self) -> None:
        """On the worker's thread: from the prompt to the pixels."""
        with self._change:
            # Read before the traits: whatever changes from here on asks again.
            asked = self._asked
        error: Exception | None = None
        try:
            self._show_answers(self.prompt)
        except Cancelled as cancelled:
            if not self._stopped:
                # Whoever gave this up has asked for something newer.
                raise
            self._stopped = False
            self._show_stopped(asked, cancelled)
            return
        except Exception as caught:
            error = caught
        try:
            self._show_error(error)
        finally:
            self._worker.painted(self)
            with self._change:
                self._shown, self._error = asked, error
                self._change.notify_all()
            if self.report is None:
                self._worker.submit_idle(self.status, self._check)
            self._worker.submit_idle(self.stack, give_back)

    def _check(self) -> None:
        """On the worker's thread, when it is idle: make ready for edits, grade the model and show the grade."""
        self._live.prepare()
        report = check(self.model)
        with self.status.hold_sync():
            self.status.checked, self.status.failing = report.summary, not report.ok
            edits = f"On an edit: {self._live.how}."
            changes = f"On another intervention: {self._live.how_layers}."
            self.status.report = "\n".join([repr(report), edits, changes, *self.model.notes])
        self.report = report

    def _show_answers(self, prompt: str) -> None:
        self.status.state = "busy"
        started = time.perf_counter()
        tokens = self.model.tokenize(prompt)
        if not len(tokens):
            self._show_empty(prompt)
            return
        self._show_tokens(tokens)
        with self._change:
            # What is chosen from here on is compared with this.
            standpoint = self._standpoint(tokens)
            wanted = self._questions(standpoint)
            self._asked_of = (tokens, self._all_asked(standpoint, wanted))
        pages = self.stack.open_pages
        for page in pages:
            page.begin(standpoint, prompt)
            self._desk.offer(page, standpoint)
        found: dict[str, Any] = {}
        refusals: dict[str, LayerWidgetError] = {}

        def previewed(question: TraceQuestion[Any], answer: Any) -> None:
            for page, name in wanted[question]:
                page.answer(name, answer, prompt)
            self._worker.painted(self)

        def answered(question: TraceQuestion[Any], answer: Any) -> None:
            for page, name in wanted[question]:
                found[name] = answer
                page.answer(name, answer, prompt)

        def refused(question: TraceQuestion[Any], error: LayerWidgetError) -> None:
            for page, name in wanted[question]:
                refusals[name] = error
                page.refuse(name, error, prompt)

        self._live.update(
            tokens,
            *wanted,
            interventions=self.interventions,
            answered=answered,
            previewed=previewed,
            refused=refused,
            on_screen=standpoint.layers,
            in_sight=tuple(self.lens_view.in_sight),
        )
        self.refusals = refusals
        self.results = MappingProxyType(found)
        for page in pages:
            run = page.other(standpoint)
            if run is not None:
                page.answer_other(run, run.answers(self.interventions), prompt)
        self._show_done(prompt, tokens, (time.perf_counter() - started) * 1000, [page.note for page in pages])

    def _show_done(self, prompt: str, tokens: Tokens, took_ms: float, notes: list[str]) -> None:
        changed = [one.describe(self.n_layers) for one in self.interventions]
        computed = _computed(self._live, len(tokens))
        kept = f"{self._live.answer_bytes >> 20} MB kept" if self._live.answer_bytes >> 20 else ""
        parts = [_count(tokens), *changed, computed, f"{took_ms:.0f} ms", kept, *notes]
        with self.status.hold_sync():
            self.status.work = " · ".join(part for part in parts if part)
            self.status.prompt, self.status.state = prompt, "fresh"

    def _show_tokens(self, tokens: Tokens) -> None:
        n_pos = len(tokens)
        with self._placing:
            before, self._tokens = self._tokens, tokens
            # Whoever is at the end, or beyond it now, goes along with what is typed.
            if (before is None or len(before) != n_pos) and (self._follows_last or self.position >= n_pos - 1):
                self.position = n_pos - 1
        self.editor.show_tokens(tokens, self._note)

    def _show_empty(self, prompt: str) -> None:
        self._tokens, self._asked_of = None, (None, None)
        self.editor.show_tokens(None)
        for page in self.stack.made_pages:
            page.clear(prompt)
        self.results, self.refusals = _NOTHING, {}
        self._follows_last = True
        with self.status.hold_sync():
            self.status.work, self.status.prompt, self.status.state = "", prompt, "empty"

    def _show_stopped(self, asked: int, cancelled: Cancelled) -> None:
        self.status.state = "stopped"
        with self._change:
            self._shown, self._error = asked, cancelled
            self._change.notify_all()

    def _show_error(self, error: Exception | None) -> None:
        with self.error_panel.hold_sync():
            name = "" if error is None or isinstance(error, LayerWidgetError) else f"{type(error).__name__}: "
            self.error_panel.message = "" if error is None else f"{name}{error}"
            self.error_panel.traceback = "" if error is None else "".join(traceback.format_exception(error))
        if error is not None:
            with self.status.hold_sync():
                self.status.work, self.status.state = self.error_panel.message, "failed"


def explore(source: str | os.PathLike[str] | HookedModel = "demo", prompt: str = "", **options: Any) -> Explorer:
    """Load a model (unless it is one already) and show it: `lw.explore("demo")`.

    Args:
        source: what `layerwidget.load` takes, or a `HookedModel`.
        prompt: the first text.
        options: further arguments of `Explorer`.
    """
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.model.load import load

    return Explorer(source if isinstance(source, HookedModel) else load(source), prompt, **options)


def compare(
    model: HookedModel,
    other: str | ModelSource | Mapping[str, ModelSource],
    prompt: str = "",
    match: Match = "layer",
    **options: Any,
) -> Explorer:
    """Show what differs between two prompts, or two models that read the same tokens.

    Args:
        model: the first model.
        other: the second prompt; or the second model; or name -> model, or a folder, or a function that loads it: a
            slider chooses one of them, and only that one is in memory.
        prompt: the first text.
        match: which layers are compared: those of the same number (`layer`), or at the same share of the
            depth (`depth`).
        options: further arguments of `Explorer`.

    Raises:
        QuestionError: when there is no model among the others.
    """
    explorer = Explorer(model, prompt, **{"pages": ("compare",), **options})
    page = explorer.page("compare")
    assert isinstance(page, ComparePage)
    page.compare_with(other, match)
    return explorer


def _count(tokens: Tokens) -> str:
    return f"{len(tokens)} token{'s' if len(tokens) > 1 else ''}"


def _computed(live: Live, n_pos: int) -> str:
    """How much of a prompt was run through the model for the last picture."""
    if live.reused_layers:
        return f"recomputed from layer {live.reused_layers}"
    n_new = n_pos - live.reused
    return "nothing recomputed" if not n_new else "" if n_new == n_pos else f"{n_new} recomputed"


def _facts(model: HookedModel) -> str:
    anatomy = model.anatomy
    heads = f" · {anatomy.n_heads} heads" if anatomy.n_heads else ""
    grouped = f" ({anatomy.n_kv_heads} kv)" if anatomy.n_heads and anatomy.n_kv_heads != anatomy.n_heads else ""
    return f"{anatomy.n_layers} layers{heads}{grouped} · {anatomy.d_model} wide"
