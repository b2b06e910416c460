"""A tiny model of every causal-LM family that transformers can build from a config.

Sizes are set by the names under which configs keep them. Attention windows, blocks and selections are shorter than the rows of
the self-test, so that these reach over them, and layers of every kind that the family has are there. Weights are drawn wide, so
that a token of another row would be seen in the scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from int_lightning.mini.mini_tokenizer import build_tokenizer

FAMILIES: dict[str, str] = dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
"""The class of each model type."""

WIDTH, HEADS, HEAD, VOCABULARY = 64, 2, 32, 96
_NAMES: dict[float, str] = {
    WIDTH: """hidden_size d_model n_embd emb_dim embedding_dim embedding_size word_embed_proj_dim hidden_size_global
        attention_hidden_size lru_width backbone_hidden_size input_embedding_size output_embedding_size ple_embed_dim
        intermediate_size intermediate_size_mlp moe_intermediate_size ffn_hidden_size expert_ffn_hidden_size ffn_dim
        decoder_ffn_dim encoder_ffn_dim dense_intermediate_size shared_expert_intermediate_size shared_intermediate_size
        moe_shared_expert_intermediate_size feed_forward_size dff dim_ff router_hidden_size d_inner mlp_dim""",
    HEADS: """num_attention_heads num_key_value_heads n_head n_heads num_heads decoder_attention_heads
        encoder_attention_heads attention_heads num_decoder_attention_heads num_encoder_attention_heads num_kv_heads
        swa_num_attention_heads swa_num_key_value_heads linear_num_heads linear_num_key_heads linear_num_value_heads
        num_query_groups conf_num_attention_heads num_experts_per_tok num_experts_per_token moe_topk moe_k
        global_attn_every_n_layers attn_layer_period expert_layer_period num_layers_per_stack no_rope_layer_interval""",
    HEAD: """head_dim d_head dim_head kv_channels attention_head_dim attention_head_size qk_nope_head_dim v_head_dim
        linear_head_dim linear_key_head_dim linear_value_head_dim swa_head_dim index_head_dim rotary_dim q_lora_rank
        kv_lora_rank mamba_d_head mamba_headdim mamba_head_dim""",
    48: "qk_head_dim",
    16: """qk_rope_head_dim o_lora_rank hc_lowrank mamba_d_state state_size ssm_state_size mamba_chunk_size chunk_size
        laurel_rank hidden_size_per_layer_input time_step_rank mamba_dt_rank adapter_rank d_rel index_n_heads""",
    8: """sliding_window sliding_window_size attention_window_size window_size attention_chunk_size local_attention
        keep_window_size index_topk""",
    4: """num_hidden_layers n_layer n_layers num_layers decoder_layers num_decoder_layers max_window_layers num_blocks
        depth num_experts num_local_experts n_routed_experts moe_num_experts mamba_n_heads mamba_num_heads
        n_mamba_heads""",
    1: """encoder_layers num_encoder_layers conf_num_hidden_layers first_k_dense_replace num_dense_layers
        n_shared_experts moe_num_shared_experts n_group topk_group num_nextn_predict_layers n_groups mamba_n_groups
        mamba_ngroups o_groups zero_expert_num num_kv_shared_layers attn_layer_offset""",
    0: "expert_layer_offset",
    256: "max_position_embeddings n_positions max_seq_len n_ctx context_length model_max_length",
    VOCABULARY: """vocab_size decoder_vocab_size vocab_size_per_layer_input pronunciation_vocab_size shape_vocab_size
        encoder_hash_byte_group_vocab ngram_vocab_size_base""",
    0.2: "initializer_range init_std initializer_factor",
}
_SIZES: dict[str, float] = {}
for _size, _names in _NAMES.items():
    _SIZES |= dict.fromkeys(_names.split(), _size)
_TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5]}
_ATTENTION = {"layer_types": ["sliding_attention", "full_attention"] * 2}
_EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1, "topk_group": 1}
_LATENT = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_head_dim": 96, "head_dim": 64}
"""The only size of multi-head latent attention that vLLM has kernels for on a CPU."""
_FITTING: dict[str, dict[str, Any]] = {
    "codegen": {"n_embd": 128, "n_head": 4, "rotary_dim": 16},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE, "sliding_attention": _ROPE}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 1, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": WIDTH, "hidden_size": WIDTH, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, **_LATENT},
    "deepseek_v3": {"topk_method": "noaux_tc", "scoring_func": "sigmoid", **_LATENT},
    "dots1": _EXPERTS,
    "falcon_h1": {"mamba_d_ssm": 128},
    "gemma4_text": {"global_head_dim": HEAD, **_ATTENTION},
    "gemma4_unified_text": {"global_head_dim": HEAD, **_ATTENTION},
    "glm4_moe": {"head_dim": HEAD},
    "glm4_moe_lite": _LATENT,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "hunyuan_v1_dense": {"head_dim": HEAD},
    "hunyuan_v1_moe": {"head_dim": HEAD},
    "kimi_linear": _LATENT,
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": _LATENT,
    "mamba2": {"num_heads": 4},
    "mimo_v2_flash": {"num_attention_heads": 4, "num_key_value_heads": 1},
    "minimax_m3_vl_text": {"index_n_heads": 2, "layer_types": ["minimax_m3_sparse", "full_attention"] * 2},
    "ministral": {"head_dim": HEAD},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 32,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "reformer": {
        "attn_layers": ["local"] * 2,
        "local_attn_chunk_length": 16,
        "axial_pos_embds_dim": [16, 48],
        "axial_pos_shape": [16, 16],
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {"attn_layer_offset": 0, "attention_hidden_size": 128, "attention_head_dim": 64},
    "zamba2": {
        "attention_hidden_size": 128,
        "attention_head_dim": 64,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
    },
    "zaya": {"num_experts_per_tok": 1},
}
"""What a family needs so that its sizes fit each other, or so that all its kinds of layers are there."""


def tiny_config(family: str) -> PretrainedConfig:
    """The config of a tiny model."""
    kind = CONFIG_MAPPING[family]
    default = kind()
    inner = {name: getattr(default, name, None) for name in getattr(kind, "sub_configs", {})}
    parts = {
        name: {"model_type": part.model_type, **_smaller(part), **_FITTING.get(part.model_type, {})}
        for name, part in inner.items()
        if isinstance(part, PretrainedConfig)
    }
    return kind(**{**_smaller(default), **parts, **_FITTING.get(family, {})})


@torch.no_grad()
def tiny_model(family: str, folder: Path) -> PreTrainedModel:
    """A tiny model, whose folder is written with the mini tokenizer."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(family))
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.normal_(module.weight[module.padding_idx], std=0.2)  # as after training, and not 0
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return model


def _smaller(config: PretrainedConfig) -> dict[str, Any]:
    """New values of a config's own keys."""
    held = config.to_dict()
    found: dict[str, Any] = {}
    for name, value in held.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "is_decoder":
            found[name] = True
        elif name in _TOKENS:
            found[name] = _TOKENS[name]
        elif number and name in _SIZES:
            found[name] = _SIZES[name]
        elif number and name.endswith(("_token_id", "_token_index")) and value >= VOCABULARY:
            found[name] = VOCABULARY - 1
    if "kv_lora_rank" in held and "head_dim" in held:
        found["head_dim"] = _SIZES["qk_rope_head_dim"]
    return found
