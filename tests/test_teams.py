"""Teams of threads end when they are let go of, and come back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import layerwidget as lw
from layerwidget import answering
from layerwidget.engine.teams import let_team_go
from tests import tiny

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


_CELL = """
import os, torch
from IPython.core.interactiveshell import InteractiveShell
from layerwidget.engine.teams import let_team_go
from layerwidget.widgets.shell import after_each_cell

after_each_cell(let_team_go)
shell = InteractiveShell.instance()
for _ in range(2):
    after_each_cell(let_team_go)
torch.set_num_threads(3)
shell.run_cell("import os, torch")
alone = len(os.listdir("/proc/self/task"))
cell = "torch.ones(1 << 20).add(1); beside = len(os.listdir('/proc/self/task'))"
shell.run_cell(cell).raise_error()
print(shell.user_ns["beside"] - alone, len(os.listdir("/proc/self/task")) - alone)
print(shell.events.callbacks["post_execute"].count(let_team_go))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads as Linux does")
def test_a_cell_that_computes_leaves_no_team_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CELL],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
    )
    assert done.stdout.split() == ["2", "0", "1"]


def test_an_explorer_tidies_up_after_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(answering, "after_each_cell", asked.append)
    lw.Explorer(tiny.hooked("llama"), prompt="a").close()
    assert asked == [let_team_go]


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
