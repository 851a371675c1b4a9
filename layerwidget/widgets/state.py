"""Where an explorer is, as JSON: all that a reader chooses, so that it can be kept, sent, and come back to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import traitlets as t

from layerwidget.errors import LayerWidgetError, RecordingError, StateError
from layerwidget.plain import packed, unpacked
from layerwidget.widgets.page import Page
from layerwidget.widgets.traits import SelectionTraits

if TYPE_CHECKING:
    from layerwidget.explorer import Explorer

#: Of the form of a state; another one is refused.
VERSION = 1
_SELECTION = ("layer", "head", "position", "token")
_KEYS = (
    "version",
    "model",
    "prompt",
    "target",
    "extrapolate",
    "layers",
    "selection",
    "tokens",
    "pages",
    "interventions",
    "preset",
    "choices",
)
#: Trait -> where its owner says what it can be.
_OPTIONS = {"component": "components", "quantity": "quantities"}

#: Whose trait, which one, and its value.
Setting = tuple[t.HasTraits, str, Any]


def explorer_state(explorer: Explorer) -> dict[str, Any]:
    """All that is chosen in an explorer; see `Explorer.state`."""
    return {
        "version": VERSION,
        "model": explorer.model.name,
        "prompt": explorer.prompt,
        "extrapolate": explorer.length_bar.extrapolate,
        "layers": explorer.layers,
        "selection": {name: getattr(explorer, name) for name in _SELECTION},
        "tokens": list(explorer.tokens),
        "pages": list(explorer.pages),
        "interventions": [packed(one, lambda value, at: None) for one in explorer.interventions],
        "preset": explorer.preset,
        "choices": {page.page_name: choices_of(page) for page in explorer.stack.made_pages if page.choices},
        **({"target": explorer.target} if explorer.model.anatomy.encoder else {}),
    }


def choices_of(page: Page) -> dict[str, Any]:
    """What the reader has chosen on a page."""
    return {name: getattr(*_owner(page, path)) for name, path in page.choices.items()}


def selection_settings(explorer: SelectionTraits, state: Any) -> list[Setting]:
    """Layers, place and pinned tokens of a state, checked.

    Raises:
        StateError: when they are of the wrong type, or the model has no such layers or heads.
    """
    given = {name: state[name] for name in ("layers", "tokens") if name in state}
    selection = _mapping(state.get("selection", {}), "selection", _SELECTION)
    return [
        *(_checked(explorer, name, value, name) for name, value in given.items()),
        *(_checked(explorer, name, value, f"selection.{name}") for name, value in selection.items()),
    ]


def choice_settings(pages: Mapping[str, Page], state: Any) -> list[Setting]:
    """The choices of pages in a state, checked.

    Raises:
        StateError: for choices that a page does not have, or values that it cannot take.
    """
    settings = []
    for name, page in pages.items():
        chosen = _mapping(state.get("choices", {}).get(name, {}), f"choices.{name}", tuple(page.choices))
        # In the order of the page: some choices set others.
        for one, path in page.choices.items():
            if one in chosen:
                settings.append(_checked(*_owner(page, path), chosen[one], f"choices.{name}.{one}"))
    return settings


def recorded_selection(widget: SelectionTraits, state: Any) -> list[Setting]:
    """The same of the state in a file.

    Raises:
        RecordingError: when they are wrong.
    """
    try:
        return selection_settings(widget, _mapping(state, "state", _KEYS))
    except StateError as error:
        raise RecordingError(f"The file is damaged: {error}") from error


def recorded_choices(pages: Mapping[str, Page], state: Any) -> list[Setting]:
    """The same of the state in a file, as far as the pages are there.

    Raises:
        RecordingError: when they are wrong.
    """
    try:
        chosen = _mapping(_mapping(state, "state", _KEYS).get("choices", {}), "choices", None)
        alone = {
            name: {key: value for key, value in _mapping(one, name, None).items() if key in pages[name].choices}
            for name, one in chosen.items()
            if name in pages
        }
        return choice_settings(pages, {"choices": alone})
    except StateError as error:
        raise RecordingError(f"The file is damaged: {error}") from error


def restore(explorer: Explorer, state: Any) -> None:
    """Bring an explorer into a state; what the state does not name stays as it is.

    Raises:
        StateError: for another version, unknown keys, or values that do not fit; then nothing has changed.
    """
    state = _mapping(state, "state", _KEYS)
    if state.get("version", VERSION) != VERSION:
        raise StateError(f"Expected a state of version {VERSION}, got version {state['version']!r}.")
    own = [
        _checked(explorer, name, state[name], name) for name in ("pages", "preset", "target", "prompt") if name in state
    ]
    if "extrapolate" in state:
        own.insert(0, _checked(explorer.length_bar, "extrapolate", state["extrapolate"], "extrapolate"))
    if "interventions" in state:
        changes = tuple(_intervention(one, place) for place, one in enumerate(_list(state["interventions"])))
        own.insert(0, _checked(explorer, "interventions", changes, "interventions"))
    chosen = _mapping(state.get("choices", {}), "choices", tuple(explorer.stack.kinds))
    pages = {name: explorer.stack.page(name) for name in chosen}
    texts = {name: value for _, name, value in own if name in ("prompt", "target")}
    with explorer.leading_to(texts.get("prompt", explorer.prompt), texts.get("target", explorer.target)):
        place, choices = selection_settings(explorer, state), choice_settings(pages, state)
        # The place first, so that a view of the old prompt is not asked about the new one; the prompt last.
        set_all([*place, *(one for one in own if one[1] != "prompt"), *choices])
        set_all(one for one in own if one[1] == "prompt")


def set_all(settings: Iterable[Setting]) -> None:
    """Set traits that were checked; where one is refused all the same, all go back to what they were.

    Raises:
        StateError: when one is refused.
    """
    before: list[Setting] = []
    try:
        for owner, name, value in settings:
            before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)
    except (t.TraitError, LayerWidgetError) as error:
        for one, was, held in reversed(before):
            setattr(one, was, held)
        raise StateError(f"{name} cannot be {_short(value)}: {error}. Nothing was changed.") from error


def _owner(page: Page, path: str) -> tuple[t.HasTraits, str]:
    part, _, name = path.rpartition(".")
    return (getattr(page, part) if part else page), name


def _checked(owner: t.HasTraits, name: str, value: Any, at: str) -> Setting:
    trait = owner.traits()[name]
    try:
        if isinstance(value, bool) and not isinstance(trait, t.Bool):
            raise StateError("a truth value is not expected")
        options = getattr(owner, _OPTIONS.get(name, ""), ())
        if options and value not in options:
            raise StateError(f"expected one of {', '.join(options)}")
        # What setting it would do, without setting it: its type, and what its owner says.
        return owner, name, trait._validate(owner, value)
    except (t.TraitError, LayerWidgetError, TypeError, ValueError) as error:
        raise StateError(f"{at} cannot be {_short(value)}: {error}. Nothing was changed.") from error


def _intervention(plain: Any, place: int) -> Any:
    try:
        return unpacked(plain, None, f"intervention {place}")
    except LayerWidgetError as error:
        raise StateError(f"interventions cannot be read: {error} Nothing was changed.") from error


def _mapping(value: Any, at: str, known: Sequence[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise StateError(f"{at} is {_short(value)}; expected a dictionary. Nothing was changed.")
    unknown = [key for key in value if known is not None and key not in known]
    if unknown:
        there = ", ".join(known or ())
        raise StateError(f"{at} has no {', '.join(map(repr, unknown))}. It has: {there}. Nothing was changed.")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise StateError(f"interventions is {_short(value)}; expected a list. Nothing was changed.")
    return value


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) < 80 else f"{said[:77]}..."
