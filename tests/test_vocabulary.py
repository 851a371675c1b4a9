"""Vocabulary entries are shown as what they stand for."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from layerwidget.model.vocabulary import Vocabulary
from layerwidget.tokens import Piece


def shown(vocabulary: Vocabulary, *ids: int) -> list[tuple[str | None, str]]:
    """Text and glyphs of some ids."""
    pieces = vocabulary.pieces(ids)
    return [(pieces[one].text, pieces[one].visible) for one in ids]


@pytest.fixture
def byte_level() -> Vocabulary:
    """GPT-2's kind: entries are bytes, written as letters."""
    entries = ["Ġa", "Ċ", "ðŁ", "ĺ", "Ģ", "Ã©", "é", "Ġ", "▁"]
    model = models.BPE({entry: index for index, entry in enumerate(entries)}, [])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|Ġend|>", special=True)])
    return Vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


@pytest.fixture
def sentencepiece() -> Vocabulary:
    """Llama 2's kind: a mark for the space, and a token for every byte."""
    entries = ["<unk>", "▁a", "▁▁", "<0x0A>", "<0xF0>", "Ġ", "é"]
    tokenizer = Tokenizer(models.BPE({entry: index for index, entry in enumerate(entries)}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return Vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def test_byte_level_entries_are_bytes(byte_level: Vocabulary) -> None:
    assert shown(byte_level, 0, 1, 2, 3, 5) == [
        (" a", "␣a"),
        ("\n", "↵"),
        (None, "‹F0 9F›"),
        (None, "‹98›"),
        ("é", "é"),
    ]
    # A letter of the alphabet that is a byte of its own, and no text alone.
    assert shown(byte_level, 6) == [(None, "‹E9›")]


def test_special_tokens_are_text_as_they_stand(byte_level: Vocabulary) -> None:
    assert shown(byte_level, 9) == [("<|Ġend|>", "<|Ġend|>")]


def test_sentencepiece_marks_are_spaces(sentencepiece: Vocabulary) -> None:
    assert shown(sentencepiece, 1, 2, 6) == [(" a", "␣a"), ("  ", "␣␣"), ("é", "é")]


def test_byte_tokens_are_bytes(sentencepiece: Vocabulary) -> None:
    assert shown(sentencepiece, 3, 4) == [("\n", "↵"), (None, "‹F0›")]


def test_other_alphabets_are_left_alone(sentencepiece: Vocabulary) -> None:
    assert shown(sentencepiece, 5) == [("Ġ", "Ġ")]


@pytest.mark.parametrize("beyond", [10, 10**6])
def test_ids_beyond_the_vocabulary_are_numbers(byte_level: Vocabulary, beyond: int) -> None:
    assert byte_level.pieces([beyond]) == {beyond: Piece.unnamed(beyond)}


def test_without_a_tokenizer_ids_are_numbers() -> None:
    assert Vocabulary(None).pieces([4, 4, 7]) == {4: Piece.unnamed(4), 7: Piece.unnamed(7)}


def test_slow_tokenizers_are_read_by_their_entries() -> None:
    class Slow:
        entries = ("Ġa", b"\xc3\xa9", "<0xC3>")

        def get_vocab(self) -> dict[object, int]:
            return {entry: index for index, entry in enumerate(self.entries)}

        def convert_ids_to_tokens(self, token_id: int) -> object:
            return self.entries[token_id]

    assert shown(Vocabulary(Slow()), 0, 1, 2, 3) == [(" a", "␣a"), ("é", "é"), (None, "‹C3›"), (None, "#3")]


def test_every_id_is_worked_out_once(byte_level: Vocabulary) -> None:
    assert byte_level.pieces([0])[0] is byte_level.pieces([0])[0]
