"""From what a person types, or a list of numbers, to token ids that the model can read."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerwidget.errors import EmptyPromptError, PromptError
from layerwidget.tokens import IntArray, Tokens, well_formed


def ids_of_text(text: str, tokenizer: Any | None, add_special_tokens: bool | None) -> IntArray:
    """Token ids of a text, shape [pos].

    Raises:
        PromptError: when there is no tokenizer.
    """
    if tokenizer is None:
        raise PromptError("This model came without a tokenizer, so it cannot read text: give a list of token ids.")
    options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
    return np.asarray(tokenizer(text, verbose=False, **options)["input_ids"], dtype=np.int64)


def ids_of_numbers(prompt: Any) -> IntArray:
    """Token ids given as a list, an array or a 1-D tensor, shape [pos].

    Raises:
        PromptError: for anything else.
    """
    try:
        numbers = np.asarray(prompt.detach().cpu() if hasattr(prompt, "detach") else prompt)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _no_prompt(prompt) from error
    if numbers.ndim == 1 and numbers.size == 0:
        return np.zeros(0, dtype=np.int64)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise _no_prompt(prompt)
    if numbers.ndim != 1:
        raise PromptError(
            f"A prompt of token ids is one list of numbers, shape [pos]; got shape {list(numbers.shape)}. "
            f"One prompt at a time: give ids[0]."
        )
    return numbers.astype(np.int64)


def target_ids(target: Any, config: Any, tokenizer: Any | None, name: str) -> IntArray:
    """What the decoder of an encoder-decoder reads, shape [pos].

    Args:
        target: text, token ids, `Tokens`, or None for the start token alone.
        config: the model's configuration, which names the start token.
        tokenizer: its tokenizer, for text.
        name: what to call the model.

    Raises:
        PromptError: when there is no start token, or the target is neither text nor token ids.
    """
    if isinstance(target, Tokens):
        return target.ids
    if target is not None and not isinstance(target, str):
        return ids_of_numbers(target)
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    known = (getattr(part, key, None) for key in names for part in (config, config.get_text_config(decoder=True)))
    start = next((one for one in known if isinstance(one, int)), None)
    if start is None:
        raise PromptError(f"{name} names no token with which its decoder starts: give target=[...] token ids.")
    if target is None:
        return np.asarray([start], dtype=np.int64)
    if tokenizer is None:
        raise PromptError("This model came without a tokenizer, so it cannot read text: give a list of token ids.")
    ids = tokenizer(text_target=well_formed(target), verbose=False)["input_ids"]
    ended = bool(ids) and ids[-1] == getattr(tokenizer, "eos_token_id", None)
    begun = bool(ids) and ids[0] == start
    return np.asarray([*([] if begun else [start]), *(ids[:-1] if ended else ids)], dtype=np.int64)


def check_ids(tokens: Tokens, n_embeddings: int, n_ctx: int | None, name: str) -> None:
    """Raise unless the model can read this; more than it was trained for only where that was asked for.

    Raises:
        EmptyPromptError: for no ids.
        PromptError: for ids outside the vocabulary, or more than the model was trained for.
    """
    ids = tokens.ids
    if len(ids) == 0:
        raise EmptyPromptError("The prompt holds no token: type something, or give at least one token id.")
    if n_ctx is not None and len(ids) > n_ctx and not tokens.extrapolate:
        raise PromptError(
            f"The prompt has {len(ids):,} tokens; {name} was trained for at most {n_ctx:,}. "
            f"Shorten it by {len(ids) - n_ctx:,} tokens, take a model with a longer context, or ask for "
            "extrapolation: extrapolate=True."
        )
    outside = ids[(ids < 0) | (ids >= n_embeddings)]
    if len(outside):
        raise PromptError(
            f"Token id {int(outside[0])} does not exist in {name}: ids run from 0 to {n_embeddings - 1}. "
            f"Do the ids come from another model's tokenizer?"
        )


def _no_prompt(prompt: object) -> PromptError:
    return PromptError(
        f"A prompt is text, or a list or 1-D tensor of whole numbers (token ids); got {type(prompt).__name__}."
    )
