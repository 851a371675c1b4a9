"""What the status line says of the last picture: how much was computed, and what is held for the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerwidget.engine.local import Live
    from layerwidget.tokens import Tokens


def tokens_words(tokens: Tokens) -> str:
    """How long the prompt is, and its source where it has one."""
    source = "" if tokens.source is None else f"source {len(tokens.source)} · target "
    return f"{source}{len(tokens)} token{'s' if len(tokens) > 1 else ''}"


def computed_words(live: Live, n_pos: int) -> str:
    """How much of a prompt was run through the model for the last picture.

    Nothing where it was all of it, unless this model leaves no choice.
    """
    if live.reused_layers:
        return f"recomputed from layer {live.reused_layers}"
    n_new = n_pos - live.reused
    if not n_new:
        return "nothing recomputed"
    return f"{n_new} recomputed" if n_new < n_pos else live.how if live.computes_anew else ""


def kept_words(pass_bytes: int, answer_bytes: int) -> str:
    """The memory that is held for the next edit; nothing where it is less than a megabyte."""
    total = (pass_bytes + answer_bytes) >> 20
    both = [(pass_bytes, "pass"), (answer_bytes, "answers")]
    parts = [f"{name} {n_bytes >> 20}" for n_bytes, name in both if n_bytes >> 20]
    of_which = f" ({' + '.join(parts)})" if len(parts) > 1 else ""
    return f"{total} MB kept{of_which}" if total else ""


def took_words(took_ms: float) -> str:
    """How long it took: in milliseconds while it is felt as them."""
    if took_ms < 999.5:
        return f"{took_ms:.0f} ms"
    return f"{took_ms / 1000:.1f} s" if took_ms < 9_950 else f"{took_ms / 1000:.0f} s"
