"""Files that are replaced as a whole: whoever reads meanwhile, or after a crash, finds the old one or the new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4


def replace_file(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Write a file under another name beside it, and rename it when it is whole and on the disk.

    Args:
        path: where it is to be; its folder exists.
        write: writes it to the path that it is given.

    Raises:
        OSError: when the folder cannot be written to.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
