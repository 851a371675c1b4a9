"""Scenes: the prepared steps of a talk, one after the other, kept as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from layerwidget.errors import LayerWidgetError, SceneError
from layerwidget.plain import packed
from layerwidget.whole_files import replace_file
from layerwidget.widgets.scene_bar import SceneBar
from layerwidget.widgets.traits import Selection

if TYPE_CHECKING:
    from typing_extensions import Self

    from layerwidget.explorer import Explorer

#: What a file of scenes says that it is.
_KIND, _VERSION = "layerwidget scenes", 1
#: What a scene says -> what its value is in a file.
_TEXT, _LIST, _OBJECT, _TRUTH = (str, "text"), (list, "a list"), (dict, "an object"), (bool, "true or false")
_FORMS: dict[str, tuple[type, str]] = {
    "title": _TEXT, "caption": _TEXT, "prompt": _TEXT, "layers": _TEXT, "selection": _OBJECT, "tokens": _LIST,
    "pages": _LIST, "interventions": _LIST, "choices": _OBJECT, "target": _TEXT, "extrapolate": _TRUTH,
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One step: a title and a caption, and as much of an explorer's state as it sets; the rest stays as it is.

    It is plain data. What is given as a `Selection`, a tuple or an intervention is kept as what `Explorer.state` has.

    Attributes:
        title: a few words.
        caption: a sentence or two for the audience.
        prompt: the text.
        layers: the layers in view, a selection.
        selection: layer, head, position and token, or some of them.
        tokens: the pinned token ids.
        pages: the open pages.
        interventions: what is changed during the pass.
        choices: page -> what is chosen on it, by name.
        target: of an encoder-decoder, what its decoder has written so far.
        extrapolate: whether the prompt may be longer than the model was trained for.

    Raises:
        SceneError: when a value is of the wrong kind, or cannot be JSON.
    """

    title: str
    caption: str = ""
    prompt: str | None = None
    layers: str | None = None
    selection: Any = None
    tokens: Any = None
    pages: Any = None
    interventions: Any = None
    choices: Any = None
    target: str | None = None
    extrapolate: bool | None = None

    def __post_init__(self) -> None:
        """Check what was given, and keep a copy of it that nobody else holds."""
        for name, value in _given(self).items():
            object.__setattr__(self, name, _plain(self.title, name, value))

    @property
    def state(self) -> dict[str, Any]:
        """What it sets, to be assigned to `Explorer.state`."""
        found: dict[str, Any] = json.loads(json.dumps(_given(self)))
        return {name: value for name, value in found.items() if name not in ("title", "caption")}

    @classmethod
    def here(cls, explorer: Explorer, title: str, caption: str = "") -> Self:
        """A scene of all that is chosen in an explorer now, but for the preset: that is of a whole talk."""
        state = explorer.state
        return cls(title, caption, **{name: value for name, value in state.items() if name in _FORMS})


