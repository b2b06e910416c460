"""Token ids of a text that follows other text.

A SentencePiece tokenizer puts a space in front of everything that it encodes, as if it were the beginning of a text. Here a text
is encoded after another one, an anchor, whose tokens are then removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ANCHORS = ("\n", "1", ".", "x", "=", "é")
"""Several, because the first letters of a text may merge with one, or a tokenizer may not know it."""


def encode_in_place(tokenizer: PreTrainedTokenizerBase, text: str, encode: Callable[[str], list[int]]) -> list[int]:
    """Token ids that add exactly this text to any other. If the tokenizer cannot do that, because it lacks characters or rewrites
    them, the token ids of the text by itself.

    Args:
        tokenizer: Decodes tokens.
        text: Any text.
        encode: Returns the tokens of a text by itself.
    """
    alone = encode(text)
    for anchor in _ANCHORS:
        before = encode(anchor)
        shown = _decode(tokenizer, before) + text
        if _decode(tokenizer, before + alone) == shown:
            return alone
        in_one = encode(anchor + text)
        if in_one[: len(before)] == before and _decode(tokenizer, in_one) == shown:
            return in_one[len(before) :]
    return alone


def _decode(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    return str(tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))
