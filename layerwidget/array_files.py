"""One file of arrays with a JSON manifest: safetensors, whose header holds the manifest. Written as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open

from layerwidget.errors import RecordingError
from layerwidget.whole_files import replace_file

#: Of the files that are written; others are refused.
VERSION = 1
_KEY = "layerwidget"


def write_arrays(
    path: str | os.PathLike[str],
    kind: str,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, Any],
    save_file: Callable[..., Any],
) -> None:
    """Write a file.

    Args:
        path: where; the folder exists.
        kind: what it is: `answers` or `trace`.
        manifest: JSON.
        arrays: name -> array, contiguous, none of which shares its memory with another.
        save_file: `safetensors.numpy.save_file`, or that of another library.

    Raises:
        OSError: when it cannot be written.
    """
    said = json.dumps({"kind": kind, "version": VERSION, **manifest}, allow_nan=False, ensure_ascii=True)
    try:
        replace_file(path, lambda partial: save_file(dict(arrays), str(partial), metadata={_KEY: said}))
    except SafetensorError as error:
        raise OSError(f"{Path(path)} cannot be written: {error}") from error


def read_arrays(
    path: str | os.PathLike[str], kind: str, framework: str = "np", device: str = "cpu"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file: its manifest and its arrays by name.

    Raises:
        RecordingError: when there is none, it is damaged, of another kind, or of another version.
    """
    try:
        with safe_open(str(path), framework=framework, device=device) as file:
            manifest = _checked((file.metadata() or {}).get(_KEY), path, kind)
            # Names are whatever somebody wrote: they are keys of a dictionary, nothing else.
            return manifest, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except FileNotFoundError as error:
        raise RecordingError(f"There is no file {Path(path)}.") from error
    except (OSError, SafetensorError, TypeError, KeyError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{Path(path)} cannot be read: {error}") from error


def _checked(said: str | None, path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    if said is None:
        raise RecordingError(f"{Path(path)} was not written by layerwidget: its header has no {_KEY!r}.")
    manifest = json.loads(said, parse_constant=_refuse)
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else manifest
        hints = {"trace": "model.load_trace(path)", "answers": "lw.replay(path) or lw.read(path)"}
        read_by = hints.get(str(found), "another program")
        raise RecordingError(f"{Path(path)} holds {str(found)[:40]!r}, not {kind!r}; it is read by {read_by}.")
    if manifest.get("version") != VERSION:
        raise RecordingError(
            f"{Path(path)} has version {str(manifest.get('version'))[:20]} of the format; this layerwidget reads "
            f"version {VERSION}. Install the layerwidget that wrote it, or write it again."
        )
    return manifest


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
