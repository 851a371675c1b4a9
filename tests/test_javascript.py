"""Runs the tests of the views' own functions (`tests/js`) with the node that Playwright brings along."""

from __future__ import annotations

import subprocess
from pathlib import Path

from playwright._impl._driver import compute_driver_executable

TESTS = Path(__file__).parent / "js" / "views.test.mjs"


def test_the_functions_of_the_views() -> None:
    node, _driver = compute_driver_executable()
    run = subprocess.run([node, "--test", "--test-reporter=tap", TESTS], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout
    assert "# fail 0" in run.stdout
    assert "# pass 0" not in run.stdout
