"""A model on paper: its layers as a stack, and the inside of the chosen one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from layerwidget.figures.heading import TEXT_SIZE, heading
from layerwidget.figures.number_words import layers_title, precision_text
from layerwidget.figures.svg import Markup, Picture, above, beside, circle, group, joined, line, rect, text
from layerwidget.figures.tables import said, table
from layerwidget.figures.themes import Theme
from layerwidget.figures.words import fitted, text_width, wrapped
from layerwidget.layers import BANDS, band_layers
from layerwidget.model_map import MapElement, MapLayer, MapStep, ModelMap

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_STACK, _PANE = 380, 470
#: The room for the names of the bands, on the left of the stack.
_BANDS = 18
_NORMS = {"pre": "norm before", "post": "norm on the stream", "sandwich": "norm before and after", "none": "no norm"}


def short_amount(count: int) -> str:
    """Three places and a unit: 3540672 -> `3.54M`."""
    for size, unit in _UNITS:
        if count >= size * 0.9995:
            return precision_text(count / size, 3).split("e")[0] + unit
    return str(count)


def _branches(layer: MapLayer) -> list[MapStep]:
    return [step for step in layer.steps if step.kind == "branch"]


def layer_title(layer: MapLayer) -> str:
    """What a layer consists of, in one line."""
    if layer.trouble or not layer.steps:
        return "not taken apart"
    words = ""
    for step in _branches(layer):
        words += f"{' ∥ ' if step.parallel and words else ' · ' if words else ''}{step.main.title}"
    return " · ".join(part for part in (words, _NORMS.get(layer.norms, "")) if part)


def map_picture(found: ModelMap | None, in_view: Sequence[int], chosen: int, theme: Theme) -> Picture:
    """The stack, an encoder beside it, and the inside of the chosen layer."""
    if found is None:
        return heading("Model map", "there is no model", _STACK, theme)
    stacks = [_stack(found, set(in_view), chosen, "decoder" if found.encoder else "", theme)]
    if found.encoder is not None:
        stacks.insert(0, _stack(found.encoder, set(), None, "encoder", theme))
    body = beside([*stacks, _inside(found.layers[min(chosen, len(found.layers) - 1)], theme)], 20)
    return above([heading("Model map", _facts(found, in_view), body.width, theme), body])


def _facts(found: ModelMap, in_view: Sequence[int]) -> str:
    facts = f"{found.name} · {found.n_params:,} parameters · stream {found.d_model:,} wide"
    return f"{facts} · {layers_title(tuple(in_view))} in view" if in_view else facts


def _stack(found: ModelMap, in_view: set[int], chosen: int | None, title: str, theme: Theme) -> Picture:
    """A row for each layer, the last one on top, the stream as a line through all."""
    height = max(16.0, min(40.0, 420 / len(found.layers)))
    parts: list[Markup] = [text(0, 9, title, size=TEXT_SIZE, fill=theme.muted)] if title else []
    y = 20.0 if title else 0.0
    top = y
    goal = "encoder output" if chosen is None else f"{found.d_vocab:,} logits per position"
    parts.append(_outside(goal, y, theme))
    y += 20
    for one in reversed(found.after):
        parts += _end(one, y, theme)
        y += 20
    parts += _bands(len(found.layers), y, height, theme)
    for layer in reversed(found.layers):
        parts += _row(layer, y, height, layer.layer in in_view, layer.layer == chosen, theme)
        y += height
    for one in found.before:
        parts += _end(one, y, theme)
        y += 20
    parts.append(_outside("tokens", y, theme))
    y += 20
    trunk = line(40, top + 4, 40, y - 4, stroke=theme.data, stroke_width=3, stroke_opacity="0.5")
    return Picture(_STACK, y + 4, joined([trunk, *parts])).shifted(_BANDS)


def _outside(words: str, y: float, theme: Theme) -> Markup:
    """What the stream comes from, or goes to."""
    return text(56, y + 10, words, size=TEXT_SIZE, fill=theme.muted)


def _bands(count: int, top: float, height: float, theme: Theme) -> Iterator[Markup]:
    """A line for each band on the left of its layers, with its name where there is room."""
    for name in BANDS:
        layers = band_layers(name, count)
        if not layers:
            continue
        first, last = top + (count - 1 - layers[-1]) * height, top + (count - layers[0]) * height
        yield line(0, first + 1, 0, last - 1, stroke=theme.edge, stroke_width=2)
        if last - first >= 36:
            label = text(0, 0, name, size=10, text_anchor="middle", fill=theme.muted)
            yield group([label], transform=f"translate(-8 {(first + last) / 2:.6g}) rotate(-90)")


def _end(one: MapElement, y: float, theme: Theme) -> list[Markup]:
    facts = fitted(", ".join(one.details), _STACK - 130 - text_width(one.title, TEXT_SIZE), 10) if one.details else ""
    return [
        circle(40, y + 10, 3, fill=theme.muted), text(56, y + 10, one.title, size=TEXT_SIZE),
        text(64 + text_width(one.title, TEXT_SIZE), y + 10, facts, size=10, fill=theme.muted),
        text(_STACK - 6, y + 10, short_amount(one.n_params) if one.n_params else "", size=10, text_anchor="end",
             fill=theme.muted),
    ]  # fmt: skip


def _row(layer: MapLayer, y: float, height: float, in_view: bool, here: bool, theme: Theme) -> Iterator[Markup]:
    middle = y + height / 2
    colour = theme.accent if here else theme.ink if in_view else theme.muted
    yield text(26, middle, str(layer.layer), size=10, text_anchor="end", fill=colour)
    branches = _branches(layer)
    yield circle(40, middle, min(4.0, height / 4), fill=theme.ground or "none", stroke=theme.data, stroke_width=1.5)
    if not branches:
        yield text(56, middle, "could not be taken apart", size=10, fill=theme.muted)
    width = (_STACK - 56 - 60 - 6 * (len(branches) - 1)) / max(1, len(branches))
    for place, step in enumerate(branches):
        left, main = 56 + place * (width + 6), step.main
        before = step.elements.index(main)
        norms = [index for index, one in enumerate(step.elements) if one.kind == "norm" and one is not main]
        if any(index < before for index in norms):
            yield rect(left, y + 2, 3, height - 4, fill=theme.muted, rx=1)
        if any(index > before for index in norms):
            yield rect(left + width - 3, y + 2, 3, height - 4, fill=theme.muted, rx=1)
        tint = {"fill": theme.data, "fill_opacity": "0.13"} if in_view else {"fill": theme.raised}
        yield rect(left + 5, y + 1.5, width - 10, height - 3, rx=3, stroke=theme.edge, class_="lw-chip",
                   data_layer=layer.layer, data_kind=main.kind, **tint)  # fmt: skip
        words = f"∥ {main.title}" if step.parallel and place else main.title
        fact = _fact(step, width - 16) if height >= 32 else ""
        y_name = middle - 6 if fact else middle
        yield text(left + width / 2, y_name, fitted(words, width - 16, 10), size=10, text_anchor="middle", fill=colour)
        if fact:
            yield text(left + width / 2, middle + 7, fact, size=9, text_anchor="middle", fill=theme.muted)
    yield text(_STACK - 6, middle, short_amount(layer.n_params), size=10, text_anchor="end", fill=colour)
    if here:
        yield rect(6, y + 0.5, _STACK - 6, height - 1, rx=4, fill="none", stroke=theme.accent, stroke_width=2,
                   class_="lw-here", data_layer=layer.layer)  # fmt: skip


def _fact(step: MapStep, room: float) -> str:
    """The first fact about a branch, where it is short enough."""
    fact = next(iter(step.main.details), "")
    return fact if text_width(fact, 9) <= room else ""


def weight_lines(one: MapElement) -> list[tuple[str, str]]:
    """Names inside an element and shapes; siblings that differ only in a number share a line."""
    found: dict[str, Counter[str]] = {}
    for weight in one.weights:
        inner = weight.path.removeprefix(f"{one.module}.") if one.module else weight.path
        holder, _, leaf = inner.rpartition(".")
        name = re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", holder if leaf in ("weight", "bias") and holder else inner)
        shape = " × ".join(f"{size:,}" for size in weight.shape) or "1 number"
        found.setdefault(name, Counter())[f"bias {shape}" if holder and leaf == "bias" else shape] += 1
    return [
        (name, " + ".join(f"{times} of {shape}" if times > 1 else shape for shape, times in shapes.items()))
        for name, shapes in found.items()
    ]


def _inside(layer: MapLayer, theme: Theme) -> Picture:
    """What is inside a layer, what runs first at the bottom."""
    title = Picture(_PANE, 24, joined([
        text(0, 10, f"Inside layer {layer.layer}", size=12, font_weight="bold"),
        text(130, 10, fitted(layer.module, _PANE - 136, 10, "mono"), size=10, font_family=theme.mono, fill=theme.muted),
    ]))  # fmt: skip
    if layer.trouble or not layer.steps:
        lines = wrapped(layer.trouble or "This layer could not be taken apart.", _PANE - 12, TEXT_SIZE)
        trouble = [text(0, 10 + 16 * row, words, size=TEXT_SIZE) for row, words in enumerate(lines)]
        return above([title, Picture(_PANE, 16 * len(lines), joined(trouble))])
    cards = []
    for step in reversed(layer.steps):
        how = "reads the same stream, and is added too" if step.parallel else "is added to the stream"
        note = how if step.kind == "branch" else "the stream passes through"
        cards.append(_said(note, theme))
        cards += [_card(one, theme) for one in reversed(step.elements)]
    return above([title, above(cards, 5)])


def _said(words: str, theme: Theme) -> Picture:
    return Picture(_PANE, 16, text(4, 9, f"⊕ {words}", size=10, fill=theme.data))


def _card(one: MapElement, theme: Theme) -> Picture:
    amount = short_amount(one.n_params) if one.n_params else ""
    parts = [
        text(10, 13, one.title, size=11, font_weight="bold"),
        text(_PANE - 12, 13, amount, size=10, text_anchor="end", fill=theme.muted),
    ]
    y = 29.0
    for words in wrapped(", ".join(one.details), _PANE - 24, 10) if one.details else []:
        parts.append(text(10, y, words, size=10, fill=theme.muted))
        y += 14
    for name, shape in weight_lines(one):
        parts += [
            text(10, y, fitted(name, 170, 10, "mono"), size=10, font_family=theme.mono),
            text(190, y, fitted(shape, _PANE - 200, 10, "mono"), size=10, font_family=theme.mono, fill=theme.muted),
        ]
        y += 14
    frame = rect(0.5, 0.5, _PANE - 6, y - 6, rx=5, fill="none", stroke=theme.edge)
    return Picture(_PANE, y - 4, joined([frame, *parts]))


def map_text(found: ModelMap | None, in_view: Sequence[int], chosen: int) -> str:
    """The same as a table: a row per layer, the last one on top."""
    if found is None:
        return said("Model map", "There is no model.")
    rows = [
        [f"{'>' if layer.layer == chosen else ''}{layer.layer}", layer_title(layer), short_amount(layer.n_params)]
        for layer in reversed(found.layers) if layer.layer in in_view
    ]  # fmt: skip
    head = ["layer", "parts", "parameters"]
    encoder = ["Encoder", map_text(found.encoder, range(len(found.encoder.layers)), -1)] if found.encoder else []
    return said(f"Model map · {_facts(found, in_view if chosen >= 0 else ())}", table(head, rows, widest=90), *encoder)
