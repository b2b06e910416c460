"""The mini world's tokenizer: digits, operators and the few other pieces of its texts, with a chat template."""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|unk|>"]
PIECES = [
    *"0123456789",
    *"+-*@=",
    "\n\n",
    "\n",
    " ",
    " > ",
    "\\boxed{",
    "}",
    "Verify: ",
    "Reference: ",
    "Step ",
    ": ",
    "<intervention>",
    "</intervention>",
    '{"location": ',
    ', "content": "',
    '"}',
    "{}",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Builds the tokenizer. It takes the longest piece that matches; anything unknown becomes ``<|unk|>``."""
    vocabulary = {piece: i for i, piece in enumerate([*SPECIAL, *PIECES])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    longest_first = sorted(PIECES, key=len, reverse=True)
    core.pre_tokenizer = pre_tokenizers.Split(Regex("|".join(map(re.escape, longest_first))), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        unk_token="<|unk|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
