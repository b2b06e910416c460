"""Copies of the mini model's folder with something changed in them, and tiny models of several architectures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    PreTrainedModel,
    Qwen3Config,
    Starcoder2Config,
)

from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.models.resolve import resolve_model

Change = Callable[[Path], object]
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "vocab_size": 36,
    "tie_word_embeddings": False,
}
STYLES = {"llama": LlamaConfig, "qwen": Qwen3Config, "gemma": Gemma3TextConfig, "mistral": MistralConfig}


def changed(folder: Path, *changes: Change) -> str:
    """A copy of the mini model with changes."""
    shutil.copytree(resolve_model("mini"), folder)
    for change in changes:
        change(folder)
    return str(folder)


def settings(file: str, **values: object) -> Change:
    """Sets keys of a JSON file; ``None`` takes one out."""

    def change(folder: Path) -> None:
        known = {**json.loads((folder / file).read_text()), **values}
        (folder / file).write_text(json.dumps({k: v for k, v in known.items() if v is not None}))

    return change


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Change:
    """Changes the stored tensors."""

    def apply(folder: Path) -> None:
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def write(file: str, content: str | bytes) -> Change:
    """Writes a file."""
    return lambda folder: (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def remove(file: str) -> Change:
    """Takes a file away."""
    return lambda folder: (folder / file).unlink()


def with_four_heads(folder: Path) -> str:
    """The mini model with a fourth head that adds nothing, and never will: its values and what is made of them are 0. Two
    processes can share it."""

    def add_head(held: dict[str, Tensor]) -> None:
        for name, weight in held.items():
            if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
                held[name] = torch.cat([weight, weight.new_zeros(weight.shape[0] // 3, weight.shape[1])])
            elif name.endswith("o_proj.weight"):
                held[name] = torch.cat([weight, weight.new_zeros(weight.shape[0], weight.shape[1] // 3)], 1)

    return changed(folder, tensors(add_head), settings("config.json", num_attention_heads=4, num_key_value_heads=4))


def in_hub_cache(monkeypatch: pytest.MonkeyPatch, cache: Path, name: str, folder: str) -> None:
    """Puts a copy of a folder where the hub's client keeps the model of a name, and takes the hub itself away."""
    stored = cache / f"models--{name.replace('/', '--')}"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("c0ffee")
    shutil.copytree(folder, stored / "snapshots" / "c0ffee")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def one_token_model(folder: Path, style: str, says: int) -> str:
    """A tiny model of a style that says one token for ever, with the mini tokenizer."""
    model: PreTrainedModel = AutoModelForCausalLM.from_config(STYLES[style](**_SIZES, eos_token_id=1, pad_token_id=0))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
                weight.zero_()
        model.get_input_embeddings().weight.fill_(1.0)
        model.get_output_embeddings().weight[says] = 1.0
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


def with_dropout(folder: Path, style: str, rate: float) -> str:
    """A tiny model of a style whose layers have dropout of their own, with the mini tokenizer."""
    sizes, ends = (
        {"vocab_size": 36, "max_position_embeddings": 128},
        {"eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 0},
    )
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(DROPPING[style](rate, **sizes, **ends))
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


def _gpt2(rate: float, **common: Any) -> GPT2Config:
    return GPT2Config(n_embd=32, n_layer=2, n_head=2, resid_pdrop=rate, embd_pdrop=rate, attn_pdrop=rate, **common)


def _starcoder2(rate: float, **common: Any) -> Starcoder2Config:
    rates = {"residual_dropout": rate, "embedding_dropout": rate, "attention_dropout": rate}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return Starcoder2Config(hidden_size=32, intermediate_size=32, num_hidden_layers=2, **heads, **rates, **common)


def _falcon(rate: float, **common: Any) -> FalconConfig:
    rates = {"hidden_dropout": rate, "attention_dropout": rate}
    return FalconConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, **rates, **common)


def _opt(rate: float, **common: Any) -> OPTConfig:
    rates = {"dropout": rate, "attention_dropout": rate, "layerdrop": rate}
    sizes = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 32}
    return OPTConfig(num_hidden_layers=2, num_attention_heads=2, **sizes, **rates, **common)


def _mixtral(rate: float, **common: Any) -> MixtralConfig:
    rates = {"attention_dropout": rate, "router_jitter_noise": rate}
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_local_experts": 4, "num_experts_per_tok": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return MixtralConfig(num_hidden_layers=2, **sizes, **heads, **rates, **common)


DROPPING = {"gpt2": _gpt2, "starcoder2": _starcoder2, "falcon": _falcon, "opt": _opt, "mixtral": _mixtral}
"""Dropout as modules, as attributes of layers, as keys of the configuration that are read in every pass, and of whole layers; and
noise on a router's input."""
