"""All tests are run in two parts at once; what one of them comes to is not lost."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests import parts


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each part does instead of running tests: Python code by the mark that it is for."""
    codes: dict[str, str] = {}

    def command(arguments: list[str]) -> list[str]:
        return [sys.executable, "-S", "-c", codes[arguments[arguments.index("-m") + 1]], *arguments]

    monkeypatch.setattr(parts, "_command", command)
    return codes


@pytest.mark.parametrize(
    ("browser", "without", "expected"), [(0, 0, 0), (0, 1, 1), (2, 0, 2), (5, 0, 0), (0, 5, 0), (5, 5, 5), (5, 1, 1)]
)
def test_a_part_that_fails_makes_the_whole_fail(
    ends: dict[str, str], browser: int, without: int, expected: int
) -> None:
    ends.update({"browser": f"raise SystemExit({browser})", "not browser": f"raise SystemExit({without})"})
    assert parts.main([]) == expected


def test_both_run_at_once_and_say_all(ends: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # Each ends only when the other one has begun.
    meet = "import os, sys, time; mine, other = {}; open(mine, 'w').close(); end = time.monotonic() + 60\n"
    meet += "while not os.path.exists(other) and time.monotonic() < end: time.sleep(0.01)\n"
    meet += "print(mine, os.nice(0), sys.argv[-1])\n"
    meet += "sys.exit(not os.path.exists(other))"
    one, two = str(tmp_path / "browser"), str(tmp_path / "without")
    ends.update({"browser": meet.format((one, two)), "not browser": meet.format((two, one))})
    assert parts.main(["-x"]) == 0
    back = min(19, os.nice(0) + parts.STEPS_BACK)
    assert capfd.readouterr().out.splitlines() == [f"{one} {os.nice(0)} -x", f"{two} {back} -x"]


def test_what_runs_beside_ends_with_who_started_it(ends: dict[str, str]) -> None:
    ends["not browser"] = "import signal; signal.pause()"
    with TemporaryFile("w+") as said:
        with pytest.raises(KeyboardInterrupt), parts._beside(["-m", "not browser"], said) as running:
            raise KeyboardInterrupt
        assert running.returncode == -signal.SIGTERM
