"""`load`: every kind of source, and a clear error for everything that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, T5Config, ViTConfig

from layerwidget.errors import ModelLoadError
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.load import _auto_class, load
from tests.fake_demo import D_MODEL, N_LAYERS, write_gguf

D_VOCAB = 43


@pytest.fixture(scope="module")
def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "vocab_size": D_VOCAB}
    return LlamaForCausalLM(
        LlamaConfig(**sizes, num_attention_heads=3, num_key_value_heads=1, max_position_embeddings=77)
    )


@pytest.fixture
def folder(tiny: LlamaForCausalLM, tmp_path: Path) -> Path:
    tiny.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def n_parameters(model: HookedModel) -> int:
    return sum(weight.numel() for weight in model.hf_model.parameters())


def test_demo(demo_model: HookedModel) -> None:
    assert demo_model.name == "SmolLM2-135M-Instruct"
    assert {weight.dtype for weight in demo_model.hf_model.parameters()} == {torch.float32}
    assert not demo_model.hf_model.training
    assert demo_model.tokenizer.decode([7042]) == " Paris"


def test_folder_without_a_tokenizer(folder: Path, tiny: LlamaForCausalLM) -> None:
    model = load(folder)
    assert (model.name, model.tokenizer) == ("tiny", None)
    logits = tiny(torch.tensor([[5, 7, 11]])).logits[0]
    torch.testing.assert_close(torch.as_tensor(model.trace([5, 7, 11]).logits), logits.detach(), rtol=1e-5, atol=1e-5)


def test_folder_called_demo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.with_name("demo"))
    monkeypatch.chdir(folder.parent)
    assert n_parameters(load("./demo")) == n_parameters(load(folder.with_name("demo")))
    Path("demo", "config.json").unlink()
    with pytest.raises(ModelLoadError, match="demo is not a model folder"):
        load(Path("demo"))


def test_gguf_file(tmp_path: Path) -> None:
    model = load(str(write_gguf(tmp_path / "small.gguf")))
    assert model.name == "small"
    assert (model.anatomy.n_layers, model.anatomy.d_model) == (N_LAYERS, D_MODEL)
    assert model.tokenizer.decode(model.tokenizer("ab é").input_ids) == "ab é"


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", torch.bfloat16), (torch.float16, torch.float16)])
def test_dtype(folder: Path, dtype: Any, expected: torch.dtype) -> None:
    assert {weight.dtype for weight in load(folder, dtype=dtype).hf_model.parameters()} == {expected}


def test_half_precision_checkpoints_load_as_float32(tiny: LlamaForCausalLM, tmp_path: Path) -> None:
    half = LlamaForCausalLM(tiny.config).to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    assert {weight.dtype for weight in load(tmp_path).hf_model.parameters()} == {torch.float32}


def test_options_reach_from_pretrained(folder: Path) -> None:
    assert load(folder, attn_implementation="eager").hf_model.config._attn_implementation == "eager"


def test_unknown_dtype(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="expected 'float32'"):
        load(folder, dtype="float23")


def make_pickle_only(folder: Path, model: LlamaForCausalLM) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def test_pickled_weights_are_refused(folder: Path, tiny: LlamaForCausalLM) -> None:
    make_pickle_only(folder, tiny)
    with pytest.raises(ModelLoadError, match=r"no \.safetensors weights .*pytorch_model\.bin.*use_safetensors=False"):
        load(folder)


def test_pickled_weights_load_when_asked_for(folder: Path, tiny: LlamaForCausalLM) -> None:
    make_pickle_only(folder, tiny)
    assert n_parameters(load(folder, use_safetensors=False)) == sum(weight.numel() for weight in tiny.parameters())


def test_code_of_others_does_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    with pytest.raises(ModelLoadError, match="cannot be read"):
        load(folder)
    assert not (folder / "ran").exists()


def test_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"expected a config\.json in it, found nothing"):
        load(tmp_path)
    write_gguf(tmp_path / "x.gguf")
    with pytest.raises(ModelLoadError, match=r"Load the file itself: .*x\.gguf"):
        load(tmp_path)


def test_weights_cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelLoadError, match="damaged or cut short"):
        load(folder)


def test_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelLoadError, match="cannot be read"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"hello", "is not a GGUF file"), (b"GGUF" + bytes(100), "damaged"), (b"", "is not a GGUF")],
)
def test_file_that_is_no_gguf(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(ModelLoadError, match=message):
        load(tmp_path / "model.gguf")


def test_gguf_cut_short(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelLoadError, match="cut short"):
        load(path)


@pytest.mark.parametrize("source", ["/nowhere/at/all", "./nowhere", "a/b/c", "missing.gguf", Path("nowhere")])
def test_path_that_does_not_exist(source: str | Path) -> None:
    with pytest.raises(ModelLoadError, match="There is no"):
        load(source)


@pytest.mark.parametrize("source", ["", "  "])
def test_nothing_named(source: str) -> None:
    with pytest.raises(ModelLoadError, match="No model was named"):
        load(source)


def test_unknown_id_without_a_network() -> None:
    with pytest.raises(ModelLoadError, match=r"'nobody/nothing' is not a local path.*lw\.load\('demo'\)"):
        load("nobody/nothing")


def test_malformed_id() -> None:
    with pytest.raises(ModelLoadError, match="Check the spelling"):
        load("no such id!")


def test_checkpoint_without_its_head_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "vocab_size": D_VOCAB}
    BertModel(BertConfig(**sizes, num_attention_heads=3)).save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match=r"lacks \d+ of the weights.*would be random"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LlamaConfig(architectures=["LlamaForCausalLM"]), "AutoModelForCausalLM"),
        (LlamaConfig(), "AutoModelForCausalLM"),
        (BertConfig(architectures=["BertForMaskedLM"]), "AutoModelForMaskedLM"),
        (T5Config(architectures=["T5ForConditionalGeneration"]), "AutoModelForSeq2SeqLM"),
        (T5Config(), "AutoModelForSeq2SeqLM"),
        (LlamaConfig(architectures=["Own"], auto_map={"AutoModelForMaskedLM": "own.Own"}), "AutoModelForMaskedLM"),
    ],
)
def test_auto_class(config: Any, expected: str) -> None:
    assert _auto_class(config).__name__ == expected


def test_model_without_tokens_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="predicts no tokens"):
        _auto_class(ViTConfig(architectures=["ViTForImageClassification"]))
