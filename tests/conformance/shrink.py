"""From a configuration's defaults to arguments that make it small: by the names of its fields, not by architecture."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

D_VOCAB = 131
N_CTX = 64
N_LAYERS = 4
N_HEADS = 4
D_MODEL = 64
D_HEAD = 24  # not D_MODEL / N_HEADS, where the configuration lets a head's width be chosen

#: Whole name of a field -> what it becomes; the first pattern that matches counts. Only numbers are replaced.
_SIZES: tuple[tuple[str, int], ...] = (
    (r"vocab_size|.*_vocab_size|n_words|vocab_size_per_layer_input|max_seq_len|model_max_length", D_VOCAB),
    (r"max_position_embeddings|n_positions|n_ctx|max_(source|target)_positions|context_length", N_CTX),
    (r"mamba_n_heads|mamba_num_heads|n_mamba_heads", 8),
    (
        r"num_key_value_heads|num_kv_heads|kv_n_heads|.*_num_key_value_heads|.*_num_kv_heads|num_global_key_value_heads",
        2,
    ),
    (r"linear_num_key_heads", 2),
    (r"(.*_)?(num_)?(attention_|value_)?heads|n_heads?|num_attention_heads|index_n_heads|.*_n_heads", N_HEADS),
    (r"encoder_layers|num_encoder_layers", N_LAYERS - 1),
    (
        r"(num_)?(hidden_|decoder_)?layers|n_layers?|num_blocks|depth|num_decoder_layers|.*_encoder_layers|.*_decoder_layers",
        N_LAYERS,
    ),
    (r"qk_nope_head_dim", 16),
    (r"qk_head_dim", 24),  # nope + rope
    (r"qk_rope_head_dim|rotary_dim", 8),
    (r"v_head_dim", 20),
    (r"mamba_head_dim|mamba_d_head|linear_.*head_dim", 16),
    (r"(.*_)?head_dim|d_kv|dim_head|kv_channels|d_head", D_HEAD),
    (r"q_lora_rank", 24),
    (r"kv_lora_rank", 40),
    (r".*_lora_rank|laurel_rank|.*lowrank|.*_lora_dim|gated_norm_rank|.*_rank", 12),
    (r"mamba_d_state|state_size|ssm_state_size", 8),
    (r"time_step_rank|mamba_dt_rank", 5),
    (r"moe_.*intermediate_size|shared_.*intermediate_size|expert_.*size|.*_experts?_intermediate_size", 40),
    (
        r".*intermediate_size.*|.*ffn_dim|.*ffn_hidden_size|feed_forward_size|d_ff|dff|dim_ff|d_inner|n_inner|hidden_dim",
        88,
    ),
    (
        r"(.*_)?hidden_size(_global)?|d_model|n_embd|emb_dim|embedding_size|embedding_dim|embed_dim|dim|word_embed_proj_dim",
        D_MODEL,
    ),
    (r"lru_width|attention_hidden_size|output_dim|out_hidden_size|prediction_head_size|pooler_hidden_size", D_MODEL),
    (r"hidden_size_per_layer_input", 12),
    (r"(n_routed|num|num_local|moe_num|n)_experts", 4),
    (r"(num_)?experts_per_tok(en)?|moe_topk|moe_top_k|moe_k|num_selected_experts|top_k_experts", 2),
    (r"query_pre_attn_scalar", 7),
    (r"floor_scale|log_scaling_n_floor", 4),
    (r"n_group|num_expert_group", 2),
    (r"topk_group", 1),
    (r"(n|num|moe_num)_shared_experts?", 1),
    (
        r"sliding_window(_size)?|local_attention|attention_window_size|window_size|swa_window_size|attention_chunk_size",
        6,
    ),
    (r"(mamba_)?chunk_size|chunk_length|block_size|query_chunk_size", 8),
    (r"index_topk", 5),
    (r"num_latents", 24),
    (r"image_size", 56),
    (r"first_k_dense_replace|num_dense_layers|moe_layer_start_index", 1),
    (r"original_max_position_embeddings", N_CTX // 2),
    (r"num_kv_shared_layers", 0),
)
_COMPILED = tuple((re.compile(pattern), value) for pattern, value in _SIZES)

#: Fields that say how to use a model, not what it is.
_NOT_SIZES = {"id2label", "label2id", "dtype", "architectures", "problem_type", "per_layer_config", "num_labels"}

#: Fields that may be None in a configuration that cannot be built as it is.
_MISSING = {"head_dim": D_HEAD, "num_experts_per_tok": 2, "vocab_size": D_VOCAB, "num_key_value_heads": 2}

#: Fields whose default of one (or of a no-op) would hide that a factor was dropped.
_FACTORS = re.compile(
    r".*multipliers?|.*_?logits?_scal(ing|e)|lm_head_scale|.*rout.*_scal(e|ing_factor)|scale_emb|scale_depth|"
    r".*_(alpha|beta)_factor"
)
#: Soft-caps so low that they show.
_CAPS = ((re.compile(r".*attn.*soft_?cap.*"), 5.0), (re.compile(r".*soft_?cap.*"), 3.0))
#: Weights of queries and keys; not those of T5, which does not scale its scores.
_QUERIES_AND_KEYS = re.compile(
    r"(?!.*Attention\.[qk]\.).*(query|key|qkv|c_attn|att_proj|in_proj|\b[qk]_|(\b|_)[qk]\b|[qk]_b_proj|Wq|Wk).*"
)
_WHOLE = {"depthwise_multiplier"}
_TOKENS = re.compile(r".*_(token_id|token_index|index)|eos_token_ids?")
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


def small(kind: type[PreTrainedConfig], overrides: Mapping[str, Any]) -> PreTrainedConfig:
    """A small configuration.

    Args:
        kind: its class.
        overrides: fields that the names alone do not tell; a mapping for a nested configuration adds to it, and
            `None` as the key's value sets the field to None.
    """
    try:
        defaults = kind()
    except (ValueError, StrictDataclassError):  # the defaults contradict each other: start from the overrides
        defaults = kind(**overrides)
    return kind(**_arguments(defaults, overrides))


def _arguments(defaults: PreTrainedConfig, overrides: Mapping[str, Any]) -> dict[str, Any]:
    given = {field.name: field.default for field in dataclasses.fields(defaults) if field.init}
    n_layers = _n_layers(defaults)
    found: dict[str, Any] = {}
    for position, (name, value) in enumerate(sorted(vars(defaults).items())):
        if name in _NOT_SIZES:
            continue
        if isinstance(value, PreTrainedConfig):
            inner = overrides.get(name) or {}
            found[name] = {"model_type": value.model_type, **_arguments(value, inner)}
        elif name in given:
            shrunk = _shrunk(name, value, position, n_layers)
            if shrunk is not given[name]:  # a nested configuration's value need not be its class's default
                found[name] = shrunk
    if "kv_lora_rank" in found and "num_key_value_heads" in found:
        found["num_key_value_heads"] = N_HEADS  # latent attention has no groups
    for name, value in overrides.items():
        if not (isinstance(value, Mapping) and isinstance(found.get(name), dict) and "model_type" in found[name]):
            found[name] = value
    return found


def _n_layers(defaults: PreTrainedConfig) -> int:
    for name in ("num_hidden_layers", "num_layers", "n_layer", "decoder_layers"):
        value = getattr(defaults, name, None)
        if isinstance(value, int):
            return value
    return -1


def _shrunk(name: str, value: Any, position: int, n_layers: int) -> Any:
    cap = next((cap for pattern, cap in _CAPS if pattern.fullmatch(name)), None)
    if cap is not None:
        return cap
    if value is None:
        return _MISSING.get(name)
    if name in _SPECIAL:
        return value if value is None else _SPECIAL[name]
    if isinstance(value, int) and not isinstance(value, bool) and _TOKENS.fullmatch(name):
        return 3 + position % 20 if value >= D_VOCAB // 4 else value
    if name == "attention_multiplier" and isinstance(value, int | float):
        return 0.4  # not 1 / sqrt(D_HEAD); larger ones make scores so large that rounding shows
    if (
        _FACTORS.fullmatch(name)
        and name not in _WHOLE
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return 0.5 + (position % 7) / 5 + 0.03
    if name.endswith("multipliers") and isinstance(value, list | tuple):
        return [0.6 + 0.15 * index for index in range(len(value))]
    if isinstance(value, list | tuple) and len(value) == n_layers and n_layers > 0 and name != "moe_layers":
        return _per_layer(list(value))
    if name in {"rope_parameters", "rope_scaling"} and isinstance(value, Mapping):
        return _rope(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        return value
    matching = (size for pattern, size in _COMPILED if pattern.fullmatch(name))
    return next(matching, value)


def _per_layer(values: list[Any]) -> list[Any]:
    """One of each kind, the last kind last, as the first kind before them."""
    if any(isinstance(value, list | dict) for value in values):
        return values[:N_LAYERS]
    kinds = list(dict.fromkeys([*(value for value in values if value != values[-1]), values[-1]]))
    return [values[0]] * (N_LAYERS - len(kinds)) + kinds[-N_LAYERS:]


def _rope(value: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary parameters for narrow heads."""
    found: dict[str, Any] = copy.deepcopy(dict(value))
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found[key] = _rope(inner)
    if "mrope_section" in found:
        half = int(D_HEAD * found.get("partial_rotary_factor", 1.0)) // 2
        n_sections = len(found["mrope_section"])
        share = half // n_sections
        found["mrope_section"] = [half - share * (n_sections - 1)] + [share] * (n_sections - 1)
    if found.get("rope_type") == "longrope":
        found = {"rope_type": "default", "rope_theta": found.get("rope_theta", 10000.0)}
    if "original_max_position_embeddings" in found:
        found["original_max_position_embeddings"] = N_CTX // 2
    return found


def peak(name: str, fan_in: int) -> float:
    """Standard deviation of a matrix's weights: queries and keys so large that attention is peaked.

    Values are smaller: were they not, all positions would soon hold the same, and their attention be uniform again.
    """
    return (2.0 if _QUERIES_AND_KEYS.fullmatch(name) else 1.0) / math.sqrt(fan_in)
