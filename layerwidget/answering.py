"""From what an explorer shows to its pixels: what the open pages ask, answered on the model's thread."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from layerwidget.analysis.check import check
from layerwidget.engine.local import Live
from layerwidget.engine.memory import give_back
from layerwidget.engine.teams import let_team_go
from layerwidget.engine.turns import Turns
from layerwidget.engine.work_words import computed_words, kept_words, tokens_words, took_words
from layerwidget.engine.worker import Worker
from layerwidget.errors import LayerWidgetError, PromptError
from layerwidget.questions import TraceQuestion
from layerwidget.widgets.attribution_view import AttributionView
from layerwidget.widgets.base import View
from layerwidget.widgets.neurons_view import NeuronsView
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.shell import after_each_cell
from layerwidget.widgets.taking_along import is_taking_along, taking_along
from layerwidget.widgets.tuned_page import TunedPage

if TYPE_CHECKING:
    from layerwidget.explorer import Explorer
    from layerwidget.tokens import Tokens
    from layerwidget.widgets.request_desk import RequestDesk

#: Who has taken an edit back, and does nothing for so long, in seconds, goes on from there.
REST_S = 0.5

_Kind = TypeVar("_Kind", bound=Page)
#: A prompt, and of an encoder-decoder its target.
_Texts = tuple[str, str]
#: A question -> the pages that ask it, and under which names.
_Wanted = dict[TraceQuestion[Any], list[tuple[Page, str]]]


class Answering:
    """Answers what the open pages of an explorer ask, and shows it.

    Args:
        explorer: whose pages they are.
        desk: takes what the pages offer to run on request.

    Attributes:
        live: the model and its last trace.
        turns: what was asked, and what of it is shown.
        tokens: the prompt that is shown; None without one.
        follows_last: whether the reader was at the end of the prompt that was shown last, and goes along with it.
        note: what is said of the prompt under its tokens.
    """

    def __init__(self, explorer: Explorer, desk: RequestDesk) -> None:
        self._explorer, self._model, self._desk = explorer, explorer.model, desk
        # Whoever types at once does not wait for a proof that is made when nothing else is to do.
        self.live = Live(self._model, proves_at_once=False)
        self._worker = Worker.of(self._model)
        # What a cell computes would leave threads behind, which slow down every edit after it.
        after_each_cell(let_team_go)
        self.turns = Turns(self._worker, explorer, self._answer, self._answered, self._stopped)
        self.tokens: Tokens | None = None
        self.follows_last = True
        self.note = ""
        self._placing = threading.RLock()
        # Where the reader was put since a prompt was shown last, and in which one: shown, or about to be.
        self._put: tuple[_Texts, int] | None = None
        # What the reader is being led to, before it is set; and how long the prompt is that was shown last.
        self._ahead: _Texts | None = None
        self._measured: tuple[_Texts, int] = ("", ""), 0
        self._comparing = threading.RLock()
        self._saying = threading.RLock()
        # Those that follow to where the reader was taken along to when all answers are there.
        self._to_catch_up: list[Callable[[], None]] = []
        # What was said of the last picture, and the memory of its pass as it was counted last.
        self._said: tuple[str, ...] | None = None
        self._pass_bytes = 0
        # Which texts are being answered since when: a turn that is given up for another about them is counted with it.
        self._begun: tuple[_Texts, float] | None = None
        # Of which prompt something was asked last, and what.
        self._asked_of: tuple[Tokens | None, object] = (None, None)

    def close(self) -> None:
        """Answer nothing any more."""
        self.turns.close()
        self._worker.leave(self._explorer.status)
        self._worker.leave(self._explorer.stack)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Whatever is asked meanwhile: who comes back to what is shown now computes nothing, and reads what it took."""
        said = self._said
        try:
            with self.live.keeping():
                yield
        finally:
            with self._saying:
                self._said = said
                self._show_work()

    # What is asked

    @property
    def standpoint(self) -> Standpoint | None:
        """Where the reader is; None without a prompt."""
        return None if self.tokens is None else self._standpoint(self.tokens)

    @property
    def questions(self) -> dict[str, TraceQuestion[Any]]:
        """What the open pages ask of the prompt that is shown, by name."""
        standpoint = self.standpoint
        asked = {} if standpoint is None else self._wanted(standpoint)
        return {name: question for question, wanted in asked.items() for _, name in wanted}

    def ask_what_is_new(self) -> None:
        """Ask, where the open pages ask something from here that was not asked yet."""
        if is_taking_along(self._explorer.group):
            return
        with self._comparing:
            tokens, asked = self._asked_of
            if tokens is None or self.turns.closed:
                return
            now = self._all_asked(self._standpoint(tokens))
            if now == asked:
                return
            self.turns.ask()
            self._asked_of = (tokens, now)

    def choose(self, position: int) -> None:
        """The reader goes to a position of the prompt that is asked for, whether it is shown already or not."""
        with self._placing:
            at_end = self.tokens is not None and position == len(self.tokens) - 1
            if not (at_end and is_taking_along(self._explorer.group)):
                self._put = self._asked, position

    def go_along(self) -> None:
        """The reader goes to the end of the prompt, wherever that is."""
        with self._placing:
            self.follows_last, self._put = True, None

    @contextmanager
    def leading_to(self, prompt: str, target: str) -> Iterator[None]:
        """The reader is brought into a prompt that is set last of all: no other one that is shown meanwhile moves them.

        Where that fails, they are where they were.
        """
        with self._placing:
            before = self.follows_last, self._put
            self._ahead = prompt, target
        try:
            yield
        except BaseException:
            with self._placing:
                self.follows_last, self._put = before
            raise
        finally:
            self._ahead = None

    @property
    def _asked(self) -> _Texts:
        """The newest prompt, which may not be shown yet."""
        return self._ahead or (self._explorer.prompt, self._explorer.target)

    def _standpoint(self, tokens: Tokens) -> Standpoint:
        explorer = self._explorer
        place = {name: getattr(explorer, name) for name in ("layers", "layer", "head", "position", "token")}
        tuned, attribution = self._made(TunedPage), self._made(AttributionView)
        neurons = self._made(NeuronsView)
        return Standpoint(
            tokens=tokens,
            anatomy=self._model.anatomy,
            pinned=tuple(explorer.tokens),
            interventions=explorer.interventions,
            translators=None if tuned is None else tuned.translators,
            minus=None if attribution is None else attribution.parts.minus,
            neuron=None if neurons is None else neurons.followed,
            **place,
        )

    def _made(self, kind: type[_Kind]) -> _Kind | None:
        """The page of a type, open or hidden; None where it was never open."""
        return next((page for page in self._explorer.stack.made_pages if isinstance(page, kind)), None)

    def _all_asked(
        self, standpoint: Standpoint, questions: Mapping[TraceQuestion[Any], object] | None = None
    ) -> tuple[object, ...]:
        """All that is to be known, of second runs too; equal where nothing has to be asked again.

        Args:
            standpoint: where the reader is.
            questions: those of the open pages, where they are at hand.
        """
        asked = self._wanted(standpoint) if questions is None else questions
        return frozenset(asked), *(page.other(standpoint) for page in self._explorer.stack.open_pages)

    def _wanted(self, standpoint: Standpoint) -> _Wanted:
        """What the open pages need to know, and which of them under which names."""
        found: _Wanted = {}
        for page in self._explorer.stack.open_pages:
            for name, question in page.questions(standpoint).items():
                found.setdefault(question, []).append((page, name))
        return found

    # How it is answered, on the worker's thread

    def _answer(self) -> None:
        explorer = self._explorer
        prompt, target = texts = explorer.prompt, explorer.target
        if self._begun is None or self._begun[0] != texts:
            self._begun = texts, time.perf_counter()
        _, started = self._begun
        explorer.status.state = "busy"
        tokens = self._model.tokenize(prompt, extrapolate=explorer.length_bar.extrapolate)
        if not len(tokens):
            self._show_empty(texts)
            return
        tokens = self._model.with_target(tokens, target or None)
        self._show_tokens(tokens, texts)
        with self._comparing:
            # What is chosen from here on is compared with this.
            standpoint = self._standpoint(tokens)
            wanted = self._wanted(standpoint)
            self._asked_of = (tokens, self._all_asked(standpoint, wanted))
        pages = explorer.stack.open_pages
        if explorer.target_editor is not None:
            _is_about(pages, target)
        for page in pages:
            page.begin(standpoint, prompt)
            self._desk.offer(page, standpoint)
        self._show_answers(standpoint, wanted, prompt)
        for page in pages:
            run = page.other(standpoint)
            if run is not None:
                page.answer_other(run, run.answers(standpoint.interventions), prompt)
        self._show_done(prompt, tokens, (time.perf_counter() - started) * 1000, [page.note for page in pages])

    def _show_answers(self, standpoint: Standpoint, wanted: _Wanted, prompt: str) -> None:
        """Ask what is wanted, and show each answer as soon as it is there."""
        explorer = self._explorer
        found: dict[str, Any] = {}
        refusals: dict[str, LayerWidgetError] = {}
        in_parts: set[TraceQuestion[Any]] = set()
        unfinished = _Unfinished(wanted, prompt)

        def previewed(question: TraceQuestion[Any], answer: Any) -> None:
            in_parts.add(question)
            for page, name in wanted[question]:
                page.answer(name, answer, prompt)
                page.finish(name, answer, prompt)
            self._worker.painted(explorer)

        def answered(question: TraceQuestion[Any], answer: Any) -> None:
            for page, name in wanted[question]:
                found[name] = answer
                page.answer(name, answer, prompt)
                if question in in_parts:
                    # It takes long, and so may the others.
                    page.finish(name, answer, prompt)
                else:
                    unfinished.add(page, name, answer)
                unfinished.count(page)

        def refused(question: TraceQuestion[Any], error: LayerWidgetError) -> None:
            for page, name in wanted[question]:
                refusals[name] = error
                page.refuse(name, error, prompt)
                unfinished.count(page)

        try:
            self.live.update(
                standpoint.tokens,
                *wanted,
                interventions=standpoint.interventions,
                answered=answered,
                previewed=previewed,
                refused=refused,
                on_screen=standpoint.layers,
                in_sight=tuple(explorer.lens_view.in_sight),
            )
        finally:
            # Also when the rest is given up: what belongs together is about the same prompt.
            unfinished.finish_all()
        explorer.refusals = refusals
        explorer.results = MappingProxyType(found)

    def _catch_up(self) -> None:
        """No more answers come: figures follow to where the reader was taken along to.

        Not after an edit that was given up for a newer one: the answers to that are on their way.
        """
        waiting, self._to_catch_up = self._to_catch_up, []
        for catch_up in waiting:
            catch_up()

    def _answered(self, error: Exception | None) -> None:
        self._begun = None
        try:
            self._catch_up()
            self._show_error(error)
        finally:
            if self._explorer.report is None:
                self._worker.submit_idle(self._explorer.status, self._check)
            elif self.live.is_behind:
                # Not between two edits that are taken back.
                self._worker.submit_idle(self._explorer.status, self.live.prepare, REST_S)
            self._worker.submit_idle(self._explorer.stack, self._tidy)

    def _stopped(self) -> None:
        self._begun = None
        self._catch_up()
        self._explorer.status.state = "stopped"

    def _check(self) -> None:
        """When there is nothing else to do: make ready for edits, grade the model and show the grade."""
        self.live.prepare()
        report, status = check(self._model), self._explorer.status
        with status.hold_sync():
            status.checked, status.failing = report.summary, not report.ok
            edits = f"On an edit: {self.live.how}."
            changes = f"On another intervention: {self.live.how_layers}."
            status.report = "\n".join([repr(report), edits, changes, *self._model.notes])
        self._explorer.report = report

    def _tidy(self) -> None:
        """When there is nothing else to do: give back what is free, and say what is not."""
        wait_s = give_back()
        if wait_s and not self.turns.closed:
            # Once more: else what the last edit has freed would stay until the next one.
            self._worker.submit_idle(self._explorer.stack, self._tidy, wait_s)
        self._pass_bytes = self.live.held_pass_bytes
        self._show_work()

    # What is said about it

    def _show_tokens(self, tokens: Tokens, texts: _Texts) -> None:
        explorer = self._explorer
        with self._placing:
            self.tokens = tokens
            # Where something newer is asked for already, the reader's place is in that.
            if texts == self._asked:
                self._take_along(texts, len(tokens))
        n_beside = max((page.n_beside(tokens) for page in explorer.stack.open_pages), default=0)
        notes = (self.note, explorer.length_bar.note_of(tokens, n_beside))
        self._show_strips(tokens, " ".join(note for note in notes if note))

    def _take_along(self, texts: _Texts, n_pos: int) -> None:
        """Whoever is at the end, or beyond it now, goes along with what is typed."""
        put, position = self._put, self._explorer.position
        if put is not None:
            position, self.follows_last = put[1], put[0] != texts and self._is_last(*put)
        self._put, self._measured = None, (texts, n_pos)
        if self.follows_last or position >= n_pos - 1:
            self.follows_last = True
            with taking_along(self._explorer.group) as behind:
                self._explorer.position = n_pos - 1
            self._to_catch_up += behind

    def _is_last(self, texts: _Texts, position: int) -> bool:
        """Whether a position is at the end of a prompt, or beyond it."""
        known, n_pos = self._measured
        if texts != known:
            n_pos = 0
            # What cannot be read has no end.
            with suppress(PromptError):
                tokens = self._model.tokenize(texts[0])
                n_pos = len(self._model.with_target(tokens, texts[1] or None)) if len(tokens) else 0
        return 0 < n_pos <= position + 1

    def _show_strips(self, tokens: Tokens | None, note: str = "") -> None:
        target = self._explorer.target_editor
        if target is None:
            self._explorer.editor.show_tokens(tokens, note)
        else:
            target.show_both(tokens, note)

    def _show_empty(self, texts: _Texts) -> None:
        explorer, (prompt, _) = self._explorer, texts
        with self._placing:
            before, self.tokens = self.tokens, None
            if texts == self._asked:
                # The next text is followed to its end, unless the reader was put into this one, or there was none yet.
                if self._put is not None:
                    self.follows_last = self._put[0] != texts
                elif before is not None:
                    self.follows_last = True
                self._put, self._measured = None, (texts, 0)
        with self._comparing:
            self._asked_of = (None, None)
        self._said = None
        self._show_strips(None)
        explorer.length_bar.note_of(None)
        for page in explorer.stack.made_pages:
            page.clear(prompt)
        explorer.results, explorer.refusals = MappingProxyType({}), {}
        with explorer.status.hold_sync():
            explorer.status.work, explorer.status.prompt, explorer.status.state = "", prompt, "empty"

    def _show_done(self, prompt: str, tokens: Tokens, took_ms: float, notes: list[str]) -> None:
        status = self._explorer.status
        changed = [one.describe(self._explorer.n_layers) for one in self._explorer.interventions]
        computed = computed_words(self.live, len(tokens))
        # What is left out comes early: where there is no room for all of it, the end is cut off.
        self._said = (tokens_words(tokens), *changed, *notes, computed, took_words(took_ms))
        with status.hold_sync():
            self._show_work()
            status.prompt, status.state = prompt, "fresh"

    def _show_work(self) -> None:
        # Not the words of before over those of now: they are shown by the worker's thread and by the reader's.
        with self._saying:
            if self._said is not None:
                kept = kept_words(self._pass_bytes, self.live.held_answer_bytes)
                self._explorer.status.work = " · ".join(part for part in (*self._said, kept) if part)

    def _show_error(self, error: Exception | None) -> None:
        panel, status = self._explorer.error_panel, self._explorer.status
        with panel.hold_sync():
            name = "" if error is None or isinstance(error, LayerWidgetError) else f"{type(error).__name__}: "
            panel.message = "" if error is None else f"{name}{error}"
            panel.traceback = "" if error is None else "".join(traceback.format_exception(error))
        if error is not None:
            self._said = None
            with status.hold_sync():
                status.work, status.state = panel.message, "failed"


