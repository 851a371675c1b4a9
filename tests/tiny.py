"""Tiny random models that are hard to fool: sizes all differ, and no gain is one and no bias is zero."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from string import ascii_lowercase
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

import layerwidget as lw

D_VOCAB = 101
N_LAYERS = 3
N_HEADS = 4
N_CTX = 64

_Build = Callable[[], transformers.PreTrainedModel]


def _llama() -> transformers.PreTrainedModel:
    config = transformers.LlamaConfig(
        vocab_size=D_VOCAB,
        hidden_size=36,
        intermediate_size=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        head_dim=10,
        max_position_embeddings=N_CTX,
        attention_bias=True,
    )
    return transformers.LlamaForCausalLM(config)


def _gpt2() -> transformers.PreTrainedModel:
    config = transformers.GPT2Config(vocab_size=D_VOCAB, n_embd=44, n_layer=N_LAYERS, n_head=N_HEADS, n_positions=N_CTX)
    return transformers.GPT2LMHeadModel(config)


def _gpt_neox(parallel: bool = True) -> transformers.PreTrainedModel:
    config = transformers.GPTNeoXConfig(
        vocab_size=D_VOCAB,
        hidden_size=40,
        intermediate_size=56,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        max_position_embeddings=N_CTX,
        use_parallel_residual=parallel,
    )
    return transformers.GPTNeoXForCausalLM(config)


def _gemma3() -> transformers.PreTrainedModel:
    config = transformers.Gemma3TextConfig(
        vocab_size=D_VOCAB,
        hidden_size=44,
        intermediate_size=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        head_dim=12,
        query_pre_attn_scalar=7,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        max_position_embeddings=N_CTX,
        final_logit_softcapping=0.7,
    )
    return transformers.Gemma3ForCausalLM(config)


def _gemma2() -> transformers.PreTrainedModel:
    config = transformers.Gemma2Config(
        vocab_size=D_VOCAB,
        hidden_size=44,
        intermediate_size=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        head_dim=12,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=0.7,
        max_position_embeddings=N_CTX,
    )
    return transformers.Gemma2ForCausalLM(config)


def _granite() -> transformers.PreTrainedModel:
    config = transformers.GraniteConfig(
        vocab_size=D_VOCAB,
        hidden_size=40,
        intermediate_size=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        embedding_multiplier=1.7,
        residual_multiplier=0.6,
        logits_scaling=2.3,
        attention_multiplier=0.4,
        max_position_embeddings=N_CTX,
    )
    return transformers.GraniteForCausalLM(config)


def _falcon() -> transformers.PreTrainedModel:
    config = transformers.FalconConfig(
        vocab_size=D_VOCAB,
        hidden_size=40,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        multi_query=True,
        parallel_attn=True,
        bias=True,
        max_position_embeddings=N_CTX,
    )
    return transformers.FalconForCausalLM(config)


def _opt() -> transformers.PreTrainedModel:
    config = transformers.OPTConfig(
        vocab_size=D_VOCAB,
        hidden_size=44,
        word_embed_proj_dim=44,
        ffn_dim=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        max_position_embeddings=N_CTX,
    )
    return transformers.OPTForCausalLM(config)


def _mamba() -> transformers.PreTrainedModel:
    config = transformers.MambaConfig(vocab_size=D_VOCAB, hidden_size=36, state_size=6, num_hidden_layers=N_LAYERS)
    return transformers.MambaForCausalLM(config)


def _bert() -> transformers.PreTrainedModel:
    config = transformers.BertConfig(
        vocab_size=D_VOCAB,
        hidden_size=44,
        intermediate_size=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        max_position_embeddings=N_CTX,
    )
    return transformers.BertForMaskedLM(config)


def _mixtral() -> transformers.PreTrainedModel:
    config = transformers.MixtralConfig(
        vocab_size=D_VOCAB,
        hidden_size=40,
        intermediate_size=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        num_local_experts=5,
        max_position_embeddings=N_CTX,
    )
    return transformers.MixtralForCausalLM(config)


def _gpt_oss() -> transformers.PreTrainedModel:
    config = transformers.GptOssConfig(
        vocab_size=D_VOCAB,
        hidden_size=36,
        intermediate_size=52,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        head_dim=10,
        num_local_experts=5,
        num_experts_per_tok=2,
        sliding_window=5,
        max_position_embeddings=N_CTX,
    )
    return transformers.GptOssForCausalLM(config)


def _jamba() -> transformers.PreTrainedModel:
    config = transformers.JambaConfig(
        vocab_size=D_VOCAB,
        hidden_size=36,
        intermediate_size=52,
        num_hidden_layers=4,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        num_experts=3,
        mamba_d_state=6,
        mamba_dt_rank=5,
        use_mamba_kernels=False,
        max_position_embeddings=N_CTX,
    )
    return transformers.JambaForCausalLM(config)


def _bart() -> transformers.PreTrainedModel:
    config = transformers.BartConfig(
        vocab_size=D_VOCAB,
        d_model=44,
        encoder_layers=2,
        decoder_layers=N_LAYERS,
        encoder_attention_heads=2,
        decoder_attention_heads=N_HEADS,
        encoder_ffn_dim=48,
        decoder_ffn_dim=52,
        max_position_embeddings=N_CTX,
    )
    return transformers.BartForConditionalGeneration(config)


def _t5() -> transformers.PreTrainedModel:
    config = transformers.T5Config(
        vocab_size=D_VOCAB,
        d_model=44,
        d_kv=10,
        d_ff=52,
        num_layers=2,
        num_decoder_layers=N_LAYERS,
        num_heads=N_HEADS,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


#: The four kinds that have to be right in every respect.
CORE: dict[str, _Build] = {"llama": _llama, "gpt2": _gpt2, "gpt_neox": _gpt_neox, "gemma3": _gemma3}

#: Kinds that show that nothing was fitted to the four.
EXTRA: dict[str, _Build] = {
    "gpt_neox_sequential": lambda: _gpt_neox(parallel=False),
    "gemma2": _gemma2,
    "granite": _granite,
    "falcon": _falcon,
    "opt": _opt,
    "mixtral": _mixtral,
    "gpt_oss": _gpt_oss,
}

#: Kinds that lack something: no attention, or a norm on the stream.
PARTIAL: dict[str, _Build] = {"mamba": _mamba, "jamba": _jamba, "bert": _bert}

ALL = CORE | EXTRA | PARTIAL

#: Encoder-decoders: they read a prompt and a target.
TWO_STACKS: dict[str, _Build] = {"bart": _bart, "t5": _t5}


def tiny(kind: str, seed: int = 0) -> transformers.PreTrainedModel:
    """A tiny random model in evaluation mode; its one-dimensional parameters are random, its attention is peaked.

    Args:
        kind: a key of `ALL` or `TWO_STACKS`.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    model = (ALL | TWO_STACKS)[kind]()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                weight.add_(0.3 * noise)
            else:
                # T5 does not scale its scores.
                weight.copy_(noise * (1.0 if kind == "t5" else 2.0) / weight.shape[-1] ** 0.5)
    return model.eval()


