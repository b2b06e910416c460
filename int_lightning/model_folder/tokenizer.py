"""The tokenizer of a model folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from int_lightning.model_folder.files import reason
from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """A model's tokenizer, which decodes tokens without tidying up spaces.

    Args:
        folder: Model folder or hub id.

    Raises:
        UserError: if it cannot be loaded.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # tokenizers raises bare ones for a damaged file
        raise UserError(
            f"the tokenizer of {folder} cannot be loaded ({type(error).__name__}: {reason(error)}): check tokenizer.json and "
            "tokenizer_config.json, or save the tokenizer there again with save_pretrained"
        ) from error
    tokenizer.clean_up_tokenization_spaces = False  # it would take the space out of "x , y"
    return tokenizer


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that pads short rows. Other tokens never see it, so that any will do if the tokenizer does not name one."""
    return 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Compares the tokenizer with the model's vocabulary. Special tokens beyond it are allowed, because only a template could
    write them: Gemma-3's tokenizer has one for images, even for models that only read text.

    Raises:
        UserError: if a text can have tokens that the model does not know.
    """
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    beyond = sorted((i, token) for token, i in tokenizer.get_vocab().items() if i >= size and i not in special)
    if beyond:
        number, token = beyond[0]
        raise UserError(
            f"{tokenizer.name_or_path}: tokenizer.json has {len(beyond)} tokens beyond config.json's vocab_size {size} (the "
            f"first is {token!r}, {number}): give the tokenizer of this model, or resize the model's embeddings to it"
        )
