"""Two results beside each other: of two prompts, or of two models that read the same tokens."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypedDict

import ipywidgets
import numpy as np
import traitlets as t

from layerwidget.figures.sheets import HeatColumns
from layerwidget.questions.attention import AttentionGrid
from layerwidget.questions.attention_flow import KINDS, HeadScoreGrid, RolloutGrid, ValueWeightedGrid
from layerwidget.questions.attribution import AttributionGrid
from layerwidget.questions.compared import AttentionDifference, ColumnDifference, Difference, MatrixDifference
from layerwidget.questions.comparing import AnyDifference, Match, difference
from layerwidget.questions.depth import AngleGrid, DepthGrid, InfluenceGrid
from layerwidget.questions.lens import LensGrid
from layerwidget.questions.neurons import ActivationGrid
from layerwidget.questions.position import LossGrid
from layerwidget.questions.residual import ResidualGrid
from layerwidget.questions.skip_effect import SkipGrid
from layerwidget.results import Grid
from layerwidget.widgets.base import View
from layerwidget.widgets.compare_sheets import Mode, columns_of, head_sheets, in_rows, score_sheet, sheets_of
from layerwidget.widgets.head_compare_view import HeadCompareView
from layerwidget.widgets.heat_grid import HeatGrid
from layerwidget.widgets.page import Page

#: What is shown -> what the switch says.
MODES = {"change": "B − A", "a": "A", "b": "B", "both": "A beside B"}
TITLES: dict[Mode, str] = {"change": "B − A", "a": "A", "b": "B"}
_PLACEHOLDER = "Type a second prompt above, and what differs from the first one appears here."
#: In place of cells of which none has a value.
_NOTHING_SHARED = (
    "No token of A has one of B beside it: nothing can be subtracted. The switch shows A and B themselves."
)
#: Kind of results -> what their difference is called among what is recorded.
_NAMES = {
    LensGrid: "lens", ResidualGrid: "residual", DepthGrid: "settle", LossGrid: "loss", AttributionGrid: "attribution",
    ActivationGrid: "neurons", AttentionGrid: "attention", ValueWeightedGrid: "attention", RolloutGrid: "rollout",
    InfluenceGrid: "influence", AngleGrid: "angles", SkipGrid: "skip",
}  # fmt: skip


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
        found: the differences that are shown in the grids above.
        heads_found: what attention does otherwise, or its rollout.
        scores: what heads are in both.
    """

    page_name = "compare"
    page_title = "Compare"
    choices: ClassVar[Mapping[str, str]] = {
        "mode": "mode", "sheet": "grid_view.sheet", "hide_first": "head_view.hide_first",
    }  # fmt: skip
    draws: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "lens_difference": (Difference,),
        "residual_difference": (Difference,),
        "settle_difference": (Difference,),
        "emergence_difference": (Difference,),
        "loss_difference": (Difference,),
        "attribution_difference": (ColumnDifference,),
        "neurons_difference": (ColumnDifference,),
        "influence_difference": (ColumnDifference,),
        "angles_difference": (ColumnDifference,),
        "skip_difference": (Difference,),
        "attention_difference": (AttentionDifference,),
        "rollout_difference": (MatrixDifference,),
        **{f"{kind}_difference": (ColumnDifference,) for kind in KINDS},
    }

    mode = t.Enum(tuple(MODES), "change")

    def __init__(self, a: Grid | None = None, b: Grid | None = None, match: Match = "layer", **selection: Any) -> None:
        # Results come from the model's thread, choices from the reader's: what is drawn last has to be the newest.
        self._drawing = threading.RLock()
        self.found: list[Difference | ColumnDifference] = []
        self.heads_found: AttentionDifference | MatrixDifference | None = None
        self.scores: tuple[ColumnDifference, ...] = ()
        # Of the difference, the sheet of heads that was shown last.
        self._heads_sheet = ""
        self._texts: _Texts = {"prompt": None, "second": None}
        self._given: dict[str, AnyDifference] = {}
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
        found: Sequence[AnyDifference],
        prompt: str | None = None,
        words: str = "",
        second: str | None = None,
    ) -> None:
        """Draw differences between the same two runs; an empty list clears the view.

        Args:
            found: what differs: by token, or by part, of which the first kind is drawn; of attention; of what heads
                are.
            prompt: the first text, by which the browser knows what is stale.
            words: what A and B are; from the results where empty.
            second: the second text.
        """
        with self._drawing:
            above = [one for one in found if isinstance(one, Difference | ColumnDifference) and not _is_score(one)]
            # What has the same columns can be drawn in one grid.
            self.found = [one for one in above if type(one) is type(above[0])]
            below = [one for one in found if isinstance(one, AttentionDifference | MatrixDifference)]
            self.heads_found = below[0] if below else None
            self.scores = tuple(one for one in found if isinstance(one, ColumnDifference) and _is_score(one))
            self._texts = {"prompt": prompt, "second": second}
            several = dict.fromkeys(one.about for one in self.found if isinstance(one, ColumnDifference))
            # Where it is not the same of all, the title of the grid says it.
            about = list(several) if len(several) == 1 else []
            self.words.value = words or " · ".join([*about, _words(found[0])] if found else [])
            self._draw()

    @property
    def besides(self) -> Mapping[str, Any]:
        """What differs, as far as it is shown."""
        heads = [] if self.heads_found is None else [self.heads_found]
        named = {f"{_name(one.a)}_difference": one for one in (*self.found, *heads) if type(one.a) in _NAMES}
        scores = {one.a.kind: one for one in self.scores if isinstance(one.a, HeadScoreGrid)}
        return named | {f"{kind}_difference": one for kind, one in scores.items()}

    def answer(self, name: str, answer: Any, prompt: str) -> None:
        """Draw what differs."""
        self._given[name] = answer
        self.show(list(self._given.values()), prompt)

    def clear(self, prompt: str) -> None:
        """Draw nothing."""
        self._given = {}
        self.show([], prompt)

    @property
    def _subject(self) -> str:
        """What the title of the grid says besides."""
        return ""

    def _redraw(self, _change: object) -> None:
        with self._drawing:
            self._draw()

    def _draw(self) -> None:
        both = self.mode == "both"
        mode: Mode = "a" if both else self.mode  # type: ignore[assignment]  # an Enum is text
        parts = [(self.grid_view, self.heads_view, mode)]
        parts += [(self.second_view, self.second_heads, "b")] if both else []
        self.second_view.layout.display = None if both else "none"
        attention = self.heads_found
        has_map = isinstance(attention, AttentionDifference) or bool(self.scores)
        self.head_view.layout.display = "none" if attention is None else None
        self.heads_view.layout.display = None if has_map else "none"
        self.second_heads.layout.display = None if both and has_map else "none"
        for grid, heads, which in parts:
            grid.title = " · ".join(part for part in (TITLES[which], self._subject) if part)
            heads.title = "Heads" if which == "change" else f"Heads · {TITLES[which]}"
            self._draw_grid(grid, which)
            self._draw_heads(heads, which)
        self.head_view.show(attention, **self._texts)

    def _draw_grid(self, grid: HeatGrid, mode: Mode) -> None:
        if not self.found:
            grid.show(None, **self._texts)
            return
        # Blocks of layers have fewer rows than there are layers.
        one = max(self.found, key=lambda found: len(found.layers))
        sheets = [
            replace(in_rows(sheet, found.layers, one.layers), empty=_NOTHING_SHARED)
            for found in self.found
            for sheet in sheets_of(found, mode)
        ]
        grid.show(sheets, columns_of(one, mode), layers=one.layers, n_layers=one.a.n_layers, **self._texts)

    def _heads_chosen(self, change: dict[str, Any]) -> None:
        if self.mode == "change":
            self._heads_sheet = change["new"]

    def _draw_heads(self, grid: HeatGrid, mode: Mode) -> None:
        moved = self.heads_found if isinstance(self.heads_found, AttentionDifference) else None
        found = moved or next(iter(self.scores), None)
        if found is None:
            grid.show(None, **self._texts)
            return
        sheets = list(head_sheets(found, mode)) if isinstance(found, AttentionDifference) else []
        sheets += [score_sheet(one, mode, found.layers, found.heads) for one in self.scores]
        sheets = [replace(sheet, empty=_NOTHING_SHARED) for sheet in sheets]
        # What moved is there in the difference only: who comes back to it finds it again.
        if mode == "change" and self._heads_sheet:
            grid.sheet = self._heads_sheet
        columns = HeatColumns.heads(found.heads)
        grid.show(sheets, columns, layers=found.layers, n_layers=found.a.n_layers, **self._texts)


