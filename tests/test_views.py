"""Views alone: what they send to the browser, and what they refuse."""

from __future__ import annotations

import base64
import dataclasses
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import traitlets

import layerwidget as lw
from layerwidget.widgets import attention_view, chosen_matrix, esm
from layerwidget.widgets.gallery_packing import eight_bit_roots, without_first
from layerwidget.widgets.messages import unpacked_message
from layerwidget.widgets.parts import parts_of
from tests.tiny import D_VOCAB, N_LAYERS, ids, tiny

N_POS = 7


@pytest.fixture(scope="module")
def trace() -> lw.Trace:
    return lw.HookedModel(tiny("llama")).trace(ids(N_POS))


def sent(view: Any, part: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the browser would get: the plain part, and the arrays read back from their buffers."""
    message, buffers = view._part if part else view._message
    arrays = {
        spec["name"]: np.frombuffer(buffer, spec["dtype"]).reshape(spec["shape"])
        for spec, buffer in zip(message["arrays"], buffers, strict=True)
    }
    return message["meta"], arrays


def test_the_lens_view_sends_what_the_result_holds(trace: lw.Trace) -> None:
    lens = lw.LogitLens(tokens=(5,), k=4).run(trace)
    view = lw.LogitLensView(lens, layers="1-2", layer=1, position=3)
    meta, arrays = sent(view)
    assert (meta["layers"], meta["n_pos"], meta["k"], meta["d_vocab"]) == ([0, 1, 2], N_POS, 4, D_VOCAB)
    shown = np.array([piece["id"] for piece in meta["pieces"]])[arrays["top_ids"]]
    np.testing.assert_array_equal(shown, lens.top_ids)
    np.testing.assert_allclose(arrays["top_probs"] / 65535, lens.top_probs, atol=1e-5)
    np.testing.assert_array_equal(arrays["token_ranks"], lens.token_ranks)
    assert view.layers == "1-2"


def gallery(view: Any) -> np.ndarray:
    """The gallery as the browser reads it, shape [layer, head, query, key]: roots, and 0 where none was sent."""
    meta, arrays = sent(view)
    found = np.zeros((len(meta["layers"]), len(meta["heads"]), meta["size"], meta["size"]), np.uint8)
    roots = iter(arrays["roots"].tolist())
    for query in range(meta["size"]):
        for matrix in found.reshape(-1, meta["size"], meta["size"]):
            n_keys = query + 1 if meta["causal"] else meta["size"]
            matrix[query, :n_keys] = [next(roots) for _ in range(n_keys)]
    assert next(roots, None) is None
    return found


def in_rows(matrix: np.ndarray) -> np.ndarray:
    """A causal matrix as it is sent: the rows of its lower triangle."""
    return np.concatenate([row[: query + 1] for query, row in enumerate(matrix)])


def pooled(pattern: np.ndarray, block: int) -> np.ndarray:
    """The largest weight of each block of a pattern."""
    starts = range(0, pattern.shape[-1], block)
    rows = [[pattern[..., q : q + block, k : k + block].max((-2, -1)) for k in starts] for q in starts]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def roots(weights: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.sqrt(weights.astype(np.float64)))


def test_the_attention_view_sends_lower_triangles_while_they_fit(trace: lw.Trace) -> None:
    grid = lw.Attention("1-2").run(trace)
    view = lw.AttentionView(grid)
    meta, arrays = sent(view)
    assert (meta["layers"], meta["attention_layers"], meta["size"]) == ([1, 2], [0, 1, 2], N_POS)
    assert arrays["roots"].nbytes == 2 * 4 * N_POS * (N_POS + 1) // 2
    np.testing.assert_array_equal(gallery(view), roots(grid.pattern))
    assert (meta["focus_key"], arrays["focus"].dtype) == ("2.0", np.float32)
    np.testing.assert_array_equal(arrays["focus"], in_rows(grid.pattern[1, 0]))


def test_patterns_that_see_ahead_are_sent_whole(trace: lw.Trace) -> None:
    causal = lw.Attention().run(trace)
    grid = dataclasses.replace(causal, causal=False, pattern=causal.pattern[..., ::-1].copy())
    view = lw.AttentionView(grid, layer=0, head=2)
    np.testing.assert_array_equal(gallery(view), roots(grid.pattern))
    np.testing.assert_array_equal(sent(view)[1]["focus"], grid.pattern[0, 2])


def test_what_is_chosen_comes_as_numbers_once(trace: lw.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = lw.Attention().run(trace)
    view = lw.AttentionView(grid)
    whole = sent(view)[0]
    keys: list[str] = []
    monkeypatch.setattr(view, "send", lambda content, buffers=None: keys.append(content["meta"]["focus_key"]))

    def focus() -> np.ndarray:
        return sent(view, part=True)[1]["focus"]

    view.set_state({"layer": 1, "head": 3})
    np.testing.assert_array_equal(focus(), in_rows(grid.pattern[1, 3]))
    view.position, view.hide_first, view.layers = 2, False, "0-1"
    assert keys == ["1.3"]
    view.show_heads = "mean"
    np.testing.assert_array_equal(focus(), in_rows(grid.pattern[:2].mean((0, 1))))
    view.layers = "0,2"
    np.testing.assert_array_equal(focus(), in_rows(grid.pattern[[0, 2]].mean((0, 1))))
    view.show_heads = "max"
    np.testing.assert_array_equal(focus(), in_rows(grid.pattern[[0, 2]].max((0, 1))))
    assert keys == ["1.3", "mean.0-1", "mean.0,2", "max.0,2"]
    assert sent(view)[0] is whole


def test_another_choice_while_numbers_are_sent_gets_its_own(trace: lw.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, view = lw.Attention().run(trace), lw.AttentionView(layer=2, head=0)
    matrix_of = chosen_matrix.Choice.matrix
    readers: list[threading.Thread] = []

    def matrix(choice: Any, *of: Any) -> Any:
        if not readers:
            readers.append(threading.Thread(target=setattr, args=(view, "head", 1)))
            readers[0].start()
            while view.head != 1:
                time.sleep(0.001)
        return matrix_of(choice, *of)

    monkeypatch.setattr(chosen_matrix.Choice, "matrix", matrix)
    view.show(grid)
    readers[0].join(20)
    for part, head in ((False, 0), (True, 1)):
        meta, arrays = sent(view, part)
        assert meta["focus_key"] == f"2.{head}"
        np.testing.assert_array_equal(arrays["focus"], in_rows(grid.pattern[2, head]))


def test_a_head_that_is_not_held_has_no_numbers(trace: lw.Trace) -> None:
    view = lw.AttentionView(lw.Attention("1-2").run(trace), layers="all", layer=0)
    assert sent(view)[0]["focus_key"] == ""
    assert "focus" not in sent(view)[1]
    view.layer = 2
    assert view._part is not None
    part = view._part
    view.layer = 0
    assert view._part is part


@pytest.mark.parametrize("causal", [True, False])
def test_large_galleries_are_pooled_and_the_chosen_matrix_comes_whole(
    monkeypatch: pytest.MonkeyPatch, causal: bool
) -> None:
    monkeypatch.setattr(attention_view, "GALLERY_BYTES", 0)
    grid = lw.Attention().run(lw.HookedModel(tiny("llama")).trace(ids(50)))
    grid = grid if causal else dataclasses.replace(grid, causal=False, pattern=grid.pattern[..., ::-1].copy())
    view = lw.AttentionView(grid, layer=1, head=3, hide_first=False)
    meta, arrays = sent(view)
    assert (meta["size"], meta["block"]) == (13, 4)
    np.testing.assert_array_equal(gallery(view), roots(pooled(grid.pattern, 4)))
    np.testing.assert_array_equal(arrays["focus"], in_rows(grid.pattern[1, 3]) if causal else grid.pattern[1, 3])
    view.hide_first = True
    np.testing.assert_allclose(gallery(view), roots(pooled(without_first(grid.pattern), 4)), atol=1)
    view.hide_first = False
    np.testing.assert_array_equal(gallery(view), roots(pooled(grid.pattern, 4)))


def answered(view: Any, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> list[tuple[dict[str, Any], np.ndarray]]:
    """What is sent when a browser asks for the numbers of a row of cells."""
    heard: list[tuple[dict[str, Any], np.ndarray]] = []

    def send(content: dict[str, Any], buffers: list[bytes]) -> None:
        assert content["type"] == "row"
        heard.append((content["meta"], unpacked_message(content, buffers)["row"]))

    with monkeypatch.context() as patched:
        patched.setattr(view, "send", send)
        revision = view._message[0]["revision"]
        known = {"revision": revision, "focus_key": sent(view)[0]["focus_key"]}
        view._on_message(view, {"type": "row", **known, **asked}, [])
    return heard


def colours(arrays: dict[str, np.ndarray], size: int, causal: bool) -> np.ndarray:
    """The colours of a chosen matrix, shape [query, key]."""
    found = np.zeros((size, size), np.uint8)
    found[np.tri(size, dtype=bool) if causal else np.full((size, size), True)] = arrays["focus"]
    return found


@pytest.mark.parametrize("causal", [True, False])
def test_a_large_matrix_comes_as_colours_and_its_numbers_row_by_row(
    monkeypatch: pytest.MonkeyPatch, causal: bool
) -> None:
    monkeypatch.setattr(chosen_matrix, "NUMBERS_BYTES", 0)
    monkeypatch.setattr(chosen_matrix, "COLOURS_BYTES", 91 if causal else 169)
    grid = lw.Attention().run(lw.HookedModel(tiny("llama")).trace(ids(50)))
    grid = grid if causal else dataclasses.replace(grid, causal=False, pattern=grid.pattern[..., ::-1].copy())
    view = lw.AttentionView(grid, layer=1, head=3, position=6)
    matrix = grid.pattern[1, 3]
    meta, arrays = sent(view)
    assert (meta["focus_block"], meta["focus_key"], meta["row_first"]) == (4, "1.3", 4)
    np.testing.assert_allclose(colours(arrays, 13, causal), roots(pooled(without_first(matrix), 4)), atol=1)
    np.testing.assert_array_equal(arrays["row"], matrix[4:8, : 8 if causal else 50])
    # The browser cannot leave out the first token by itself.
    view.hide_first = False
    arrays = sent(view, part=True)[1]
    np.testing.assert_array_equal(colours(arrays, 13, causal), roots(pooled(matrix, 4)))
    ((meta, row),) = answered(view, monkeypatch, row=12)
    assert meta == {"focus_key": "1.3", "first": 48}
    np.testing.assert_array_equal(row, matrix[48:])
    for wrong in ({"row": 13}, {"row": -1}, {"row": "1"}, {"row": 1, "revision": -1}, {"row": 1, "focus_key": "1.2"}):
        assert answered(view, monkeypatch, **wrong) == []
    # What is drawn is asked again by another front end; a row is not.
    assert view._part is not None
    assert sorted(unpacked_message(*view._part)) == ["focus", "row"]
    view.show_heads, view.layers = "mean", "0-1"
    meta, arrays = sent(view, part=True)
    np.testing.assert_array_equal(colours(arrays, 13, causal), roots(pooled(grid.pattern[:2].mean((0, 1)), 4)))
    np.testing.assert_array_equal(arrays["row"], grid.pattern[:2].mean((0, 1))[4:8, : 8 if causal else 50])


def test_the_numbers_of_a_small_matrix_are_all_there(trace: lw.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    view = lw.AttentionView(lw.Attention().run(trace))
    meta, arrays = sent(view)
    assert (meta["focus_block"], "row" in arrays) == (0, False)
    assert answered(view, monkeypatch, row=0) == []


_LENGTHS = [(723, True, 0), (724, True, 1), (1024, True, 1), (4000, True, 4), (512, False, 0), (513, False, 1)]


@pytest.mark.parametrize(("n_pos", "causal", "block"), [*_LENGTHS, (4000, False, 6)])
def test_no_matrix_is_sent_in_more_than_a_megabyte(n_pos: int, causal: bool, block: int) -> None:
    grid = lw.Attention("0", heads="0").run(lw.HookedModel(tiny("llama")).trace(ids(5)))
    pattern = np.full((1, 1, n_pos, n_pos), 1 / n_pos, np.float32)
    grid = dataclasses.replace(grid, token_ids=np.zeros(n_pos, int), pattern=pattern, causal=causal)
    chosen = chosen_matrix.chosen_matrix(grid, chosen_matrix.Choice("head", "all", 0, 0), hide_first=False)
    assert chosen is not None
    meta, arrays = chosen.packed(n_pos - 1)
    assert meta["focus_block"] == block
    assert sum(array.nbytes for array in arrays.values()) <= 2**20


def test_a_long_matrix_of_an_appended_prompt_is_packed_from_its_new_rows_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_matrix, "NUMBERS_BYTES", 0)
    monkeypatch.setattr(chosen_matrix, "COLOURS_BYTES", 6)
    packed: list[int] = []
    cells_of = chosen_matrix.cells_of

    def counted(numbers: np.ndarray, *look: Any) -> np.ndarray:
        packed.append(numbers.shape[-1])
        return cells_of(numbers, *look)

    monkeypatch.setattr(chosen_matrix, "cells_of", counted)
    model, question, view = lw.HookedModel(tiny("llama")), lw.Attention(), lw.AttentionView(hide_first=False)
    before: lw.AttentionGrid | None = None
    text = ids(12)
    for n_pos, n_same, keys in ((10, 0, [4, 8, 10]), (11, 10, [11]), (12, 11, [12]), (12, 3, [4, 8, 12])):
        packed.clear()
        tokens = text[:n_pos] if n_same != 3 else [*text[:3], 5, *text[4:]]
        (before,) = question.answers(model.trace(tokens), before, n_same, ())
        view.show(before)
        matrix = before.pattern[view.layer, view.head]
        np.testing.assert_array_equal(colours(sent(view)[1], 3, True), roots(pooled(matrix, 4)))
        assert packed == keys


def test_of_an_appended_prompt_only_the_new_rows_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []
    row_of = attention_view.gallery_row

    def counted(grid: lw.AttentionGrid, row: int, *look: Any) -> bytes:
        packed.append(row)
        return row_of(grid, row, *look)

    monkeypatch.setattr(attention_view, "gallery_row", counted)
    model, question, view = lw.HookedModel(tiny("llama")), lw.Attention(), lw.AttentionView()

    def shown(token_ids: list[int], before: lw.AttentionGrid | None, n_same: int) -> lw.AttentionGrid:
        packed.clear()
        (grid,) = question.answers(model.trace(token_ids), before, n_same, ())
        view.show(grid)
        np.testing.assert_array_equal(gallery(view), roots(grid.pattern))
        return grid

    text = ids(12)
    first = shown(text[:5], None, 0)
    second = shown(text[:7], first, 5)
    third = shown(text[:9], second, 7)
    assert packed == [7, 8]
    # In other memory, but the same numbers.
    other = shown([*text[:6], 3, 2], third, 6)
    assert not np.shares_memory(other.pattern, third.pattern)
    assert packed == [6, 7]
    shorter = shown(text[:4], other, 4)
    assert packed == []
    shown([*text[:4], 9], shorter, 4)
    assert packed == [4]
    assert not np.shares_memory(shorter.pattern, other.pattern)
    # Where nobody has kept count, all of it is new.
    shown([*text[:4], 9], dataclasses.replace(shorter), 4)
    assert packed == list(range(5))
    assert third.n_alike(other) == 6
    assert third.n_alike(dataclasses.replace(third)) == 0
    assert third.n_alike(lw.Attention("0").run(model.trace(text[:9]))) == 0
    # Four queries to a cell: the last one of the earlier result was not full.
    monkeypatch.setattr(attention_view, "gallery_block", lambda grid: 4)
    packed.clear()
    view.show(second)
    assert packed == [0, 1]
    packed.clear()
    view.show(third)
    assert packed == [1, 2]
    np.testing.assert_allclose(gallery(view), roots(pooled(without_first(third.pattern), 4)), atol=1)


def test_the_roots_of_weights_are_near_them() -> None:
    weights = np.linspace(0, 1, 100_001, dtype=np.float32)
    found = eight_bit_roots(weights)
    assert (found[0], found[-1], found.dtype) == (0, 255, np.uint8)
    assert np.abs((found / 255) ** 2 - weights).max() < 0.004
    assert eight_bit_roots(np.float32([3.8e-6, 3.9e-6, -1e-9, 1.0000001])).tolist() == [0, 1, 0, 255]


def test_hiding_the_first_key_scales_the_rest() -> None:
    pattern = np.array([[[1, 0, 0], [0.6, 0.4, 0], [0.5, 0.1, 0.4]]], dtype=np.float32)
    np.testing.assert_allclose(without_first(pattern), [[[0, 0, 0], [0, 1, 0], [0, 0.2, 0.8]]], atol=1e-6)


def test_a_result_is_not_in_the_saved_state(trace: lw.Trace) -> None:
    view = lw.LogitLensView(lw.LogitLens().run(trace))
    state = {name: value for name, value in view.get_state().items() if name not in {"_esm", "_css"}}
    assert len(str(state)) < 3000


def test_the_browser_gets_the_last_message_when_it_asks(trace: lw.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    view = lw.LogitLensView(lw.LogitLens().run(trace))
    messages: list[Any] = []
    monkeypatch.setattr(view, "send", lambda content, buffers=None: messages.append(content))
    view._on_message(view, {"type": "ready"}, [])
    assert messages == [view._message[0]]


def test_a_front_end_without_binary_messages_gets_text_from_then_on(
    trace: lw.Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = lw.Attention().run(trace)
    view, other = lw.AttentionView(attention, layer=1), lw.AttentionView(attention)
    wire: list[tuple[dict[str, Any], list[bytes]]] = []
    for one in (view, other):
        monkeypatch.setattr(one, "send", lambda content, buffers=None: wire.append((content, buffers)))
    view._on_message(view, {"type": "ready"}, [])
    assert ("base64" in wire[0][0], wire[0][1]) == (False, view._message[1])  # type: ignore[index]
    view._on_message(view, {"type": "ready", "base64": True}, [])
    view.head = 1
    view.outdate()
    view._on_message(view, {"type": "ready"}, [])
    assert [content["type"] for content, _ in wire] == ["data", "data", "part", "part", "data", "part"]
    for (content, buffers), arrays in zip(wire[1:], [view._message[1], None, [], view._message[1], []], strict=True):  # type: ignore[index]
        read = [base64.b64decode(text, validate=True) for text in content["base64"]]
        assert buffers == []
        assert len(read) == len(content["arrays"])
        assert arrays is None or read == arrays
    chosen = np.frombuffer(base64.b64decode(wire[2][0]["base64"][0]), np.float32)
    assert np.isclose(chosen, in_rows(attention.matrices[attention.layers.index(1), 1])).all()
    # It stays with that widget.
    other.head = 1
    assert "base64" not in wire[-1][0]
    assert wire[-1][1]


def test_views_are_linked_with_plain_traitlets(trace: lw.Trace) -> None:
    lens, attention = lw.LogitLensView(lw.LogitLens().run(trace)), lw.AttentionView(lw.Attention().run(trace))
    traitlets.link((lens, "layers"), (attention, "layers"))
    lens.layers = "late"
    assert attention.layers == "2"


def test_a_wrong_keyword_raises() -> None:
    with pytest.raises(TypeError, match="no trait layrs"):
        lw.LogitLensView(layrs="1")
    with pytest.raises(traitlets.TraitError, match="colour"):
        lw.LogitLensView(colour="rainbow")


def test_the_slider_is_an_inclusive_range() -> None:
    slider = lw.LayerSlider((2, 5), max=11)
    assert (slider.value, slider.layers) == ((2, 5), "2-5")
    assert slider.bands == {"early": [0, 2], "middle": [3, 8], "late": [9, 11]}
    slider.layers = "late"
    assert slider.value == (9, 11)
    slider.value = (0, 0)
    assert slider.layers == "0"
    for wrong in [(5, 2), (-1, 3), (0, 12)]:
        with pytest.raises(lw.SelectionError, match="0 to 11"):
            slider.value = wrong
    slider.max = 3
    assert (slider.value, slider.layers, slider.bands["late"]) == ((0, 0), "0", [3, 3])
    part = lw.LayerSlider(min=3, max=9)
    assert (part.value, part.layers) == ((3, 9), "3-9")
    part.layers = "all"
    assert part.layers == "3-9"
    with pytest.raises(lw.SelectionError, match="3 to 9"):
        part.layers = "0-2"
    assert part.layers == "3-9"
    with pytest.raises(lw.SelectionError, match="min <= max"):
        lw.LayerSlider(min=4, max=3)


def test_the_curves_follow_position_quantity_and_layers(trace: lw.Trace) -> None:
    lens = lw.LogitLens(tokens=(5, 6)).run(trace)
    curves = lw.DepthCurves(lens, position=2, layers="1-2", layer=2)
    np.testing.assert_allclose(curves.lines.y, np.exp(lens.token_log_probs[:, 2].T))
    curves.driver.tokens = []
    np.testing.assert_allclose(curves.lines.y, lens.final_probs[:, 2])
    curves.quantity = "entropy"
    np.testing.assert_allclose(curves.lines.y, lens.entropy_nats[:, 2])
    curves.driver.position = 4
    curves.quantity = "kl"
    np.testing.assert_allclose(curves.lines.y, lens.kl_to_final_nats[:, 4])
    curves.quantity = "probability"
    curves.driver.tokens = [6]
    np.testing.assert_allclose(curves.lines.y, np.exp(lens.token_log_probs[:, 4, 1]))
    assert curves.driver.detail == "probability after “#93”"
    np.testing.assert_array_equal(curves._band.y, [0, 0, 1, 1, 1, 1])
    curves.driver.layers = "0,2"
    np.testing.assert_array_equal(curves._band.y, [1, 1, 0, 0, 1, 1])
    curves.driver.layer = 0
    np.testing.assert_array_equal(curves._cursor.x, [0, 0])


def test_the_divergence_of_jensen_and_shannon_is_a_curve_where_it_was_asked_for(trace: lw.Trace) -> None:
    lens = lw.LogitLens(jsd=True).run(trace)
    curves = lw.DepthCurves(lens, quantity="jsd", position=3)
    assert lens.jsd_nats is not None
    np.testing.assert_array_equal(curves.lines.y, lens.jsd_nats[:, 3])
    assert curves.lines.y.max() > 1e-3
    assert curves.driver.detail.startswith("nats after")
    # The bound, ln 2, is always in sight.
    assert 0.69 < curves.lines.scales["y"].max < 0.75
    curves.show(lw.LogitLens().run(trace))
    assert np.isnan(curves.lines.y).all()
    assert "LogitLens(jsd=True) asks for it" in curves.driver.detail


def test_curves_of_a_single_layer(trace: lw.Trace) -> None:
    curves = lw.DepthCurves(lw.LogitLens(layers=1).run(trace))
    np.testing.assert_array_equal(curves.lines.x, [1, 1])
    assert N_LAYERS == 3


def test_curves_make_no_widgets_while_they_are_moved(trace: lw.Trace) -> None:
    curves = lw.DepthCurves(lw.LogitLens(tokens=(5, 6)).run(trace))
    before = parts_of(curves)
    for position in range(N_POS):
        curves.driver.position, curves.driver.layer = position, position % N_LAYERS
    curves.driver.tokens = [6]
    assert parts_of(curves) == before
    curves.close()
    assert all(widget.comm is None for widget in before)


def test_a_view_alone_takes_over_what_its_result_has(trace: lw.Trace) -> None:
    view = lw.LogitLensView(lw.LogitLens(tokens=(8, 9)).run(trace))
    assert (view.tokens, view.token) == ([8, 9], 8)
    attention = lw.AttentionView(lw.Attention(layers="0-1", heads="2-3").run(trace))
    assert (attention.layers, attention.layer, attention.head) == ("0-1", 1, 2)


def test_a_result_of_a_smaller_model_brings_everything_into_range(trace: lw.Trace) -> None:
    view = lw.LogitLensView(layers="3-9", layer=9)
    view.show(lw.LogitLens().run(trace))
    assert (view.layers, view.layer) == ("0-2", 2)


@pytest.mark.parametrize("tokens", [[1, 2, 3, 4, 5, 6], [1, 1], [-1]])
def test_pinned_tokens_are_few_and_different(tokens: list[int]) -> None:
    with pytest.raises(lw.SelectionError, match="at most 5"):
        lw.LogitLensView(tokens=tokens)


def test_selection_is_one_value() -> None:
    view = lw.AttentionView()
    view.selection = lw.Selection(layer=1, head=2, position=3, token=4)
    assert (view.layer, view.head, view.position, view.token) == (1, 2, 3, 4)
    assert view.selection == lw.Selection(1, 2, 3, 4)
    with pytest.raises(lw.SelectionError, match="Selection"):
        view.selection = (1, 2)  # type: ignore[assignment]


@pytest.mark.parametrize(
    "module",
    [
        "attention_view",
        "curve_driver",
        "error_panel",
        "heat_grid",
        "layer_map",
        "layer_slider",
        "logit_lens_view",
        "prompt_editor",
        "status_line",
    ],
)
def test_every_module_stands_alone(module: str) -> None:
    text = esm.panel_text(module)
    assert "import " not in text
    assert text.count("export default") == 1
    assert "\nexport " not in text.replace("\nexport default", "")


def test_the_style_sheet_is_shared_until_it_is_closed_and_brought_along_in_marimo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = lw.LogitLensView(), lw.AttentionView()
    assert first._sheet is not None
    assert first._sheet is second._sheet
    assert first._sheet._css == esm.style_text()
    assert not hasattr(first, "_css")
    second.close()
    assert first._sheet.comm is not None
    first._sheet.close()
    third = lw.AttentionView()
    assert third._sheet is not first._sheet
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: True))
    alone: Any = lw.AttentionView()
    assert (alone._sheet, alone._css) == (None, esm.style_text())
    assert "_css" in alone.keys
