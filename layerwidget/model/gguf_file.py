"""Reading a `.gguf` file: quantised weights and the tokenizer in one file, dequantised while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerwidget.errors import ModelLoadError

_MAGIC = b"GGUF"


def require_gguf(path: Path) -> None:
    """Check that a file is a GGUF file by its first four bytes.

    Raises:
        ModelLoadError: when the file cannot be read or starts with anything else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelLoadError(
            f"{path} cannot be read: {error.strerror or error}. Check the path and its rights."
        ) from error
    if start != _MAGIC:
        raise ModelLoadError(
            f"{path} is not a GGUF file: expected it to start with {_MAGIC!r}, got {start!r}. "
            "Pass a .gguf file, or a folder with config.json and .safetensors weights."
        )


def read_tokenizer(path: Path) -> Any:
    """The tokenizer inside a GGUF file, as a fast tokenizer of transformers.

    Raises:
        ModelLoadError: when the file is not GGUF, or transformers cannot read it.
    """
    from transformers import AutoTokenizer

    require_gguf(path)
    with _mending(path):
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)


def read_model(path: Path, dtype: Any) -> Any:
    """The model inside a GGUF file, dequantised to `dtype`, as a plain model of transformers.

    Raises:
        ModelLoadError: when the file is not GGUF, or transformers cannot read it.
    """
    from transformers import AutoModelForCausalLM

    require_gguf(path)
    with _mending(path):
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=dtype, local_files_only=True
        )
    _forget_quantisation(model)
    return model


@contextmanager
def _mending(path: Path) -> Iterator[None]:
    """Say what to do when transformers gives up on a file: its parsers raise almost anything."""
    try:
        yield
    except Exception as error:
        raise ModelLoadError(
            f"{path} starts like a GGUF file but transformers cannot read it ({type(error).__name__}: {error}). "
            "It is cut short, damaged, or of an architecture that transformers does not read from GGUF: "
            "fetch it again, or load the model's safetensors folder."
        ) from error


def _forget_quantisation(model: Any) -> None:
    """The weights are plain numbers now; these marks would make saving or moving the model fail."""
    for owner, name in ((model.config, "quantization_config"), (model, "hf_quantizer"), (model, "is_quantized")):
        if hasattr(owner, name):
            delattr(owner, name)
