"""Writes the mini model with random weights, and its tokenizer.

``python -m int_lightning.mini.make FOLDER``, followed by ``int-lightning fit -c configs/mini/pretrain.yaml``, makes the base
model again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from int_lightning.mini.mini_tokenizer import build_tokenizer


def architecture() -> Qwen3Config:
    """A Qwen3 of 336,096 parameters with a tied head and heads of 32, the smallest that vLLM's kernels take."""
    tokenizer = build_tokenizer()
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=32,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        architectures=["Qwen3ForCausalLM"],
    )


def write_untrained(folder: Path) -> None:
    """Writes the model with random weights, and the tokenizer, into a folder."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(architecture())
    tokenizer = build_tokenizer()
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    write_untrained(Path(sys.argv[1]))
