"""Whether a dataset's token ids belong to a tokenizer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from int_lightning.model_folder.chat_template import TODAY
from int_lightning.prompts.chat import encode_chat
from int_lightning.run_files import write_json
from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FILE = "tokenizer.json"


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of vocabulary, special tokens, chat template, the date that it shows, and the encoding of a short text."""
    probe = tokenizer.encode("Let $x^2 = 1$.\n\nSo x is 1, or -1: \\boxed{2}", add_special_tokens=False)
    facts = [sorted(tokenizer.get_vocab().items()), sorted(tokenizer.all_special_ids), tokenizer.chat_template, probe]
    if "strftime_now" in str(tokenizer.chat_template):
        facts.append(TODAY.isoformat())
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()


def record_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerBase, model: str) -> None:
    """Records in a dataset's folder which tokenizer makes it.

    Args:
        model: The tokenizer's model, as the user named it.

    Raises:
        UserError: if the dataset was begun with another tokenizer, or if this one cannot write a conversation.
    """
    check_tokenizer(folder, tokenizer)
    encode_chat(tokenizer, [{"role": "user", "content": "1+1?"}])
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"model": model, "folder": tokenizer.name_or_path, "fingerprint": tokenizer_fingerprint(tokenizer)}
    write_json(folder / _FILE, facts)


def check_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Compares a tokenizer with the one that made a dataset.

    Raises:
        UserError: if they differ.
    """
    made_with = recorded_tokenizer(folder)
    if made_with is not None and made_with["fingerprint"] != tokenizer_fingerprint(tokenizer):
        raise UserError(
            f"{folder} was collected with the tokenizer of {made_with['model']}, whose vocabulary, special tokens or chat "
            f"template are not those of {tokenizer.name_or_path}: train a model with the same tokenizer, or"
            " collect again with this one"
        )


def recorded_tokenizer(folder: Path) -> dict[str, str] | None:
    """What ``record_tokenizer`` recorded: ``model``, ``folder`` and ``fingerprint``; None for a dataset without a record.

    Raises:
        UserError: if the record cannot be read.
    """
    file = folder / _FILE
    if not file.exists():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return {"folder": "", **record, "model": record["model"], "fingerprint": record["fingerprint"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged: put back a copy of it, or collect again into another folder") from error
