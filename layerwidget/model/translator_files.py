"""Translators in files: the published format of the `tuned-lens` package, written as safetensors.

A folder holds `config.json` and `params.safetensors` (or, as published, `params.pt`): of layer `l` the tensors
`l.weight` [d_model, d_model] and `l.bias` [d_model], applied as `x + l.weight @ x + l.bias` to what enters the layer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from layerwidget.errors import ModelLoadError
from layerwidget.questions.translators import Translators
from layerwidget.whole_files import replace_file

_CONFIG, _PARAMS, _PICKLED = "config.json", "params.safetensors", "params.pt"
_LENS_TYPE = "linear_tuned_lens"


def save_translators(translators: Translators, folder: str | os.PathLike[str]) -> None:
    """Write translators into a folder, which is made where it is missing: `config.json` and `params.safetensors`.

    Each file is replaced as a whole: whoever reads meanwhile, or after a crash, finds the old one or the new one.

    Raises:
        OSError: when the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for layer in range(translators.n_layers):
        tensors[f"{layer}.weight"] = torch.tensor(translators.weights[layer])
        tensors[f"{layer}.bias"] = torch.tensor(translators.biases[layer])
    config = {
        "base_model_name_or_path": translators.model_name,
        "d_model": translators.d_model,
        "num_hidden_layers": translators.n_layers,
        "bias": True,
        "base_model_revision": translators.model_revision,
        "unembed_hash": translators.unembed_hash,
        "lens_type": _LENS_TYPE,
    }
    replace_file(folder / _PARAMS, lambda path: save_file(tensors, path))
    replace_file(folder / _CONFIG, lambda path: path.write_text(json.dumps(config, indent=1), encoding="utf-8"))


def load_translators(folder: str | os.PathLike[str]) -> Translators:
    """Read a folder that `save_translators` or the `tuned-lens` package wrote.

    `params.safetensors` is read where it is there, else `params.pt`, of which only tensors are accepted. Numbers in
    half precision become fp32.

    Raises:
        ModelLoadError: when a file is missing, cannot be read or is of another format, or the tensors are not those
            that the configuration promises.
    """
    folder = Path(folder)
    config = _read_config(folder / _CONFIG)
    n_layers, d_model = (_size(config, key, folder) for key in ("num_hidden_layers", "d_model"))
    source, tensors = _read_params(folder)
    has_bias = bool(config.get("bias", True))
    names = [
        f"{layer}.{part}" for layer in range(n_layers) for part in (("weight", "bias") if has_bias else ("weight",))
    ]
    if tensors.keys() != set(names):
        missing, unknown = sorted(set(names) - tensors.keys()), sorted(tensors.keys() - set(names))
        raise ModelLoadError(
            f"{source} does not hold the translators of {n_layers} layers that {_CONFIG} promises: "
            f"missing {missing[:4] or 'nothing'}, not expected {unknown[:4] or 'nothing'}."
        )
    weights, biases = np.empty((n_layers, d_model, d_model), np.float32), np.zeros((n_layers, d_model), np.float32)
    for name in names:
        layer, _, part = name.partition(".")
        room, found = (weights if part == "weight" else biases)[int(layer)], tensors[name]
        if tuple(found.shape) != room.shape or not found.is_floating_point():
            raise ModelLoadError(
                f"{source} holds {name!r} of shape {list(found.shape)} and type {found.dtype}; by {_CONFIG}, d_model "
                f"is {d_model}: expected floating-point numbers of shape {list(room.shape)}."
            )
        room[...] = found.float().numpy()
    if not (np.isfinite(weights).all() and np.isfinite(biases).all()):
        raise ModelLoadError(f"{source} holds numbers that are infinite or none: the file is damaged.")
    return Translators(
        weights,
        biases,
        str(config.get("base_model_name_or_path") or ""),
        config.get("base_model_revision"),
        config.get("unembed_hash"),
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelLoadError(
            f"{path.parent} holds no {_CONFIG}. Expected a folder with {_CONFIG} and {_PARAMS} or {_PICKLED}, as "
            "save_translators or the tuned-lens package writes it."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("lens_type", _LENS_TYPE) != _LENS_TYPE:
        kind = config.get("lens_type") if isinstance(config, dict) else type(config).__name__
        raise ModelLoadError(f"{path} describes {kind!r}; expected a lens of the type {_LENS_TYPE!r}.")
    return config


def _size(config: Mapping[str, Any], key: str, folder: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelLoadError(f"{folder / _CONFIG} has {key} = {value!r}; expected a positive whole number.")
    return value


def _read_params(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """The file that was read, and what it holds."""
    path = folder / _PARAMS
    if path.exists():
        try:
            return path, load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(f"{path} cannot be read: {error}") from error
    path = folder / _PICKLED
    if not path.exists():
        raise ModelLoadError(
            f"{folder} holds neither {_PARAMS} nor {_PICKLED}: the translators themselves are missing."
        )
    try:
        # Unpickling anything but tensors would run code of whoever made the file.
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelLoadError(
            f"{path} is not a plain file of tensors, and nothing else is read of it: {error}"
        ) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(one, torch.Tensor) for one in tensors.values()):
        raise ModelLoadError(f"{path} holds no mapping from names to tensors.")
    return path, dict(tensors)
