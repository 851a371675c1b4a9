"""Traces in files: one that was loaded answers every question as the one that was saved; what is wrong is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import layerwidget as lw
from layerwidget.cli import main
from layerwidget.errors import LayerWidgetError
from layerwidget.questions import ModelQuestion
from tests.every_answer import TRACE_QUESTIONS, kinds_in_questions
from tests.tiny import hooked, ids, letters, tiny

QUESTIONS = {**TRACE_QUESTIONS, "cross": lw.CrossAttention()}


def answered(trace: lw.Trace, question: Any) -> Any:
    """The answer, or the words of its refusal."""
    try:
        return question.run(trace)
    except LayerWidgetError as error:
        return f"{type(error).__name__}: {error}"


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, str):
        assert one == other
        return
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=field.name)
        elif isinstance(a, float):
            assert a == pytest.approx(b, rel=1e-5, abs=1e-6, nan_ok=True), field.name
        else:
            assert a == b, field.name


def test_all_questions_of_traces_are_asked() -> None:
    asked = {type(question) for question in QUESTIONS.values()}
    public = {kind for kind in kinds_in_questions(is_question=True) if not issubclass(kind, ModelQuestion)}
    assert asked == public - {lw.TunedLens}


@pytest.mark.parametrize(
    "kind", ["llama", "gpt2", "gemma3", "gpt_neox", "gpt_oss", "granite", "mamba", "jamba", "bert"]
)
def test_every_question_has_the_same_answer(kind: str, tmp_path: Path) -> None:
    model = hooked(kind)
    trace = model.trace(ids(7), interventions=(lw.SkipLayers("0"),) if kind == "gpt2" else ())
    trace.save(tmp_path / "trace.safetensors")
    loaded = model.load_trace(tmp_path / "trace.safetensors")
    n_answers = 0
    for question in QUESTIONS.values():
        expected = answered(trace, question)
        assert_equal(answered(loaded, question), expected)
        n_answers += not isinstance(expected, str)
    assert n_answers >= 6
    untrained = lw.Translators.untrained(model.anatomy.n_layers, model.anatomy.d_model)
    assert_equal(answered(loaded, lw.TunedLens(untrained)), answered(trace, lw.TunedLens(untrained)))
    assert torch.equal(loaded.logits, trace.logits)
    assert loaded.interventions == trace.interventions
    assert loaded.tokens.ids.tolist() == trace.tokens.ids.tolist()


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_both_stacks_come_back(kind: str, tmp_path: Path) -> None:
    model = hooked(kind)
    trace = model.trace(ids(5), target=ids(3))
    trace.save(tmp_path / "trace")
    loaded = model.load_trace(tmp_path / "trace")
    for question in QUESTIONS.values():
        assert_equal(answered(loaded, question), answered(trace, question))
        encoders = (answered(one.stack("encoder"), question) for one in (loaded, trace))
        assert_equal(*encoders)
    assert isinstance(answered(loaded, lw.CrossAttention()), lw.CrossAttentionGrid)
    with pytest.raises(lw.RecordingError, match="encoder's stack"):
        trace.stack("encoder").save(tmp_path / "other")


def test_a_trace_of_several_passes_is_saved_whole(tmp_path: Path) -> None:
    model = hooked("llama")
    live = lw.Live(model)
    live.prepare()
    live.update(ids(5), lw.LogitLens())
    live.update([*ids(5), 9, 8], lw.LogitLens())
    trace = live._continuation.trace(model.tokenize([*ids(5), 9, 8]))
    assert len(trace.patterns[0].parts) == 2
    trace.save(tmp_path / "trace")
    loaded = model.load_trace(tmp_path / "trace")
    for question in QUESTIONS.values():
        assert_equal(answered(loaded, question), answered(trace, question))


def test_half_precision_stays_what_it_was(tmp_path: Path) -> None:
    model = lw.HookedModel(tiny("llama").to(torch.bfloat16))
    trace = model.trace(ids(5))
    trace.save(tmp_path / "trace")
    loaded = model.load_trace(tmp_path / "trace")
    assert loaded.logits.dtype == torch.bfloat16
    assert torch.equal(loaded.resid_post, trace.resid_post)
    with pytest.raises(lw.RecordingError, match="another checkpoint, or another dtype"):
        hooked("llama").load_trace(tmp_path / "trace")


def test_the_manifest_says_what_it_is(tmp_path: Path) -> None:
    model = hooked("llama")
    model.trace(ids(4)).save(tmp_path / "trace")
    with safe_open(tmp_path / "trace", "pt") as file:
        said = json.loads(file.metadata()["layerwidget"])
    assert (said["kind"], said["version"], said["model"]) == ("trace", 1, model.name)
    assert said["token_ids"] == ids(4)
    assert said["dtype"] == "float32"
    assert len(said["fingerprint"]) == 64


def test_a_trace_of_another_model_is_refused(tmp_path: Path) -> None:
    hooked("llama").trace(ids(4)).save(tmp_path / "trace")
    with pytest.raises(lw.RecordingError, match="built otherwise"):
        hooked("gpt2").load_trace(tmp_path / "trace")
    later = tiny("llama")
    with torch.no_grad():
        for weight in later.parameters():
            weight.mul_(1.01)
    with pytest.raises(lw.RecordingError, match="another checkpoint"):
        lw.HookedModel(later).load_trace(tmp_path / "trace")


def _rewritten(path: Path, change: Any) -> None:
    with safe_open(path, "pt") as file:
        said = json.loads(file.metadata()["layerwidget"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(said, tensors)
    save_file(tensors, path, metadata={"layerwidget": json.dumps(said)})


def _short_layer(said: Any, tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "resid_pre" in name)
    tensors[name] = tensors[name][:-1].clone()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said, tensors: said.update(version=7), "version 7"),
        (lambda said, tensors: said.update(kind="answers"), "lw.replay"),
        (lambda said, tensors: said["content"].update(type="os.system"), "not known here"),
        (lambda said, tensors: said["content"].update(decoder=None), "decoder is None"),
        (lambda said, tensors: tensors.pop(next(iter(tensors))), "does not hold"),
        (_short_layer, "in another shape"),
    ],
)
def test_damaged_files_are_refused(change: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    hooked("llama").trace(ids(4)).save(path)
    _rewritten(path, change)
    with pytest.raises(lw.RecordingError, match=words):
        hooked("llama").load_trace(path)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(lw.RecordingError, match="There is no file"):
        hooked("llama").load_trace(tmp_path / "nowhere")
    (tmp_path / "text").write_text("pickle")
    with pytest.raises(lw.RecordingError, match="cannot be read"):
        hooked("llama").load_trace(tmp_path / "text")


def test_a_crash_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwidget.model import trace_files

    path = tmp_path / "trace"
    hooked("llama").trace(ids(4)).save(path)
    before = path.read_bytes()

    def crash(_tensors: object, partial: str, metadata: object) -> None:
        Path(partial).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(trace_files, "save_file", crash)
    with pytest.raises(OSError, match="disk full"):
        hooked("llama").trace(ids(5)).save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["trace"]


def test_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = tmp_path / "m", tmp_path / "trace.safetensors"
    tiny("llama").save_pretrained(folder)
    letters().save_pretrained(folder)
    assert main(["trace", str(folder), "abcde", "--save", str(file)]) == 0
    assert "5 tokens" in capsys.readouterr().out
    model = lw.load(folder)
    loaded = model.load_trace(file)
    assert loaded.tokens.text == "abcde"
    assert_equal(lw.LogitLens().run(loaded), lw.LogitLens().run(model.trace("abcde")))
    assert main(["trace", str(folder), "abcde"]) == 2
    assert "--save FILE" in capsys.readouterr().err
    assert main(["trace", str(folder), "abcde", "--save", str(tmp_path / "no" / "folder")]) == 2
    assert main(["trace", str(folder), "", "--save", str(file)]) == 2
