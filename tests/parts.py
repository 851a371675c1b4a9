"""All tests in two parts: those without a browser on several cores, then those in a browser, which share one.

`python -m tests.parts [arguments of pytest]`; each part ends with pytest's own summary.
"""

from __future__ import annotations

import os
import subprocess
import sys

#: More of them than that would not have the memory: each may hold the demo model.
MOST_WORKERS = 4
NOTHING_COLLECTED = 5


def main(arguments: list[str]) -> int:
    """Run both parts, whatever becomes of the first; what is named in the arguments may be in one of them only."""
    workers = min(MOST_WORKERS, os.cpu_count() or 1)
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    codes = [
        _run(["-m", "not browser", "-n", str(workers), "--dist", "loadfile", *arguments], alone),
        _run(["-m", "browser", *arguments], dict(os.environ)),
    ]
    failed = [code for code in codes if code not in (0, NOTHING_COLLECTED)]
    return failed[0] if failed else min(codes)


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
