"""What is run: prompts of n tokens, and what is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
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

    def text(self, n: int) -> str:
        """The prompt of n tokens, as one types it.

        Raises:
            ValueError: when it is read as other tokens, or there is no tokenizer to read it.
        """
        ids = self.prompt(n)
        if self.model.tokenizer is not None:
            text = self._text(ids)
            if self.model.tokenize(text).ids.tolist() == ids:
                return text
        raise ValueError(f"No text was found that is read as the prompt of {n} tokens.")

    def appended(self, n: int, turn: int) -> list[int]:
        """The prompt of n - 1 tokens and another last one in every turn, which nobody can have kept."""
        return [*self.prompt(n - 1), self._other(turn)]

    def going_on(self, n: int, turn: int) -> list[int]:
        """A prompt of n tokens of which the last two are others in every turn: the one without the last is new, too."""
        return [*self.prompt(n - 2), self._other(turn), self._other(turn + 1)]

    def typed(self, n: int, turn: int) -> tuple[str, str]:
        """A text of n - 1 tokens, and the same with one more, which is another one in every turn from -2 on.

        Raises:
            ValueError: when there is no such text: the model needs a tokenizer that reads what it writes.
        """
        if self.model.tokenizer is not None:
            before = self._text(self.prompt(n - 1))
            for after in islice(self._longer(before), turn + 2, None):
                return before, after
        raise ValueError(f"No text of {n} tokens was found that goes on from one of {n - 1}, for turn {turn}.")

    def pasted(self, n: int, turn: int) -> str:
        """A text of n tokens, of which the first one is another one in every turn from -1 on: nothing of it is known.

        Raises:
            ValueError: when there is no such text.
        """
        if self.model.tokenizer is not None:
            for text in islice(self._others(self.prompt(n)), turn + 1, None):
                return text
        raise ValueError(f"No text of {n} tokens was found that begins with another one, for turn {turn}.")

    def _others(self, ids: list[int]) -> Iterator[str]:
        """Texts that differ from this one by their first token, each by another one."""
        for place in range(self.model.d_vocab):
            other = [(1000 + place) % self.model.d_vocab, *ids[1:]]
            text = self._text(other)
            if other != ids and self.model.tokenize(text).ids.tolist() == other:
                yield text

    def _longer(self, before: str) -> Iterator[str]:
        """Texts that have one token more than this one, each another one."""
        ids = self.model.tokenize(before).ids.tolist()
        for place in range(self.model.d_vocab):
            longer = [*ids, (1000 + place) % self.model.d_vocab]
            text = self._text(longer)
            # Most pieces of words go together with what stands before them.
            if self.model.tokenize(text).ids.tolist() == longer:
                yield text

    def _text(self, ids: list[int]) -> str:
        text: str = self.model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)  # type: ignore[union-attr]
        return text

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
