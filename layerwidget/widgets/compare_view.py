"""Two results beside each other: of two prompts, or of two models that read the same tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, Literal, TypeAlias, TypedDict

import ipywidgets
import numpy as np
import traitlets as t

from layerwidget.figures.sheets import HeatColumns, Sheet, TextArray
from layerwidget.questions.attention import AttentionGrid
from layerwidget.questions.comparing import AttentionDifference, Compared, Difference, Match, difference
from layerwidget.questions.lens import LensGrid
from layerwidget.questions.residual import ResidualGrid
from layerwidget.results import FloatArray, Grid
from layerwidget.tokens import IntArray
from layerwidget.widgets.base import View
from layerwidget.widgets.head_compare_view import HeadCompareView
from layerwidget.widgets.heat_grid import HeatGrid
from layerwidget.widgets.page import Page

#: What is shown -> what the switch says.
MODES = {"change": "B − A", "a": "A", "b": "B", "both": "A beside B"}
_Mode: TypeAlias = Literal["change", "a", "b"]
TITLES: dict[_Mode, str] = {"change": "B − A", "a": "A", "b": "B"}
#: Names of sheets.
_TOP, _MOVED = "top-1 token", "moved attention"
#: The name of the quantity that the words are taken from.
_SAME = "same top-1 token"
_PLACEHOLDER = "Type a second prompt above, and what differs from the first one appears here."


class _Texts(TypedDict):
    """What the pictures are about."""

    prompt: str | None
    second: str | None


class CompareView(Page):
    """Grids of what differs between two results, in columns that both share; a token of one prompt only is hatched.

    Attributes:
        mode: `change` (B - A), `a`, `b`, or `both` (A beside B, with the same colours).
        grid_view, second_view: layers by tokens; the second one is there when `mode` is `both`.
        heads_view, second_heads: layers by heads: how much of its weight each head puts elsewhere in B, and how much
            rests on the first token.
        head_view: the chosen head's matrices.
        words: one line: what A and B are.
        found: the differences that are shown.
    """

    page_name = "compare"
    page_title = "Compare"
    choices: ClassVar[Mapping[str, str]] = {"mode": "mode", "sheet": "grid_view.sheet"}
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "lens_difference": (Difference,),
        "residual_difference": (Difference,),
        "attention_difference": (AttentionDifference,),
    }

    mode = t.Enum(tuple(MODES), "change")

    def __init__(self, a: Grid | None = None, b: Grid | None = None, match: Match = "layer", **selection: Any) -> None:
        # Results come from the model's thread, choices from the reader's: what is drawn last has to be the newest.
        self._drawing = threading.RLock()
        self.found: list[Difference] = []
        self.heads_found: AttentionDifference | None = None
        # Of the difference, the sheet of heads that was shown last.
        self._heads_sheet = ""
        self._texts: _Texts = {"prompt": None, "second": None}
        self._given: dict[str, Difference | AttentionDifference] = {}
        self.grid_view = HeatGrid(title="Compare", placeholder=_PLACEHOLDER, **selection)
        self.second_view = HeatGrid(title="B", **selection)
        self.second_view.layout.margin = "0 0 0 14px"
        self.heads_view = HeatGrid(title="Heads", placeholder="What heads do otherwise appears here.", **selection)
        self.second_heads = HeatGrid(title="Heads · B", **selection)
        self.head_view = HeadCompareView(**selection)
        for part, width in ((self.heads_view, 340), (self.second_heads, 340), (self.head_view, 680)):
            part.layout.flex, part.layout.margin = f"{width // 340} 1 {width}px", "0 18px 0 0"
        self.head_view.layout.margin = "0"
        self.switch = ipywidgets.ToggleButtons(
            options=[(said, mode) for mode, said in MODES.items()],
            style={"button_width": "auto"}, layout=ipywidgets.Layout(width="auto", flex="0 0 auto"),
        )  # fmt: skip
        self.words = ipywidgets.Label(layout=ipywidgets.Layout(flex="1 1 auto", min_width="0"))
        self.words.add_class("lw-note")
        line = ipywidgets.Layout(width="100%", align_items="center", min_height="30px")
        self.bar = ipywidgets.HBox([self.switch, self.words], layout=line)
        self.bar.add_class("lw-figure")
        row = ipywidgets.Layout(align_items="flex-start", width="100%", min_width="0", flex="1 1 auto")
        # Two maps and the matrices take two lines.
        heads = ipywidgets.Layout(align_items="flex-start", width="100%", flex_flow="row wrap")
        super().__init__(
            ipywidgets.HBox([self.grid_view, self.second_view], layout=row),
            ipywidgets.HBox([self.heads_view, self.second_heads, self.head_view], layout=heads),
        )
        self.children = (self.bar, self.beside, *self.below)
        t.link((self.switch, "value"), (self, "mode"))
        t.link((self.grid_view, "sheet"), (self.second_view, "sheet"))
        t.link((self.heads_view, "sheet"), (self.second_heads, "sheet"))
        self.observe(self._redraw, "mode")
        self.heads_view.observe(self._heads_chosen, "sheet")
        self._draw()
        if a is not None and b is not None:
            self.show([difference(a, b, match)])

    @property
    def views(self) -> tuple[View, ...]:
        """Those of its parts that take part in the selection."""
        return self.grid_view, self.second_view, self.heads_view, self.second_heads, self.head_view

    def show(
        self,
        found: Sequence[Difference | AttentionDifference],
        prompt: str | None = None,
        words: str = "",
        second: str | None = None,
    ) -> None:
        """Draw differences between the same two runs; an empty list clears the view.

        Args:
            found: what differs: of the lens, the stream, attention.
            prompt: the first text, by which the browser knows what is stale.
            words: what A and B are; from the results where empty.
            second: the second text.
        """
        with self._drawing:
            self.found = [one for one in found if isinstance(one, Difference)]
            self.heads_found = next((one for one in found if isinstance(one, AttentionDifference)), None)
            self._texts = {"prompt": prompt, "second": second}
            self.words.value = words or (_words(found[0]) if found else "")
            self._draw()

    @property
    def besides(self) -> Mapping[str, Any]:
        """What differs, as far as it is shown."""
        heads = [] if self.heads_found is None else [self.heads_found]
        kinds = {LensGrid: "lens", ResidualGrid: "residual", AttentionGrid: "attention"}
        return {f"{kinds[type(one.a)]}_difference": one for one in (*self.found, *heads) if type(one.a) in kinds}

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw what differs."""
        self._given[name] = answer
        self.show(list(self._given.values()), prompt)

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self._given = {}
        self.show([], prompt)

    def _redraw(self, _change: object) -> None:
        with self._drawing:
            self._draw()

    def _draw(self) -> None:
        both = self.mode == "both"
        mode: _Mode = "a" if both else self.mode  # type: ignore[assignment]  # an Enum is text
        parts = [(self.grid_view, self.heads_view, mode)]
        parts += [(self.second_view, self.second_heads, "b")] if both else []
        self.second_view.layout.display = None if both else "none"
        attention = self.heads_found
        self.heads_view.layout.display = self.head_view.layout.display = "none" if attention is None else None
        self.second_heads.layout.display = None if both and attention is not None else "none"
        for grid, heads, which in parts:
            grid.title = TITLES[which]
            heads.title = "Heads" if which == "change" else f"Heads · {TITLES[which]}"
            self._draw_grid(grid, which)
            self._draw_heads(heads, which)
        self.head_view.show(attention, **self._texts)

    def _draw_grid(self, grid: HeatGrid, mode: _Mode) -> None:
        if not self.found:
            grid.show(None, **self._texts)
            return
        one = self.found[0]
        sheets = [sheet for found in self.found for sheet in _sheets(found, mode)]
        columns = shared_columns(one, mode)
        grid.show(sheets, columns, layers=one.layers, n_layers=one.a.n_layers, **self._texts)

    def _heads_chosen(self, change: dict[str, Any]) -> None:
        if self.mode == "change":
            self._heads_sheet = change["new"]

    def _draw_heads(self, grid: HeatGrid, mode: _Mode) -> None:
        found = self.heads_found
        if found is None:
            grid.show(None, **self._texts)
            return
        sheets = [_sheet(found.sink, mode, "weight on the first token")]
        if mode == "change":
            detail = "weight put elsewhere in B"
            sheets.insert(0, Sheet(_MOVED, found.moved, "", "one-sided", 1.0, detail=detail))
        columns = HeatColumns.heads(found.heads)
        # What moved is there in the difference only: who comes back to it finds it again.
        if mode == "change" and self._heads_sheet:
            grid.sheet = self._heads_sheet
        grid.show(sheets, columns, layers=found.layers, n_layers=found.a.n_layers, **self._texts)


