"""The text of a row, token by token.

``tokenizers.decoders.DecodeStream`` gives the same texts where every character is whole. It is not used because rows also hold
broken characters (a rollout may end inside one): it gives them to the next token, loses them at the end, and raises an exception
where a tokenizer falls back to bytes, as SentencePiece does.
"""

from __future__ import annotations

from collections.abc import Sequence

from int_lightning.steps import Decoder

_WINDOW = 64  # number of tokens; a character takes a few
_BROKEN = "\ufffd"


def token_texts(token_ids: Sequence[int], tokenizer: Decoder) -> list[str]:
    """What each token adds to the text, special tokens included. Joined, these are the text.

    A token that ends inside a character adds nothing; the character belongs to the last of its tokens.
    """
    whole = _decode(tokenizer, token_ids)
    texts: list[str] = []
    anchor = shown = (
        0  # tokens before ``shown`` have their texts; those from ``anchor`` to ``shown`` are decoded as context
    )
    context, given = "", 0  # the context's text, and the number of characters of ``whole`` that tokens have
    for end in range(1, len(token_ids) + 1):
        now = _decode(tokenizer, token_ids[anchor:end]) if end - anchor <= _WINDOW else None
        if now is None or not now.startswith(context) or not whole.startswith(now[len(context) :], given):
            texts.append("")
            continue
        texts.append(now[len(context) :])
        given += len(texts[-1])
        if not context.endswith(_BROKEN) or end - anchor == _WINDOW:
            anchor = shown
        shown = end
        context = _decode(tokenizer, token_ids[anchor:shown])
    if texts:
        texts[-1] += whole[given:]
    return texts


def _decode(tokenizer: Decoder, token_ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=False))
