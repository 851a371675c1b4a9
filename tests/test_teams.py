"""Teams of threads end when they are let go of, and come back."""

from __future__ import annotations

import os
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


_CHILD = """
import os, torch
from layerwidget.engine.teams import let_team_go

torch.set_num_threads(2)
torch.ones(1 << 20).add(1)
child = os.fork()
if child == 0:
    let_team_go()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes fork here only")
def test_a_child_does_not_wait_for_threads_that_it_has_not() -> None:
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["7"]
