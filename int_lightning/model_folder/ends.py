"""The tokens at which a model's completions end, the same for every engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from int_lightning.model_folder.end_of_turn import end_of_turn
from int_lightning.model_folder.files import read_json
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERATION = "generation_config.json"
_CONFIGS = (GENERATION, "config.json")
_KEY = "eos_token_id"


def end_tokens(folder: str) -> list[int]:
    """The end tokens of a model folder or hub id; see ``ends_by_source``."""
    return sorted({i for ids in ends_by_source(folder, load_tokenizer(folder)).values() for i in ids})


def ends_by_source(folder: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """What ends a completion, and who says so: what the chat template ends the assistant's turn with, the tokenizer's end of
    sequence, and those of ``generation_config.json``, or of ``config.json`` where there is none. A model stops at any of them:
    one whose template was added later, or that was not trained on it, knows only some.

    Raises:
        UserError: if nobody names one, or if one is ordinary text, at which completions would be cut off.
    """
    found = {"chat template": _of_template(tokenizer), "tokenizer": _listed(tokenizer.eos_token_id)}
    file, configured = _configured(folder)
    found[file] = configured
    found = {source: ids for source, ids in found.items() if ids}
    if not found:
        raise UserError(
            f"model {folder}: nothing says where a completion ends: set eos_token in tokenizer_config.json, or {_KEY} in "
            "generation_config.json"
        )
    added = tokenizer.added_tokens_decoder
    for source, ids in found.items():
        for i in ids:
            if i not in added:
                token = tokenizer.convert_ids_to_tokens(i) if 0 <= i < len(tokenizer) else None
                what = f"is {token!r}, a piece of text" if token else "is not a token of its tokenizer"
                raise UserError(
                    f"model {folder}: {source} says that token {i} ends a completion, which {what}: correct its {_KEY}"
                )
    return found


def _of_template(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """None where there is no template, or where it ends a turn with text; who writes a conversation with it is told."""
    try:
        return [end_of_turn(tokenizer)]
    except UserError:
        return []


def _configured(folder: str) -> tuple[str, list[int]]:
    for name in _CONFIGS:
        file = _path(folder, name)
        if file is not None:
            settings = read_json(file)
            ids = _listed(settings.get(_KEY, settings.get("text_config", {}).get(_KEY)))
            if ids:
                return name, ids
    return GENERATION, []


def _path(folder: str, name: str) -> Path | None:
    """A file of a model folder, or of a hub id that was fetched before."""
    if Path(folder).is_dir():
        return Path(folder) / name if (Path(folder) / name).is_file() else None
    from transformers.utils import cached_file

    found = cached_file(folder, name, _raise_exceptions_for_missing_entries=False)
    return Path(found) if found else None


def _listed(ids: Any) -> list[int]:
    if ids is None:
        return []
    listed = ids if isinstance(ids, list) else [ids]
    return [int(i) for i in listed]
