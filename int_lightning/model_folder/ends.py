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
    return sorted(set().union(*ends_by_source(folder, load_tokenizer(folder)).values()))


def ends_by_source(folder: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """The tokens that end a completion, by who says so: the chat template (with which token it ends the assistant's turn), the
    tokenizer (its end of sequence), and ``generation_config.json``, or ``config.json`` in its absence. A model may stop at any of
    them: if its template was added later, or it was not trained on it, it knows only some.

    Raises:
        UserError: if none is named, or if one is ordinary text, which would cut completions off.
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
    """Empty without a template, or if it ends a turn with text: that is refused when a conversation is written."""
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
    """A file of a model folder, or of a hub id whose files were fetched before."""
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
