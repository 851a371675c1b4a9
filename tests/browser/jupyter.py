"""A real JupyterLab, Notebook, Voila or marimo, cut off from the settings of whoever runs the tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import ClassVar, TypeVar

import nbformat

from layerwidget.model.demo import cache_dir

REPOSITORY = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0

# Keys are JupyterLab's plugin ids. News pop-ups cover outputs; windowing leaves cells off screen undrawn.
_LAB_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


Server = TypeVar("Server", bound="JupyterServer")


class JupyterServer:
    """One running JupyterLab; `front_ends.py` has others of its kind.

    Attributes:
        url: The server's address, without a slash at the end.
        root: The folder that it serves; put notebooks here.
        log: What the server and its kernels wrote.
    """

    product: ClassVar[str] = "JupyterLab"

    def __init__(self, home: Path) -> None:
        """Start a server whose settings, kernels and notebooks all live under `home`."""
        self.root = home / "notebooks"
        self.log = home / "server.log"
        self.root.mkdir(parents=True, exist_ok=True)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(port),
                cwd=self.root,
                env=environment(home),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self, port: int) -> list[str]:
        """What is run; the folder `root` is there already."""
        return _command(port, self.root)

    def page_of(self, name: str) -> str:
        """The address under which the notebook `name` of the folder opens."""
        return f"{self.url}/lab/tree/{name}?reset"

    def answers(self) -> bool:
        """Whether it is up; asking changes nothing."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/status", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def wait_until_up(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the server answers.

        Raises:
            RuntimeError: with the server's log, when it ended or did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.answers():
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.product} did not answer at {self.url} within {timeout_s} s.\n{self.log.read_text()}")

    def write_notebook(self, name: str, cells: Sequence[str]) -> str:
        """Write a notebook with one code cell for each text into the root folder; returns its file name."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        # Without it JupyterLab never starts a kernel.
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.root / f"{name}.ipynb")
        return f"{name}.ipynb"

    def stop(self) -> None:
        """End the server and its kernels, politely first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


@contextmanager
def running_server(home: Path, kind: type[Server] = JupyterServer) -> Iterator[Server]:
    """A server that answers; it ends with the block, also when this process gets SIGTERM."""
    with _sigterm_as_interrupt():
        server = kind(home)
        try:
            server.wait_until_up()
            yield server
        finally:
            server.stop()


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let a killed run unwind: the default action would leave the server behind."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(port: int, root: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0"),
        *("--ip=127.0.0.1", "--allow-root", "--IdentityProvider.token=", "--ServerApp.password="),
        *("--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={root}"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
    ]


def environment(home: Path) -> dict[str, str]:
    """The environment of the server and its kernels: everything it could read or write is under `home`."""
    folders = {
        "HOME": home / "home",
        "XDG_CONFIG_HOME": home / "home" / ".config",
        "XDG_CACHE_HOME": home / "home" / ".cache",
        "XDG_STATE_HOME": home / "home" / ".state",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTER_DATA_DIR": home / "data",
        "IPYTHONDIR": home / "ipython",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    _write_settings(folders["JUPYTERLAB_SETTINGS_DIR"])
    _write_kernel_spec(folders["JUPYTER_DATA_DIR"])
    return {
        **os.environ,
        **{name: str(folder) for name, folder in folders.items()},
        # The converted demo model stays where it is: another HOME would convert it again.
        "LAYERWIDGET_CACHE": str(cache_dir()),
        "HF_HUB_OFFLINE": "1",
        # In a virtual environment its own kernel spec would win over the one written above.
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }


def _write_settings(folder: Path) -> None:
    for plugin, settings in _LAB_SETTINGS.items():
        path = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))


def _write_kernel_spec(data: Path) -> None:
    """Name this very Python as the kernel, whatever kernels the machine knows."""
    argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    folder = data / "kernels" / "python3"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
