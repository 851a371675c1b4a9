"""All tests in two parts at once: those in a browser, which often wait for it, and those without, which take the rest.

`python -m tests.parts [arguments of pytest]`; each part ends with pytest's own summary. What the tests without a
browser say is shown in one piece, below the others.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

#: More of them than that would not have the memory: each may hold the demo model.
MOST_WORKERS = 4
NOTHING_COLLECTED = 5
#: How much those without a browser stand back, in steps of `nice`.
STEPS_BACK = 10


def main(arguments: list[str]) -> int:
    """Run both parts, whatever becomes of the other; what is named in the arguments may be in one of them only."""
    # They stand back, so the browser and its kernel get a core whenever they need it.
    workers = min(MOST_WORKERS, os.cpu_count() or 1)
    without = ["-m", "not browser", "-n", str(workers), "--dist", "loadfile", *arguments]
    with TemporaryFile("w+") as said, _beside(without, said) as alone:
        code = subprocess.run(_command(["-m", "browser", *arguments])).returncode
        codes = [alone.wait(), code]
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout)
    failed = [code for code in codes if code not in (0, NOTHING_COLLECTED)]
    return failed[0] if failed else min(codes)


@contextmanager
def _beside(arguments: list[str], said: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Tests that run meanwhile, with one thread for each process; they end with the block."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    running = subprocess.Popen(
        _command(arguments),
        env=one_thread,
        stdout=said,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_stand_back,
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            # They are a session of their own: Ctrl-C does not reach them.
            os.killpg(running.pid, signal.SIGTERM)
            running.wait()


def _stand_back() -> None:
    """Whatever the browser's tests need, they get first: also where Linux shares the cores by session."""
    os.nice(STEPS_BACK)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(STEPS_BACK))


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
