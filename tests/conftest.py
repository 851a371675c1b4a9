"""What all tests share."""

from __future__ import annotations

import os

# Before transformers is imported: nothing in the tests may depend on a model hub.
os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator

import pytest

import layerwidget as lw
from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.load import load
from tests.tiny import letters, tiny


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
