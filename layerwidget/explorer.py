"""Explorer: a model, its views and its controls, wired together."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import traitlets as t

from layerwidget.analysis.logit_lens import columns_per_step
from layerwidget.answering import Answering
from layerwidget.errors import LayerWidgetError, PromptError
from layerwidget.export.html import write_html
from layerwidget.export.record import recording_of
from layerwidget.figures.svg import Picture
from layerwidget.figures.themes import Theme
from layerwidget.layers import format_layers, parse_layers
from layerwidget.model.interventions import skipped_layers
from layerwidget.questions import TraceQuestion
from layerwidget.scenes import Scene, Scenes, Stage
from layerwidget.tokens import well_formed
from layerwidget.widgets.explorer_picture import explorer_picture, explorer_text
from layerwidget.widgets.layer_slider import LayerSlider
from layerwidget.widgets.length_bar import LengthBar
from layerwidget.widgets.lens_page import LensPage
from layerwidget.widgets.page import Page, Standpoint
from layerwidget.widgets.page_stack import PageStack
from layerwidget.widgets.pages import pages_of
from layerwidget.widgets.parts import parts_of
from layerwidget.widgets.pictured_box import PicturedBox
from layerwidget.widgets.presets import PRESETS, wear
from layerwidget.widgets.prompt_editor import PromptEditor
from layerwidget.widgets.request_desk import RequestDesk
from layerwidget.widgets.scene_bar import SceneBar
from layerwidget.widgets.state import explorer_state, restore
from layerwidget.widgets.status_line import ErrorPanel, StatusLine
from layerwidget.widgets.target_editor import TargetEditor
from layerwidget.widgets.traits import SHARED, Selection, SelectionTraits

if TYPE_CHECKING:
    from layerwidget.export.record import Prompts
    from layerwidget.grades import CheckReport
    from layerwidget.model.hooked_model import HookedModel

#: How long a cell that displays it waits for its first picture, at most.
_SETTLE_S = 10.0
_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})


class Explorer(PicturedBox, SelectionTraits):
    """The whole instrument in one widget: edit the prompt, drag the layers, and every view follows.

    Attributes:
        prompt: the text; typing in the widget sets it.
        target: of an encoder-decoder, what its decoder has written so far; all positions are those of its tokens.
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
        length_bar: there while the prompt is longer than the trained length; `extrapolate` runs it all the same.
        scene_bar, editor, slider, lens_view, attention_view, curves, stack, status, error_panel: the widgets that it is
            made of.

    Args:
        more_pages: types of pages of your own, with tabs behind those that there are (notebook `08_add_a_view`).
    """

    picture_width: ClassVar[float] = 1280

    prompt = t.Unicode()
    target = t.Unicode()
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
            self._answering.note = replaced if text != proposal["value"] else ""
        return text

    @t.validate("target")
    def _readable(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] and self.model.anatomy.encoder is None:
            raise PromptError(f"{self.model.name} has no encoder, so it takes a prompt and no target.")
        return well_formed(proposal["value"])

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
        target: str = "",
    ) -> None:
        anatomy = model.anatomy
        self.model = model
        self.n_layers, self.n_heads = anatomy.n_layers, anatomy.n_heads or None
        self.report: CheckReport | None = None
        self.refusals: dict[str, LayerWidgetError] = {}
        self._desk = RequestDesk(model, lambda: self.standpoint)
        self._answering = Answering(self, self._desk)
        numbers = parse_layers(layers, anatomy.n_layers)
        chosen = selection or Selection(layer=numbers[-1])
        super().__init__(
            prompt=prompt, target=target, layers=format_layers(numbers), group=uuid.uuid4().hex, tokens=list(tokens),
            layer=chosen.layer, head=chosen.head, position=chosen.position, token=chosen.token,
            interventions=interventions,
        )  # fmt: skip
        if selection is None:
            self._answering.go_along()
        else:
            self._answering.choose(chosen.position)
        self._build(pages, more_pages)
        self._wire()
        self.preset, self.scenes = preset, scenes
        self._ask(None)

    # What it is made of

    def _build(self, pages: Sequence[str], more_pages: Sequence[type[Page]]) -> None:
        anatomy = self.model.anatomy
        self.editor = PromptEditor(self.prompt, **self._shared())
        has_target = anatomy.encoder is not None
        self.target_editor = TargetEditor(self.target, self.editor, **self._shared()) if has_target else None
        self.length_bar = LengthBar(self.model.n_ctx)
        self.slider = LayerSlider(max=anatomy.n_layers - 1, **self._shared())
        self.scene_bar = SceneBar(**self._shared())
        self._stage = Stage(self, self.scene_bar)
        self.stack = PageStack((*pages_of(has_target), *more_pages), self._build_page, self.slider, pages)
        lens_page = self.page("lens")
        assert isinstance(lens_page, LensPage)
        self.lens_view, self.attention_view, self.curves = (
            lens_page.lens_view, lens_page.attention_view, lens_page.curves,
        )  # fmt: skip
        self.status = StatusLine.of_model(self.model, group=self.group)
        self.error_panel = ErrorPanel()
        # Under the text that it is about, and above all that it leaves as it was.
        parts = (*self._editors, self.error_panel, self.length_bar, self.stack)
        body = ipywidgets.VBox(parts, layout=ipywidgets.Layout(width="100%"))
        body.add_class("lw-body")
        self.add_class("lw-explorer")
        self.children = (self.status, self.scene_bar, body)
        self.pages = list(self.stack.shown)

    def _build_page(self, kind: type[Page]) -> Page:
        page = kind.for_model(self.model, **self._shared())
        for view in page.views:
            view.n_layers, view.n_heads, view.is_led = self.n_layers, self.n_heads, True
            view.observe(self._take, list(SHARED))
            view.observe(self._ask_for_view)
        page.observe(self._ask_if_needed)
        self._desk.serve(page, self.group)
        wear(page, self.preset)
        return page

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*SHARED, "group")}

    def page(self, name: str) -> Page:
        """A page, open or not: `ex.page("lens").lens_view`.

        Raises:
            SelectionError: when there is none of that name.
        """
        return self.stack.page(name)

    @property
    def state(self) -> dict[str, Any]:
        """All that is chosen, as JSON: texts, layers, selection, pinned tokens, pages, interventions, preset, choices.

        `extrapolate` says whether the prompt may be longer than the model was trained for.
        Assign one to come back to it, in another session, too; what it does not name stays as it is. A position beyond
        the prompt is the last one. Translators and models to compare with are not in it.

        Raises:
            StateError: on assignment, for unknown keys or values that do not fit; then nothing has changed.
        """
        return explorer_state(self)

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        restore(self, value)

    def leading_to(self, prompt: str, target: str) -> AbstractContextManager[None]:
        """A position that is set meanwhile is one of this prompt, which is set last; see `Answering.leading_to`."""
        return self._answering.leading_to(prompt, target)

    def save(self, path: str | os.PathLike[str], prompts: Prompts | None = None) -> None:
        """Write what the open pages show to a file; `lw.replay(path)` shows it again, without a model.

        Args:
            path: the file, which is replaced as a whole.
            prompts: texts to show one after the other and write, to be switched between, of an encoder-decoder each
                with its target, `(prompt, target)`; the present one where None.

        Raises:
            What `wait` raises; `PromptError` when a prompt has no target; `RecordingError` when there is nothing to
            write; OSError when it cannot be written.
        """
        recording_of(self, prompts).save(path)

    @property
    def questions(self) -> dict[str, TraceQuestion[Any]]:
        """What the open pages ask of the prompt that is shown, by the names that `results` has."""
        return self._answering.questions

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
        """Say under the prompt what the reader asked for in vain; what is drawn stays, and nothing failed about it."""
        with self.error_panel.hold_sync():
            self.error_panel.message, self.error_panel.traceback = "" if error is None else str(error), ""

    @property
    def _editors(self) -> tuple[PromptEditor, ...]:
        """Where texts are typed; the tokens of the last one are the positions."""
        return tuple(one for one in (self.editor, self.target_editor) if one is not None)

    @property
    def _views(self) -> tuple[Any, ...]:
        """What is drawn and takes part in the selection."""
        return (
            self.scene_bar,
            *self._editors,
            self.slider,
            *(view for page in self.stack.open_pages for view in page.views),
        )

    def _wire(self) -> None:
        # Not traitlets.link: it raises when a value moves on while it is being passed along, as it does when
        # the reader and the model's thread change things at the same time. The last value wins instead.
        self.observe(self._spread, [*SHARED, "prompt"])
        if self.target_editor is not None:
            t.link((self.target_editor, "prompt"), (self, "target"))
        for view in (self.scene_bar, *self._editors, self.slider):
            view.observe(self._take, [*SHARED, "prompt"] if view is self.editor else list(SHARED))
        self.observe(self._ranged, "layers")
        self.observe(self._placed, "position")
        self.observe(self._ask, ["prompt", "target", "interventions"])
        self.observe(self._ask_if_needed, list(SHARED))
        self.observe(self._arrange, "pages")
        self.observe(self._dress, "preset")
        self.stack.observe(self._arranged, "shown")
        self.lens_view.observe(self._ask_for_sight, "in_sight")
        self.length_bar.observe(self._ask, "extrapolate")
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
        for name in SHARED:
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
        self._answering.choose(position)

    # What it does

    def wait(self, timeout_s: float = 60.0) -> None:
        """Return when what is shown matches the prompt, the layers and the pinned tokens.

        Raises:
            TimeoutError: when that takes longer than `timeout_s`.
            LayerWidgetError: when the prompt could not be computed, as the panel under the prompt says; when closed.
        """
        self._answering.turns.wait(timeout_s)

    def _settle(self) -> None:
        with suppress(TimeoutError, LayerWidgetError):
            self.wait(_SETTLE_S)

    def stop(self) -> None:
        """Give up what is being computed; what is there already stays, and the next edit goes on from it."""
        self._answering.turns.stop()

    def to_html(self, path: str | os.PathLike[str], prompts: Prompts = (), title: str | None = None) -> Path:
        """Write what the open pages show as one file that needs neither kernel nor network: a double click opens it.

        Args:
            path: the file.
            prompts: other prompts that are recorded, too, to switch between, of an encoder-decoder each with its
                target, `(prompt, target)`; the explorer is as before afterwards.
            title: what stands above the page.

        Returns:
            The path of the file.

        Raises:
            ExportError: when there is no prompt, or the file cannot be written.
            LayerWidgetError: when a prompt cannot be computed, or has no target.
        """
        return write_html(self, path, prompts, title)

    def close(self) -> None:
        """Stop working for this explorer and remove its widgets."""
        if not hasattr(self, "stack"):
            # Python ends what could not be made, too.
            super().close()
            return
        self._leave_picture()
        self._answering.close()
        for page in self.stack.made_pages:
            self._desk.leave(page)
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
        chosen = self.position if self.standpoint is not None else None
        words = self._editors[-1].shown.meta.get("visible") or []
        return explorer_picture(self.status, words, chosen, self.stack.open_pages, theme, width)

    def _picture_name(self) -> str:
        return f"{self.model.name}: {self.prompt}"

    def _ask(self, _change: object) -> None:
        """Something that is shown has changed: compute it, unless a newer change comes first."""
        self._answering.turns.ask()

    def _ask_if_needed(self, _change: object) -> None:
        """Something was chosen: compute what the open pages need to know of it, unless they know it already."""
        self._answering.ask_what_is_new()

    def _ask_for_view(self, change: dict[str, Any]) -> None:
        """The same for a view; what all of them share the explorer asks for itself, once."""
        if change["name"] not in SHARED:
            self._ask_if_needed(change)

    def asking_once(self) -> AbstractContextManager[None]:
        """Whatever is set meanwhile is asked for at the end, and nothing of what is only passed through."""
        return self._answering.turns.once()

    def keeping_answers(self) -> AbstractContextManager[None]:
        """What is shown now can be shown again meanwhile without being computed, whatever is asked in between.

        At the end it is said what that took before, not what it took to come back to it.
        """
        return self._answering.keeping()

    @property
    def standpoint(self) -> Standpoint | None:
        """Where the reader is: what the open pages phrase their questions from; None without a prompt."""
        return self._answering.standpoint

    def _ask_for_sight(self, _change: object) -> None:
        """The reader has scrolled; what is not computed yet is now computed in another order, where there is one."""
        tokens, at_once = self._answering.tokens, columns_per_step(self.model.anatomy.n_layers)
        if self._answering.turns.busy and tokens is not None and len(tokens) > at_once:
            self._ask(None)
