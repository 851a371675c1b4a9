"""The second prompt of a comparison: its tokens, and which of them stand beside those of the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from layerwidget.questions.alignment import Alignment, aligned

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel
    from layerwidget.tokens import Tokens


class SecondPrompt:
    """Reads a text once, however often it is asked for, and finds once what stands beside what.

    The reader's thread asks, and the model's: what belongs together is replaced as a whole.
    """

    def __init__(self, model: HookedModel) -> None:
        self._model = model
        self._read: tuple[str, Tokens | None] = ("", None)
        self._beside: tuple[Tokens, Tokens, Alignment] | None = None

    @property
    def read(self) -> Tokens | None:
        """The tokens that were read last."""
        return self._read[1]

    def tokens(self, text: str, first: Tokens) -> Tokens | None:
        """Its tokens, read as those of the first prompt were; None where there is no text.

        Raises:
            PromptError: when it cannot be read.
        """
        if not text:
            return None
        before, read = self._read
        if before != text or read is None or read.extrapolate != first.extrapolate:
            read = self._model.tokenize(text, extrapolate=first.extrapolate)
            self._read = (text, read)
        if first.source is not None and not np.array_equal(read.ids, first.ids):
            read = self._model.with_target(read, first)
            self._read = (text, read)
        return read

    def columns(self, text: str, first: Tokens) -> Alignment:
        """What stands beside what; without a text, each token beside itself."""
        second = self.tokens(text, first) or first
        held = self._beside
        if held is None or held[0] is not first or held[1] is not second:
            held = self._beside = first, second, aligned(first.ids, second.ids)
        return held[2]
