"""In which order an edit is drawn: the grid first, what takes a browser several steps last, and nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import layerwidget as lw
from layerwidget.errors import Cancelled, LayerWidgetError
from tests.test_pages import until
from tests.tiny import letters, tiny


@pytest.fixture
def explorer() -> Iterator[lw.Explorer]:
    explorer = lw.Explorer(lw.HookedModel(tiny("llama"), letters(), "tiny"), "abcdef")
    explorer.wait()
    # Before, an edit is computed anew, and told in parts.
    until(lambda: explorer.report is not None)
    assert explorer.position == 5
    assert _word(explorer) == "f"
    yield explorer
    explorer.close()


@pytest.fixture
def drawn(explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """What is drawn from now on, in order: the view, and the text that it is about."""
    found: list[tuple[str, str | None]] = []

    def noting(name: str, show: Callable[..., None]) -> Callable[..., None]:
        def noted(answer: Any, prompt: str | None = None, *rest: Any) -> None:
            found.append((name, prompt))
            show(answer, prompt, *rest)

        return noted

    for name in ("lens_view", "attention_view", "curves"):
        view = getattr(explorer, name)
        monkeypatch.setattr(view, "show", noting(name, view.show))
    return found


def _word(explorer: lw.Explorer) -> str:
    """The word of the prompt that the curves are about."""
    return str(explorer.curves.driver.detail.rpartition("“")[2].partition("”")[0])


def test_the_grid_and_attention_do_not_wait_for_the_curves(
    explorer: lw.Explorer, drawn: list[tuple[str, str | None]]
) -> None:
    for prompt in ("abcdefg", "abcdef"):  # one is computed, the other is still known
        drawn.clear()
        explorer.prompt = prompt
        explorer.wait()
        assert drawn == [("lens_view", prompt), ("attention_view", prompt), ("curves", prompt)]


def test_curves_of_a_part_do_not_wait_for_the_rest(explorer: lw.Explorer, drawn: list[tuple[str, str | None]]) -> None:
    prompt = "hgfedcbahgfedcba"
    explorer.prompt = prompt
    explorer.wait()
    assert drawn[:2] == [("lens_view", prompt), ("curves", prompt)]
    assert drawn[-1] == ("curves", prompt)


def test_the_curves_wait_for_no_other_page(explorer: lw.Explorer, drawn: list[tuple[str, str | None]]) -> None:
    explorer.pages = ["lens", "residual"]
    explorer.wait()
    residual = explorer.page("residual")
    shown = residual.answer
    residual.answer = lambda *told: (drawn.append(("residual", told[-1])), shown(*told))  # type: ignore[method-assign]
    drawn.clear()
    explorer.prompt = "abcdefg"
    explorer.wait()
    names = [name for name, _ in drawn]
    assert names.index("attention_view") < names.index("curves") < names.index("residual")


def test_the_curves_go_with_the_grid_where_the_rest_fails(
    explorer: lw.Explorer, drawn: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LayerWidgetError("nothing of attention")

    monkeypatch.setattr(explorer.attention_view, "show", fails)
    explorer.prompt = "abcdefg"
    with pytest.raises(LayerWidgetError, match="nothing of attention"):
        explorer.wait()
    assert drawn == [("lens_view", "abcdefg"), ("curves", "abcdefg")]
    assert _word(explorer) == "g"


def test_curves_of_the_text_before_do_not_follow_the_end_of_the_new_one(explorer: lw.Explorer) -> None:
    seen: list[str] = []
    explorer.curves.driver.observe(lambda change: seen.append(change["new"]), "detail")
    explorer.prompt = "abcxy"
    explorer.wait()
    assert explorer.position == 4
    assert _word(explorer) == "y"
    assert len(seen) == 1
    # A click is followed at once.
    explorer.position = 1
    assert _word(explorer) == "b"


def test_a_figure_of_somebody_else_follows_at_once(explorer: lw.Explorer) -> None:
    other = lw.DepthCurves(explorer.results["lens"], position=5)
    seen: list[str] = []

    def linked(change: dict[str, Any]) -> None:
        other.driver.position = change["new"]
        seen.append(other.driver.detail)

    explorer.observe(linked, "position")
    explorer.prompt = "abcxy"
    explorer.wait()
    assert [detail[-3:] for detail in seen] == ["“e”"]
    other.close()


def test_a_figure_without_a_new_answer_follows_in_the_end(
    explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer.curves, "show", lambda *_: None)
    explorer.prompt = "abcxy"
    explorer.wait()
    assert _word(explorer) == "e"


def test_a_figure_follows_where_the_answer_is_given_up(explorer: lw.Explorer) -> None:
    layers: Any = explorer.model.hf_model.model.layers
    handle = layers[1].register_forward_pre_hook(lambda *_: time.sleep(0.5))
    explorer.prompt = "abcxy"
    until(lambda: explorer.position == 4)
    assert _word(explorer) == "f"
    explorer.stop()
    with pytest.raises(Cancelled):
        explorer.wait()
    handle.remove()
    assert _word(explorer) == "e"
