"""After an edit only what is new travels; in the browser it is put together to exactly what the kernel has."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright._impl._driver import compute_driver_executable

import layerwidget as lw
from layerwidget.widgets.additions import additions
from layerwidget.widgets.base import View
from layerwidget.widgets.messages import Message, packed_message, without_buffers
from layerwidget.widgets.word_table import WordTable
from tests.received import whole

#: Each is an edit of the one before: typed, replaced, deleted, inserted, pasted, undone, another one, a single letter.
PROMPTS = ["abcdef", "abcdefg", "abcxefg", "abcxe", "aabcxe", "aabcxeaabcxezzz", "aabcxe", "zyx", "z", "zy"]


class Sent:
    """What a view sends."""

    def __init__(self, view: View, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[Message] = []
        monkeypatch.setattr(view, "send", lambda content, buffers=None: self.messages.append((content, buffers or [])))


def _answers(model: lw.HookedModel, question: Any) -> Iterator[Any]:
    return (question.run(model.trace(prompt)) for prompt in PROMPTS)


def _in_browser(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """What the browser's store holds after each message, and what it asked for."""
    node, _driver = compute_driver_executable()
    script = Path(__file__).parent / "js/put_together.mjs"
    lines = "".join(json.dumps(without_buffers(message)[0]) + "\n" for message in messages)
    run = subprocess.run([node, script], input=lines, capture_output=True, text=True, timeout=60, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def _as_in_browser(message: Message) -> dict[str, Any]:
    content, buffers = message
    kinds = {
        "uint8": "Uint8Array",
        "uint16": "Uint16Array",
        "uint32": "Uint32Array",
        "int32": "Int32Array",
        "float32": "Float32Array",
    }
    arrays = {
        spec["name"]: {"shape": spec["shape"], "kind": kinds[spec["dtype"]], "bytes": base64.b64encode(buffer).decode()}
        for spec, buffer in zip(content["arrays"], buffers, strict=True)
    }
    return {**content["meta"], "revision": content["revision"], **arrays}


@pytest.mark.parametrize("kind", ["lens", "attention", "heat"])
def test_the_browser_has_what_the_kernel_has(model: lw.HookedModel, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    view: Any = {"lens": lw.LogitLensView, "attention": lw.AttentionView, "heat": lw.ResidualView}[kind]()
    question = {
        "lens": lw.LogitLens(tokens=(3,)),
        "attention": lw.Attention(layers="all"),
        "heat": lw.ResidualStream(),
    }[kind]
    sender = view.grid_view if kind == "heat" else view
    sent, held, now = Sent(sender, monkeypatch), list[Message](), None
    for answer in _answers(model, question):
        view.show(answer)
        now = whole(now, sent.messages[-1])
        assert now == sender._message
        held.append(now)
    assert sum("base" in content for content, _ in sent.messages) > len(PROMPTS) / 2
    found = _in_browser(sent.messages)
    assert [one["held"] for one in found] == json.loads(json.dumps([_as_in_browser(one) for one in held]))
    assert all(one["asked"] == [] for one in found)


def test_an_appended_token_sends_its_own_column_only(model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    live, view = lw.Live(model), lw.LogitLensView()
    live.update("a", lw.LogitLens())
    live.prepare()
    sent = Sent(view, monkeypatch)
    for prompt in ("abcdefghijklmnopqrst", "abcdefghijklmnopqrstu"):
        view.show(live.update(prompt, lw.LogitLens())[0])
    (first, all_bytes), (second, new_bytes) = sent.messages
    assert second["base"] == first["revision"]
    assert sum(map(len, new_bytes)) * 20 == sum(map(len, all_bytes))
    assert len(second["meta"]["prompt_visible"]) == 1


def test_a_browser_that_missed_a_message_asks_for_all(model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    view = lw.LogitLensView()
    sent = Sent(view, monkeypatch)
    for answer in _answers(model, lw.LogitLens()):
        view.show(answer)
    assert view._message is not None
    first, _missed, third = sent.messages[:3]
    found = _in_browser([first, third, sent.messages[1], view._message])
    assert found[1]["asked"] == [{"type": "ready"}]
    assert found[1]["held"] == found[0]["held"]
    assert found[-1]["held"] == json.loads(json.dumps(_as_in_browser(view._message)))
    assert found[-1]["asked"] == []


def test_what_a_view_has_sent_whole_is_what_it_sends_to_whoever_asks(
    model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = lw.LogitLensView()
    sent = Sent(view, monkeypatch)
    for answer in _answers(model, lw.LogitLens()):
        view.show(answer)
    view._on_message(view, {"type": "ready"}, [])
    assert "base" in sent.messages[-2][0]
    assert sent.messages[-1] == view._message
    assert "base" not in sent.messages[-1][0]


def _message(revision: int, **arrays: np.ndarray) -> Message:
    return packed_message("data", revision, {"layers": [0, 1]}, arrays)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        (np.float32([[1, np.nan, 3]]), np.float32([[1, np.nan, 3, 4]]), 3),
        (np.float32([[1, 2, 3]]), np.float32([[1, 2]]), 2),
        (np.float32([[0.0, 2]]), np.float32([[-0.0, 2]]), 0),
        (np.float32([[1, 2], [5, 6]]), np.float32([[1, 2], [4, 6]]), 0),
        (np.float32([[1, 2], [5, 6]]), np.float32([[1, 3], [5, 6]]), 1),
        (np.float32([[1, 2]]), np.float32([[1, 2], [3, 4]]), 0),
        (np.float32([[1, 2]]), np.uint32([[1, 2]]), 0),
        (np.zeros((2, 0), np.float32), np.zeros((2, 3), np.float32), 0),
        (np.zeros((2, 3, 0), np.float32), np.zeros((2, 4, 0), np.float32), 3),
    ],
    ids=["nan", "shorter", "minus zero", "lower row", "middle", "layers", "kind", "from none", "no token"],
)
def test_how_much_is_kept(before: np.ndarray, after: np.ndarray, kept: int) -> None:
    first, second = _message(1, x=before, y=before), _message(2, x=after, y=after)
    added = additions(first, second, {"x": 1})
    assert [spec.get("kept", 0) for spec in added[0]["arrays"]] == [kept, 0]
    assert whole(first, added) == second


def test_words_are_told_once_and_those_of_another_vocabulary_anew(
    model: lw.HookedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = model.trace("abcdefgh").tokens.pieces
    ids = np.array(sorted(pieces))
    table = WordTable()
    assert table.places(ids[:4], pieces).tolist() == [0, 1, 2, 3]
    first = list(table.words)
    assert table.places(ids[[5, 2, 5]], pieces).tolist() == [4, 2, 4]
    assert table.words[:4] == first
    other = {number: type(pieces[number]).from_text(number, "é") for number in pieces}
    assert table.places(ids[[5, 2]], other).tolist() == [1, 0]
    assert {word["text"] for word in table.words} == {"é"}
    monkeypatch.setattr("layerwidget.widgets.word_table.SPARE_WORDS", 2)
    table.places(ids, other)
    assert len(table.words) == len(ids)
    assert table.places(ids[:3], other).tolist() == [0, 1, 2]
    assert len(table.words) == 3
