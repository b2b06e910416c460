"""Whether a tokenizer gives text back. If its files do not belong together it drops spaces, and if it was made for another
language it has no token for some characters; neither shows anywhere but in the prompts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SHOWN = 30
"""Characters of a lost text in the message."""


def check_shown(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], token_ids: Sequence[int], what: str) -> None:
    """Decodes tokens, and checks that they show texts.

    Args:
        texts: The texts. White space around each may be gone, because templates strip it, and characters may be composed
            differently (NFC).
        token_ids: Of the prompt that holds the texts, or of one text.
        what: What they are, for the message.

    Raises:
        UserError: if the tokens show something else.
    """
    shown = _composed(str(tokenizer.decode(list(token_ids))))
    for text in texts:
        wanted = _composed(text.strip())
        if wanted not in shown:
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} loses text: {what} has {_difference(wanted, shown)}: if "
                "tokenizer_class in its tokenizer_config.json is not the class that tokenizer.json was made for, write "
                "PreTrainedTokenizerFast there; otherwise take a model whose tokenizer has these characters"
            )


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _difference(wanted: str, shown: str) -> str:
    """Where a text and what its tokens show part: both from there on."""
    agreed, beyond = 0, len(wanted)  # the longest beginning that is shown, by bisection
    while agreed < beyond:
        middle = (agreed + beyond + 1) // 2
        agreed, beyond = (middle, beyond) if wanted[:middle] in shown else (agreed, middle - 1)
    start = max(agreed - _SHOWN // 2, 0)
    at = shown.find(wanted[start:agreed])
    return f"{wanted[start : start + _SHOWN]!r}, and its tokens say {shown[at : at + _SHOWN]!r}"
