"""Teams of threads end when they are let go of, and come back."""

from __future__ import annotations

import subprocess
import sys

import pytest

_TEAM = """
import os, sys, torch
from layerwidget.engine.teams import let_team_go

def n_threads():
    return len(os.listdir("/proc/self/task"))

def compute():
    return torch.ones(1 << 20).add(1).sum().item()

torch.set_num_threads(3)
alone = n_threads()
expected = compute()
beside = n_threads()
let_team_go()
after = n_threads()
assert compute() == expected and torch.get_num_threads() == 3
print(beside - alone, after - alone, n_threads() - alone)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads as Linux does")
def test_a_team_that_is_let_go_of_ends_and_comes_back() -> None:
    done = subprocess.run([sys.executable, "-c", _TEAM], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["2", "0", "2"]
