"""Peers: their environments, made here where they are missing, and their processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import selectors
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.answers import check_probs
from tests.bench.timing import PeerError, Times, last_line
from tests.bench.workload import Workload

REPOSITORY = Path(__file__).parents[2]
#: Environments, logs and trial tables; git ignores what is in it.
CACHE = REPOSITORY / ".bench"
CONSTRAINTS = REPOSITORY / ".ci" / "constraints.txt"
INSTALL_S, BOOT_S, RUN_S = 1800, 300, 300


@dataclass(frozen=True)
class Peer:
    """Another tool.

    Attributes:
        key: its row in the table.
        environment: the name of its environment.
        requirements: what pip installs.
        script: what its process runs, in `peers/`.
        options: further arguments of the script.
    """

    key: str
    environment: str
    requirements: tuple[str, ...]
    script: str
    options: tuple[str, ...] = ()


_TRANSFORMER_LENS = ("transformer-lens==4.3.*",)
PEERS = (
    Peer("transformer_lens", "transformer_lens", _TRANSFORMER_LENS, "run_transformer_lens.py"),
    Peer("transformer_lens_needed", "transformer_lens", _TRANSFORMER_LENS, "run_transformer_lens.py", ("needed",)),
    Peer("nnterp", "nnterp", ("nnterp==1.3.*", "nnsight==0.6.3"), "run_nnterp.py"),
)


class PeerProcess:
    """A peer that runs in a process and an environment of its own, when it is asked to.

    Attributes:
        key: its row in the table.
    """

    def __init__(self, peer: Peer, work: Workload, folder: Path, threads: int) -> None:
        self.key = peer.key
        self.work = work
        self._peer, self._folder, self._threads = peer, folder, threads
        self._process: subprocess.Popen[str] | None = None

    def check(self, n: int) -> None:
        """Its lens is ours."""
        ids = self.work.appended(n, -1)
        try:
            check_probs(self._ask(ids, answers=True)["top_probs"], self.work.model, ids)
        except AssertionError as error:
            raise PeerError(str(error)) from error

    def times_ms(self, n: int, turn: int) -> Times:
        """How long it says that one run took."""
        return {self.key: float(self._ask(self.work.appended(n, turn), answers=False)["ms"])}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, ids: list[int], answers: bool) -> dict[str, Any]:
        process = self._process or self._boot()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"ids": ids, "answers": answers}) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        return self._answer(process, RUN_S)

    def _boot(self) -> subprocess.Popen[str]:
        python = installed(self._peer)
        script = Path(__file__).parent / "peers" / self._peer.script
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, script, self._folder, str(self._threads), *self._peer.options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                text=True,
            )
        self._answer(self._process, BOOT_S)
        return self._process

    def _answer(self, process: subprocess.Popen[str], timeout_s: float) -> dict[str, Any]:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                self.close()
                raise PeerError(f"gave no answer within {timeout_s} s")
        line = process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> PeerError:
        self.close()
        return PeerError(f"its process ended: {last_line(self._log.read_text())}")

    @property
    def _log(self) -> Path:
        return CACHE / f"{self.key}.log"


def installed(peer: Peer) -> Path:
    """The Python of a peer's environment, which is made where it is missing or older than what is asked for.

    Raises:
        PeerError: when pip could not install it.
    """
    folder = CACHE / peer.environment
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(repr(peer.requirements).encode() + CONSTRAINTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    _command(sys.executable, "-m", "venv", "--clear", str(folder))
    pip = (str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q")
    try:
        _command(*pip, "-c", str(CONSTRAINTS), *peer.requirements)
    except PeerError:
        # Where a peer needs other versions, it gets them, but never another torch.
        _command(*pip, *peer.requirements, f"torch=={_pinned('torch')}")
    stamp.write_text(wanted)
    return python


def _pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)
    if found is None:
        raise PeerError(f"{CONSTRAINTS.name} pins no {package}")
    return found.group(1)


def _command(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"could not be installed within {INSTALL_S} s") from error
    if done.returncode:
        raise PeerError(f"could not be installed: {last_line(done.stderr)}")
