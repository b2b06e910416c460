"""Pairs of answers by kind, equal ones and similar ones that differ; symmetry; inputs that must not break the grader."""

from __future__ import annotations

import json
import random
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.grading.answers import decide
from int_lightning.grading.extraction import final_answer
from int_lightning.grading.worker import verdict

from shared_data import SHARED

PAIRS = [json.loads(line) for line in Path(__file__).with_name("grading_pairs.jsonl").read_text("utf-8").splitlines()]
KINDS = {kind: list(rows) for kind, rows in groupby(PAIRS, key=lambda row: row["tier"])}
CASES = SHARED.parent / "cases" / "grader.jsonl"


def equal(pred: str, gold: str) -> bool:
    """What ``Grader`` says, without its processes."""
    pred, gold = final_answer(pred), final_answer(gold) or gold
    decided = decide(pred, gold)
    return verdict(pred, gold)[0] if decided is None else decided.equal


def is_rounding(pred: str, gold: str) -> bool:
    """The only asymmetry: the gold says how exact an answer must be."""
    return equal(pred, gold) and not equal(gold, pred) and "." in gold


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_of_a_kind(kind: str) -> None:
    wrong = [(row["pred"], row["gold"]) for row in KINDS[kind] if equal(row["pred"], row["gold"]) != row["expected"]]
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_equality_is_symmetric_but_for_roundings(kind: str) -> None:
    one_way = [
        (row["pred"], row["gold"])
        for row in KINDS[kind]
        if equal(row["pred"], row["gold"]) != equal(row["gold"], row["pred"])
        and not is_rounding(row["pred"], row["gold"])
        and not is_rounding(row["gold"], row["pred"])
    ]
    assert one_way == []


def test_equality_of_any_two_of_the_answers_is_symmetric_but_for_roundings() -> None:
    answers = sorted({row["pred"] for row in PAIRS} | {row["gold"] for row in PAIRS})
    draw = random.Random(0)
    for _ in range(2000):
        pred, gold = draw.sample(answers, 2)
        if equal(pred, gold) != equal(gold, pred):
            assert is_rounding(pred, gold) or is_rounding(gold, pred), (pred, gold)


def test_every_answer_equals_itself_written_with_other_spaces() -> None:
    assert [row["gold"] for row in PAIRS if not equal(f"  {row['gold']} ", row["gold"])] == []


PIECES = r"""1 2 0 12 1,000 3.5 .5 x y n AB f(x) f' ! ^ ^2 ^{ } { ( ) [ ] \{ \} \frac{1}{2} \frac \sqrt \sqrt{2} = < \le \neq
> + - \pm \cdot / : , ; \pi \infty \cup \setminus \text{cm} \text{ \pmod5 \pmod{n} _ _2 % ^\circ \begin{pmatrix} \end{pmatrix}
& \\ | \lfloor \rfloor or and \begin{cases} \end{cases} \log \sin \binom{5}{2} \max( √ ½ ① \dots i e 10^{400} 1e999 0^0 \in
\mathbb{R} \equiv \approx where million \emptyset (1)(2) 0.(3) \angle 9^{9^9} \$5 5€ am 3:45 i2>n.5 2^{2023}"""
AGAINST = ["2", "x", "(1,2)", "[0,1)", r"\{1,2\}", "x>2", "x=1", r"A = \begin{pmatrix} 1 \\ 2 \end{pmatrix}"]


@given(st.lists(st.sampled_from(PIECES.split()), max_size=7), st.sampled_from(AGAINST), st.booleans())
def test_no_answer_breaks_the_grader(pieces: list[str], gold: str, spaced: bool) -> None:
    pred = (" " if spaced else "").join(pieces)
    assert verdict(pred, gold)[0] == verdict(gold, pred)[0]


@given(st.text(max_size=30))
def test_no_text_breaks_the_grader(text: str) -> None:
    verdict(text, "[0,1)")
    verdict(text, text)


def test_the_shared_cases() -> None:
    if not CASES.exists():
        pytest.skip(f"shared cases not found at {CASES}: set INT_SHARED_DATA")
    rows = [json.loads(line) for line in CASES.read_text("utf-8").splitlines()]
    assert [row for row in rows if equal(row["pred"], row["gold"]) != row["expected"]] == []
