"""Other front ends than JupyterLab, started and cut off like it: Notebook 7, Voila, marimo."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.browser.jupyter import JupyterServer


class NotebookServer(JupyterServer):
    """One running Notebook 7."""

    product: ClassVar[str] = "Notebook"

    def command(self, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "notebook", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"),
            *("--ip=127.0.0.1", "--allow-root", "--IdentityProvider.token=", "--ServerApp.password="),
            *("--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={self.root}"),
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]

    def page_of(self, name: str) -> str:
        return f"{self.url}/notebooks/{name}"


class VoilaServer(JupyterServer):
    """One running Voila: opening a page starts a kernel and runs the whole notebook."""

    product: ClassVar[str] = "Voila"

    def command(self, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "voila", str(self.root), "--no-browser", f"--port={port}"),
            *("--Voila.ip=127.0.0.1", "--VoilaConfiguration.allow_theme_override=YES"),
            "--VoilaConfiguration.extension_denylist=@jupyter-notebook/lab-extension",
        ]

    def page_of(self, name: str) -> str:
        return f"{self.url}/voila/render/{name}"

    def answers(self) -> bool:
        # A request for a page would start a kernel.
        return _listens(self.url)


class MarimoServer(JupyterServer):
    """One running marimo app, the file `app.py` of its folder; it has the theme that the reader's system has."""

    product: ClassVar[str] = "marimo"

    def __init__(self, home: Path) -> None:
        config = home / "home" / ".config" / "marimo" / "marimo.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text('[display]\ntheme = "system"\n')
        super().__init__(home)

    def command(self, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "marimo", "-y", "-q", "run", str(self.root / "app.py")),
            *("--headless", "--no-token", "--host", "127.0.0.1", "-p", str(port)),
        ]

    def page_of(self, name: str) -> str:
        return self.url

    def answers(self) -> bool:
        return _listens(self.url)


def write_app(home: Path, cells: Sequence[str]) -> None:
    """Write a marimo app with a cell for each text, before its server starts.

    The last line of a cell, where it begins with `return`, names what other cells may use; the first line says what
    it uses itself: `# uses: model, mo`.
    """
    parts = ["import marimo\n\napp = marimo.App(width='full')\n"]
    for cell in cells:
        first, _, body = cell.strip().partition("\n")
        uses = first.removeprefix("# uses:").strip()
        parts.append(f"@app.cell\ndef _({uses}):\n" + "\n".join(f"    {line}" for line in body.splitlines()))
    folder = home / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text("\n\n".join(parts) + "\n")


def _listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
