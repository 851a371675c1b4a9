"""The style sheet: what it may not ask of a page in which somebody types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import layerwidget
from layerwidget.widgets.esm import source_text, style_text
from layerwidget.widgets.layer_figure import LayerFigure
from layerwidget.widgets.pages import PAGES

#: Asked of a page that says nothing about its theme, which no notebook is.
_OF_PLAIN_PAGES = "#output-area)"


def test_has_looks_at_children_only() -> None:
    """Where it looks at all that is below, a letter that changes there costs the style of every element around it."""
    asked = re.findall(r":has\((.*)", re.sub(r"/\*.*?\*/", "", style_text(), flags=re.DOTALL))
    assert asked
    assert [one for one in asked if not one.startswith(("> ", _OF_PLAIN_PAGES))] == []


PACKAGE = Path(layerwidget.__file__).parent
STILL = "@media (prefers-reduced-motion: reduce)"
MOVING = "@media (prefers-reduced-motion: no-preference)"
#: What makes something move.
_MOVES = re.compile(
    r"(?:^|[\s;{])(?:transition|animation)[\w-]*\s*:(?!\s*none)|scroll-behavior\s*:\s*smooth|@keyframes"
)


def moves_for_whoever_wants_stillness(css: str) -> list[str]:
    """Rules by which something moves outside the one query that asks whether it may."""
    found, inside = [], []
    for part in re.findall(r"[^{}]*[{}]", re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        told, bracket = part[:-1].strip(), part[-1]
        if _MOVES.search(told) and MOVING not in inside:
            found.append(f"{inside[-1] if inside else ''} {{ {told} }}")
        inside = [*inside, told] if bracket == "{" else inside[:-1]
    assert not inside
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.css")), ids=lambda path: path.name)
def test_nothing_moves_unless_it_may(path: Path) -> None:
    css = path.read_text()
    assert moves_for_whoever_wants_stillness(css) == []
    assert _MOVES.search(css)
    assert moves_for_whoever_wants_stillness(css.replace(MOVING, "@media screen"))


def test_what_others_bring_along_stands_still_too() -> None:
    """Progress bars of ipywidgets move on their own, for one."""
    sheet = style_text()
    assert sheet.count(STILL) == 1
    rule = sheet.partition(STILL)[2].partition("\n}")[0]
    everywhere = ":is(.lw, .lw-explorer, .lw-figure)"
    assert f"{everywhere}, {everywhere} :is(*, ::before, ::after) {{" in rule
    for kind in ("transition: none", "animation: none", "scroll-behavior: auto"):
        assert f"{kind} !important" in rule


def test_no_script_moves_anything_by_itself() -> None:
    scripts = sorted(PACKAGE.rglob("*.js"))
    assert scripts
    moving = re.compile(r"\.animate\(|smooth|setInterval\(|style\.(transition|animation)")
    assert [path.name for path in scripts if moving.search(path.read_text())] == []
    for kind in PAGES:
        figures = [part for part in vars(kind.for_file()).values() if isinstance(part, LayerFigure)]
        assert [figure.figure.animation_duration for figure in figures] == [0] * len(figures)


def test_figures_of_a_talk_are_recorded_as_high_as_the_style_sheet_has_them() -> None:
    given = dict(re.findall(r"\.lw-only-(\w+) \{ --lw-figure: (\d+)px; \}", style_text()))
    drawn = {}
    for kind in PAGES:
        page = kind.for_file()
        heights = {part.talk_size[1] for part in vars(page).values() if isinstance(part, LayerFigure)}
        assert len(heights) <= 1, kind
        if heights:
            drawn[kind.page_name] = str(heights.pop())
    assert drawn == given


def test_a_tab_is_as_wide_as_its_name_in_the_weight_that_it_has_when_open() -> None:
    open_weight = re.search(r"\.lw-open \.lw-tab \{[^}]*font-weight: (\d+)", style_text())
    kept = re.search(r"\.lw-tab::after \{ content: attr\(([\w-]+)\); font-weight: (\d+)", style_text())
    assert open_weight is not None
    assert kept is not None
    assert kept[2] == open_weight[1]
    assert f'"{kept[1]}": title' in source_text("tab_bar")
