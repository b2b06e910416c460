"""Copies of the mini model's folder with something changed in them, and tiny models of several architectures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen3Config,
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