def shared_columns(found: Difference, mode: str) -> HeatColumns:
    """The columns of both prompts; a click picks the position in the first one, where it has one."""
    words_a, words_b = ([piece.visible for piece in grid.prompt_pieces()] for grid in (found.a, found.b))
    labels, names = [], []
    for at_a, at_b in zip(found.alignment.a.tolist(), found.alignment.b.tolist(), strict=True):
        word_a, word_b = words_a[at_a] if at_a >= 0 else "", words_b[at_b] if at_b >= 0 else ""
        label = (word_b or word_a) if mode == "b" else (word_a or word_b)
        labels.append(f"{word_a}→{word_b}" if mode == "change" and word_a and word_b and word_a != word_b else label)
        place_a = f"“{word_a}” ({at_a})" if word_a else "no token"
        names.append(f"A {place_a}, B {f'“{word_b}” ({at_b})' if word_b else 'no token'}")
    return HeatColumns(tuple(labels), "position", tuple(found.alignment.a.tolist()), tuple(names))


def _sheets(found: Difference, mode: _Mode) -> Iterator[Sheet]:
    if _SAME in found.quantities:
        yield _words_sheet(found, mode)
    for one in found.quantities.values():
        if one.a is not None:
            yield _sheet(one, mode)


def _sheet(one: Compared, mode: _Mode, detail: str = "") -> Sheet:
    """A quantity that both results have."""
    assert one.a is not None
    assert one.b is not None
    if mode == "change":
        return Sheet(one.name, one.change, one.change_unit, "signed", detail=detail)
    limits = _limits(one, one.a, one.b)
    return Sheet(one.name, one.a if mode == "a" else one.b, one.unit, one.kind, limits, detail=detail)


