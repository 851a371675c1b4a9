"""Derived questions: what several of them are answered from is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.analysis import logit_lens
from layerwidget.cancellation import cancelled_by
from layerwidget.errors import Cancelled, LayerWidgetError
from layerwidget.questions import TraceQuestion, sources
from tests.tiny import hooked, ids

N_LAYERS = 3
SETTLED, EMERGED = lw.SettleDepth(), lw.Emergence(4)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many layers and positions the lens decodes, call by call."""
    seen: list[tuple[int, int]] = []
    right = logit_lens.lens_cells

    def counted(question: Any, trace: Any, layers: tuple[int, ...], first: int, end: int, *others: Any) -> Any:
        seen.append((len(layers), end - first))
        return right(question, trace, layers, first, end, *others)

    monkeypatch.setattr(logit_lens, "lens_cells", counted)
    return seen


def assert_right(model: lw.HookedModel, prompt: list[int], question: TraceQuestion[Any], found: Any) -> None:
    expected = question.run(model.trace(prompt))
    np.testing.assert_array_equal(found.layer, expected.layer)
    np.testing.assert_array_equal(found.final_ids, expected.final_ids)
    np.testing.assert_array_equal(found.final_ranks, expected.final_ranks)
    np.testing.assert_array_equal(found.token_ids, expected.token_ids)
    assert dict(found.pieces) == dict(expected.pieces)


def test_what_is_asked_anyway_is_the_source() -> None:
    lens = lw.LogitLens(k=7, tokens=(1,))
    assert sources([SETTLED, lens, EMERGED, lw.Attention("0")]) == {SETTLED: lens, EMERGED: lens}
    for other in (lw.LogitLens("0-1"), lw.LogitLens(component="attn_out"), lw.PositionLoss()):
        found = sources([other, EMERGED, SETTLED])
        assert found[SETTLED] == found[EMERGED] == lw.LogitLens(k=1)
    assert sources([lens]) == {}


@pytest.mark.parametrize("kind", ["llama", "bert"])
@pytest.mark.parametrize("others", [(), (lw.LogitLens(k=7),), (lw.LogitLens("1"),)])
def test_the_lens_is_decoded_once_per_edit(
    kind: str, others: tuple[lw.LogitLens, ...], decoded: list[tuple[int, int]]
) -> None:
    model, prompt = hooked(kind), ids(12)
    live = lw.Live(model)
    live.update(prompt, SETTLED, EMERGED, *others)
    live.prepare()
    for edited in ([*prompt, 17], [*prompt[:8], 9, 11], prompt[:5]):
        decoded.clear()
        settled, emerged, *_ = live.update(edited, SETTLED, EMERGED, *others)
        cells = sum(layers * positions for layers, positions in decoded)
        new = len(edited) - live.reused if kind == "llama" else len(edited)
        assert cells == new * (N_LAYERS + (1 if others == (lw.LogitLens("1"),) else 0))
        assert_right(model, edited, SETTLED, settled)
        assert_right(model, edited, EMERGED, emerged)


def test_another_source_takes_over(decoded: list[tuple[int, int]]) -> None:
    model, prompt = hooked("llama"), ids(9)
    live = lw.Live(model)
    live.update(prompt, SETTLED)
    with_lens = [*prompt, 3]
    live.update(with_lens, SETTLED, lw.LogitLens(k=7))
    decoded.clear()
    longer = [*with_lens, 4]
    (settled,) = live.update(longer, SETTLED)
    assert_right(model, longer, SETTLED, settled)
    (skipped,) = live.update(longer, SETTLED, interventions=(lw.SkipLayers(1),))
    expected = SETTLED.run(model.trace(longer, interventions=(lw.SkipLayers(1),)))
    np.testing.assert_array_equal(skipped.final_ranks, expected.final_ranks)


def test_whoever_asks_hears_of_nothing_else() -> None:
    live = lw.Live(hooked("llama"))
    heard: list[Any] = []
    found = live.update(
        ids(9), EMERGED, lw.Attention("0"), answered=lambda question, answer: heard.append((question, answer)),
        previewed=lambda question, answer: heard.append((question, answer)), on_screen="all",
    )  # fmt: skip
    assert dict(heard) == dict(zip((EMERGED, lw.Attention("0")), found, strict=True))
    again = live.update(ids(9), EMERGED, SETTLED)
    assert again[0] is found[0]
    passes = live.passes
    assert live.update(ids(9), EMERGED, SETTLED) == again
    assert live.passes == passes


def test_without_a_source_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> Any:
        raise lw.MissingComponentError("no lens here")

    monkeypatch.setattr(logit_lens, "lens_cells", refuses)
    live, heard = lw.Live(hooked("llama")), []

    def refused(question: TraceQuestion[Any], error: LayerWidgetError) -> None:
        heard.append((question, str(error)))

    answers = live.update(ids(6), SETTLED, lw.BlockInfluence(), EMERGED, refused=refused)
    assert heard == [(SETTLED, "no lens here"), (EMERGED, "no lens here")]
    assert (answers[0], answers[2]) == (None, None)
    assert answers[1].values.shape == (N_LAYERS,)
    with pytest.raises(lw.MissingComponentError, match="no lens here"):
        live.update(ids(7), SETTLED)
    monkeypatch.undo()
    assert_right(live.model, ids(7), SETTLED, live.update(ids(7), SETTLED)[0])


def test_after_a_cancelled_one_the_next_is_right() -> None:
    live, polls = lw.Live(hooked("llama")), iter([False, False, False, True])
    with pytest.raises(Cancelled), cancelled_by(lambda: next(polls, True)):
        live.update(ids(9), SETTLED, EMERGED)
    assert_right(live.model, ids(9), SETTLED, live.update(ids(9), SETTLED, EMERGED)[0])
