"""What the names of fields alone do not tell, per configuration: sizes that have to fit each other."""

from __future__ import annotations

from typing import Any

_ATTENTION = ["linear_attention", "full_attention", "linear_attention", "full_attention"]
_MAMBA = {"mamba_d_head": 16, "mamba_n_heads": 8, "mamba_n_groups": 2}
_NO_INDEX = {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}
_REFORMER: dict[str, Any] = {
    "attn_layers": ["local", "lsh", "local", "lsh"],
    "axial_pos_shape": [8, 8],
    "axial_pos_embds_dim": [24, 40],
    "attention_head_size": 16,
    "local_attn_chunk_length": 8,
    "lsh_attn_chunk_length": 8,
    "num_buckets": 2,
    "hash_seed": 0,
}
_QWEN4: dict[str, Any] = {
    "hc_lowrank": 12,
    "layer_types": ["linear_attention", "indexed_attention"] * 2,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 24,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}
_TOKENIZER = {"depths": [1, 1, 1], "downsampling_ratios": [2, 2], "num_filters": 4}
_BLT_PART: dict[str, Any] = {"hidden_size_global": 128, "num_key_value_heads": 4, "max_position_embeddings": 64}

#: By `group/configuration` or configuration; nested mappings add to a nested configuration.
OVERRIDES: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"linear_head_dim": 16, "linear_num_heads": 4},
    "bamba": {"attn_layer_indices": [1, 3], **_MAMBA},
    "blt": {
        "vocab_size": 260,
        "encoder_hash_byte_group_vocab": 97,
        "encoder_hash_byte_group_size": [3, 4],
        "encoder_config": {**_BLT_PART, "vocab_size": 260},
        "decoder_config": {**_BLT_PART, "vocab_size": 260},
        "global_config": {"hidden_size": 128, "num_key_value_heads": 4, "intermediate_size": 88},
        "patcher_config": {"vocab_size": 260, "num_key_value_heads": 4},
    },
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 4, 4]},
            "full_attention": {"rope_type": "default", "rope_theta": 20000.0, "mrope_section": [4, 4, 4]},
        },
        "logit_scale": 0.3,
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 2.0, "rope_theta": 10000.0},
        "ffn_config": {"moe_top_k": 2, "moe_num_experts": 4, "ffn_hidden_size": 40},
    },
    "dots1": {"n_routed_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "dots3_note": {
        "vision_config": {"adapter_in_dim": 64, "adapter_out_dim": 64},
        "audio_config": {"adapter_input_size": 64, "adapter_out_dim": 64},
    },
    "esm": {"pad_token_id": 0, "mask_token_id": 3},
    "esmc": {"num_key_value_heads": 4, "head_dim": 16},
    "falcon_h1": {
        "mamba_d_ssm": 128,
        **_MAMBA,
        "key_multiplier": 0.7,
        "mlp_multipliers": [0.6, 1.4],
        "ssm_multipliers": [0.6, 0.7, 0.8, 1.2, 1.3],
    },
    "gemma4_assistant": {"text_config": _NO_INDEX | {"model_type": "gemma4_text"}, "backbone_hidden_size": 64},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"layer_types": _ATTENTION, **_MAMBA},
    "helium": {"head_dim": 16},
    "hrm_text": {"num_hidden_layers": 2, "num_layers_per_stack": None},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "use_mamba_kernels": False},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "full_attn_idxs": [1, 3]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "longcat_flash": {"head_dim": 8, "zero_expert_num": 2, "expert_ffn_hidden_size": 40, "num_layers": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 2},
    "musicgen": {"decoder": {"num_codebooks": 1}},
    "musicgen_melody": {"decoder": {"num_codebooks": 1}},
    "neomme": {"head_dim": 32},
    "nemo_speechlm": {"audio_config": {"diarization_config": {"chunk_length": 500}}},
    "perceiver": {
        "d_latents": 64,
        "num_latents": 24,
        "num_self_attends_per_block": 4,
        "num_self_attention_heads": 4,
        "num_cross_attention_heads": 4,
    },
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "reformer": _REFORMER,
    "vibevoice_asr": {
        "acoustic_tokenizer_encoder_config": _TOKENIZER,
        "semantic_tokenizer_encoder_config": _TOKENIZER,
        "acoustic_tokenizer_chunk_size": 64,
    },
    "causal/xlm": {"causal": True},
    "xlnet": {"d_head": 16},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid", "linear_attention", "hybrid"],
        "num_hidden_layers": 5,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "use_mamba_kernels": False,
        "n_mamba_heads": 2,
    },
    "zaya": {"num_experts_per_tok": 1},
}

_DRAFT = "a draft model: it reads the keys and values of another model, not token ids"

#: What the error of a model that is not built does not say.
NOTES = {
    "causal/gemma4_assistant": _DRAFT,
    "causal/gemma4_unified_assistant": _DRAFT,
    "seq2seq/voxtral_realtime": "every position needs audio: it does not run on token ids alone",
}
