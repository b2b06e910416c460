"""Models that Python packages hold as GGUF files, converted once into model folders of the user's cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from int_lightning.run_files import flush
from int_lightning.scratch import scratch_folder
from int_lightning.types import UserError

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """``$INT_LIGHTNING_CACHE``, or ``~/.cache/int-lightning``."""
    return Path(os.environ.get("INT_LIGHTNING_CACHE") or "~/.cache/int-lightning").expanduser()


def converted(name: str, convert: Callable[[Path], None]) -> Path:
    """The folder of a model in the cache.

    Args:
        name: Of the folder.
        convert: Writes the model into an empty folder, if it is not in the cache yet.

    Raises:
        UserError: if the cache cannot be written, and whatever ``convert`` raises.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    logger.info("converting %s into %s, once", name, folder)
    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = stack.enter_context(scratch_folder(name, str(folder.parent)))  # other processes have one each
        except OSError as error:
            raise UserError(
                f"cache folder {folder.parent}: cannot be written ({error}): set INT_LIGHTNING_CACHE to another folder"
            ) from error
        convert(aside)
        flush(aside)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process finished first
                raise
    logger.info("%s is ready in %s", name, folder)
    return folder


def read_gguf(file: Path) -> tuple[PreTrainedTokenizerBase, PretrainedConfig]:
    """Tokenizer and configuration in a GGUF file."""
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    config = AutoConfig.from_pretrained(**place)
    tokenizer.model_max_length = config.max_position_embeddings
    return tokenizer, config


def read_gguf_model(file: Path, config: PretrainedConfig) -> PreTrainedModel:
    """The model in a GGUF file, in bfloat16: the precision that it had before it was quantised, whose rounding (relative 2^-9) is
    far below that of the 4-bit quantisation. Who trains on it chooses the dtype when it is loaded."""
    quantised = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    # The weights move to a fresh model: the loaded one bears marks of its quantisation that forbid saving.
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    return model.to(torch.bfloat16)  # type: ignore[arg-type]