class Scenes(Sequence[Scene]):
    """Scenes in their order; `ex.scenes = [*ex.scenes, one]` adds one.

    Args:
        scenes: the scenes.

    Raises:
        SceneError: when one of them is none.
    """

    def __init__(self, scenes: Iterable[Scene] = ()) -> None:
        self._scenes = tuple(scenes)
        for place, one in enumerate(self._scenes):
            if not isinstance(one, Scene):
                raise SceneError(f"Scene {place} is {_short(one)}; expected a layerwidget.Scene.")

    @overload
    def __getitem__(self, place: int) -> Scene: ...
    @overload
    def __getitem__(self, place: slice) -> Scenes: ...
    def __getitem__(self, place: int | slice) -> Scene | Scenes:
        """One of them, or some."""
        return Scenes(self._scenes[place]) if isinstance(place, slice) else self._scenes[place]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._scenes)

    def __eq__(self, other: object) -> bool:
        """Whether they are the same scenes in the same order."""
        return isinstance(other, Scenes) and self._scenes == other._scenes

    __hash__ = None  # type: ignore[assignment]  # what they hold is plain data: dictionaries and lists

    def __repr__(self) -> str:
        """Their titles, numbered from 0 as `Explorer.scene` counts them."""
        return "Scenes:" + "".join(f"\n  {place}  {one.title}" for place, one in enumerate(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them to a JSON file, which is replaced as a whole.

        Raises:
            OSError: when it cannot be written.
        """
        whole = {"kind": _KIND, "version": _VERSION, "scenes": [_given(one) for one in self]}
        text = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
        replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read scenes that were saved.

        Raises:
            SceneError: when the file is none of scenes, of another version, or a scene in it is wrong.
            OSError: when it cannot be read.
        """
        try:
            whole = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise SceneError(f"{path} is not JSON: {error}") from error
        if not isinstance(whole, dict) or whole.get("kind") != _KIND or not isinstance(whole.get("scenes"), list):
            raise SceneError(f"{path} holds no scenes: expected an object of the kind {_KIND!r}.")
        if whole.get("version") != _VERSION:
            raise SceneError(f"{path} has version {whole.get('version')!r}; expected {_VERSION}.")
        return cls(_read(place, found) for place, found in enumerate(whole["scenes"]))


class Stage:
    """Leads an explorer through its scenes, as its scene bar and Python say.

    Attributes:
        bar: the widget with title, caption and buttons.
        scenes: the scenes.
    """

    def __init__(self, explorer: Explorer, bar: SceneBar) -> None:
        self._explorer, self.bar = explorer, bar
        self.scenes = Scenes()
        self._entered: int | None = None
        bar.observe(self._asked, "scene")

    def put(self, scenes: Iterable[Scene]) -> None:
        """Take other scenes; nothing changes before one of them is shown.

        Raises:
            SceneError: when one of them is none.
        """
        self._take(scenes if isinstance(scenes, Scenes) else Scenes(scenes), None)

    def add(self, scene: Scene) -> None:
        """One more scene, which is what the explorer shows now."""
        self._take(Scenes([*self.scenes, scene]), len(self.scenes))

    def _take(self, scenes: Scenes, entered: int | None) -> None:
        self.scenes, self._entered = scenes, entered
        with self.bar.hold_sync():
            self.bar.scene = entered
            self.bar.words = [(one.title, one.caption) for one in self.scenes]

    def show(self, place: int | None) -> None:
        """Bring the explorer into a scene; None only forgets which one it is in.

        Raises:
            SceneError: when there is no such scene, or this model cannot show it; then nothing has changed.
        """
        if place is not None:
            self._enter(place)
            self._explorer.complain(None)
        self._entered = self.bar.scene = place

    def _enter(self, place: int) -> None:
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(self.scenes):
            there = f"0 to {len(self.scenes) - 1}" if len(self.scenes) else "there are none; set ex.scenes"
            raise SceneError(f"There is no scene {place!r}. The scenes are {there}.")
        one = self.scenes[place]
        try:
            self._explorer.state = one.state
        except LayerWidgetError as error:
            raise SceneError(f"Scene {place} ({one.title!r}) cannot be shown: {error}") from error

    def _asked(self, change: dict[str, Any]) -> None:
        """The reader has pressed a button or a key: whatever is wrong is said under the prompt."""
        if change["new"] == self._entered:
            return
        try:
            self.show(change["new"])
        except SceneError as error:
            self.bar.scene = self._entered
            self._explorer.complain(error)


def _given(scene: Scene) -> dict[str, Any]:
    named = {field.name: getattr(scene, field.name) for field in fields(scene)}
    return {name: value for name, value in named.items() if value is not None}


def _plain(title: object, name: str, value: Any) -> Any:
    """A value as a file has it."""
    if name == "interventions" and isinstance(value, Sequence):
        value = [packed(one, lambda array, at: None) if is_dataclass(one) else one for one in value]
    elif isinstance(value, Selection):
        value = asdict(value)
    elif name in ("tokens", "pages") and isinstance(value, Sequence) and not isinstance(value, str):
        value = list(value)
    kind, called = _FORMS[name]
    if not isinstance(value, kind):
        raise SceneError(f"{name} of the scene {title!r} is {_short(value)}; expected {called}.")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SceneError(f"{name} of the scene {title!r} cannot be JSON: {error}.") from error


def _read(place: int, found: Any) -> Scene:
    if not isinstance(found, Mapping) or "title" not in found:
        raise SceneError(f"Scene {place} is {_short(found)}; expected an object with a title.")
    unknown = [key for key in found if key not in _FORMS]
    if unknown:
        said = ", ".join(map(repr, unknown))
        raise SceneError(f"Scene {place} ({found['title']!r}) has no {said}. A scene has: {', '.join(_FORMS)}.")
    return Scene(**found)


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) < 80 else f"{said[:77]}..."
