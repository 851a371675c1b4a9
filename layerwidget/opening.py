"""An explorer in one line: of a model by its name, or of what differs between two prompts or two models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layerwidget.engine.other_run import ModelSource
from layerwidget.explorer import Explorer
from layerwidget.questions.comparing import Match
from layerwidget.widgets.compare_page import ComparePage

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel


def explore(source: str | os.PathLike[str] | HookedModel = "demo", prompt: str = "", **options: Any) -> Explorer:
    """Load a model (unless it is one already) and show it: `lw.explore("demo")`.

    Args:
        source: what `layerwidget.load` takes, or a `HookedModel`.
        prompt: the first text.
        options: further arguments of `Explorer`.
    """
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.model.load import load

    return Explorer(source if isinstance(source, HookedModel) else load(source), prompt, **options)


def compare(
    model: HookedModel,
    other: str | ModelSource | Mapping[str, ModelSource],
    prompt: str = "",
    match: Match = "layer",
    **options: Any,
) -> Explorer:
    """Show what differs between two prompts, or two models that read the same tokens.

    Args:
        model: the first model.
        other: the second prompt; or the second model; or name -> model, or a folder, or a function that loads it: a
            slider chooses one of them, and only that one is in memory.
        prompt: the first text.
        match: which layers are compared: those of the same number (`layer`), or at the same share of the
            depth (`depth`).
        options: further arguments of `Explorer`.

    Raises:
        QuestionError: when there is no model among the others.
    """
    explorer = Explorer(model, prompt, **{"pages": ("compare",), **options})
    page = explorer.page("compare")
    assert isinstance(page, ComparePage)
    page.compare_with(other, match)
    return explorer
