"""What all tests share."""

from __future__ import annotations

import os

# Before transformers is imported: nothing in the tests may depend on a model hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

from layerwidget.model.hooked_model import HookedModel
from layerwidget.model.load import load


@pytest.fixture(scope="session")
def demo_model() -> HookedModel:
    """The demo model. The first test run on a machine converts it; without it tests fail, they do not skip."""
    return load("demo")
