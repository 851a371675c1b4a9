"""What an explorer shows, recorded prompt by prompt; afterwards the explorer is as it was before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwidget.errors import ExportError, LayerWidgetError
from layerwidget.export.curve_sheets import recorded_figure
from layerwidget.export.layout import Layout, Node, module_of, style_of
from layerwidget.export.levels import Rows, grouped, levels_of
from layerwidget.export.packing import Buffers
from layerwidget.export.record import Prompts, show_texts, with_targets
from layerwidget.widgets.attention_view import AttentionView
from layerwidget.widgets.base import Panel, View
from layerwidget.widgets.lens_page import LensPage
from layerwidget.widgets.messages import Message, packed_message, unpacked_message
from layerwidget.widgets.page import Page, Standpoint

if TYPE_CHECKING:
    from layerwidget.explorer import Explorer

#: The traits that all views have in common: a page has one place for all of them.
SHARED = ("layers", "layer", "head", "position", "token", "tokens", "group")
_PATIENCE_S = 600.0
#: Of so many of the model's own next words at each position, a page knows all layers: its reader can pin them.
_FOLLOWED = 10


@dataclass(frozen=True)
class PageRecording:
    """All that a page shows.

    Attributes:
        head: how the page is built: its parts, the place of the reader, and the recorded prompts.
        blocks: what every view shows of each prompt, packed by `Buffers`.
        modules: the JavaScript modules that draw it.
        own_modules: name -> text of modules that are not among those of this package.
        model_name: which model was recorded.
    """

    head: dict[str, Any]
    blocks: tuple[str, ...]
    modules: tuple[str, ...]
    own_modules: dict[str, str]
    model_name: str


def page_recording(explorer: Explorer, prompts: Prompts = ()) -> PageRecording:
    """Record the explorer's scenes, or, without any, the prompt that it shows; and then other prompts.

    Raises:
        ExportError: when there is nothing to be recorded.
        LayerWidgetError: when something cannot be computed, or a target is missing.
    """
    n_scenes = len(explorer.scenes)
    own = () if n_scenes else ((explorer.prompt, explorer.target),)
    texts = list(dict.fromkeys(both for both in (*own, *with_targets(explorer, prompts)) if both[0]))
    if not texts and not n_scenes:
        raise ExportError(
            "There is nothing to record: the explorer has no prompt. Set ex.prompt, or give prompts=[...]."
        )
    explorer.wait(_PATIENCE_S)
    layout = Layout()
    blocks: list[str] = []
    steps: list[dict[str, Any]] = []
    with _followed(explorer):
        pages = _pages(explorer)
        at_end = explorer.standpoint is None or explorer.position >= len(explorer.standpoint.tokens) - 1
        for step in (*range(n_scenes), *texts):
            said = _scene(explorer, step, pages) if isinstance(step, int) else _prompt(explorer, step, at_end)
            if not steps:
                head = _head(explorer, layout)
            blocks.append(_block(explorer, layout))
            steps.append({**said, "place": _place(explorer), "about": _about(explorer, _recorded(explorer))})
    own_modules = {module_of(panel): str(panel._esm) for panel in layout.panels.values() if not panel.js_module}
    modules = sorted({module_of(panel) for panel in layout.panels.values()} - set(own_modules))
    head |= {"prompts": steps, "left_out": sorted(layout.left_out), "preset": explorer.preset}
    return PageRecording(head, tuple(blocks), tuple(modules), own_modules, explorer.model.name)


@contextmanager
def _followed(explorer: Explorer) -> Iterator[None]:
    """The lens knows more words of all layers than those that are pinned: nobody can be asked later.

    Afterwards all is as it was, and none of it is computed again: neither what was shown before, nor, on the way back
    to it, anything about the last prompt.
    """
    page = explorer.page("lens")
    assert isinstance(page, LensPage)
    state, scene = explorer.state, explorer.scene
    with explorer.keeping_answers():
        try:
            page.follow = _FOLLOWED
            explorer.wait(_PATIENCE_S)
            yield
        finally:
            with explorer.asking_once():
                explorer.scene = scene
                explorer.state = state
                page.follow = 0
            explorer.wait(_PATIENCE_S)


def _pages(explorer: Explorer) -> list[str]:
    """All pages that are seen at some step: of every step, each of them is recorded."""
    asked = (page for scene in explorer.scenes for page in scene.pages or ())
    return list(dict.fromkeys((*explorer.pages, *asked)))


def _scene(explorer: Explorer, number: int, pages: list[str]) -> dict[str, Any]:
    """Show a scene, with the pages of the others behind its own."""
    one = explorer.scenes[number]
    try:
        explorer.scene = number
        explorer.wait(_PATIENCE_S)
    except LayerWidgetError as error:
        raise ExportError(f"Scene {number} ({one.title!r}) could not be recorded: {error}") from error
    seen = list(explorer.pages)
    explorer.pages = [*seen, *(page for page in pages if page not in seen)]
    explorer.wait(_PATIENCE_S)
    said = {"text": explorer.prompt, "title": one.title, "caption": one.caption, "pages": seen}
    return {**said, "target": explorer.target} if explorer.target else said


def _prompt(explorer: Explorer, texts: tuple[str, str], at_end: bool) -> dict[str, Any]:
    """Show a prompt and its target, at its end where the reader is at the end of theirs."""
    text, target = texts
    if (explorer.prompt, explorer.target) != texts:
        position = explorer.position
        show_texts(explorer, text, target)
        try:
            explorer.wait(_PATIENCE_S)
        except LayerWidgetError as error:
            raise ExportError(f"The prompt {text!r} could not be recorded: {error}") from error
        last = len(_recorded(explorer).tokens) - 1
        explorer.position = last if at_end else min(position, last)
        explorer.wait(_PATIENCE_S)
    return {"text": text, "target": target} if target else {"text": text}


def _recorded(explorer: Explorer) -> Standpoint:
    if explorer.standpoint is None:
        raise ExportError(f"The prompt {explorer.prompt!r} has no tokens, so there is nothing to record.")
    return explorer.standpoint


def _place(explorer: Explorer) -> dict[str, Any]:
    return {name: getattr(explorer, name) for name in SHARED[:-1]}


def _head(explorer: Explorer, layout: Layout) -> dict[str, Any]:
    """How the page is built."""
    pages = explorer.stack.open_pages
    parts: dict[str, Node | None] = {
        name: layout.node(widget)
        for name, widget in (("status", explorer.status), ("editor", explorer.editor), ("slider", explorer.slider))
    }
    return {"parts": parts, "pages": [layout.page(page) for page in pages], "shown": list(explorer.pages)}


def _block(explorer: Explorer, layout: Layout) -> str:
    """What every view shows of the prompt that is there now."""
    buffers = Buffers()
    n_pos = len(_recorded(explorer).tokens)
    attention = {name: view for name, view in layout.panels.items() if isinstance(view, AttentionView)}
    views = {name: _state(panel, buffers) for name, panel in layout.panels.items() if name not in attention}
    for name, figure in layout.figures.items():
        traits, arrays = recorded_figure(figure, explorer.prompt, n_pos)
        message = _packed(packed_message("data", 0, {}, arrays), buffers)
        views[name] = {"traits": traits, "css": style_of(figure), "messages": [message]}
    for name, label in layout.labels.items():
        views[name] = {"traits": {"value": label.value}, "css": style_of(label)}
    with _all_layers(explorer, bool(attention)):
        views |= {name: _state(view, buffers) for name, view in attention.items()}
    return buffers.packed({"views": views})


@contextmanager
def _all_layers(explorer: Explorer, needed: bool) -> Iterator[None]:
    """The slider of a page brings other layers into view: heads are recorded of all of them that fit."""
    layers = explorer.layers
    if needed:
        explorer.layers = "all"
        explorer.wait(_PATIENCE_S)
    try:
        yield
    finally:
        explorer.layers = layers
        explorer.wait(_PATIENCE_S)


def _state(panel: Panel, buffers: Buffers) -> dict[str, Any]:
    traits = {name: value for name, value in panel.recorded_traits().items() if name not in SHARED}
    messages = panel.recorded_messages() if isinstance(panel, View) else []
    return {"traits": traits, "css": style_of(panel), "messages": [_packed(one, buffers) for one in messages]}


def _packed(message: Message, buffers: Buffers) -> dict[str, Any]:
    content, arrays = message
    widths = [np.dtype(spec["dtype"]).itemsize for spec in content["arrays"]]
    found = unpacked_message(content, arrays)
    if not {"roots", "steps"} <= found.keys():
        return {"content": content, "buffers": [buffers.add(*one) for one in zip(arrays, widths, strict=True)]}
    places = [
        None if spec["name"] in ("roots", "steps") else buffers.add(array, width)
        for spec, array, width in zip(content["arrays"], arrays, widths, strict=True)
    ]
    levels = _levels(content["meta"], found["roots"], found["steps"], buffers)
    return {"content": content, "buffers": places, "levels": levels}


def _levels(meta: Mapping[str, Any], roots: np.ndarray, steps: np.ndarray, buffers: Buffers) -> dict[str, Any]:
    """A gallery that is exact to three decimals, in less room."""
    rows = Rows(meta["n_pos"], meta["n_keys"], meta["causal"], len(meta["layers"]) * len(meta["heads"]))
    data, counts = grouped(levels_of(roots, steps), rows)
    return {**asdict(rows), "place": buffers.add(data), "counts": counts}


def _about(explorer: Explorer, standpoint: Standpoint) -> dict[str, dict[str, str]]:
    """Page -> which choices its answers are about: `all` of them, or only `some`."""
    return {page.page_name: dependence(page, standpoint) for page in explorer.stack.open_pages}


def dependence(page: Page, standpoint: Standpoint) -> dict[str, str]:
    """Which choices the answers of a page depend on: it would ask something else if the reader were elsewhere.

    What differs only in its layers or heads, as attention of a long prompt does, says itself what it holds.
    """
    here = _essence(page, standpoint)
    found = {}
    for name, elsewhere in _elsewhere(standpoint).items():
        there = _essence(page, replace(standpoint, **{name: elsewhere}))
        moved = [question for question in here if there.get(question) != here[question]]
        if moved:
            found[name] = "all" if len(moved) == len(here) else "some"
    return found


def _essence(page: Page, standpoint: Standpoint) -> dict[str, tuple[Any, ...]]:
    questions = page.questions(standpoint)
    return {name: _without_ranges(question) for name, question in questions.items()}


def _without_ranges(question: Any) -> tuple[Any, ...]:
    names = (field.name for field in fields(question) if field.name not in ("layers", "heads"))
    return (type(question), *(getattr(question, name) for name in names))


def _elsewhere(standpoint: Standpoint) -> dict[str, Any]:
    """Another layer, head, position and token, where there is one."""
    anatomy = standpoint.anatomy
    counts = {"layer": anatomy.n_layers, "head": anatomy.n_heads or 1, "position": len(standpoint.tokens)}
    moved: dict[str, Any] = {
        name: (getattr(standpoint, name) + 1) % count for name, count in counts.items() if count > 1
    }
    return {**moved, "token": 0 if standpoint.token != 0 else 1}
