"""Tiny models whose checkpoints name tensors otherwise than transformers holds them: mixtures of experts, and text models inside
larger ones."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    DeepseekV3Config,
    Gemma3Config,
    GPTNeoXConfig,
    GptOssConfig,
    GraniteMoeConfig,
    MixtralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3_5Config,
    Qwen3_5MoeTextConfig,
    Qwen3MoeConfig,
)

from int_lightning.mini.mini_tokenizer import build_tokenizer

_SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
_QWEN3_5 = {
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "layer_types": ["linear_attention", "full_attention"],
}
_EXPERTS = {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
_LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
_LATENT = {
    "moe_intermediate_size": 32,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 2,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "head_dim": 16,
}
_VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "num_position_embeddings": 16,
}
_SIGLIP = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def text_config(kind: str) -> PreTrainedConfig:
    """Of a text model whose checkpoint has other names than the model."""
    match kind:
        case "qwen3_moe":
            return Qwen3MoeConfig(**_SIZES, **_EXPERTS)
        case "mixtral":
            return MixtralConfig(**_SIZES, **_LOCAL)
        case "gpt_oss":
            return GptOssConfig(**_SIZES, **_LOCAL)
        case "deepseek_v3":
            return DeepseekV3Config(**{**_SIZES, **_LATENT})
        case "granitemoe":
            return GraniteMoeConfig(**{**_SIZES, "tie_word_embeddings": True}, **_LOCAL)
        case "qwen3_5_moe_text":
            return Qwen3_5MoeTextConfig(**_SIZES, **_QWEN3_5, **_EXPERTS, shared_expert_intermediate_size=32)
        case "gpt_neox":
            return GPTNeoXConfig(**_SIZES)
    raise ValueError(kind)


def larger_config(kind: str) -> PreTrainedConfig:
    """Of a model for text and images."""
    text = {**_SIZES, "tie_word_embeddings": True}
    if kind == "qwen3_5":
        return Qwen3_5Config(text_config={**text, **_QWEN3_5}, vision_config=_VISION, tie_word_embeddings=True)
    layers = ["sliding_attention", "full_attention"]
    return Gemma3Config(text_config={**text, "layer_types": layers}, vision_config=_SIGLIP, mm_tokens_per_image=4)


def text_folder(folder: Path, kind: str, max_shard_size: str = "1GB") -> str:
    """The folder of such a text model, with random weights."""
    return _saved(folder, AutoModelForCausalLM.from_config(text_config(kind)), max_shard_size)


def larger_folder(folder: Path, kind: str) -> str:
    """The folder of such a model for text and images, with random weights."""
    return _saved(folder, AutoModelForImageTextToText.from_config(larger_config(kind)), "1GB")


def _saved(folder: Path, model: PreTrainedModel, max_shard_size: str) -> str:
    with torch.no_grad():
        for tensor in model.state_dict().values():  # also a router's corrections, which begin at 0
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    build_tokenizer().save_pretrained(folder)
    return str(folder)
