"""The files of a model folder: whether they are there, and can be read."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import shorten
from typing import Any

from safetensors import SafetensorError, safe_open

from int_lightning.types import UserError

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
_ADAPTERS = "adapter_config.json"
_LFS = b"version https://git-lfs"


def check_files(folder: Path) -> None:
    """Checks that configuration, tokenizer and weights are there and can be read; of the weights it reads only the headers.

    Raises:
        UserError: naming the folder, the file and what to do.
    """
    if not folder.is_dir():
        raise UserError(f"model folder {folder}: not a folder: give one with config.json, a tokenizer and weights")
    remedy = "save the model there with save_pretrained, or name another folder"
    if not (folder / "config.json").is_file():
        if (folder / "model" / "config.json").is_file():
            raise UserError(f"model folder {folder}: this is the folder of a run: give {folder / 'model'}")
        raise UserError(f"model folder {folder}: config.json is missing: {remedy}")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise UserError(
            f"model folder {folder}: tokenizer.json (or tokenizer_config.json) is missing: "
            "save the tokenizer there with save_pretrained, or name another folder"
        )
    if (folder / _ADAPTERS).is_file():
        raise UserError(
            f"model folder {folder}: {_ADAPTERS} says that it holds adapters, which some loaders would put on top of the "
            "weights and others not: merge them and save the model (merge_and_unload, save_pretrained), or take the file away"
        )
    for file in sorted(folder.glob("*.json")):
        read_json(file)
    for file in weight_files(folder):
        _check_header(file)


def weight_files(folder: str | Path) -> list[Path]:
    """The safetensors files that hold a folder's model: those of its index, or ``model.safetensors``. Other files, such as the
    ``consolidated.safetensors`` of some models, hold it once more under other names.

    Raises:
        UserError: if one is missing.
    """
    folder = Path(folder)
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX)
        names = sorted(set(index["weight_map"].values())) if isinstance(index.get("weight_map"), dict) else []
        if not names:
            raise UserError(
                f"model folder {folder}: {INDEX} does not name a file: save the model again with save_pretrained"
            )
    else:
        names = [WEIGHTS]
    for name in names:
        if not (folder / name).is_file():
            raise UserError(
                f"model folder {folder}: {name} is missing: save the model there with save_pretrained, or name another folder"
            )
    return [folder / name for name in names]


def reason(error: Exception) -> str:
    """What an exception says, in one line."""
    return shorten(str(error), 200, placeholder=" ...") or type(error).__name__


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: if the file does not hold one.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file} cannot be read ({error}): copy it again, or save model and tokenizer anew with save_pretrained"
        ) from error
    if not isinstance(value, dict):
        raise UserError(
            f"{file} is not a JSON object: copy it again, or save model and tokenizer anew with save_pretrained"
        )
    return value


def _check_header(file: Path) -> None:
    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        with file.open("rb") as start:
            pointer = start.read(len(_LFS)) == _LFS
        why = "it is a pointer of Git LFS" if pointer else f"{error}: it is cut short or damaged"
        raise UserError(f"{file} cannot be read ({why}): fetch or save it again") from error
