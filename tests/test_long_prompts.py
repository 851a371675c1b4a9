"""Prompts of hundreds and thousands of tokens: what is in sight comes first, and what is left out is said."""

from __future__ import annotations

import copy
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import layerwidget as lw
from layerwidget.engine import told
from layerwidget.engine.local import ANSWER_BYTES
from layerwidget.widgets.attention_view import GALLERY_BYTES
from layerwidget.widgets.chosen_matrix import COLOURS_BYTES
from layerwidget.widgets.lens_page import ATTENTION_BYTES
from tests.tiny import N_HEADS, N_LAYERS, letters, tiny

N_CTX = 4096


@pytest.fixture(scope="module")
def explorer() -> Iterator[lw.Explorer]:
    """One of a tiny model that reads long prompts; its ways of reusing something are known already."""
    small = tiny("llama")
    config = copy.deepcopy(small.config)
    config.max_position_embeddings = N_CTX
    hf_model = type(small)(config).eval()
    hf_model.load_state_dict(small.state_dict())
    explorer = lw.Explorer(lw.HookedModel(hf_model, letters(), "tiny, long"), "abc")
    explorer.wait()
    deadline = time.monotonic() + 120
    while explorer.report is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert explorer.report is not None
    yield explorer
    explorer.close()


@pytest.fixture
def parts(explorer: lw.Explorer, monkeypatch: pytest.MonkeyPatch) -> list[lw.LensGrid]:
    """What the lens is shown, in order; a second part comes however fast the machine is."""
    shown: list[lw.LensGrid] = []
    show = explorer.lens_view.show
    monkeypatch.setattr(explorer.lens_view, "show", lambda lens, prompt: (shown.append(lens), show(lens, prompt)))
    monkeypatch.setattr(told, "_NEXT_PART_S", -1.0)
    return shown


def letters_of(n_pos: int, seed: int) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(n_pos))


def show(explorer: lw.Explorer, **traits: Any) -> None:
    """Set something and wait; what is kept for later stays within its limit."""
    with explorer.asking_once():
        for name, value in traits.items():
            setattr(explorer, name, value)
    explorer.wait()
    assert explorer._answering.live.answer_bytes <= ANSWER_BYTES


