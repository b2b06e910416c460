"""The token with which a chat template ends what an assistant says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from int_lightning.model_folder.chat_template import render
from int_lightning.model_folder.control_tokens import control_tokens
from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION = {"role": "user", "content": "1+1?"}


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token with which the chat template ends what an assistant says.

    Raises:
        UserError: if the tokenizer has no chat template, or if the template does not show such a turn, or ends it
            without a special token.
    """
    said = "It is 2."
    whole = render(tokenizer, [QUESTION, {"role": "assistant", "content": said}])
    _, shown, after = whole.rpartition(said)
    rest = tokenizer.encode(after, add_special_tokens=False)
    end = rest[0] if rest else tokenizer.eos_token_id
    if not shown or end not in control_tokens(tokenizer).names:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} ends the assistant's turn without a special token, so a model "
            "trained on it would not know where to stop: give the model folder a chat_template.jinja that ends it with one"
        )
    return int(end)
