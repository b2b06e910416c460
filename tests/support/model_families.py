"""Tokenizers and chat templates like those of the families of models, for tests that must hold for all of them.

Vocabularies are real ones where a package ships one, and else trained here; the templates treat turns as their families do:
ChatML like Qwen3's drops the thoughts of earlier turns, Llama-3's begins with BOS and trims what is said.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.models.resolve import resolve_model
from int_lightning.models.smollm2 import SMOLLM2
from int_lightning.types import UserError

CHATML = (
    "{%- for message in messages %}{%- set said = message.content %}"
    "{%- if message.role == 'assistant' and not loop.last and '</think>' in said %}"
    "{%- set said = said.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\\n' + said + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
STRIPS_EVERY_THOUGHT = CHATML.replace(" and not loop.last", "")
SHOWS_AN_EMPTY_THOUGHT = CHATML.replace(
    "+ said +", "+ ('<think>\\n\\n</think>\\n\\n' if message.role == 'assistant' and loop.last else '') + said +"
)
LLAMA3 = (
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)

_CHATML_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_LLAMA3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_LETTER = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
_BYTE = {letter: byte for byte, letter in _LETTER.items()}


@dataclass(frozen=True, eq=False)
class Family:
    """A tokenizer with its template.

    Args:
        tokenizer: With the template.
        end: The token with which the template ends what an assistant says.
        begin: The token with which it begins a conversation, "" for none.
        byte_level: Whether the letters of a token stand for bytes.
    """

    tokenizer: PreTrainedTokenizerFast
    end: str
    begin: str = ""
    byte_level: bool = True

    @cached_property
    def end_id(self) -> int:
        return self.vocabulary[self.end]

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        return dict(self.tokenizer.get_vocab())

    @cached_property
    def special(self) -> set[int]:
        return {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}

    def read(self, token_ids: Sequence[int]) -> bytes:
        """The bytes that tokens stand for, special ones shown: what decoding must agree with, made without it."""
        return b"".join(map(self._piece, token_ids))

    def _piece(self, token_id: int) -> bytes:
        token = str(self.tokenizer.convert_ids_to_tokens(token_id))
        if not self.byte_level or token_id in self.tokenizer.added_tokens_decoder:
            return token.encode()
        return bytes(_BYTE[letter] for letter in token)

    def sample(self, text: str, rng: random.Random | None) -> list[int]:
        """Tokens of a text as a model may sample them: many cut in two, some inside a character; none cut without ``rng``."""
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return [part for token_id in ids for part in self._cut(token_id, rng)]

    def _cut(self, token_id: int, rng: random.Random | None) -> list[int]:
        token = str(self.tokenizer.convert_ids_to_tokens(token_id))
        halves = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [pair for pair in halves if all(half in self.vocabulary for half in pair)]
        if rng is None or token_id in self.tokenizer.added_tokens_decoder or not known or rng.random() < 0.4:
            return [token_id]
        return [part for half in rng.choice(known) for part in self._cut(self.vocabulary[half], rng)]


def _mini() -> Family:
    return Family(build_tokenizer(), "<|end|>", byte_level=False)


def _smollm2() -> Family:
    try:
        folder = resolve_model(SMOLLM2)
    except UserError as error:
        pytest.skip(str(error))
    return Family(AutoTokenizer.from_pretrained(folder), "<|im_end|>")


def _qwen3() -> Family:
    """Tokens run over words and steps, and some end inside a character; text is composed first, as Qwen's is."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    rng = random.Random(0)
    openings = ["So é", "Wait", "Let", "🙂", *(chr(0x4E00 + i) for i in range(40))]
    lines = [f"{rng.choice(openings)} = {rng.randrange(99)} ≤ \\boxed{{{rng.randrange(9)}}}." for _ in range(3000)]
    texts = ["\n\n".join(lines[i : i + 6]) for i in range(0, len(lines), 6)]
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=list(_BYTE), max_token_length=7, show_progress=False)
    core.train_from_iterator(texts, trainer)
    return Family(_chatml(core), "<|im_end|>")


def _qwen3_tekken() -> Family:
    return Family(_chatml(_tekken()), "<|im_end|>")


def _chatml(core: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=_CHATML_SPECIAL,
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


def _llama3() -> Family:
    """Encoding puts BOS in front, and so does the template."""
    core = _tekken()
    core.add_special_tokens(_LLAMA3_SPECIAL)
    begin = _LLAMA3_SPECIAL[0]
    core.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, core.token_to_id(begin))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=begin,
        eos_token="<|eot_id|>",
        chat_template=LLAMA3,
        clean_up_tokenization_spaces=False,
    )
    return Family(tokenizer, "<|eot_id|>", begin)


@cache
def _tekken_ranks() -> list[bytes]:
    found = importlib.util.find_spec("mistral_common")
    file = Path(found.origin).parent / "data" / "tekken_240911.json" if found and found.origin else None
    if file is None or not file.exists():
        pytest.skip("package mistral-common is not installed, which ships the vocabulary")
    return [base64.b64decode(token["token_bytes"]) for token in json.loads(file.read_text())["vocab"][:20000]]


def _tekken() -> Tokenizer:
    """The 20,000 first tokens of Tekken, as BPE."""
    ranks = {token: rank for rank, token in enumerate(_tekken_ranks())}
    merges = []
    for token in ranks:
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [pair for pair in pairs if all(half in ranks for half in pair)]
        merges += sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    core = Tokenizer(
        models.BPE({_letters(t): i for t, i in ranks.items()}, [(_letters(a), _letters(b)) for a, b in merges])
    )
    words = Regex(r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    by_word = pre_tokenizers.Split(words, behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([by_word, pre_tokenizers.ByteLevel(False, use_regex=False)])
    core.decoder = decoders.ByteLevel()
    return core


def _letters(token: bytes) -> str:
    return "".join(_LETTER[byte] for byte in token)


_FAMILIES = {
    "mini": _mini,
    "smollm2": _smollm2,
    "qwen3": _qwen3,
    "qwen3-tekken": _qwen3_tekken,
    "llama3": _llama3,
}
FAMILIES = list(_FAMILIES)


@cache
def family(name: str) -> Family:
    """A family by its name; the test that asks for one whose package is absent is skipped."""
    return _FAMILIES[name]()


def with_template(name: str, template: str | None) -> Family:
    """A family with another chat template, or with none."""
    tokenizer = deepcopy(family(name).tokenizer)
    tokenizer.chat_template = template
    return replace(family(name), tokenizer=tokenizer)
