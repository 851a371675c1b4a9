"""Runs the tests of the views' own functions (`tests/js`) with the node that Playwright brings along."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

from layerwidget.widgets.esm import module_text

HOME = Path(__file__).parents[1] / "layerwidget/widgets/js"
MODULES = sorted(path.stem for path in HOME.glob("*.js"))
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


def test_modules_import_what_they_call() -> None:
    """Put together in a notebook, a module sees its neighbours' names; in an offline page it stands alone."""
    texts = {name: (HOME / f"{name}.js").read_text(encoding="utf-8") for name in MODULES}
    exported = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)
    homes = {function: name for name, text in texts.items() for function in exported.findall(text)}
    assert homes["typeSize"] == "colour"
    for name, text in texts.items():
        imported = {
            one.strip() for names in re.findall(r"^import \{([^}]*)\}", text, re.MULTILINE) for one in names.split(",")
        }
        code = re.sub(r"//.*|/\*(?s:.*?)\*/", "", text)
        called = set(re.findall(r"(?<![.\w])(\w+)\(", code)) & set(homes)
        own = set(re.findall(r"(?:function|const|let|class) (\w+)", code)) | set(
            re.findall(r"[{,(] *(\w+) *[,})]", code)
        )
        missing = {function for function in called - imported - own if homes[function] != name}
        assert not missing, f"{name}.js calls {missing} of other modules and does not import it."


def test_only_one_function_clips() -> None:
    """A clip that is not taken back outlives its drawing: an axis beside it kept the numbers of the prompt before."""
    assert [name for name in MODULES if ".clip()" in (HOME / f"{name}.js").read_text(encoding="utf-8")] == ["dom"]


def test_modules_say_first_what_they_are() -> None:
    assert [name for name in MODULES if not (HOME / f"{name}.js").read_text(encoding="utf-8").startswith("// ")] == []