class _Unfinished:
    """Answers of which pages draw the rest when all that they ask is answered.

    Args:
        wanted: what the pages ask.
        prompt: the text that it is about.
    """

    def __init__(self, wanted: _Wanted, prompt: str) -> None:
        self._prompt = prompt
        self._n_open = Counter(page for asking in wanted.values() for page, _ in asking)
        self._answers: dict[Page, list[tuple[str, Any]]] = {}

    def add(self, page: Page, name: str, answer: Any) -> None:
        """An answer is drawn, but for the rest."""
        self._answers.setdefault(page, []).append((name, answer))

    def count(self, page: Page) -> None:
        """A question of a page is answered, or never will be; after its last one, the rest is drawn."""
        self._n_open[page] -= 1
        if not self._n_open[page]:
            self._finish(page)

    def finish_all(self) -> None:
        """No more answers come."""
        for page in list(self._answers):
            self._finish(page)

    def _finish(self, page: Page) -> None:
        for name, answer in self._answers.pop(page, ()):
            page.finish(name, answer, self._prompt)


def _is_about(pages: Iterable[Page], target: str) -> None:
    """Whatever is drawn on pages from here on is about this target."""
    for part in (part for page in pages for part in parts_of(page)):
        if isinstance(part, View):
            part.answered_target = target
