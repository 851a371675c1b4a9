"""How the entries of a tokenizer's vocabulary are shown: spaces, bytes and special tokens as what they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from layerwidget.tokens import Piece

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_WORD_START = "\u2581"


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level vocabularies, reversed: 256 entries.

    Printable Latin-1 stands for itself, the rest follows at U+0100.

    Source: Radford et al. 2019 (GPT-2), `bytes_to_unicode`.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


class Vocabulary:
    """Shows token ids; every id is worked out once.

    Args:
        tokenizer: a transformers tokenizer, or None: then ids are shown as numbers.
    """

    def __init__(self, tokenizer: Any | None) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, Piece] = {}
        self._byte_level = tokenizer is not None and _is_byte_level(tokenizer)
        self._added = {} if tokenizer is None else {int(key): str(value) for key, value in _added(tokenizer).items()}

    def pieces(self, ids: Iterable[int]) -> dict[int, Piece]:
        """How each of the ids is shown."""
        found = {}
        for token_id in {int(one) for one in ids}:
            if token_id not in self._known:
                self._known[token_id] = self._piece(token_id)
            found[token_id] = self._known[token_id]
        return found

    def _piece(self, token_id: int) -> Piece:
        if token_id in self._added:
            return Piece.from_text(token_id, self._added[token_id])
        token = self._token(token_id)
        if token is None:
            return Piece.unnamed(token_id)
        if isinstance(token, bytes):
            return _from_bytes(token_id, token)
        if match := _BYTE_TOKEN.fullmatch(token):
            return _from_bytes(token_id, bytes([int(match[1], 16)]))
        if self._byte_level and all(char in _BYTE_OF for char in token):
            return _from_bytes(token_id, bytes(_BYTE_OF[char] for char in token))
        return Piece.from_text(token_id, token.replace(_WORD_START, " "))

    def _token(self, token_id: int) -> str | bytes | None:
        """The entry of an id; None for ids beyond the vocabulary (models pad theirs to round sizes)."""
        if self._tokenizer is None:
            return None
        try:
            token: str | bytes | None = self._tokenizer.convert_ids_to_tokens(token_id)
        except (IndexError, KeyError, ValueError, TypeError, OverflowError):
            return None
        return token


def _from_bytes(token_id: int, raw: bytes) -> Piece:
    try:
        return Piece.from_text(token_id, raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Piece.from_bytes(token_id, raw)


def _added(tokenizer: Any) -> dict[int, Any]:
    added: dict[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    return added


def _is_byte_level(tokenizer: Any) -> bool:
    """Whether entries are written in the byte alphabet: its decoder says so, or entries start with its space."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.decoder is not None:
        return b"ByteLevel" in backend.decoder.__getstate__()
    entries = tokenizer.get_vocab()
    spaced = sum(entry.startswith("Ġ") for entry in entries if isinstance(entry, str))
    return spaced > sum(entry.startswith(_WORD_START) for entry in entries if isinstance(entry, str))
