"""`layerwidget demo`: a copy of the quickstart, open in JupyterLab."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from layerwidget.errors import LayerWidgetError, MissingExtraError

_SOURCE, _COPY = "01_quickstart.ipynb", "layerwidget_quickstart.ipynb"


def open_demo(folder: Path, arguments: Sequence[str] = ()) -> int:
    """Put the quickstart into a folder, unless it is there already, and open it; returns JupyterLab's exit code.

    Args:
        folder: where it is worked with.
        arguments: further ones of JupyterLab, such as `--no-browser`.

    Raises:
        MissingExtraError: when JupyterLab is not installed.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtraError("The demo opens in JupyterLab, which is not here: pip install 'layerwidget[demo]'")
    copy = folder / _COPY
    if not copy.exists():
        shutil.copyfile(quickstart(), copy)
    sys.stdout.write(f"{copy}: JupyterLab opens it; the first run takes the demo model from a package (0.1 GB).\n")
    sys.stdout.flush()
    # It refuses to run as root, as in most containers, unless it is told that this is meant.
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return _run_in_front([sys.executable, "-m", "jupyterlab", str(copy), *root, *arguments])


def _run_in_front(command: Sequence[str]) -> int:
    """Run a command until it ends of itself; returns its exit code.

    A terminal sends Ctrl-C to both, and JupyterLab asks whether it is meant: `subprocess.call` would kill it meanwhile.
    """
    process = subprocess.Popen(command)
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def quickstart() -> Path:
    """The notebook that came with the package.

    Raises:
        LayerWidgetError: when it is not where it was installed.
    """
    beside = Path(__file__).parents[1] / "notebooks" / _SOURCE
    installed = importlib.metadata.files("layerwidget") or []
    found = [beside, *(Path(str(file.locate())) for file in installed if file.name == _SOURCE)]
    for path in found:
        if path.is_file():
            return path
    raise LayerWidgetError("The quickstart is not among the installed files: pip install --force-reinstall layerwidget")
