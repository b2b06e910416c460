"""Conversations as a model's chat template writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TODAY = datetime(2025, 1, 1)
"""What a chat template that asks for the date is told, so that prompts are the same on every day."""


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]], add_generation_prompt: bool = False
) -> str:
    """A conversation as text.

    Raises:
        UserError: if the tokenizer has no chat template, or if the template refuses the conversation or fails: it is a program
            by the maker of the model, run in a sandbox.
    """
    if not tokenizer.chat_template:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template: add chat_template.jinja to its folder"
        )
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                strftime_now=TODAY.strftime,
            )
        )
    except Exception as error:
        roles = ", ".join(m["role"] for m in messages)
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} refuses a conversation of {roles}: {error or type(error).__name__}: "
            "correct its chat_template.jinja"
        ) from error