def letters() -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of one token per letter, ids 0 to 25, so that tiny models can read text."""
    tokenizer = Tokenizer(
        models.WordLevel({letter: place for place, letter in enumerate(ascii_lowercase)}, unk_token="a")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@cache
def hooked(kind: str) -> lw.HookedModel:
    """One HookedModel per kind for the tests that only read it."""
    return lw.HookedModel(tiny(kind))


def ids(n_pos: int, seed: int = 3) -> list[int]:
    """Random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return [int(one) for one in torch.randint(5, D_VOCAB, (n_pos,), generator=generator)]


def eager_twin(model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """The same weights with attention that is not fused, and can be asked for its patterns."""
    twin = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager")
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def plain_output(model: transformers.PreTrainedModel, token_ids: list[int], **options: Any) -> Any:
    """What plain transformers returns."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([token_ids]), use_cache=False, **options)


def jensen_shannon(log_probs: torch.Tensor) -> torch.Tensor:
    """By its definition, of every row and the last layer's: shapes [layer, pos, d_vocab] -> [layer, pos]."""
    last = log_probs[-1:].expand_as(log_probs)
    middle = torch.logaddexp(log_probs, last) - math.log(2)
    divergences = [(one.exp() * (one - middle)).nan_to_num().sum(-1) for one in (log_probs, last)]
    return torch.stack(divergences).mean(0)
