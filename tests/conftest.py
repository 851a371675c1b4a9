"""What all tests share."""

from __future__ import annotations

import os

# Before transformers is imported: nothing in the tests may depend on a model hub.
os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import layerwidget as lw
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.load import load
from tests.tiny import letters, tiny

BROWSER_TESTS = Path(__file__).parent / "browser"

# Several threads add up in another order from one pass to the next, where others want the cores too: some tests compare
# every bit. Those that are about threads ask for more.
torch.set_num_threads(1)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of the two parts of `tests.parts`, each reads its own files only."""
    is_browser = BROWSER_TESTS in (collection_path, *collection_path.parents)
    if config.option.markexpr == "not browser" and is_browser:
        return True
    if config.option.markexpr == "browser" and collection_path.suffix == ".py" and not is_browser:
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is in the folder of browser tests is one."""
    for item in items:
        if BROWSER_TESTS in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def demo_model() -> HookedModel:
    """The demo model. The first test run on a machine converts it; without it tests fail, they do not skip."""
    return load("demo")


@pytest.fixture(scope="module")
def model() -> lw.HookedModel:
    """A tiny random model that reads letters."""
    return lw.HookedModel(tiny("llama"), letters(), "tiny")


@pytest.fixture
def explorer(model: lw.HookedModel) -> Iterator[lw.Explorer]:
    """An explorer of it that shows five letters."""
    explorer = lw.Explorer(model, "abcde")
    explorer.wait()
    yield explorer
    explorer.close()
