"""Explorer: a model, its views and its controls, wired together."""

from __future__ import annotations

import os
import threading
import time
import traceback
import uuid
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets as t

from layerwidget.analysis.check import check
from layerwidget.engine.fitting import attention_that_fits
from layerwidget.engine.local import Live
from layerwidget.engine.worker import Worker
from layerwidget.errors import Cancelled, LayerWidgetError
from layerwidget.layers import format_layers, parse_layers
from layerwidget.model.interventions import skipped_layers
from layerwidget.questions import TraceQuestion
from layerwidget.questions.lens import LogitLens
from layerwidget.tokens import well_formed
from layerwidget.widgets.attention_view import AttentionView
from layerwidget.widgets.base import parts_of
from layerwidget.widgets.depth_curves import DepthCurves
from layerwidget.widgets.layer_map import LayerMap
from layerwidget.widgets.layer_slider import LayerSlider
from layerwidget.widgets.logit_lens_view import LogitLensView
from layerwidget.widgets.prompt_editor import PromptEditor
from layerwidget.widgets.status_line import ErrorPanel, StatusLine
from layerwidget.widgets.traits import Selection, SelectionTraits

if TYPE_CHECKING:
    from layerwidget.grades import CheckReport
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.tokens import Tokens

_SHARED = ("layers", "layer", "head", "position", "token", "tokens")
_WORDS_PER_CELL = 10
#: Attention weights held at once; beyond it, fewer layers are computed and the view says so.
ATTENTION_BYTES = 256 * 2**20
_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})


