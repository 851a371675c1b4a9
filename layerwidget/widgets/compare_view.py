"""Two results beside each other: of two prompts, or of two models that read the same tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import ipywidgets
import numpy as np
import traitlets as t

from layerwidget.questions.comparing import AttentionDifference, Compared, Difference, Match, difference
from layerwidget.results import FloatArray, Grid
from layerwidget.widgets.heat_grid import HeatColumns, HeatGrid, Sheet
from layerwidget.widgets.page import Page
from layerwidget.widgets.traits import SelectionTraits

#: What is shown -> what the switch says.
MODES = {"change": "B − A", "a": "A", "b": "B", "both": "A beside B"}
_PLACEHOLDER = "Type a second prompt above, and what differs from the first one appears here."


class CompareView(Page):
    """Grids of what differs between two results, in columns that both share; a token of one prompt only is hatched.

    Attributes:
        mode: `change` (B - A), `a`, `b`, or `both` (A beside B, with the same colours).
        grid_view, second_view: layers by tokens; the second one is there when `mode` is `both`.
        heads_view: layers by heads: how much of its weight each head puts elsewhere in B.
        words: one line: what A and B are.
        found: the differences that are shown.
    """

    page_name = "compare"
    page_title = "Compare"

    mode = t.Enum(tuple(MODES), "change")

    def __init__(self, a: Grid | None = None, b: Grid | None = None, match: Match = "layer", **selection: Any) -> None:
        self.found: list[Difference] = []
        self.heads_found: AttentionDifference | None = None
        self._prompt: str | None = None
        self.grid_view = HeatGrid(title="Compare", placeholder=_PLACEHOLDER, **selection)
        self.second_view = HeatGrid(title="B", **selection)
        self.second_view.layout.margin = "0 0 0 14px"
        self.heads_view = HeatGrid(title="Heads", placeholder="What heads do otherwise appears here.", **selection)
        self.switch = ipywidgets.ToggleButtons(
            options=[(said, mode) for mode, said in MODES.items()],
            style={"button_width": "auto"}, layout=ipywidgets.Layout(width="auto", flex="0 0 auto"),
        )  # fmt: skip
        self.words = ipywidgets.Label(layout=ipywidgets.Layout(flex="1 1 auto", min_width="0"))
        self.words.add_class("lw-note")
        self.bar = ipywidgets.HBox([self.switch, self.words], layout=ipywidgets.Layout(width="100%"))
        self.bar.add_class("lw-figure")
        row = ipywidgets.Layout(align_items="flex-start", width="100%", min_width="0", flex="1 1 auto")
        super().__init__(ipywidgets.HBox([self.grid_view, self.second_view], layout=row), self.heads_view)
        self.children = (self.bar, self.beside, *self.below)
        t.link((self.switch, "value"), (self, "mode"))
        t.link((self.grid_view, "sheet"), (self.second_view, "sheet"))
        self.observe(lambda _change: self._draw(), "mode")
        self._draw()
        if a is not None and b is not None:
            self.show([difference(a, b, match)])

    @property
    def views(self) -> tuple[SelectionTraits, ...]:
        """Those of its parts that take part in the selection."""
        return self.grid_view, self.second_view, self.heads_view

    def show(self, found: list[Difference | AttentionDifference], prompt: str | None = None, words: str = "") -> None:
        """Draw differences between the same two runs; an empty list clears the view.

        Args:
            found: what differs: of the lens, the stream, attention.
            prompt: the first text, by which the browser knows what is stale.
            words: what A and B are; from the results where empty.
        """
        self.found = [one for one in found if isinstance(one, Difference)]
        self.heads_found = next((one for one in found if isinstance(one, AttentionDifference)), None)
        self._prompt = prompt
        self.words.value = words or (_words(found[0]) if found else "")
        self._draw()

    def _draw(self) -> None:
        both = self.mode == "both"
        self.second_view.layout.display = None if both else "none"
        if not self.found:
            self.grid_view.show(None, prompt=self._prompt)
            self.second_view.show(None, prompt=self._prompt)
        else:
            mode: Literal["change", "a", "b"] = "a" if both else self.mode  # type: ignore[assignment]  # an Enum is text
            self._draw_grid(self.grid_view, mode)
            if both:
                self._draw_grid(self.second_view, "b")
        self._draw_heads()

    def _draw_grid(self, grid: HeatGrid, mode: Literal["change", "a", "b"]) -> None:
        one = self.found[0]
        sheets = [sheet for found in self.found for sheet in _sheets(found, mode)]
        grid.title = "B − A" if mode == "change" else mode.upper()
        grid.show(sheets, shared_columns(one, mode), layers=one.layers, n_layers=one.a.n_layers, prompt=self._prompt)

    def _draw_heads(self) -> None:
        found = self.heads_found
        self.heads_view.layout.display = "none" if found is None else None
        if found is None:
            self.heads_view.show(None, prompt=self._prompt)
            return
        detail = "share of its weight that a head puts on other tokens in B, mean over queries"
        self.heads_view.show(
            [Sheet("moved attention", found.moved, "", "one-sided", 1.0, detail=detail)],
            HeatColumns.heads(found.heads), layers=found.layers, n_layers=found.a.n_layers, prompt=self._prompt,
        )  # fmt: skip


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


def _sheets(found: Difference, mode: Literal["change", "a", "b"]) -> Iterator[Sheet]:
    for one in found.quantities.values():
        if mode == "change":
            kind: Literal["signed", "one-sided"] = "one-sided" if one.a is None else "signed"
            yield Sheet(one.name, one.change, one.change_unit, kind, 1.0 if one.a is None else None)
        elif one.a is not None and one.b is not None:
            yield Sheet(one.name, one.a if mode == "a" else one.b, one.unit, one.kind, _limits(one, one.a, one.b))


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
