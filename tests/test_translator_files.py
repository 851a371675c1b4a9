"""Translators in files: written and read again, and read as the `tuned-lens` package publishes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import layerwidget as lw

N_LAYERS, D_MODEL = 3, 5


def translators() -> lw.Translators:
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((N_LAYERS, D_MODEL, D_MODEL)).astype(np.float32)
    biases = generator.standard_normal((N_LAYERS, D_MODEL)).astype(np.float32)
    return lw.Translators(weights, biases, "somebody/model", "main", "abc123")


def published(folder: Path, dtype: torch.dtype = torch.float32, **config: Any) -> dict[str, torch.Tensor]:
    """A folder as the package leaves it: the state of a list of linear layers."""
    layers = torch.nn.ModuleList(torch.nn.Linear(D_MODEL, D_MODEL, dtype=dtype) for _ in range(N_LAYERS))
    torch.save(layers.state_dict(), folder / "params.pt")
    known = {"base_model_name_or_path": "gpt2", "d_model": D_MODEL, "num_hidden_layers": N_LAYERS, "bias": True}
    known |= {"base_model_revision": None, "unembed_hash": "0123", "lens_type": "linear_tuned_lens"}
    (folder / "config.json").write_text(json.dumps(known | config))
    return dict(layers.state_dict())


def test_written_and_read_again(tmp_path: Path) -> None:
    written = translators()
    lw.save_translators(written, tmp_path / "new" / "lens")
    read = lw.load_translators(tmp_path / "new" / "lens")
    assert read == written
    assert (read.model_name, read.model_revision, read.unembed_hash) == ("somebody/model", "main", "abc123")
    # Over what is there already, with no crumbs left.
    other = lw.Translators.untrained(2, 4, "another")
    lw.save_translators(other, str(tmp_path / "new" / "lens"))
    assert lw.load_translators(tmp_path / "new" / "lens") == other
    assert {path.name for path in (tmp_path / "new" / "lens").iterdir()} == {"config.json", "params.safetensors"}


def test_the_names_are_those_of_the_published_format(tmp_path: Path) -> None:
    lw.save_translators(translators(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {
        "base_model_name_or_path": "somebody/model",
        "d_model": D_MODEL,
        "num_hidden_layers": N_LAYERS,
        "bias": True,
        "base_model_revision": "main",
        "unembed_hash": "abc123",
        "lens_type": "linear_tuned_lens",
    }
    layers = torch.nn.ModuleList(torch.nn.Linear(D_MODEL, D_MODEL) for _ in range(N_LAYERS))
    layers.load_state_dict(load_file(tmp_path / "params.safetensors"))
    np.testing.assert_array_equal(layers[2].weight.detach().numpy(), translators().weights[2])  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_published_lens_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    state = published(tmp_path, dtype, something_newer=1)
    read = lw.load_translators(tmp_path)
    for layer in range(N_LAYERS):
        np.testing.assert_array_equal(read.weights[layer], state[f"{layer}.weight"].float())
        np.testing.assert_array_equal(read.biases[layer], state[f"{layer}.bias"].float())
    assert (read.model_name, read.unembed_hash) == ("gpt2", "0123")


def test_a_lens_without_biases(tmp_path: Path) -> None:
    state = published(tmp_path, bias=False)
    torch.save({name: one for name, one in state.items() if name.endswith("weight")}, tmp_path / "params.pt")
    assert not lw.load_translators(tmp_path).biases.any()


def test_a_failed_write_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lw.save_translators(translators(), tmp_path)

    def fails(tensors: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("layerwidget.model.translator_files.save_file", fails)
    with pytest.raises(OSError, match="no space"):
        lw.save_translators(lw.Translators.untrained(1, 2), tmp_path)
    assert lw.load_translators(tmp_path) == translators()
    assert len(list(tmp_path.iterdir())) == 2


class Harmful:
    """What a pickle would run."""

    def __reduce__(self) -> Any:
        return (Path("harm").touch, ())


def test_a_pickled_object_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state: dict[str, Any] = dict(published(tmp_path))
    torch.save(state | {"more": Harmful()}, tmp_path / "params.pt")
    with pytest.raises(lw.ModelLoadError, match="nothing else is read"):
        lw.load_translators(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(lw.ModelLoadError, match=r"holds no config\.json"):
        lw.load_translators(tmp_path / "nowhere")
    published(tmp_path)
    (tmp_path / "params.pt").unlink()
    with pytest.raises(lw.ModelLoadError, match=r"neither params\.safetensors nor params\.pt"):
        lw.load_translators(tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"d_model": 6}, r"d_model is 6: expected floating-point numbers of shape \[6, 6\]"),
        ({"num_hidden_layers": 4}, r"missing \['3.bias', '3.weight'\]"),
        ({"num_hidden_layers": 2}, r"not expected \['2.bias', '2.weight'\]"),
        ({"bias": False}, r"not expected \['0.bias'"),
        ({"d_model": "5"}, "d_model = '5'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"lens_type": "other"}, "'other'"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    published(tmp_path, **config)
    with pytest.raises(lw.ModelLoadError, match=words):
        lw.load_translators(tmp_path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    state = published(tmp_path)
    (tmp_path / "params.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(lw.ModelLoadError, match=r"params\.safetensors cannot be read"):
        lw.load_translators(tmp_path)
    save_file(state | {"1.bias": torch.full((D_MODEL,), torch.inf)}, tmp_path / "params.safetensors")
    with pytest.raises(lw.ModelLoadError, match="damaged"):
        lw.load_translators(tmp_path)
    (tmp_path / "params.safetensors").unlink()
    torch.save([1, 2], tmp_path / "params.pt")
    with pytest.raises(lw.ModelLoadError, match="no mapping"):
        lw.load_translators(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(lw.ModelLoadError, match=r"config\.json cannot be read"):
        lw.load_translators(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(lw.ModelLoadError, match="describes 'list'"):
        lw.load_translators(tmp_path)