class Explorer(ipywidgets.VBox, SelectionTraits):  # type: ignore[misc]  # ipywidgets has no types
    """The whole instrument in one widget: edit the prompt, drag the layers, and every view follows.

    Attributes:
        prompt: the text; typing in the widget sets it.
        layers: the layers in view, a selection such as `"10-20"` or `"late"`, kept in its shortest form.
        layer, head, position, token, tokens: what is chosen; `selection` holds the first four in one value.
        interventions: what is changed during the pass, such as `(lw.SkipLayers("5"),)`.
        results: the newest answers: `"lens"` (`LensGrid`) and `"attention"` (`AttentionGrid`); none without
            a prompt. After an error they are those of the last prompt that could be computed.
        model: the hooked model.
        report: what `lw.check` says of it: measured after the first picture, when there is nothing else to do; or None.
        editor, slider, lens_view, attention_view, curves, layer_map, status, error_panel: the widgets it is made of.
    """

    prompt = t.Unicode()
    interventions = t.Tuple()
    results = t.Instance(MappingProxyType, default_value=_NOTHING)

    @t.validate("interventions")
    def _known_interventions(self, proposal: dict[str, Any]) -> tuple[Any, ...]:
        skipped_layers(proposal["value"], self.model.anatomy.n_layers)
        return tuple(proposal["value"])

    @t.validate("prompt")
    def _encodable(self, proposal: dict[str, Any]) -> str:
        text = well_formed(proposal["value"])
        if text != self.prompt:
            replaced = "Half a character, which cannot be encoded, is read as U+FFFD."
            self._note = replaced if text != proposal["value"] else ""
        return text

    def __init__(
        self,
        model: HookedModel,
        prompt: str = "",
        layers: str | int | tuple[int, ...] = "all",
        selection: Selection | None = None,
        tokens: tuple[int, ...] = (),
        interventions: tuple[object, ...] = (),
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
        self._asked = 0
        self._shown = 0
        self._change = threading.Condition()
        self._error: BaseException | None = None
        self._n_pos = 0
        self._follows_last = selection is None
        self._following = 0
        numbers = parse_layers(layers, anatomy.n_layers)
        chosen = selection or Selection(layer=numbers[-1])
        super().__init__(
            prompt=prompt, layers=format_layers(numbers), group=uuid.uuid4().hex, tokens=list(tokens),
            layer=chosen.layer, head=chosen.head, position=chosen.position, token=chosen.token,
            interventions=interventions,
        )  # fmt: skip
        self._build()
        self._wire()
        self._ask(None)

    # What it is made of

    def _build(self) -> None:
        shared = {name: getattr(self, name) for name in (*_SHARED, "group")}
        anatomy = self.model.anatomy
        self.editor = PromptEditor(self.prompt, **shared)
        self.slider = LayerSlider(max=anatomy.n_layers - 1, **shared)
        self.lens_view = LogitLensView(components=list(anatomy.components), **shared)
        self.attention_view = AttentionView(**shared)
        self.curves = DepthCurves(**shared)
        self.layer_map = LayerMap(self.model, **shared)
        checked = "exact: " + ", ".join(anatomy.verified)
        self.status = StatusLine(
            group=self.group, model_name=self.model.name, facts=_facts(self.model), checked=checked
        )
        self.error_panel = ErrorPanel()
        for view in self._views:
            view.n_layers, view.n_heads = self.n_layers, self.n_heads
        self.curves.layout = ipywidgets.Layout(width="250px", flex="0 0 auto")
        row = ipywidgets.Layout(align_items="flex-start", width="100%")
        upper = ipywidgets.HBox([self.slider, self.lens_view], layout=row)
        lower = ipywidgets.HBox([self.attention_view, self.curves], layout=row)
        folded = ipywidgets.Accordion([self.layer_map], titles=("Map of the model",), selected_index=None)
        folded.layout.width = "100%"
        body = ipywidgets.VBox([self.editor, upper, lower, folded], layout=ipywidgets.Layout(width="100%"))
        body.add_class("lw-body")
        self.add_class("lw-explorer")
        self.children = (self.status, body, self.error_panel)

    @property
    def _views(self) -> tuple[Any, ...]:
        return (self.editor, self.slider, self.lens_view, self.attention_view, self.curves.driver, self.layer_map)

    def _wire(self) -> None:
        # Not traitlets.link: it raises when a value moves on while it is being passed along, as it does when
        # the reader and the model's thread change things at the same time. The last value wins instead.
        self.observe(self._spread, [*_SHARED, "prompt"])
        for view in self._views:
            view.observe(self._take, [*_SHARED, "prompt"] if view is self.editor else list(_SHARED))
        self.observe(self._ranged, "layers")
        self.observe(self._placed, "position")
        self.observe(self._ask, ["prompt", "layers", "tokens", "interventions"])
        self.observe(self._ask_for_head, ["layer", "head"])
        self.lens_view.observe(self._ask, "component")
        self.lens_view.observe(self._ask_for_sight, "in_sight")
        self.status.on_stop(self.stop)

    def _spread(self, change: dict[str, Any]) -> None:
        name = change["name"]
        for view in (self.editor,) if name == "prompt" else self._views:
            setattr(view, name, getattr(self, name))

    def _take(self, change: dict[str, Any]) -> None:
        setattr(self, change["name"], change["new"])

    def _ranged(self, _change: object) -> None:
        numbers = parse_layers(self.layers, self.model.anatomy.n_layers)
        if self.layer not in numbers:
            self.layer = min(numbers, key=lambda number: abs(number - self.layer))

    def _placed(self, change: dict[str, Any]) -> None:
        if self._following != threading.get_ident():
            self._follows_last = change["new"] == self._n_pos - 1

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

    def stop(self) -> None:
        """Give up what is being computed; what is there already stays, and the next edit goes on from it."""
        self._stopped = True
        was = self._worker.stop(self)
        self._stopped = was == "running"
        if was == "waiting":
            self._show_stopped(self._asked, Cancelled("The work was stopped before it had begun."))

    def close(self) -> None:
        """Stop working for this explorer and remove its widgets."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._worker.leave(self)
        self._worker.leave(self.status)
        for widget in parts_of(self):
            if widget is not self:
                widget.close()
        super().close()

    def _ask(self, _change: object) -> None:
        """Something that is shown has changed: compute it, unless a newer change comes first."""
        with self._change:
            if self._closed:
                return
            self._asked += 1
        self._worker.submit(self, self._answer)

    def _ask_for_head(self, _change: object) -> None:
        """Of a long prompt only some layers' attention is held, or some heads': those nearest to the chosen one."""
        attention = self.results.get("attention")
        if attention is None or self.layer not in attention.attention_layers:
            return
        if self.layer not in attention.layers or self.head not in attention.heads:
            self._ask(None)

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
            self._show_answers(self.prompt, self.layers, tuple(self.tokens))
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

    def _show_answers(self, prompt: str, layers: str, pinned: tuple[int, ...]) -> None:
        self.status.state = "busy"
        started = time.perf_counter()
        tokens = self.model.tokenize(prompt)
        if not len(tokens):
            self._show_empty(prompt)
            return
        self._show_tokens(tokens)
        lens = LogitLens(k=_WORDS_PER_CELL, tokens=pinned, component=self.lens_view.component)
        anatomy = self.model.anatomy
        room = ATTENTION_BYTES
        attention, note = attention_that_fits(anatomy, layers, len(tokens), self.layer, self.head, room)
        if attention is None:
            self.attention_view.show(None, prompt, note)
        found: dict[str, Any] = {}

        def answered(question: TraceQuestion[Any], answer: Any) -> None:
            if question is attention:
                found["attention"] = answer
                self.attention_view.show(answer, prompt)
            else:
                found["lens"] = answer
                self.lens_view.show(answer, prompt)
                self.curves.show(answer, prompt)

        def previewed(question: TraceQuestion[Any], part: Any) -> None:
            self.lens_view.show(part, prompt)
            self.curves.show(part, prompt)
            self._worker.painted(self)

        questions = [question for question in (lens, attention) if question is not None]
        interventions = self.interventions
        self._live.update(
            tokens,
            *questions,
            interventions=interventions,
            answered=answered,
            previewed=previewed,
            on_screen=layers,
            in_sight=tuple(self.lens_view.in_sight),
        )
        self.results = MappingProxyType(found)
        took_ms = (time.perf_counter() - started) * 1000
        changed = [one.describe(self.n_layers) for one in interventions]
        computed = _computed(self._live, len(tokens))
        kept = f"{self._live.answer_bytes >> 20} MB kept" if self._live.answer_bytes >> 20 else ""
        parts = [_count(tokens), *changed, computed, f"{took_ms:.0f} ms", kept, note if attention else ""]
        with self.status.hold_sync():
            self.status.work = " · ".join(part for part in parts if part)
            self.status.prompt, self.status.state = prompt, "fresh"

    def _show_tokens(self, tokens: Tokens) -> None:
        if len(tokens) != self._n_pos:
            self._n_pos = len(tokens)
            # Whoever is at the end, or beyond it now, goes along with what is typed.
            self._follows_last = self._follows_last or self.position >= self._n_pos - 1
            if self._follows_last:
                self._following = threading.get_ident()
                self.position = self._n_pos - 1
                self._following = 0
        self.editor.show_tokens(tokens, self._note)

    def _show_empty(self, prompt: str) -> None:
        self._n_pos = 0
        self.editor.show_tokens(None)
        self.lens_view.show(None, prompt)
        self.attention_view.show(None, prompt)
        self.curves.show(None)
        self.results = _NOTHING
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
