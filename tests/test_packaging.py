"""The wheel holds everything that runs: Python, JavaScript, style sheets, the type marker and the licence."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from layerwidget import __version__

REPOSITORY = Path(__file__).parents[1]
ASSETS = {".py", ".js", ".css", ".json", ".typed"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=REPOSITORY, check=True
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def test_every_file_of_the_package_is_in_the_wheel(packed: set[str]) -> None:
    files = {path for path in (REPOSITORY / "layerwidget").rglob("*") if path.suffix in ASSETS}
    expected = {path.relative_to(REPOSITORY).as_posix() for path in files}
    assert {"layerwidget/py.typed", "layerwidget/model/load.py"} <= expected
    assert any(name.endswith(".js") for name in expected)
    assert expected - packed == set()


def test_nothing_else_is_in_the_wheel(packed: set[str]) -> None:
    tops = {"layerwidget", *(f"layerwidget-{__version__}.{kind}" for kind in ("data", "dist-info"))}
    assert {name.split("/")[0] for name in packed} == tops
    (shared,) = (name for name in packed if ".data/" in name)
    assert shared == f"layerwidget-{__version__}.data/data/share/layerwidget/01_quickstart.ipynb"
    assert f"layerwidget-{__version__}.dist-info/licenses/LICENSE" in packed
