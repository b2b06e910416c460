"""Token ids of a text that goes on after other text.

A SentencePiece tokenizer puts a space in front of whatever it encodes, for it takes it for the beginning of a text. Here such a
text is encoded after another one, an anchor, whose tokens are then taken off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ANCHORS = ("\n", "1", ".", "x", "=", "é")
"""Several, for the first letters of a text may merge with one of them, or a tokenizer may not know it."""


def encode_in_place(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids that add just this text after any other, names of special tokens being text like any other; those of the text
    by itself where the tokenizer cannot do so, for it lacks characters or writes them otherwise."""
    alone = _encode(tokenizer, text)
    for anchor in _ANCHORS:
        before = _encode(tokenizer, anchor)
        shown = _decode(tokenizer, before) + text
        if _decode(tokenizer, before + alone) == shown:
            return alone
        in_one = _encode(tokenizer, anchor + text)
        if in_one[: len(before)] == before and _decode(tokenizer, in_one) == shown:
            return in_one[len(before) :]
    return alone


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))


def _decode(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    return str(tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))
