"""HookedModel: prompts in every form, and a clear error for each that cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from layerwidget.errors import EmptyPromptError, PromptError, QuestionError
from layerwidget.model.hooked_model import HookedModel
from tests import tiny


@pytest.fixture(scope="module")
def model() -> HookedModel:
    """A tiny Llama that reads words: w0 to w99, and an unknown one."""
    words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(100)} | {"?": 100}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return HookedModel(tiny.tiny("llama"), PreTrainedTokenizerFast(tokenizer_object=words), name="wordy")


@pytest.mark.parametrize(
    "prompt",
    ["w3 w1 w4", [3, 1, 4], (3, 1, 4), np.array([3, 1, 4]), torch.tensor([3, 1, 4]), torch.tensor([3, 1, 4]).int()],
    ids=["text", "list", "tuple", "array", "tensor", "int32"],
)
def test_prompts_of_every_form(model: HookedModel, prompt: Any) -> None:
    trace = model.trace(prompt)
    assert trace.tokens.ids.tolist() == [3, 1, 4]
    assert trace.tokens.ids.dtype == np.int64
    assert trace.logits.shape == (3, tiny.D_VOCAB)
    assert [piece.visible for piece in trace.tokens] == ["w3", "w1", "w4"]
    assert trace.tokens.text == (prompt if isinstance(prompt, str) else None)


def test_a_prompt_that_is_tokenized_already(model: HookedModel) -> None:
    tokens = model.tokenize("w3 w1")
    assert model.trace(tokens).tokens is tokens


def test_size_and_names(model: HookedModel) -> None:
    assert (model.name, model.d_vocab, model.n_ctx) == ("wordy", tiny.D_VOCAB, tiny.N_CTX)
    assert repr(model) == "HookedModel('wordy', 3 layers, d_model 36, d_vocab 101)"
    assert HookedModel(tiny.tiny("gpt2")).name == "GPT2LMHeadModel"
    assert tiny.hooked("mamba").n_ctx is None


def test_one_token(model: HookedModel) -> None:
    trace = model.trace([7])
    assert trace.resid_post.shape == (3, 1, 36)
    assert torch.equal(trace.pattern(2), torch.ones(4, 1, 1))
    assert torch.equal(model.tail(trace.resid_post[-1]), trace.logits)


@pytest.mark.parametrize("prompt", ["", [], torch.zeros(0), torch.zeros(0, dtype=torch.long)])
def test_empty_prompts(model: HookedModel, prompt: Any) -> None:
    assert len(model.tokenize(prompt)) == 0
    with pytest.raises(EmptyPromptError, match="holds no token"):
        model.trace(prompt)


def test_the_longest_prompt_and_one_more(model: HookedModel) -> None:
    assert len(model.trace([1] * tiny.N_CTX).tokens) == tiny.N_CTX
    with pytest.raises(PromptError, match=r"has 66 tokens; wordy was trained for at most 64. Shorten it by 2"):
        model.trace([1] * (tiny.N_CTX + 2))
    assert len(model.trace([1]).tokens) == 1


@pytest.mark.parametrize("outside", [-1, tiny.D_VOCAB])
def test_ids_outside_the_vocabulary(model: HookedModel, outside: int) -> None:
    with pytest.raises(PromptError, match=f"Token id {outside} does not exist in wordy: ids run from 0 to 100"):
        model.trace([1, outside])


@pytest.mark.parametrize("prompt", [None, 3.5, [1.5, 2.0], ["a"], [[1], [2, 3]], [True], {"a": 1}])
def test_what_is_no_prompt(model: HookedModel, prompt: Any) -> None:
    with pytest.raises(PromptError, match="A prompt is text, or a list or 1-D tensor of whole numbers"):
        model.trace(prompt)


def test_more_than_one_prompt(model: HookedModel) -> None:
    with pytest.raises(PromptError, match=r"shape \[2, 3\].*give ids\[0\]"):
        model.trace(torch.ones(2, 3, dtype=torch.long))


def test_text_without_a_tokenizer() -> None:
    with pytest.raises(PromptError, match="without a tokenizer"):
        tiny.hooked("llama").trace("w1")


def test_half_characters_are_replaced(model: HookedModel) -> None:
    assert model.tokenize("a\ud83db").text == "a\ufffdb"
    assert model.tokenize("\ude00\ud83d").text == "\ufffd\ufffd"
    assert model.tokenize("\ud83d\ude00").text == "\U0001f600"
    assert model.trace("w1 \ud83d").tokens.ids.tolist() == [1, 100]


def test_special_tokens_are_added_as_asked() -> None:
    words = Tokenizer(models.WordLevel({"a": 5, "<s>": 6}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>")
    calls: list[dict[str, Any]] = []

    def tokenize(text: str, **options: Any) -> dict[str, list[int]]:
        calls.append(options)
        return {"input_ids": [6, 5]}

    model = HookedModel(tiny.tiny("llama"), tokenizer)
    model.tokenizer = tokenize
    for asked in (None, True, False):
        model.tokenize("a", add_special_tokens=asked)
    assert [call.get("add_special_tokens") for call in calls] == [None, True, False]
    assert "add_special_tokens" not in calls[0]


def test_interventions_are_refused_clearly(model: HookedModel) -> None:
    with pytest.raises(QuestionError, match=r"SkipLayers.*type str"):
        model.trace([1, 2], interventions=("skip",))


def test_trace_says_what_it_holds(model: HookedModel) -> None:
    assert repr(model.trace([1, 2])) == "Trace('wordy', 2 tokens, resid_pre, attn_out, resid_mid, mlp_out, resid_post)"
