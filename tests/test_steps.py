"""Steps: splitting gives the text back, and cuts fall on token positions that cover the boundary."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from int_lightning.mini.tokenizer import build_tokenizer
from int_lightning.mini.world import attempt, draw_chain, solution_text
from int_lightning.steps import Cut, cut_before, number_steps, split_steps

MINI = build_tokenizer()
TEXTS = st.text() | st.text(alphabet="ab1 =.\\\n\n\n\t\r", max_size=60)


def merging_tokenizer() -> Tokenizer:
    """BPE in which "\\n\\n", ".\\n\\n", "So" and ".\\n\\nSo" are single tokens."""
    pieces = [*" .\nabSo", "\n\n", ".\n\n", "So", ".\n\nSo"]
    merges = [("\n", "\n"), (".", "\n\n"), ("S", "o"), (".\n\n", "So")]
    core = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    core.decoder = decoders.Fuse()
    return core


def byte_tokenizer() -> Tokenizer:
    """One token a byte."""
    core = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    return core


BPE = merging_tokenizer()
BYTES = byte_tokenizer()


@settings(deadline=None)
@given(TEXTS)
def test_joined_steps_are_the_text(text: str) -> None:
    steps = split_steps(text)
    assert "".join(steps) == text
    assert all(steps)


@settings(deadline=None)
@given(TEXTS.filter(lambda t: not t[:1].isspace()))
def test_a_step_holds_no_blank_line_but_the_one_it_ends_with(text: str) -> None:
    steps = split_steps(text)
    for step in steps:
        assert "\n\n" not in step.rstrip()
        assert step == text or step.strip()
    for step in steps[:-1]:
        assert step[len(step.rstrip()) :].count("\n") >= 2


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        ("one", ["one"]),
        ("one\ntwo", ["one\ntwo"]),
        ("one\n\ntwo", ["one\n\n", "two"]),
        ("one\n \t\n\n  two\n\n", ["one\n \t\n\n  ", "two\n\n"]),
        ("\n\none\n\n\ntwo\nthree", ["\n\none\n\n\n", "two\nthree"]),
        ("\n\n", ["\n\n"]),
    ],
)
def test_splits_written_out(text: str, steps: list[str]) -> None:
    assert split_steps(text) == steps


@pytest.mark.parametrize("text", [" \n\none\n\ntwo", "\t\n\n\none"])
def test_white_space_in_front_is_no_step_of_its_own(text: str) -> None:
    assert all(step.strip() for step in split_steps(text))


def test_numbering_counts_from_zero_and_strips() -> None:
    assert number_steps(["a = 1\n\n", "b\nc \n\n\n", "d"]) == "Step 0: a = 1\n\nStep 1: b\nc\n\nStep 2: d"
    assert number_steps([]) == ""


@settings(deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_cuts_of_the_mini_world_are_exact(seed: int, hard: bool, ended: bool) -> None:
    rng = random.Random(seed)
    text = solution_text(attempt(draw_chain(rng, hard), rng, 0.5, 0.2))
    ids = MINI.encode(text, add_special_tokens=False) + [MINI.eos_token_id] * ended
    steps = split_steps(text)
    assert len(steps) >= 4
    for i in range(len(steps)):
        cut = cut_before(i, steps, ids, MINI)
        assert cut.exact
        assert MINI.decode(ids[: cut.tokens]) == "".join(steps[:i])


def test_a_boundary_at_the_end_of_a_merged_token_is_exact() -> None:
    text = "a.\n\nb"
    ids = BPE.encode(text).ids
    assert [BPE.id_to_token(i) for i in ids] == ["a", ".\n\n", "b"]
    assert cut_before(1, split_steps(text), ids, BPE) == Cut(2, True)


def test_a_boundary_inside_a_token_is_cut_after_it_and_marked() -> None:
    text = "a.\n\nSo b.\n\na"
    ids = BPE.encode(text).ids
    assert [BPE.id_to_token(i) for i in ids] == ["a", ".\n\nSo", " ", "b", ".\n\n", "a"]
    steps = split_steps(text)
    assert steps == ["a.\n\n", "So b.\n\n", "a"]
    assert cut_before(1, steps, ids, BPE) == Cut(2, False)
    assert cut_before(2, steps, ids, BPE) == Cut(5, True)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", " ", ".", "\n\n", "So", ".\n\nSo"]), max_size=30))
def test_a_cut_is_the_shortest_prefix_that_covers_the_boundary(pieces: list[str]) -> None:
    text = "".join(pieces)
    ids = BPE.encode(text).ids
    assert BPE.decode(ids) == text
    steps = split_steps(text)
    for i in range(len(steps)):
        before = "".join(steps[:i])
        cut = cut_before(i, steps, ids, BPE)
        prefix = BPE.decode(ids[: cut.tokens])
        assert prefix.startswith(before)
        assert cut.exact == (prefix == before)
        if cut.tokens:
            assert len(BPE.decode(ids[: cut.tokens - 1])) < len(before)


@pytest.mark.parametrize("text", ["π.\n\n∑ 🙂\n\nb", "🙂\n\n🙂🙂\n\n🙂"])
def test_cuts_between_characters_of_several_tokens(text: str) -> None:
    ids, steps = BYTES.encode(text).ids, split_steps(text)
    for i in range(len(steps)):
        before = "".join(steps[:i])
        assert cut_before(i, steps, ids, BYTES) == Cut(len(before.encode()), True)


def test_a_cut_never_splits_a_white_space_character_of_several_tokens() -> None:
    text = "a.\n\n\u3000b"
    steps = split_steps(text)
    assert steps == ["a.\n\n\u3000", "b"]
    assert cut_before(1, steps, BYTES.encode(text).ids, BYTES) == Cut(7, True)


@pytest.mark.parametrize("step", [-1, 2, 7])
def test_there_is_no_cut_before_a_step_that_is_not_there(step: int) -> None:
    steps = ["1+1=2\n\n", "\\boxed{2}"]
    ids = MINI.encode("".join(steps), add_special_tokens=False)
    assert cut_before(0, steps, ids, MINI) == Cut(0, True)
    with pytest.raises(IndexError, match="2 steps"):
        cut_before(step, steps, ids, MINI)
