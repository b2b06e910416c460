"""Final answers: extraction, equivalence, and a grader that no answer fools."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.grading import grader as grading
from int_lightning.grading.answers import MAX_ANSWER, Verdict, check_gold, normalise
from int_lightning.grading.boxes import extract_answer
from int_lightning.grading.grader import Grader
from int_lightning.types import UserError

from shared_data import SHARED

PAIRS = SHARED / "verify_pairs.jsonl"
HUGE_POWER = "9^{9^{9^9}}"


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1, timeout=5.0) as shared:
        yield shared


def balanced() -> st.SearchStrategy[str]:
    plain = st.text(st.characters(blacklist_characters="{}\\", blacklist_categories=["Cs"]), max_size=8)
    escaped = st.sampled_from([r"\{", r"\}", r"\\", r"\frac", r"\sqrt "])
    return st.recursive(
        plain | escaped, lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + "".join(parts) + "}")
    )


@given(
    st.lists(balanced(), max_size=4).map("".join), st.sampled_from(["boxed", "fbox", "boxed "]), st.text(max_size=20)
)
def test_extract_returns_any_balanced_content_of_the_last_box(content: str, command: str, before: str) -> None:
    before = before.replace("\\", "")
    assert extract_answer(rf"{before} \boxed{{no}} so \{command}{{{content}}} done") == content.strip()


@given(st.text(alphabet="\\boxed{}f $1", max_size=80))
def test_extract_takes_any_text(text: str) -> None:
    assert extract_answer(text) in text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", ""),
        ("no box, 42", ""),
        (r"\boxed{4", ""),
        (r"\boxed{1} then \boxed{2", ""),
        (r"\boxed{}", ""),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\frac{1}{\sqrt{2}}}.", r"\frac{1}{\sqrt{2}}"),
        (r"\boxedness{1}", ""),
    ],
)
def test_extract(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


def test_extract_is_linear_and_does_not_recurse() -> None:
    began = time.perf_counter()
    assert extract_answer(r"\boxed{" * 100_000) == ""
    deep = "{" * 200_000 + "}" * 200_000
    assert extract_answer(rf"\boxed{{{deep}}}") == deep
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        (" $ 5 $ ", "5"),
        (r"\(x\)", "x"),
        (r"\[x\].", "x"),
        (r"\boxed{7}", "7"),
        (r"\text{ yes }", "yes"),
        ("1,234,567", "1234567"),
        (r"1{,}234", "1234"),
        ("1,23", "1,23"),
        ("(1,234)", "(1,234)"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        (r"\left( 1,   2 \right)", "( 1, 2 )"),
        (r"\leftarrow", r"\leftarrow"),
        ("some words\n#### 12", "12"),
        ("some words\nAnswer: 12.", "12"),
        ("$1$ and $2$", "$1$ and $2$"),
    ],
)
def test_normalise(answer: str, plain: str) -> None:
    assert normalise(answer) == plain


@given(st.text(max_size=60))
def test_normalise_takes_any_text(answer: str) -> None:
    assert isinstance(normalise(answer), str)


def test_the_fast_path_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*settings: object) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr(grading, "GraderPool", refuse)
    texts = [rf"so the answer is \boxed{{{i}}}" for i in range(1000)]
    with Grader() as grader:
        right = grader.grade(texts, [str(i + (i + 1) % 2) for i in range(1000)])
    assert right == [bool(i % 2) for i in range(1000)]


def test_plain_numbers_compare_by_value() -> None:
    pairs = [("007", "7"), ("+3", "3"), ("2.50", "2.5"), ("1,000", "1000"), ("-0", "0"), ("2.51", "2.5"), ("8", "-8")]
    with Grader() as grader:
        verdicts = grader.equivalent(*map(list, zip(*pairs, strict=True)))
    assert [verdict.equal for verdict in verdicts] == [True] * 5 + [False] * 2


def test_a_missing_answer_is_wrong_and_noted() -> None:
    with Grader() as grader:
        assert grader.grade(["I do not know", r"\boxed{ }"], ["1", ""]) == [False, False]
        assert grader.equivalent(["", "1" * (MAX_ANSWER + 1)], ["1", "1"]) == [
            Verdict(False, "empty"), Verdict(False, "too long")
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("pred", "gold", "equal"),
    [
        (r"\frac{2}{4}", "0.5", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("(x+1)^2", "x^2+2x+1", True),
        ("(1, 2)", "(2, 1)", False),
        ("x = 5", "5", True),
        ("x = 5", "y = 5", False),
        ("a = 1, b = 2", "1, 2", True),
        ("a = 1, b = 2", "a = 2, b = 1", False),
        ("b = 2, a = 1", "a = 1, b = 2", True),
        ("x = 2, x = 1", "x = 1, 2", True),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix}1&2\\ 3&\frac{8}{2}\end{bmatrix}", True),
        ("k < -5", r"(-\infty, -5)", True),
        (r"x \leq -2 \text{ or } x = 1", r"(-\infty, -2] \cup \{1\}", True),
        (r"(-\infty, -2) \cup \{1\}", r"x \leq -2 \text{ or } x = 1", False),
        (r"\{x | 2 < x < 3\}", "(2, 3)", True),
        (r"30^\circ", r"\frac{\pi}{6}", True),
        (r"60^\circ", r"\frac{\pi}{6}", False),
        ("20/3", "6.667", True),
        ("20/3", "6.666", False),
        ("20/3", "6.67", False),
        ("6.674", "6.67", True),
        ("6.67", "6.674", False),
        ("27/5", "5.4", True),
        ("43/8", "5.4", False),
        ("f(t) = 2t + 1", "f(x) = 2x + 1", True),
        ("f(t) = 2x + 1", "f(x) = 2x + 1", False),
        ("f(t) = xt", "f(x) = x^2", False),
        (r"n\pi", r"x = k\pi", True),
        (r"n\pi", r"x = 2k\pi", False),
        ("(1, 2, 3)", r"\begin{pmatrix} 1 \\ 2 \\ 3 \end{pmatrix}", True),
        ("(1, 2, 4)", r"\begin{pmatrix} 1 \\ 2 \\ 3 \end{pmatrix}", False),
        (r"12^{\text{th}}", "12", True),
        ("(−∞, −3) ∪ (3, ∞)", r"(-\infty, -3) \cup (3, \infty)", True),
        (r"3 \text{ cats}, 4 \text{ dogs}", r"3 \text{ cats}, 5 \text{ dogs}", False),
    ],
)
def test_equivalence(grader: Grader, pred: str, gold: str, equal: bool) -> None:
    assert grader.equivalent([pred], [gold])[0].equal is equal


def test_words_that_are_not_a_formula_are_noted(grader: Grader) -> None:
    assert grader.equivalent([r"\frac{1}{"], ["1"]) == [Verdict(False, "unparsable")]


def test_unequal_lengths_are_refused() -> None:
    with Grader() as grader, pytest.raises(ValueError, match="zip"):
        grader.grade([r"\boxed{1}"], ["1", "2"])


@pytest.mark.parametrize("answer", ["", " \n", "1" * (MAX_ANSWER + 1)])
def test_a_gold_that_nothing_can_equal_is_refused(answer: str) -> None:
    with pytest.raises(UserError, match="gold answer"):
        check_gold(answer)
    check_gold("42")


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="workers is 0"):
        Grader(workers=0)
    with pytest.raises(UserError, match="timeout is 0"):
        Grader(timeout=0)


def test_agreement_with_labelled_pairs() -> None:
    if not PAIRS.exists():
        pytest.skip(f"labelled pairs not found at {PAIRS}: set INT_SHARED_DATA")
    rows = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    tiers = {tier: [row for row in rows if row["tier"] == tier] for tier in ("core", "hard")}
    core, hard = tiers["core"], tiers["hard"]
    with Grader(workers=2) as grader:
        verdicts = grader.equivalent([row["pred"] for row in core + hard], [row["gold"] for row in core + hard])
    wrong = [
        (row["tier"], verdict.equal)
        for row, verdict in zip(core + hard, verdicts, strict=True)
        if verdict.equal != row["expected"]
    ]
    assert wrong.count(("core", True)) == 0
    assert wrong.count(("core", False)) <= 2
    assert wrong.count(("hard", True)) <= 1
    assert wrong.count(("hard", False)) <= 53
    assert (grader.crashes, grader.timeouts) == (0, 0)