def assert_as_computed_anew(explorer: lw.Explorer) -> None:
    """All of the lens, and of attention some rows of every head."""
    trace = explorer.model.trace(explorer.prompt)
    lens, attention = explorer.results["lens"], explorer.results["attention"]
    expected = explorer.questions["lens"].run(trace)
    assert lens.complete
    np.testing.assert_array_equal(lens.token_ids, trace.tokens.ids)
    for name in ("top_probs", "final_probs", "entropy_nats", "kl_to_final_nats"):
        np.testing.assert_allclose(getattr(lens, name), getattr(expected, name), rtol=1e-3, atol=2e-4)
    n_pos = len(trace.tokens)
    for place, layer in enumerate(attention.layers):
        for row in (0, n_pos // 3, n_pos // 2, n_pos - 1):
            weights = trace.head_row(layer, row)[0].numpy()[list(attention.heads), : row + 1]
            np.testing.assert_allclose(attention.pattern[place, :, row, : row + 1], weights, rtol=1e-3, atol=1e-5)
            assert not attention.pattern[place, :, row, row + 1 :].any()


def recomputed(explorer: lw.Explorer) -> int:
    """How many positions the status line says were run."""
    found = re.search(r"(\d+) recomputed", explorer.status.work)
    return int(found[1]) if found else len(explorer.prompt)


@pytest.mark.parametrize("n_pos", [512, 2048, 4000])
def test_long_prompts_are_edited_piece_by_piece(explorer: lw.Explorer, parts: list[lw.LensGrid], n_pos: int) -> None:
    prompt, middle = "xyz"[n_pos // 2000] + letters_of(n_pos - 1, n_pos), n_pos // 2
    sight = slice(n_pos - 60, n_pos - 30)
    explorer.lens_view.in_sight = (sight.start, sight.stop)
    edits = {
        "cold": (prompt, 0),
        "end": (prompt + "a", n_pos),
        "middle": (prompt[:middle] + ("a" if prompt[middle] != "a" else "b") + prompt[middle + 1 :], middle),
    }
    # Nothing is gained by doing everything at every length, which takes minutes.
    if n_pos == 512:
        edits["start"] = ("q" + prompt[1:], 0)
    if n_pos == 4000:
        del edits["middle"]
    for name, (text, n_same) in edits.items():
        parts.clear()
        show(explorer, prompt=text, layers="1-2")
        *first, whole = [part.done for part in parts]
        assert whole is None
        assert recomputed(explorer) == len(text) - n_same
        assert_as_computed_anew(explorer)
        if name == "end":
            assert not first
            continue
        assert len(first) == 2
        assert first[0][:, :n_same].all()
        assert first[0][1:, -1].all()
        assert first[0][:, n_same:].sum() == N_LAYERS - 1
        assert first[1][:, sight].all()
        assert first[1][:, n_same:].sum() == N_LAYERS * 30 + N_LAYERS - 1


@pytest.mark.parametrize(("n_pos", "n_layers", "block"), [(512, 3, 1), (2048, 3, 4), (4000, 1, 5)])
def test_attention_of_long_prompts_is_pooled_or_left_out_and_that_is_said(
    explorer: lw.Explorer, n_pos: int, n_layers: int, block: int
) -> None:
    show(explorer, prompt=letters_of(n_pos, 1), layers="all", layer=0)
    for layer in (0, 2) if n_layers > 1 else (0,):
        show(explorer, layer=layer)
        attention, shown = explorer.results["attention"], explorer.attention_view.shown
        assert attention.pattern.nbytes <= ATTENTION_BYTES
        assert attention.layers == ((layer,) if n_layers == 1 else (0, 1, 2))
        assert (f"attention of layers {layer} only" in explorer.status.work) == (n_layers == 1)
        assert attention.heads == tuple(range(N_HEADS))
        assert (shown.meta["block"], shown.meta["size"]) == (block, -(-n_pos // block))
        assert shown.arrays["roots"].nbytes <= GALLERY_BYTES * 1.1
        # The chosen head is there in numbers, or in colours with the numbers of the chosen query.
        assert shown.meta["focus_key"] == f"{layer}.{explorer.head}"
        assert shown.meta["focus_block"] == {512: 0, 2048: 2, 4000: 4}[n_pos]
        if n_pos == 512:
            assert shown.arrays["focus"].size == n_pos * (n_pos + 1) // 2
        else:
            assert shown.arrays["focus"].nbytes <= COLOURS_BYTES
            query = explorer.position - shown.meta["row_first"]
            expected = attention.pattern[attention.layers.index(layer), explorer.head, explorer.position]
            n_seen = shown.arrays["row"].shape[-1]
            assert n_seen >= explorer.position + 1
            np.testing.assert_array_equal(shown.arrays["row"][query], expected[:n_seen])
        assert sum(array.nbytes for array in shown.arrays.values()) <= 2**21 * 1.05
    passes = explorer._answering.live.passes
    show(explorer, layers="1", position=n_pos // 4)
    assert explorer.results["attention"].layers == (1,)
    assert "only" not in explorer.status.work
    assert explorer._answering.live.passes == passes
    assert_as_computed_anew(explorer)


def test_what_is_held_of_a_long_prompt_is_said(explorer: lw.Explorer) -> None:
    show(explorer, prompt=letters_of(2048, 2), layers="all", layer=2)
    live, attention = explorer._answering.live, explorer.results["attention"].pattern
    assert live.answer_bytes < attention.nbytes < live.held_answer_bytes
    deadline = time.monotonic() + 60
    said = f"(pass {live.held_pass_bytes >> 20} + answers {live.held_answer_bytes >> 20})"
    while said not in explorer.status.work and time.monotonic() < deadline:
        time.sleep(0.02)
    assert said in explorer.status.work
    show(explorer, prompt="")
    assert "kept" not in explorer.status.work
