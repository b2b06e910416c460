"""The texts of a row's tokens: joined, they are the row's text, for any tokens."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers.decoders import DecodeStream

from int_lightning.inspection.token_texts import token_texts
from int_lightning.mini.mini_tokenizer import build_tokenizer

from hostile_run import BYTES, decode, encode

MINI = build_tokenizer()


@given(st.one_of(st.text().map(str.encode), st.binary()), st.integers(0, 5))
def test_token_texts_join_to_the_rows_text(data: bytes, special: int) -> None:
    ids = [*data][:special] + [1] + [4 + b % 256 for b in data] + [2]
    texts = token_texts(ids, BYTES)
    assert len(texts) == len(ids)
    assert "".join(texts) == decode(ids)


@given(st.text(min_size=1))
def test_a_character_of_several_tokens_is_the_last_ones(text: str) -> None:
    assume("<|" not in text)  # which may begin a special token, whose text is one token
    texts = token_texts(encode(text), BYTES)
    assert [t for t in texts if t] == list(text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")))
def test_whole_characters_get_the_texts_that_the_library_streams(text: str) -> None:
    ids, stream = encode(text), DecodeStream(skip_special_tokens=False)
    assert token_texts(ids, BYTES) == [stream.step(BYTES.backend_tokenizer, token) or "" for token in ids]


def test_token_texts_of_the_mini_world() -> None:
    ids = MINI.encode("<|user|>1+2@4<|assistant|>1+2=3\n\n\\boxed{3}<|end|>")
    assert token_texts(ids, MINI)[:6] == ["<|user|>", "1", "+", "2", "@", "4"]
    assert "".join(token_texts(ids, MINI)) == "<|user|>1+2@4<|assistant|>1+2=3\n\n\\boxed{3}<|end|>"


def test_many_broken_bytes_take_linear_time() -> None:
    class Counting:
        decoded = 0

        def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = False) -> str:
            self.decoded += len(token_ids)
            return decode(token_ids)

    counting, ids = Counting(), [4 + (0x80 + i % 64) for i in range(2000)]
    assert "".join(token_texts(ids, counting)) == decode(ids)
    assert counting.decoded < 2000 * 200
