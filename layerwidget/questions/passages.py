"""A text cut into passages that a model reads one by one, each framed by the special tokens of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerwidget.model.hooked_model import HookedModel

#: Tokens of a passage; fewer where the text is so short that there would be less than `_SOME` passages.
_LONGEST, SHORTEST = 128, 8
_SOME = 10


@dataclass(frozen=True)
class Framed:
    """A text's tokens.

    Attributes:
        ids: without special tokens.
        before: the special tokens that the tokenizer puts before a prompt.
        after: those it puts after it.
    """

    ids: tuple[int, ...]
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


def framed(text: str | Sequence[int], model: HookedModel) -> Framed:
    """A text's tokens, or rows of token ids as they are.

    Raises:
        PromptError: for text without a tokenizer.
    """
    if not isinstance(text, str):
        return Framed(tuple(text))
    whole, ids = (tuple(model.tokenize(text, special).ids.tolist()) for special in (None, False))
    for start in range(len(whole) - len(ids) + 1):
        if whole[start : start + len(ids)] == ids:
            return Framed(ids, whole[:start], whole[start + len(ids) :])
    return Framed(ids)


def cut_up(texts: Sequence[Framed], n_ctx: int | None, max_positions: int) -> list[tuple[int, ...]]:
    """Passages of about equal length, none longer than the model's context; crumbs of a text are left out.

    Args:
        texts: all texts.
        n_ctx: the model's context, or None where it knows no limit.
        max_positions: how many of these tokens will be used; passages are the shorter, the fewer they are.
    """
    n_tokens = min(max_positions, sum(len(text.ids) for text in texts))
    longest = max(SHORTEST, min(_LONGEST, n_tokens // _SOME))
    passages = []
    for text in texts:
        room = longest if n_ctx is None else min(longest, n_ctx - len(text.before) - len(text.after))
        for start in range(0, len(text.ids), max(1, room)):
            piece = text.ids[start : start + room]
            if len(piece) >= max(1, min(SHORTEST, room)):
                passages.append((*text.before, *piece, *text.after))
    return passages


def spread(passages: list[tuple[int, ...]], max_positions: int) -> list[tuple[int, ...]]:
    """Passages from all over the text whose tokens are about so many; at least two, where there are two."""
    n_tokens = sum(map(len, passages))
    if n_tokens <= max_positions:
        return passages
    n = min(len(passages), max(2, len(passages) * max_positions // n_tokens))
    return [passages[index * len(passages) // n] for index in range(n)]