def _name(result: Grid) -> str:
    """What the difference of such results is called."""
    return "emergence" if isinstance(result, DepthGrid) and result.k > 1 else _NAMES[type(result)]


def _is_score(found: AnyDifference) -> bool:
    return isinstance(found.a, HeadScoreGrid)


def _words(found: AnyDifference) -> str:
    """Which models, and how much of the prompts is the same, in words; of the skip effect, what it goes with."""
    a, b = found.a, found.b
    if isinstance(a, SkipGrid) and isinstance(b, SkipGrid):
        # Never one without the other: they disagree.
        rho = f"A {a.rank_correlation:.3f}, B {b.rank_correlation:.3f}"
        return f"{_beside(found)} · rank correlation of KL and block influence: {rho}"
    return _beside(found)


def _beside(found: AnyDifference) -> str:
    a, b, columns = found.a, found.b, found.alignment
    names = "" if a.model_name == b.model_name else f"A: {a.model_name} · B: {b.model_name} · "
    if found.layers != found.layers_b:
        names += f"layers at the same share of the depth: {found.layers[-1]} / B: {found.layers_b[-1]} · "
    if np.array_equal(a.token_ids, b.token_ids):
        return f"{names}the same prompt"
    only_a, only_b = int((columns.b < 0).sum()), int((columns.a < 0).sum())
    together = len(columns.pairs)
    tokens = f"{together} token{'' if together == 1 else 's'} beside each other"
    return f"{names}{tokens}, {only_a} only in A, {only_b} only in B"
