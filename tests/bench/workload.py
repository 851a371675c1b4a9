"""What is run: prompts of n tokens, and what is asked about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import layerwidget as lw

#: How many layers' attention is on screen.
N_SHOWN = 8
LENS = lw.LogitLens()

_TEXT = (
    "The Eiffel Tower is in the city of Paris, and the Colosseum is in the city of Rome. When the sun rose over the "
    "harbour, seven small boats were already on their way to the islands, loaded with bread, apples and letters. "
)


@dataclass(frozen=True)
class Workload:
    """A model and prompts for it.

    Attributes:
        model: the hooked model.
    """

    model: lw.HookedModel

    @property
    def n_layers(self) -> int:
        """How many layers the model has."""
        return self.model.anatomy.n_layers

    def prompt(self, n: int) -> list[int]:
        """The same n token ids every time."""
        if self.model.tokenizer is None:
            return [place % self.model.d_vocab for place in range(n)]
        # Every copy of the text has more than 20 tokens.
        ids: list[int] = self.model.tokenize(_TEXT * (1 + n // 20)).ids.tolist()
        return ids[:n]

    def appended(self, n: int, turn: int) -> list[int]:
        """The prompt of n - 1 tokens and another last one in every turn, which nobody can have kept."""
        return [*self.prompt(n - 1), self._other(turn)]

    def replaced(self, n: int, turn: int) -> list[int]:
        """The prompt with another token in the middle in every turn."""
        ids = self.prompt(n)
        return [*ids[: n // 2], self._other(turn), *ids[n // 2 + 1 :]]

    def _other(self, turn: int) -> int:
        return (1000 + 7 * turn) % self.model.d_vocab

    def update(
        self, live: lw.Live, ids: list[int], first: int | None = None, told: Callable[[], None] = lambda: None
    ) -> tuple[Any, ...]:
        """Ask as the Explorer does: the lens of all layers, and the attention of eight.

        Args:
            live: the engine.
            ids: the prompt.
            first: the first of the eight layers on screen; by default they are the last ones.
            told: called at every answer, and every part of one.
        """
        start = max(0, self.n_layers - N_SHOWN) if first is None else first
        on_screen = f"{start}-{min(start + N_SHOWN, self.n_layers) - 1}"
        return live.update(
            ids,
            LENS,
            lw.Attention(on_screen),
            answered=lambda *_: told(),
            previewed=lambda *_: told(),
            on_screen=on_screen,
        )

    def update_elsewhere(self, live: lw.Live, ids: list[int]) -> tuple[Any, ...]:
        """The same after the reader has moved to other layers."""
        return self.update(live, ids, first=self.n_layers // 3)
