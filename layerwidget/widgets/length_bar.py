"""Prompts that are longer than the model was trained for: the reader asks for them, and is told what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets
import traitlets as t

if TYPE_CHECKING:
    from layerwidget.tokens import Tokens


class LengthBar(ipywidgets.HBox):  # type: ignore[misc]
    """A check box that is there while the prompt, or a second one, is longer than the trained length.

    Attributes:
        extrapolate: whether such prompts run all the same.

    Args:
        n_ctx: the trained length; None where the model knows no limit, and then there is nothing to ask for.
    """

    extrapolate = t.Bool(False)

    def __init__(self, n_ctx: int | None) -> None:
        self._n_ctx = n_ctx
        self.box = ipywidgets.Checkbox(
            description=f"Run past the trained length of {n_ctx:,} tokens: extrapolation" if n_ctx else "",
            indent=False, layout=ipywidgets.Layout(width="auto"),
        )  # fmt: skip
        super().__init__([self.box], layout=ipywidgets.Layout(display="none"))
        t.link((self.box, "value"), (self, "extrapolate"))

    def note_of(self, tokens: Tokens | None, n_beside: int = 0) -> str:
        """Come and go with the length of what is read; returns what is to be said of the prompt's positions.

        Args:
            tokens: the prompt, or None without one.
            n_beside: how many tokens the longest second prompt has.
        """
        n_read = 0 if tokens is None else len(tokens.source or tokens)
        too_long = self._n_ctx is not None and max(n_read, n_beside) > self._n_ctx
        self.layout.display = None if too_long else "none"
        return extrapolated_words(n_read, self._n_ctx) if self.extrapolate else ""


def extrapolated_words(n_read: int, n_ctx: int | None) -> str:
    """What is to be said of the last positions of a prompt of so many tokens; nothing where it is short enough."""
    n_past = 0 if n_ctx is None else n_read - n_ctx
    if n_past <= 0:
        return ""
    last = f"The last {n_past:,} positions lie" if n_past > 1 else "The last position lies"
    return f"{last} past the trained length ({n_ctx:,}): what the model does there is extrapolation."