def _words_sheet(found: Difference, mode: _Mode) -> Sheet:
    """What each layer would predict, by its probability; of the change, what B predicts where that is another token."""
    same, probability = found[_SAME], found["top-1 probability"]
    ids_a, ids_b, prob_a, prob_b = same.ids_a, same.ids_b, probability.a, probability.b
    assert ids_a is not None
    assert ids_b is not None
    assert prob_a is not None
    assert prob_b is not None
    words_a, words_b = _words_of(found.a, ids_a), _words_of(found.b, ids_b)
    if mode != "change":
        words, values = (words_a, prob_a) if mode == "a" else (words_b, prob_b)
        in_full = np.where(np.isnan(values), "", _joined("“", words, "”"))
        return Sheet(_TOP, values, limits=1.0, words=words, in_full=in_full)
    other = same.change == 0
    values = np.where(np.isnan(same.change), np.nan, np.where(other, prob_b, 0)).astype(np.float32)
    changed = _joined("A “", words_a, "”, B “", words_b, "”, probability in B")
    in_full = np.where(np.isnan(values), "", np.where(other, changed, _joined("“", words_a, "” in both")))
    detail = "B’s word where A has another one, by its probability"
    return Sheet(_TOP, values, limits=1.0, detail=detail, words=np.where(other, words_b, ""), in_full=in_full)


def _joined(*parts: str | TextArray) -> TextArray:
    joined: TextArray = np.asarray(reduce(np.char.add, parts))
    return joined


def _words_of(grid: Grid, ids: IntArray) -> TextArray:
    """The token of each id; nothing where there is none."""
    known, at = np.unique(ids, return_inverse=True)
    words = np.array(["" if one < 0 else grid.pieces[int(one)].visible for one in known], dtype=np.str_)
    laid: TextArray = words[at].reshape(ids.shape)
    return laid


def _limits(one: Compared, a: FloatArray, b: FloatArray) -> float | tuple[float, float]:
    """The same ends for both, so that equal colours are equal numbers."""
    ends = [Sheet(one.name, values, kind=one.kind).ends for values in (a, b)]
    high = max(end[1] for end in ends)
    return (min(end[0] for end in ends), high) if one.kind == "log" else high


def _words(found: Difference | AttentionDifference) -> str:
    """Which models, and how much of the prompts is the same, in words."""
    a, b, columns = found.a, found.b, found.alignment
    names = "" if a.model_name == b.model_name else f"A: {a.model_name} · B: {b.model_name} · "
    if np.array_equal(a.token_ids, b.token_ids):
        return f"{names}the same prompt"
    only_a, only_b = int((columns.b < 0).sum()), int((columns.a < 0).sum())
    return f"{names}{len(columns.pairs)} tokens beside each other, {only_a} only in A, {only_b} only in B"
