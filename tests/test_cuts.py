"""Cuts: the shortest prefixes of the sampled tokens that cover the boundaries between steps."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.mini.world import attempt, draw_chain, solution_text
from int_lightning.steps import Cut, Segmentation, cuts, decode, split_steps

from real_attempts import real_texts
from shared_data import needs_shared
from step_tokenizers import BPE, BYTES, TOKENIZERS

SMOLLM2 = Path.home() / ".cache" / "int-lightning" / "smollm2-135m-instruct"
HOW: tuple[Segmentation, ...] = get_args(Segmentation)
MINI = build_tokenizer()


def shortest_covers(steps: list[str], ids: list[int], tokenizer: Any) -> list[Cut]:
    """What cuts are, word for word."""
    prefixes = [decode(tokenizer, ids[:k]) for k in range(len(ids) + 1)]
    found = []
    for boundary in [0, *accumulate(map(len, steps))][: len(steps)]:
        wanted = "".join(steps)[:boundary]
        tokens = next(k for k, prefix in enumerate(prefixes) if prefix.startswith(wanted))
        found.append(Cut(tokens, prefixes[tokens] == wanted))
    return found


@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_cuts_of_the_mini_world_are_exact(seed: int, hard: bool, ended: bool) -> None:
    rng = random.Random(seed)
    text = solution_text(attempt(draw_chain(rng, hard), rng, 0.5, 0.2))
    ids = MINI.encode(text, add_special_tokens=False) + [MINI.eos_token_id] * ended
    steps = split_steps(text)
    assert len(steps) >= 4
    for i, cut in enumerate(cuts(steps, ids, MINI)):
        assert cut.exact
        assert MINI.decode(ids[: cut.tokens]) == "".join(steps[:i])


def test_a_boundary_at_the_end_of_a_merged_token_is_exact() -> None:
    text = "a.\n\nb"
    ids = BPE.encode(text).ids
    assert [BPE.id_to_token(i) for i in ids] == ["a", ".\n\n", "b"]
    assert cuts(split_steps(text), ids, BPE) == [Cut(0, True), Cut(2, True)]


def test_a_boundary_inside_a_token_is_cut_after_it_and_marked() -> None:
    text = "a.\n\nSo b.\n\na"
    ids = BPE.encode(text).ids
    assert [BPE.id_to_token(i) for i in ids] == ["a", ".\n\nSo", " ", "b", ".\n\n", "a"]
    steps = split_steps(text)
    assert steps == ["a.\n\n", "So b.\n\n", "a"]
    assert cuts(steps, ids, BPE) == [Cut(0, True), Cut(2, False), Cut(5, True)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60)
@given(data=st.data())
def test_cuts_of_any_tokens_are_the_shortest_prefixes_that_cover(name: str, how: Segmentation, data: Any) -> None:
    """Any tokens: characters broken off, bytes that are no characters, special tokens, spaces that are dropped."""
    tokenizer = TOKENIZERS[name]
    breaks = [i for i in range(tokenizer.get_vocab_size()) if "\n" in decode(tokenizer, [i])]
    token = st.integers(0, tokenizer.get_vocab_size() - 1) | st.sampled_from(breaks or [0])
    ids = data.draw(st.lists(token, max_size=60))
    steps = split_steps(decode(tokenizer, ids), how)
    assert cuts(steps, ids, tokenizer) == shortest_covers(steps, ids, tokenizer)


@given(
    st.lists(st.sampled_from(["🙂", "中", "π", "\u3000", "a", ". ", "\n", "\n\n", "Wait"]), max_size=25).map("".join)
)
def test_cuts_of_any_text_are_the_shortest_prefixes_that_cover(text: str) -> None:
    for tokenizer in (TOKENIZERS["bytes"], TOKENIZERS["merged bytes"], TOKENIZERS["byte fallback"]):
        ids = tokenizer.encode(text).ids
        steps = split_steps(decode(tokenizer, ids), "keywords")
        assert cuts(steps, ids, tokenizer) == shortest_covers(steps, ids, tokenizer)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_byte_tokens_are_cut_between_any_two_characters(one: str, two: str, three: str) -> None:
    steps = [one, two, three]
    ends = [len(one.encode()), len((one + two).encode())]
    assert cuts(steps, BYTES.encode(one + two + three).ids, BYTES) == [Cut(n, True) for n in (0, *ends)]


def test_a_white_space_character_of_several_tokens_stays_whole() -> None:
    text = "a.\n\n\u3000b"
    steps = split_steps(text)
    assert steps == ["a.\n\n\u3000", "b"]
    assert cuts(steps, BYTES.encode(text).ids, BYTES) == [Cut(0, True), Cut(7, True)]


def test_a_token_with_the_first_byte_of_the_next_step_makes_the_cut_inexact() -> None:
    core = Tokenizer(models.BPE({"Ċ": 0, "ð": 1, "Ł": 2, "Ļ": 3, "Ĥ": 4, "Ċð": 5, "a": 6}, [("Ċ", "ð")]))
    core.decoder = decoders.ByteLevel()
    ids = [6, 0, 5, 2, 3, 4]
    steps = split_steps(core.decode(ids))
    assert steps == ["a\n\n", "🙂"]
    assert cuts(steps, ids, core) == [Cut(0, True), Cut(3, False)]


@pytest.mark.parametrize("name", ["merging", "merged bytes", "byte fallback"])
def test_the_pass_decodes_each_token_a_bounded_number_of_times(name: str) -> None:
    class Counting:
        tokens = 0

        def decode(self, token_ids: list[int], skip_special_tokens: bool = False) -> str:
            self.tokens += len(token_ids)
            return TOKENIZERS[name].decode(token_ids, skip_special_tokens=skip_special_tokens)

    ids = TOKENIZERS[name].encode("a b a.\n\nSo b" * 300).ids
    steps, tokenizer = split_steps(decode(TOKENIZERS[name], ids)), Counting()
    assert len(cuts(steps, ids, tokenizer)) == len(steps) == 301
    assert tokenizer.tokens < 40 * len(ids)


def test_tokens_of_another_text_are_refused() -> None:
    ids = MINI.encode("1+1=2\n\n3", add_special_tokens=False)
    for steps in (["1+1=2\n\n", "4"], ["1+1=2\n\n"], ["1+1=2\n\n", "3\n\n", "4"], []):
        with pytest.raises(ValueError, match="do not decode"):
            cuts(steps, ids, MINI)
    assert cuts([], [], MINI) == []


def check_cuts(steps: list[str], ids: list[int], tokenizer: Any) -> int:
    """Between two exact cuts lie the tokens of the steps between them, an inexact one is passed in its last token."""
    exact, since, inexact = 0, "", 0
    for cut, step in zip(cuts(steps, ids, tokenizer), steps, strict=True):
        said = decode(tokenizer, ids[exact : cut.tokens])
        if cut.exact:
            assert said == since
            exact, since = cut.tokens, ""
        else:
            inexact += 1
            assert said.startswith(since) and said != since
            assert not decode(tokenizer, ids[exact : cut.tokens - 1]).startswith(since)
        since += step
    assert decode(tokenizer, ids[exact:]) == since
    return inexact


@needs_shared
@pytest.mark.skipif(not SMOLLM2.is_dir(), reason=f"SmolLM2 was not converted into {SMOLLM2}")
def test_cuts_of_real_attempts_with_the_tokenizer_of_a_real_model() -> None:
    tokenizer = Tokenizer.from_file(str(SMOLLM2 / "tokenizer.json"))
    steps_seen = inexact = 0
    for i, text in enumerate(real_texts()):
        steps = split_steps(text, HOW[i % len(HOW)])
        inexact += check_cuts(steps, tokenizer.encode(text, add_special_tokens=False).ids, tokenizer)
        steps_seen += len(steps)
    print(f"{steps_seen} steps, {inexact} boundaries inside a token")
    assert 0 < inexact < steps_seen // 20


@needs_shared
def test_cuts_of_what_the_mini_tokenizer_knows_of_real_attempts() -> None:
    for i, text in enumerate(real_texts()[::10]):
        ids = MINI.encode(text, add_special_tokens=False)
        check_cuts(split_steps(decode(MINI, ids), HOW[i % len(HOW)]), ids, MINI)
