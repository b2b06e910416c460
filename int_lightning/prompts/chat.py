"""Conversations and texts as token ids, through a model's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING

from int_lightning.model_folder.chat_template import render
from int_lightning.model_folder.control_tokens import (
    broken,
    control_tokens,
    encode_as_text,
    encode_broken,
    separator_for,
)
from int_lightning.model_folder.end_of_turn import QUESTION, end_of_turn
from int_lightning.prompts.in_place import encode_in_place
from int_lightning.prompts.round_trip import check_shown
from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> list[int]:
    """Token ids of a conversation, up to the beginning of the assistant's turn.

    Only the template writes control tokens: one that a message spells out (``<|im_end|>``) is text like any other.

    Raises:
        UserError: if the tokenizer has no chat template, or if the template refuses the conversation.
    """
    separator = separator_for(*(m["content"] for m in messages))
    texts = [broken(tokenizer, m["content"], separator, own=m["role"] == "assistant") for m in messages]
    asked = [m | {"content": text} for m, text in zip(messages, texts, strict=True)]
    return encode_broken(tokenizer, render(tokenizer, asked, add_generation_prompt=True), separator)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of what an assistant says after other text. Names of control tokens in it are text like any other."""
    return encode_in_place(tokenizer, text, partial(encode_as_text, tokenizer))


def encode_solution(tokenizer: PreTrainedTokenizerBase, solution: str, where: str) -> list[int]:
    """Token ids of a whole solution as the assistant's turn: its text, and the token that ends the turn.

    Args:
        solution: Without surrounding space, which some templates strip.
        where: The row or file, for the message.

    Raises:
        UserError: if the chat template changes the solution (it strips thoughts, or adds some), or ends it without a special
            token, or if the tokenizer has no tokens for it.
    """
    end = end_of_turn(tokenizer)
    start = render(tokenizer, [QUESTION], add_generation_prompt=True)
    whole = render(tokenizer, [QUESTION, {"role": "assistant", "content": solution}])
    after = whole.removeprefix(f"{start}{solution}")
    if after == whole or not after.startswith(control_tokens(tokenizer).names[end] if after else ""):
        raise UserError(
            f"{where}: the chat template of {tokenizer.name_or_path} shows the solution {shorten(solution, 60)!r} as "
            f"{shorten(whole.removeprefix(start), 80)!r}, which the model would not write: take thoughts out of the "
            "solution, give the model folder a chat_template.jinja that leaves what the assistant says as it is, or train on "
            "what the model sampled itself"
        )
    ids = encode_text(tokenizer, solution)
    check_shown(tokenizer, [solution], ids, f"{where}: the solution")
    return [*ids, end]
