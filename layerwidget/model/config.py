"""What the configuration of a model says of it, where there is one."""

from __future__ import annotations

from typing import Any

from torch import nn


def name_of(model: nn.Module) -> str:
    """Where it was loaded from; the name of its class where that is not known."""
    path = str(getattr(getattr(model, "config", None), "name_or_path", "") or "")
    return path or type(model).__name__


def trained_length(model: nn.Module) -> int | None:
    """The longest prompt that it was trained for, in tokens; None where there is no limit."""
    length = _config_number(model, "max_position_embeddings")
    return length if length and length > 0 else None


def n_embeddings(model: nn.Module) -> int:
    """How many token ids can safely be drawn from, before the embedding has been found."""
    return _config_number(model, "vocab_size") or 8


def _config_number(model: nn.Module, key: str) -> int | None:
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    value = getattr(config, key, None)
    return value if isinstance(value, int) else None
