"""Views alone: what they send to the browser, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traitlets

import layerwidget as lw
from layerwidget.widgets import attention_view, esm
from layerwidget.widgets.attention_view import max_pooled, without_first
from layerwidget.widgets.base import parts_of
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


def test_the_attention_view_sends_whole_matrices_while_they_fit(trace: lw.Trace) -> None:
    grid = lw.Attention("1-2").run(trace)
    meta, arrays = sent(lw.AttentionView(grid))
    assert (meta["layers"], meta["attention_layers"], meta["size"]) == ([1, 2], [0, 1, 2], N_POS)
    np.testing.assert_allclose(arrays["pattern"] / 65535, grid.pattern, atol=1e-5)


def test_large_galleries_are_pooled_and_the_chosen_matrix_comes_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_view, "GALLERY_BYTES", 0)
    grid = lw.Attention().run(lw.HookedModel(tiny("llama")).trace(ids(50)))
    view = lw.AttentionView(grid, layer=1, head=3, hide_first=False)
    meta, arrays = sent(view)
    assert (meta["size"], meta["block"]) == (13, 4)
    np.testing.assert_allclose(arrays["pattern"] / 65535, max_pooled(grid.pattern, 16), atol=1e-5)

    def focus() -> np.ndarray:
        return sent(view, part=True)[1]["focus"] / 65535

    np.testing.assert_allclose(focus(), grid.pattern[1, 3], atol=1e-5)
    view.head = 0
    np.testing.assert_allclose(focus(), grid.pattern[1, 0], atol=1e-5)
    view.show_heads = "mean"
    np.testing.assert_allclose(focus(), grid.mean(), atol=1e-5)
    view.layers, view.show_heads = "2", "max"
    np.testing.assert_allclose(focus(), grid.pattern[2].max(0), atol=1e-5)
    assert sent(view)[0] is meta
    view.hide_first = True
    hidden = max_pooled(without_first(grid.pattern), 16)
    np.testing.assert_allclose(sent(view)[1]["pattern"] / 65535, hidden, atol=1e-5)


def test_hiding_the_first_key_scales_the_rest() -> None:
    pattern = np.array([[[1, 0, 0], [0.6, 0.4, 0], [0.5, 0.1, 0.4]]], dtype=np.float32)
    np.testing.assert_allclose(without_first(pattern), [[[0, 0, 0], [0, 1, 0], [0, 0.2, 0.8]]], atol=1e-6)


def test_pooling_keeps_the_largest() -> None:
    pattern = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    np.testing.assert_array_equal(max_pooled(pattern, 3), [[[6, 8, 9], [16, 18, 19], [21, 23, 24]]])
    assert max_pooled(pattern, 5) is pattern


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
        "layer_map",
        "layer_slider",
        "logit_lens_view",
        "prompt_editor",
        "status_line",
    ],
)
def test_every_module_stands_alone(module: str) -> None:
    text = esm.module_text(module)
    assert "import " not in text
    assert text.count("export default") == 1
    assert "\nexport " not in text.replace("\nexport default", "")
