"""Duplicates: found among typesettings and near copies; hashes in sets and maps of bounded size."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from int_lightning.sources.duplicates import Duplicates
from int_lightning.sources.hashes import HashMap, HashSet
from int_lightning.sources.reading import read
from int_lightning.sources.source_config import SourceConfig
from int_lightning.sources.text_tokens import text_tokens
from int_lightning.types import Problem

from shared_data import SHARED, needs_shared
from source_files import WORDS, random_text


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)), max_size=300), st.integers(1, 30))
def test_a_hash_map_is_a_map(pairs: list[tuple[int, int]], fresh: int) -> None:
    ours, theirs = HashMap(), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("int_lightning.sources.hashes._FRESH", fresh)
        for key, value in [*pairs, *((key, value ^ 1) for key, value in pairs[::3])]:
            ours.put(key, value)
            theirs[key] = value
    assert {key: ours.get(key) for key in theirs} == theirs
    assert all(ours.get(key ^ 1) == theirs.get(key ^ 1) for key, _ in pairs)


def test_near_copies_are_found_among_many_and_nothing_else() -> None:
    rng = random.Random(0)
    originals = [f"{random_text(i, 60)} Is it {i}?" for i in range(1000)]
    copies = []
    for original in originals:
        words = original.split()
        words[rng.randrange(60)] = rng.choice(WORDS)
        copies.append(" ".join(words).replace("Is it", "Is this"))
    rng.shuffle(copies)
    duplicates = Duplicates()
    assert [duplicates.find(text_tokens(t), "7") for t in originals] == [""] * 1000
    assert sum(duplicates.find(text_tokens(t), "7") == "near" for t in copies) > 980


def test_problems_that_differ_in_a_number_or_the_answer_are_not_duplicates() -> None:
    duplicates = Duplicates()
    long = random_text(0, 100)
    assert duplicates.find(text_tokens(long + " Divide by 7."), "1") == ""
    assert duplicates.find(text_tokens(long + " Divide by 9."), "1") == ""
    assert duplicates.find(text_tokens(long + " Divide by 7 now."), "2") == ""
    assert duplicates.find(text_tokens(long + " Divide by 7 then."), r"\frac{1}{2}") == ""
    assert duplicates.find(text_tokens(long + " Divide by 7 once."), "1/2") == "near"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"$\dfrac{1}{2}$", r"\frac 1 2"),
        (r"\left( x + 1 \right)", "(x+1)"),
        ("1,000 apples", "1000 Apples."),
        ("a 1{,}000", "a 1000"),
        (r"x \leq \text{ten}", r"x\le ten"),
        (r"$x^{2}$", "x ^ 2"),
        (r"\(x\) and \[y\]", "$x$ and $$y$$"),
        ("a − b", "a - b"),
        (r"1, 2, \ldots, n", "1, 2, ..., n"),
        ("ｘ＋１", "x+1"),
    ],
)
def test_typesetting_does_not_count(one: str, other: str) -> None:
    assert text_tokens(one) == text_tokens(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x + y", "x - y"),
        ("2^{n}+1", "2^{n+1}"),
        ("12 3", "1 23"),
        ("1.5", "15"),
        ("n!", "n"),
        (r"\sin x", r"\cos x"),
        ("7@2", "7+2"),
        ("a_1", "a1"),
        ("x > 1", "x < 1"),
        (r"\frac{1}{23}", r"\frac{12}{3}"),
    ],
)
def test_what_changes_the_meaning_counts(one: str, other: str) -> None:
    assert text_tokens(one) != text_tokens(other)


@given(st.text())
@example("{0.}")
@example("{{0}}")
def test_tokens_do_not_depend_on_spacing(problem: str) -> None:
    found = text_tokens(problem)
    assert text_tokens(" ".join(found)) == found
    assert text_tokens(" ".join(problem.split())) == found
    assert text_tokens(f"${problem}$") == found


@given(st.text(st.characters(codec="ascii")))
def test_tokens_do_not_depend_on_case(problem: str) -> None:
    assert text_tokens(problem.upper()) == text_tokens(problem.lower()) == text_tokens(problem)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=400), st.integers(1, 50))
def test_a_hash_set_is_a_set(values: list[int], at_a_time: int) -> None:
    ours, theirs = HashSet(), set()
    for start in range(0, len(values), at_a_time):
        some = values[start : start + at_a_time]
        assert ours.contains(np.array(some, np.uint64)).tolist() == [v in theirs for v in some]
        ours.add(np.array([v for v in dict.fromkeys(some) if v not in theirs], np.uint64))
        theirs.update(some)
        assert len(ours) == len(theirs)


def test_a_large_hash_set_takes_eight_bytes_for_each() -> None:
    hashes, rng = HashSet(), np.random.default_rng(0)
    inside = [rng.integers(0, 2**63, 10_000, np.uint64) for _ in range(100)]
    for block in inside:
        hashes.add(block)
    assert len(hashes) == 1_000_000
    assert all(hashes.contains(block).all() for block in inside[::10])
    assert not hashes.contains(rng.integers(2**63, 2**64 - 1, 10_000, np.uint64)).any()
    assert sum(array.nbytes for array in hashes._sorted) <= 8_000_000
    assert len(hashes._sorted) < 8


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the 8-character pieces of the tokens."""
    a, b = (
        {t[i : i + 8] for i in range(len(t) - 7)} for t in (" ".join(text_tokens(one)), " ".join(text_tokens(other)))
    )
    return len(a & b) / len(a | b)


@needs_shared
def test_known_duplicates_of_dapo() -> None:
    source = SourceConfig(
        str(SHARED / "dapo_17k" / "dapo_math_17k.parquet"),
        {"problem": "prompt.0.content", "answer": "reward_model.ground_truth"},
        require_solution=False,
    )
    problems = [p for p in islice(read(source), 8000) if isinstance(p, Problem)]
    duplicates, kinds, seen, by_answer = Duplicates(), Counter[str](), set(), defaultdict(list)
    for p in problems:
        kind = duplicates.find(text_tokens(p.problem), p.answer)
        kinds[kind] += 1
        assert kind == "exact" or p.problem not in seen
        assert kind != "near" or max(similarity(p.problem, q) for q in by_answer[p.answer]) > 0.35
        seen.add(p.problem)
        by_answer[p.answer].append(p.problem)
    assert kinds["exact"] > 8000 - len(seen) > 50
    assert kinds["near"] > 200
