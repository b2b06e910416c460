"""The tokens of an intervention add exactly its text to what precedes it, with every kind of tokenizer."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from int_lightning.prompts.chat import encode_text

from model_families import family

_WORDS = "So x = 2 and the answer is 4.\nWe get 2x.\n\nThus \\boxed{4}. The  two 10 sides, é ≤ 3"
_LAYOUTS = [
    f"{kind}-{scheme}-{split}"
    for kind in ("bpe", "unigram")
    for scheme in ("first", "always", "never")
    for split in ("words", "whole")
]
LAYOUTS = ["mini", "smollm2", "qwen3", "qwen3-tekken", "llama3", "gemma", "llama2-legacy", *_LAYOUTS]


@cache
def tokenizer(layout: str) -> PreTrainedTokenizerBase:
    if layout == "gemma":
        return _trained("bpe", normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), _BARE)
    if layout == "llama2-legacy":
        prepended = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        return _trained("bpe", prepended, None, [*_BARE, decoders.Strip(" ", 1, 0)])
    if layout not in _LAYOUTS:
        return family(layout).tokenizer
    kind, scheme, split = layout.split("-")
    metaspace = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=split == "words")
    return _trained(kind, None, metaspace, [decoders.ByteFallback(), decoders.Metaspace("▁", prepend_scheme=scheme)])


_BARE = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def _trained(kind: str, normalizer, pre_tokenizer, decoder: list) -> PreTrainedTokenizerFast:
    special, fallback = ["<unk>", "<s>", "</s>"], [f"<0x{byte:02X}>" for byte in range(256)]
    if kind == "bpe":
        core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        trainer = trainers.BpeTrainer(
            vocab_size=420, special_tokens=special + fallback, show_progress=False, max_token_length=8
        )
    else:
        core = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    if normalizer is not None:
        core.normalizer = normalizer
    if pre_tokenizer is not None:
        core.pre_tokenizer = pre_tokenizer
    core.decoder = decoders.Sequence(decoder)
    core.train_from_iterator([_WORDS] * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


TEXTS = st.lists(st.sampled_from([*"Sox=24.T \n", "\n\n", "The ", " two", "x = 2", "  ", "We get"]), min_size=1).map(
    "".join
)
DIGITS = st.lists(st.sampled_from([*"0123456789+=", "\n\n"]), min_size=1).map("".join)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=60)
@given(data=st.data())
def test_what_a_text_adds_to_others_is_the_text(layout: str, data: st.DataObject) -> None:
    texts = DIGITS if layout == "mini" else TEXTS
    before, text = data.draw(texts), data.draw(texts)
    encoder = tokenizer(layout)
    prefix = encoder.encode(before, add_special_tokens=False)
    ids = encode_text(encoder, text)
    assert encoder.decode(prefix + ids) == encoder.decode(prefix) + text


@pytest.mark.parametrize("layout", ["smollm2", "qwen3", "llama3", "gemma", "bpe-never-words"])
def test_where_nothing_is_put_in_front_the_tokens_are_those_of_the_text_alone(layout: str) -> None:
    encoder = tokenizer(layout)
    text = "So x = 2 and 10.\n\n"
    assert encode_text(encoder, text) == encoder.encode(text, add_special_tokens=False)


def test_no_space_is_put_before_an_intervention() -> None:
    encoder = tokenizer("bpe-first-words")
    assert encoder.convert_ids_to_tokens(encode_text(encoder, "So x = 2\n\n"))[:3] == ["So", "▁x", "▁="]
