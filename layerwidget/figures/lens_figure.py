"""The logit lens on paper: a word in every cell, on a colour that says how far to trust it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, log1p

from layerwidget.figures.heading import colour_scale, heading
from layerwidget.figures.layer_grid import Box, Columns, cell_size, grid_columns, grid_picture, placeholder
from layerwidget.figures.number_words import layers_title, short_count, short_probability
from layerwidget.figures.shown import Place, Shown
from layerwidget.figures.svg import Attributes, Markup, Picture, above, beside, joined, rect, text
from layerwidget.figures.tables import columns_around, cut_words, said, table
from layerwidget.figures.themes import Theme, ramp
from layerwidget.figures.words import Face, fitted, text_width

_NATS_SHOWN = 20
_PANEL = 250
_HIGHEST_WORDS = 420
# As `js/lens_grid.js` has them.
_WORD_WIDTH = 84


@dataclass(frozen=True, eq=False)
class Lens:
    """What a lens view shows.

    Attributes:
        shown: the result as the browser has it.
        place: where the reader is.
        colour: what the colours mean, a key of `COLOURS`.
        title: of the view.
        pin_colours: of the pinned tokens.
        below: whether the words of the chosen cell stand below the grid.
    """

    shown: Shown
    place: Place
    colour: str
    title: str
    pin_colours: Sequence[str]
    below: bool = False

    @property
    def n_pos(self) -> int:
        """Length of the prompt."""
        return int(self.shown.meta["n_pos"])

    @property
    def rows(self) -> tuple[int, ...]:
        """Layers in view, the last one first."""
        return self.place.in_view(self.shown.layers)[::-1]

    @property
    def here(self) -> tuple[int, int]:
        """The chosen layer and position."""
        return self.place.row(self.shown.layers), min(self.place.position, self.n_pos - 1)

    @property
    def pinned(self) -> int:
        """The place of the followed token among those that are known; -1 where it is not."""
        tokens = self.shown.meta["tokens"]
        return tokens.index(self.place.token) if self.place.token in tokens else -1

    def of(self, name: str, layer: int, position: int) -> float:
        """A number of a cell."""
        return float(self.shown.arrays[name][self.shown.layers.index(layer), position])

    def of_token(self, name: str, layer: int, position: int, pinned: int) -> float:
        """A number of a cell and a pinned token."""
        return float(self.shown.arrays[name][self.shown.layers.index(layer), position, pinned])

    def is_done(self, layer: int, position: int) -> bool:
        """Whether the cell is computed."""
        done = self.shown.arrays.get("done")
        return done is None or bool(done[self.shown.layers.index(layer), position])

    def top(self, layer: int, position: int) -> list[tuple[str, float]]:
        """The most probable words of a cell with their probabilities."""
        row = self.shown.layers.index(layer)
        places = self.shown.arrays["top_ids"][row, position].tolist()
        shares = self.shown.arrays["top_probs"][row, position].tolist()
        pieces = self.shown.meta["pieces"]
        return [(pieces[place]["visible"], share / 65535) for place, share in zip(places, shares, strict=True)]

    def word(self, layer: int, position: int) -> str:
        """What the cell says."""
        mode = COLOURS[self.colour]
        if mode.text is not None:
            return mode.text(self, layer, position) if self.pinned >= 0 else ""
        return cell_word(self.top(layer, position)[0][0])

    def first_words(self, layer: int, position: int, width: float) -> list[tuple[str, str]]:
        """The first words that have room in a cell, each with its probability; none where only one has."""
        count = int(width // _WORD_WIDTH) if COLOURS[self.colour].text is None else 0
        top = self.top(layer, position)[:count]
        return [(cell_word(word), short_probability(share)) for word, share in top] if len(top) > 1 else []

    def share(self, layer: int, position: int) -> float:
        """The place of its colour, 0 to 1."""
        return COLOURS[self.colour].share(self, layer, position)


@dataclass(frozen=True)
class Colouring:
    """One meaning of the colours, as in `js/lens_colours.js`.

    Attributes:
        name: what it is.
        share: the place of a cell's colour, 0 to 1.
        ends: what both ends of the scale stand for.
        text: what stands in a cell, where a number says more than the word.
        array: what not every answer has; empty where all have what it takes.
    """

    name: str
    share: Callable[[Lens, int, int], float]
    ends: Callable[[Lens], tuple[str, str]]
    text: Callable[[Lens, int, int], str] | None = None
    array: str = ""


def _unit(_lens: Lens) -> tuple[str, str]:
    return "0", "1"


def _followed_probability(lens: Lens, layer: int, position: int) -> float:
    return exp(lens.of_token("token_log_probs", layer, position, lens.pinned)) if lens.pinned >= 0 else 0.0


def _divergence(lens: Lens, layer: int, position: int) -> float:
    return lens.of("jsd_nats", layer, position) / log(2) if "jsd_nats" in lens.shown.arrays else 0.0


def _followed_rank(lens: Lens, layer: int, position: int) -> float:
    if lens.pinned < 0:
        return 0.0
    return 1 - log1p(lens.of_token("token_ranks", layer, position, lens.pinned)) / log(lens.shown.meta["d_vocab"])


COLOURS = {
    "faded": Colouring(
        "probability, faded by KL",
        lambda lens, *cell: lens.top(*cell)[0][1] * exp(-lens.of("kl_to_final_nats", *cell)),
        _unit,
    ),
    "agreement": Colouring(
        "probability of the final word", lambda lens, *cell: lens.of("final_probs", *cell), _unit
    ),
    "probability": Colouring("probability of the word", lambda lens, *cell: lens.top(*cell)[0][1], _unit),
    "entropy": Colouring(
        "entropy",
        lambda lens, *cell: lens.of("entropy_nats", *cell) / lens.shown.meta["max_entropy_nats"],
        lambda lens: ("0", f"{lens.shown.meta['max_entropy_nats']:.1f} nats"),
    ),
    "kl": Colouring(
        "KL to final",
        lambda lens, *cell: lens.of("kl_to_final_nats", *cell) / _NATS_SHOWN,
        lambda lens: ("0", f"≥{_NATS_SHOWN} nats"),
    ),
    "jsd": Colouring(
        "Jensen-Shannon to final", _divergence,
        lambda lens: ("0", "ln 2 = 0.69 nats"), array="jsd_nats",
    ),
    "token_probability": Colouring(
        "probability of the pinned word", _followed_probability, _unit,
        lambda lens, *cell: short_probability(_followed_probability(lens, *cell)),
    ),
    "token_rank": Colouring(
        "rank of the pinned word", _followed_rank,
        lambda lens: (short_count(lens.shown.meta["d_vocab"]), "rank 0"),
        lambda lens, *cell: short_count(int(lens.of_token("token_ranks", *cell, lens.pinned))),
    ),
}  # fmt: skip


def cell_word(visible: str) -> str:
    """One leading space is left out inside a cell, where there is no room for it."""
    leads = len(visible) > 1 and visible[0] == "␣" and visible[1] != "␣"
    return visible[1:] if leads else visible


def lens_picture(lens: Lens, empty: str, width: float, theme: Theme) -> Picture:
    """Title line, grid, and the words of the chosen cell."""
    if not lens.shown.layers:
        return above([heading(lens.title, "", width, theme), placeholder(empty, width, 160, theme)])
    columns = grid_columns(lens.n_pos, lens.here[1], width - (0 if lens.below else _PANEL + 16))
    labels = lens.shown.meta["prompt_visible"]
    grid = grid_picture(lens.rows, labels, columns, lens.here, _painter(lens, columns, theme), theme)
    panel = _words(lens, theme)
    body = above([grid, panel], 8) if lens.below else beside([grid, panel], 16)
    whole = max(body.width, 560)
    return above([heading(lens.title, _detail(lens, columns.cut), whole, theme, _legend(lens, theme)), body])


def _detail(lens: Lens, cut: str) -> str:
    component = lens.shown.meta["component"]
    parts = [
        "" if component == "resid_post" else component, layers_title(lens.rows[::-1]), "last layer on top",
        f"colour: {COLOURS[lens.colour].name}", _whose(lens), cut,
    ]  # fmt: skip
    return " · ".join(part for part in parts if part)


def _whose(lens: Lens) -> str:
    if COLOURS[lens.colour].text is None or lens.pinned < 0:
        return ""
    return f"“{lens.shown.meta['token_visible'][lens.pinned]}”"


def _legend(lens: Lens, theme: Theme) -> Picture:
    mode = COLOURS[lens.colour]
    low, high = mode.ends(lens)
    needs = "pin a word first" if mode.text is not None and lens.pinned < 0 else ""
    if mode.array and mode.array not in lens.shown.arrays:
        needs = "not asked for" if lens.shown.meta["prompt"] is None else "…"
    fills = ramp(theme).fills
    return colour_scale(low, high, [fills[place] for place in range(0, 256, 15)], theme, before=needs)


def _painter(lens: Lens, columns: Columns, theme: Theme) -> Callable[[int, int, Box], list[Markup]]:
    size, colours = cell_size(columns, len(lens.rows)), ramp(theme)

    def paint(layer: int, position: int, box: Box) -> list[Markup]:
        x, y = box.middle
        if not lens.is_done(layer, position):
            return [text(x, y, "·", size=size, text_anchor="middle", fill=theme.muted)]
        fill, ink = colours.at(lens.share(layer, position))
        said: Attributes = {"class_": "lw-cell", "data_layer": layer, "data_position": position}
        if first := lens.first_words(layer, position, columns.width):
            return [box.filled(fill, said), *_words_in(box, first, size, ink)]
        words = fitted(lens.word(layer, position), columns.width - 4, size)
        return [box.filled(fill, said), text(x, y, words, size=size, text_anchor="middle", fill=ink)]

    return paint


def _words_in(box: Box, words: Sequence[tuple[str, str]], size: float, ink: str) -> Iterator[Markup]:
    """Words on the left and probabilities on the right of equal parts of a cell."""
    part, y = (box.width - 1) / len(words), box.middle[1]
    for place, (word, share) in enumerate(words):
        start, end = box.left + place * part + 6, box.left + (place + 1) * part - 6
        # The first one is what the cell says.
        face: Face = "sans" if place else "bold"
        said = fitted(word, end - start - text_width(share, size) - 4, size, face)
        yield text(start, y, said, size=size, font_weight="normal" if place else "bold", fill=ink)
        yield text(end, y, share, size=size, text_anchor="end", fill=ink)


def _words(lens: Lens, theme: Theme) -> Picture:
    """The most probable words of the chosen cell, its facts, and the pinned words."""
    layer, position = lens.here
    word = lens.shown.meta["prompt_visible"][position]
    where = f"(position {position})"
    title = fitted(f"layer {layer} · after “{word}”", _PANEL - text_width(where, 12) - 6, 12, "bold")
    parts = [
        text(0, 8, title, size=12, font_weight="bold"),
        text(text_width(title, 12, "bold") + 6, 8, where, size=12, fill=theme.muted),
    ]
    if not lens.is_done(layer, position):
        return Picture(_PANEL, 24, joined([*parts, text(0, 30, "not computed yet", size=11, fill=theme.muted)]))
    top = lens.top(layer, position)
    room = min(22.0, (_HIGHEST_WORDS - 110 - 20 * len(lens.place.tokens)) / len(top))
    for place, (name, share) in enumerate(top):
        y = 34 + place * room
        parts += [
            text(0, y, fitted(name, 92, 11, "mono"), size=11, font_family=theme.mono),
            rect(98, y - 5, 96 * share, 10, fill=theme.data, class_="lw-bar", data_value=f"{share:.6g}"),
            text(_PANEL - 14, y, f"{share:.3f}", size=11, text_anchor="end"),
        ]
    y = 34 + len(top) * room + 8
    for name, fact in _facts(lens, layer, position):
        parts += [
            text(0, y, name, size=11, fill=theme.muted), text(_PANEL - 14, y, fact, size=11, text_anchor="end"),
        ]  # fmt: skip
        y += 18
    parts += _pins(lens, y + 6, theme)
    return Picture(_PANEL, y + 6 + 20 * (len(lens.place.tokens) + bool(lens.place.tokens)), joined(parts))


def _facts(lens: Lens, layer: int, position: int) -> Iterator[tuple[str, str]]:
    """What is known of a cell besides its words, as `js/lens_panel.js` says it."""
    names = {
        "entropy": "entropy_nats", "neuron": "neurons", "KL to final": "kl_to_final_nats", "Jensen-Shannon": "jsd_nats",
    }  # fmt: skip
    for name, array in names.items():
        if array not in lens.shown.arrays:
            continue
        value = lens.of(array, layer, position)
        if array == "neurons":
            yield name, "expert not chosen" if value < 0 else str(int(value))
        else:
            yield name, f"{value:.3f} nats"


def _pins(lens: Lens, y: float, theme: Theme) -> list[Markup]:
    tokens, (layer, position) = lens.place.tokens, lens.here
    if not tokens:
        return []
    parts = [text(0, y, "Pinned words", size=11, fill=theme.muted)]
    known = lens.shown.meta["tokens"]
    for place, token in enumerate(tokens):
        row = y + 20 * (place + 1)
        name, number = _token_name(lens, token), "not asked for" if lens.shown.meta["prompt"] is None else "…"
        if token in known:
            which = known.index(token)
            probability = exp(lens.of_token("token_log_probs", layer, position, which))
            number = f"{probability:.3f} · rank {int(lens.of_token('token_ranks', layer, position, which))}"
        colour = theme.accent if token == lens.place.token else theme.ink
        parts += [
            rect(0, row - 5, 10, 10, rx=2, fill=lens.pin_colours[place % len(lens.pin_colours)]),
            text(16, row, fitted(name, 100, 11, "mono"), size=11, font_family=theme.mono, fill=colour),
            text(_PANEL - 14, row, number, size=11, text_anchor="end"),
        ]
    return parts


def _token_name(lens: Lens, token: int) -> str:
    """What a pinned word looks like, by its token id; as `js/pinned_words.js` has it."""
    known = lens.shown.meta["tokens"]
    if token in known:
        return str(lens.shown.meta["token_visible"][known.index(token)])
    return next((str(piece["visible"]) for piece in lens.shown.meta["pieces"] if piece["id"] == token), f"#{token}")


def lens_text(lens: Lens, empty: str) -> str:
    """The same as a table: layers by tokens."""
    if not lens.shown.layers:
        return said(lens.title, empty)
    shown = columns_around(lens.n_pos, lens.here[1])
    labels = lens.shown.meta["prompt_visible"]
    rows = [
        [str(layer), *(lens.word(layer, place) if lens.is_done(layer, place) else "·" for place in shown)]
        for layer in lens.rows
    ]
    layer, position = lens.here
    words = ", ".join(f"{name} {share:.3f}" for name, share in lens.top(layer, position)[:5])
    return said(
        f"{lens.title} · {_detail(lens, '')}",
        table(["layer", *(labels[place] for place in shown)], rows),
        cut_words(shown, lens.n_pos),
        f"layer {layer}, after “{labels[position]}” (position {position}): {words}"
        if lens.is_done(layer, position)
        else "",
    )
