"""`load`: a model from the demo, a folder, a `.gguf` file or the hub, ready to be looked into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwidget.errors import ModelLoadError
from layerwidget.model.demo import SMOLLM2, demo_folder, quiet_transformers
from layerwidget.model.gguf_file import read_model, read_tokenizer, require_gguf

if TYPE_CHECKING:
    import torch

    from layerwidget.model.hooked_model import HookedModel

_TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "spiece*", "merges.txt")
_MAX_NAMED_WEIGHTS = 3
# Errors of huggingface_hub and of what it speaks HTTP with; by name, for that library has changed before.
_UNREACHABLE = {
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "ConnectionError",
    "ConnectError",
    "TimeoutException",
}


def load(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    **from_pretrained_kwargs: Any,
) -> HookedModel:
    """Load a model with its tokenizer.

    Args:
        source: `"demo"` (SmolLM2-135M-Instruct, offline after the first time), a folder as transformers saves it,
            a `.gguf` file, or the id of a model on the Hugging Face hub. A folder called demo is `"./demo"`.
        device: Where the model goes; None leaves it on the CPU, or where `device_map` puts it.
        dtype: Of the weights, such as `"bfloat16"`; None means float32, so that numbers can be compared exactly.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Whether Python files that come with the model may run. Leave it False for
            sources that you do not know.
        **from_pretrained_kwargs: Passed to `from_pretrained`, such as `device_map` or `attn_implementation`.
            Only safetensors are read unless you pass `use_safetensors=False`.

    Returns:
        The model in evaluation mode, wrapped.

    Raises:
        ModelLoadError: when the source is not found, cannot be read, lacks weights, or is not a text model.
    """
    from layerwidget.model.hooked_model import HookedModel

    options = {"revision": revision, "trust_remote_code": trust_remote_code, **from_pretrained_kwargs}
    options = {name: value for name, value in options.items() if value is not None}
    name, model, tokenizer = _read(source, _named_dtype(dtype), options)
    if device is not None:
        model.to(device)
    return HookedModel(model.eval(), tokenizer, name=name)


def _read(source: str | os.PathLike[str], dtype: Any, options: dict[str, Any]) -> tuple[str, Any, Any]:
    """The name, the model and the tokenizer of whichever kind of source it is."""
    path = _local_path(source)
    if source == "demo":
        with quiet_transformers():
            return SMOLLM2.name, *_from_folder_or_hub(demo_folder(), dtype, {**options, "local_files_only": True})
    if path is None:
        return str(source), *_from_folder_or_hub(str(source), dtype, options)
    if path.is_dir():
        return path.resolve().name, *_from_folder(path, dtype, options)
    return path.stem, *_from_gguf(path, dtype)


def _local_path(source: str | os.PathLike[str]) -> Path | None:
    """The path that is meant, or None for the demo and for hub ids.

    Raises:
        ModelLoadError: when it can only be a path, and nothing is there.
    """
    if source == "demo":
        return None
    text = os.fspath(source)
    if not text.strip():
        raise ModelLoadError("No model was named: expected 'demo', a model folder, a .gguf file or a hub id.")
    path = Path(text).expanduser()
    if path.exists():
        return path
    # A hub id is `name` or `owner/name`.
    if isinstance(source, os.PathLike) or text[0] in "./~" or text.count("/") > 1 or "\\" in text:
        raise ModelLoadError(f"There is nothing at {path.absolute()}: expected a model folder or a .gguf file.")
    if path.suffix.lower() == ".gguf":
        raise ModelLoadError(f"There is no file {path.absolute()}. Check the name, or give the full path.")
    return None


def _from_gguf(path: Path, dtype: Any) -> tuple[Any, Any]:
    require_gguf(path)
    return read_model(path, dtype), read_tokenizer(path)


def _from_folder(folder: Path, dtype: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    _require_model_files(folder, options.get("use_safetensors", True))
    return _from_folder_or_hub(folder, dtype, {**options, "local_files_only": True})


def _require_model_files(folder: Path, use_safetensors: bool) -> None:
    if not (folder / "config.json").is_file():
        found = sorted(path.name for path in folder.iterdir())[:8]
        ggufs = sorted(folder.glob("*.gguf"))
        hint = f" Load the file itself: {ggufs[0]}." if ggufs else ""
        raise ModelLoadError(
            f"{folder} is not a model folder: expected a config.json in it, found {found or 'nothing'}.{hint} "
            "Save a model there with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)."
        )
    if use_safetensors and not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        raise ModelLoadError(
            f"{folder} has no .safetensors weights (found {pickles or 'no weights at all'}). Files such as "
            "pytorch_model.bin can run code when they are read, so they are not loaded by default. If you trust "
            "the source, convert once with from_pretrained(folder, use_safetensors=False).save_pretrained(folder), "
            "or pass use_safetensors=False."
        )


def _from_folder_or_hub(source: str | Path, dtype: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoTokenizer

    shared = {name: options[name] for name in ("revision", "trust_remote_code", "local_files_only") if name in options}
    keywords = {"use_safetensors": True, "dtype": dtype, **options}
    with _explaining(source):
        config = AutoConfig.from_pretrained(source, **shared)
        auto_class = _auto_class(config)
        tokenizer = AutoTokenizer.from_pretrained(source, **shared) if _has_tokenizer(source) else None
        model, report = auto_class.from_pretrained(source, config=config, output_loading_info=True, **keywords)
    _require_all_weights(source, type(model).__name__, report)
    return model, tokenizer


def _auto_class(config: Any) -> Any:
    """The Auto class that builds the model with its head: as the checkpoint says, else the first that can."""
    import transformers
    from transformers.models.auto import modeling_auto

    kinds = {
        "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "AutoModelForMaskedLM": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        "AutoModelForSeq2SeqLM": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    }
    saved_as = (config.architectures or [None])[0]
    own_code = getattr(config, "auto_map", None) or {}
    names = [name for name, known in kinds.items() if saved_as in known.values()]
    names += [name for name in kinds if name in own_code]
    names += [name for name, known in kinds.items() if config.model_type in known]
    if not names:
        raise ModelLoadError(
            f"A {saved_as or config.model_type} predicts no tokens: expected a causal, masked or encoder-decoder "
            "language model. Load it with transformers and pass it to HookedModel if it has a token head after all."
        )
    return getattr(transformers, names[0])


def _has_tokenizer(source: str | Path) -> bool:
    """A folder may come without a tokenizer: prompts are then token ids."""
    return isinstance(source, str) or any(any(source.glob(pattern)) for pattern in _TOKENIZER_FILES)


def _require_all_weights(source: str | Path, class_name: str, report: dict[str, Any]) -> None:
    """Refuse a model of which parts were filled with random numbers: every picture of it would be wrong."""
    missing = sorted(report["missing_keys"])
    if missing:
        named = ", ".join(missing[:_MAX_NAMED_WEIGHTS]) + (", ..." if len(missing) > _MAX_NAMED_WEIGHTS else "")
        raise ModelLoadError(
            f"{source} lacks {len(missing)} of the weights of a {class_name} ({named}), so they would be random "
            "numbers. Expected a checkpoint with its language-model head; or load the model with transformers "
            "yourself and pass it to HookedModel."
        )


def _named_dtype(dtype: str | torch.dtype | None) -> Any:
    import torch

    if dtype is None:
        return torch.float32
    if not isinstance(dtype, str) or dtype == "auto":
        return dtype
    found = getattr(torch, dtype.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        raise ModelLoadError(
            f"dtype={dtype!r} is no type of numbers: expected 'float32', 'bfloat16', 'float16' or 'auto'."
        )
    return found


@contextmanager
def _explaining(source: str | Path) -> Iterator[None]:
    """Turn whatever transformers, the hub or a file reader raises into one clear error."""
    try:
        yield
    except ModelLoadError:
        raise
    except Exception as error:
        raise ModelLoadError(_explanation(source, error)) from error


def _explanation(source: str | Path, error: BaseException) -> str:
    said = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    if isinstance(source, Path):
        return f"The model in {source} cannot be read ({said}). If a file is damaged or cut short, save it again."
    chain = {name for link in _chain(error) for name in (kind.__name__ for kind in type(link).__mro__)}
    if chain & {"RepositoryNotFoundError", "GatedRepoError", "HFValidationError"}:
        return (
            f"{source!r} is neither a local path nor a model that the hub shows you ({said}). Check the spelling; "
            "for a private or gated model, log in with `hf auth login`. `lw.load('demo')` works offline."
        )
    if "RevisionNotFoundError" in chain:
        return f"The hub has {source!r}, but not this revision ({said}). Check `revision=`."
    if chain & _UNREACHABLE:
        return (
            f"{source!r} is not a local path, not in the hub's cache on this machine, and the hub cannot be reached "
            f"({said}). Connect once, or load a local folder or .gguf file, or `lw.load('demo')`, which needs no hub."
        )
    return f"{source!r} cannot be loaded ({said}). Check the id, the network and `trust_remote_code=`."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
