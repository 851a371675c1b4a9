"""`lw.check` passes what is right, fails what is wrong, and says what does not apply."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch

import layerwidget as lw
from layerwidget.cli import main
from layerwidget.grades import CheckReport, Grade
from tests import tiny
from tests.toy import Looped

ATTENTIVE = ["llama", "gpt2", "gpt_neox", "gemma3", "gemma2", "granite", "falcon", "mixtral", "gpt_oss"]


@pytest.mark.parametrize("kind", ATTENTIVE)
def test_everything_holds(kind: str) -> None:
    report = lw.check(lw.HookedModel(tiny.tiny(kind)))
    assert {name: grade.status for name, grade in report.grades.items()} == dict.fromkeys(report.grades, "pass"), report
    assert report.ok
    assert "skipped against the model without it" in str(report)


def test_what_does_not_apply_is_no_pass() -> None:
    report = lw.check(lw.HookedModel(tiny.tiny("mamba")))
    assert report.grades["attention"].status == "n/a"
    assert "no softmax attention" in report.grades["attention"].reason
    assert report.ok
    shared = lw.check(lw.HookedModel(Looped()))
    assert shared.grades["skip"].status == "n/a"
    assert "several layers" in shared.grades["skip"].reason


def change_after_hooking(hf_model: Any, path: str, value: float) -> None:
    with torch.no_grad():
        hf_model.get_submodule(path).weight.mul_(value)


def test_a_lens_that_lost_the_norm_gain_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lw.HookedModel(tiny.tiny("llama"))
    right = model.tail

    def without_gain(rows: torch.Tensor) -> torch.Tensor:
        norm = model.hf_model.model.norm
        gain, kept = norm.weight.data, norm.weight.data.clone()
        gain.fill_(1.0)
        try:
            return right(rows)
        finally:
            gain.copy_(kept)

    monkeypatch.setattr(model, "tail", without_gain)
    report = lw.check(model)
    assert report.grades["lens"].status == "fail"
    assert not report.ok
    assert "NOT everything holds" in str(report)


def test_a_dropped_part_and_a_dropped_head_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lw.HookedModel(tiny.tiny("llama"))
    ledger = lw.Trace.ledger
    monkeypatch.setattr(lw.Trace, "ledger", lambda self, layer: ledger(self, layer)[:-1])
    assert lw.check(model).grades["residual"].status == "fail"
    monkeypatch.undo()
    pattern = lw.Trace.pattern

    def half(self: lw.Trace, layer: int) -> torch.Tensor:
        rows = pattern(self, layer).clone()
        rows[0] *= 0.5
        return rows

    monkeypatch.setattr(lw.Trace, "pattern", half)
    assert lw.check(model).grades["attention"].status == "fail"


def test_a_skip_that_does_nothing_and_a_hook_that_stays_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lw.HookedModel(tiny.tiny("gpt2"))
    run = lw.HookedModel.trace

    def unchanged(self: lw.HookedModel, prompt: Any, **options: Any) -> lw.Trace:
        self.hf_model.transformer.h[0].register_forward_hook(lambda *_: None)
        return run(self, prompt)

    monkeypatch.setattr(lw.HookedModel, "trace", unchanged)
    report = lw.check(model)
    assert report.grades["skip"].status == "fail"
    assert report.grades["clean"].status == "fail"


def test_hooks_of_a_pass_in_another_thread_are_not_left_behind() -> None:
    model = lw.HookedModel(tiny.tiny("gpt2"))
    begun = threading.Event()

    def passing() -> None:
        with model.lock:
            hook = model.hf_model.transformer.h[0].register_forward_hook(lambda *_: None)
            begun.set()
            time.sleep(0.3)
            hook.remove()

    other = threading.Thread(target=passing)
    other.start()
    begun.wait()
    assert lw.check(model).grades["clean"].status == "pass"
    other.join()


def test_nan_is_no_pass() -> None:
    assert Grade.of(float("nan"), 1e-4, "x").status == "fail"
    assert not CheckReport("m", {"lens": Grade("n/a", None, "nothing")}).ok


def test_the_demo_model(demo_model: lw.HookedModel) -> None:
    report = lw.check(demo_model)
    assert [grade.status for grade in report.grades.values()] == ["pass"] * 5, report


def test_in_a_terminal(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.tiny("llama").save_pretrained(tmp_path / "m")
    assert main(["check", str(tmp_path / "m")]) == 0
    out = capsys.readouterr().out
    assert "all that applies holds" in out
    assert out.count("✓ pass") == 5
    assert main(["check", str(tmp_path / "nothing")]) == 2
    assert "There is nothing at" in capsys.readouterr().err
