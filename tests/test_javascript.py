"""Runs the tests of the views' own functions (`tests/js`) with the node that Playwright brings along."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

from layerwidget.widgets.esm import module_text

MODULES = sorted(path.stem for path in (Path(__file__).parents[1] / "layerwidget/widgets/js").glob("*.js"))
TESTS = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))


def test_the_functions_of_the_views() -> None:
    node, _driver = compute_driver_executable()
    run = subprocess.run([node, "--test", "--test-reporter=tap", *TESTS], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout
    assert "# fail 0" in run.stdout
    assert "# pass 0" not in run.stdout


@pytest.mark.parametrize("name", MODULES)
def test_a_module_with_all_that_it_imports_can_be_read(name: str, tmp_path: Path) -> None:
    node, _driver = compute_driver_executable()
    module = tmp_path / f"{name}.mjs"
    module.write_text(module_text(name))
    run = subprocess.run([node, "--check", module], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
