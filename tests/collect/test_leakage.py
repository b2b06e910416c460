"""Which interventions give the final answer away, under each policy."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.collect.leakage import MAX_CANDIDATES, Leak, LeakagePolicy, find_leaks, leaks
from int_lightning.collect.leakage_candidates import candidates, comparable
from int_lightning.grading.answers import Verdict
from int_lightning.grading.grader import Grader

POLICIES: list[LeakagePolicy] = ["substring", "stated", "equivalent", "off"]


class Case(NamedTuple):
    """Whether a content leaks under ``substring``, ``stated`` and ``equivalent``."""

    content: str
    answer: str
    substring: bool
    stated: bool
    equivalent: bool
    problem: str = "How many are there?"


PENS = "A box holds 12 pens. How many pens are in 2 boxes that lost half of them?"
CASES = [
    # whole numbers, and numbers inside others
    Case("the answer is 12.", "12", True, True, True),
    Case("x=12, so", "12", True, True, True),
    Case(r"\boxed{12}", "12", True, True, True),
    Case(r"$\boxed{\text{12}}$", "12", True, True, True),
    Case("12", " 12 ", True, True, True),
    Case("$12$", "$12$", True, True, True),
    Case("we add 3 + 12 next", "12", True, True, True),
    Case("it is 112 or 123", "12", True, False, False),
    Case("about 12.5 or 0.12", "12", True, False, False),
    Case("of 12,500 or 1,012", "12", True, False, False),
    Case("so x = -12 here", "12", True, False, False),
    Case("factor it first", "12", False, False, False),
    Case("the angle is $12^\\circ$", "12", True, True, True),
    # parts of longer expressions, and labels
    Case("x_12y", "12", True, False, False),
    Case("$x_{12}$", "12", True, False, False),
    Case("$x^{12} + x^12$", "12", True, False, False),
    Case(r"$\frac{12}{5}$ and $\sqrt{12}$ and $\frac{5}{12}$", "12", True, False, False),
    Case("12/5 and 5/12", "12", True, False, False),
    Case(r"12x and 12\pi and 12\sqrt{2} and 12(x+1)", "12", True, False, False),
    Case("Case 2: n is odd. By Lemma 2 and equation (2),", "2", True, False, False),
    Case("Step 2 fails", "2", True, False, False),
    Case("in this case 2 remain", "2", True, True, True),
    Case("there are 2 of them", "2", True, True, True),
    # other notations of a number
    Case("so half, 0.5 of it", "1/2", False, False, True),
    Case(r"so $x = \frac{1}{2}$", "0.5", False, False, True),
    Case("so x is 1/2", r"\frac{1}{2}", False, False, True),
    Case(r"so $p = \dfrac{3}{6}$", r"\frac{1}{2}", False, False, True),
    Case("that makes 1000 ways", "1,000", False, True, True),
    Case("that makes 1,000 ways", "1000", False, False, True),
    Case("that makes $1{,}000$ ways", "1000", False, False, True),
    Case("that is 50% of them", "1/2", False, False, True),
    Case("x = - 3 is the root", "-3", False, False, True),
    Case("we take 3 * 4 of them", "12", False, False, True),
    Case(r"by symmetry it is $\binom{5}{2}$", "10", False, False, True),
    Case("so 0.51 of it", "1/2", False, False, False),
    Case("that makes 1,001 ways", "1000", False, False, False),
    # expressions
    Case(r"the side is $2\sqrt{3}$", r"\sqrt{12}", False, False, True),
    Case(r"the side is 2\sqrt{3} then", r"\sqrt{12}", False, False, True),
    Case(r"then \[ s = \sqrt{4 \cdot 3} \]", r"2\sqrt{3}", False, False, True),
    Case(r"the side is $2\sqrt{5}$", r"\sqrt{12}", False, False, False),
    Case(r"so \(f = x^2 + 2x + 1\)", "(x+1)^2", False, False, True),
    Case("a.b is a+b", "a+b", True, True, True),
    Case("so the sum is b+a.", "a+b", False, False, True),
    Case("aab", "a+b", False, False, False),
    Case(r"the area is $4 \pi r^2$", r"4\pi r^{2}", False, False, True),
    Case(r"the pair is $(1, \frac{4}{2})$", "(1, 2)", False, False, True),
    Case(r"so $x \in [0, 1)$", "[0,1)", False, False, True),
    Case(r"the set \{2, 1\}", r"\{1, 2\}", False, False, True),
    Case("the pair is (2, 1)", "(1, 2)", False, False, False),
    Case("so it is a Tuesday", "Tuesday", True, True, True),
    Case("twice a week", "Tuesday", False, False, False),
    # what the problem states itself
    Case("Each box holds 12 pens, so we multiply.", "12", True, False, False, PENS),
    Case("We compute 2 * 12 first.", "12", True, False, False, PENS),
    Case("So the answer is 12 pens.", "12", True, True, True, PENS),
    Case(r"So it is \boxed{12}.", "12", True, True, True, PENS),
    Case("Half of them is 2 * 12 / 2 = 12.", "12", True, True, True, PENS),
    Case("Half of them, so the number of pens is 12.", "12", True, True, True, PENS),
    Case("So the result equals $12$ pens.", "12", True, True, True, PENS),
    Case("The answer is not 12 pens but more, we count.", "12", True, False, False, PENS),
    Case("The answer is 12 + 3 - 3, which we work out later.", "12", True, False, True, PENS),
    Case("We take 0.5 of each.", r"\frac{1}{2}", False, False, False, "A coin shows heads with probability 0.5."),
    Case("We take 1/2 of each.", r"\frac{1}{2}", False, False, False, "A coin shows heads with probability 0.5."),
    Case("We take it so the chance is 1/2.", r"\frac{1}{2}", False, False, True, "Heads has probability 0.5."),
    Case(r"We use that $f(x) = x^2+1$ is even.", "x^2+1", True, False, False, "Let $f(x) = x^2+1$. Find its even part."),
    Case(r"So the even part is \boxed{1 + x^2}", "x^2+1", False, False, True, "Let $f(x) = x^2+1$. Find its even part."),
    # the conclusion of a step, though the problem has the number
    Case("So two of them agree, and we get 12 pens.", "12", True, True, True, PENS),
    Case("The expected number is indeed 12.", "12", True, True, True, PENS),
    Case("Thus we are left with 12 pens.", "12", True, True, True, PENS),
    Case("Therefore, exactly 12 pens remain.", "12", True, True, True, PENS),
    Case("This leaves 12 pens, since half of them are lost.", "12", True, True, True, PENS),
    Case(r"That's right, so $7^{-1}\equiv12\pmod{83}$.", "12", True, True, True, PENS),
    Case("So the box is $12 m$ long.", "12", True, True, True, PENS),
    Case("So the box is $12m$ long.", "12", True, True, True, PENS),
    Case("So we multiply by 12.", "12", True, False, False, PENS),
    Case("So we have 12 pens in each box.", "12", True, False, False, PENS),
    Case("So we have 12 pens in both of the 2 boxes.", "12", True, False, False, PENS),
    Case("So we get 12 * 2 pens before the loss.", "12", True, False, False, PENS),
    Case("Hence the boxes with 12 pens lose half.", "12", True, False, False, PENS),
    Case("So there are 12 pens in one. Twice as many fill the other two.", "12", True, False, False, PENS),
    Case("So there are at least 12 pens.", "12", True, False, False, PENS),
    Case("This means that 12 does not divide it.", "12", True, False, False, PENS),
    Case("We know that 12 pens were there at first.", "12", True, False, False, PENS),
    # nothing to leak
    Case("anything", "", False, False, False),
    Case("anything", "  ", False, False, False),
    Case("", "12", False, False, False),
]  # fmt: skip


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1, timeout=5.0) as shared:
        yield shared


@pytest.fixture(scope="module")
def decisions(grader: Grader) -> dict[LeakagePolicy, list[Leak]]:
    items = [(case.content, case.problem, case.answer) for case in CASES]
    return {policy: find_leaks(items, policy, grader) for policy in POLICIES}


@pytest.mark.parametrize("policy", ["substring", "stated", "equivalent"])
@pytest.mark.parametrize("i", range(len(CASES)), ids=lambda i: f"{CASES[i].content[:30]}|{CASES[i].answer}")
def test_decisions(decisions: dict[LeakagePolicy, list[Leak]], policy: LeakagePolicy, i: int) -> None:
    leak = decisions[policy][i]
    assert leak.leaked is getattr(CASES[i], policy), leak
    assert leak.policy == policy
    assert leak.reason
    if leak.leaked:
        assert leak.matched in CASES[i].content


def test_off_tests_nothing(decisions: dict[LeakagePolicy, list[Leak]]) -> None:
    assert decisions["off"] == [Leak(False, "off", "", "not tested")] * len(CASES)


def test_equivalent_is_wider_than_stated(decisions: dict[LeakagePolicy, list[Leak]]) -> None:
    for narrow, wide in zip(decisions["stated"], decisions["equivalent"], strict=True):
        assert wide.leaked or not narrow.leaked


def test_a_decision_names_the_text_and_the_reason(grader: Grader) -> None:
    def decided(content: str, answer: str, policy: LeakagePolicy) -> Leak:
        return find_leaks([(content, PENS, answer)], policy, grader)[0]

    assert decided("it is 112", "12", "substring") == Leak(True, "substring", "12", "the answer occurs in it")
    given = "the problem itself states '12'"
    assert decided("12 in each", "12", "stated") == Leak(False, "stated", "12", given)
    assert decided("12 in each", "12", "equivalent") == Leak(False, "equivalent", "12", given)
    assert decided("so x is 7", "7", "stated") == Leak(True, "stated", "7", "it is presented as the answer")
    new = "it is the answer, which the problem does not state"
    assert decided("7 of them", "7", "stated") == Leak(True, "stated", "7", new)
    assert decided("a 0.5 share", "1/2", "equivalent") == Leak(True, "equivalent", "0.5", new)
    assert decided("none", "1/2", "equivalent") == Leak(False, "equivalent", "", "nothing in it is the answer")


def test_one_intervention_alone() -> None:
    assert leaks("so 0.5", "", "1/2", "equivalent").leaked
    assert not leaks("so 0.4", "", "1/2", "equivalent").leaked
    assert leaks("so 12", "", "12", "stated").leaked


def test_only_equivalence_starts_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the grader was asked")

    monkeypatch.setattr(Grader, "equivalent", refuse)
    for policy in ("substring", "stated", "off"):
        leaks("so 0.5", "", "1/2", policy)
    with pytest.raises(AssertionError):
        leaks("so 0.5", "", "1/2", "equivalent")


def test_too_many_candidates_are_cut_to_the_shortest_and_the_reason_says_so(grader: Grader) -> None:
    many = " and ".join(f"{i}.25" for i in range(100, 180))
    cut = find_leaks([(f"take {many} now", "", "7")], "equivalent", grader)[0]
    assert cut == Leak(
        False, "equivalent", "", f"nothing in it is the answer; only {MAX_CANDIDATES} of 80 candidates compared"
    )
    short = find_leaks([(f"take {many} and 14/2 now", "", "7")], "equivalent", grader)[0]
    assert (short.leaked, short.matched) == (True, "14/2")
    boxed = find_leaks([(rf"take {many} now, \boxed{{700000000/100000000}}", "", "7")], "equivalent", grader)[0]
    assert (boxed.leaked, boxed.matched) == (True, "700000000/100000000")


def test_comparisons_that_could_not_be_decided_are_counted_in_the_reason() -> None:
    class Undecided(Grader):
        def equivalent(self, preds: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
            return [Verdict(False, "timeout")] * len(preds)

    with Undecided() as grader:
        leak = find_leaks([("raise 2 to $9^{9^{9}}$ now", "", "7")], "equivalent", grader)[0]
    assert leak == Leak(False, "equivalent", "", "nothing in it is the answer; 2 comparisons undecided (timeout)")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("no mathematics at all", []),
        ("so $x = \\frac{1}{2}$ of it", [r"\frac{1}{2}", r"x = \frac{1}{2}"]),
        ("then 3 + 12 = 15 pens", ["15", "3", "12", "3 + 12"]),
        ("(1, 2) or (since 3)", ["3", "1", "2", "(1, 2)"]),
        ("x = -5, y=2", ["2", "-5"]),
        ("3 - 5", ["3", "5", "3 - 5"]),
        (r"\boxed{(1, 2)} and 7", ["(1, 2)", "7", "1", "2"]),
        ("Let a 2\\sqrt{3} be it", ["2\\sqrt{3}"]),
        ("1,000 and 1{,}000 and 1.5", ["1.5", "1,000", "1{,}000"]),
    ],
)
def test_candidates(text: str, found: list[str]) -> None:
    assert [c.text for c in candidates(text)] == found


def test_what_has_other_variables_than_the_answer_is_not_compared() -> None:
    found = candidates(r"$x + 1 = 2$, $\pi r^2$, $n$")
    assert {c.text for c in comparable(found, "3")} == {"1", "2"}
    assert {c.text for c in comparable(found, "r + x")} == {c.text for c in found} - {"n"}


@given(st.text(alphabet="12.ab +\\"), st.text(alphabet="12.ab +\\", max_size=4))
def test_what_is_stated_occurs(content: str, answer: str) -> None:
    leak = leaks(content, "", answer, "stated")
    assert leak.matched in content
    assert leak.leaked == bool(leak.matched)
    if answer.strip():
        assert leaks(f"{content} {answer.strip()} {content}", "", answer, "stated").leaked


@given(st.text(alphabet="12.,/-^_{}()[]$\\ frac=xaI%\n"))
def test_candidates_are_parts_of_any_text_each_once(text: str) -> None:
    found = [c.text for c in candidates(text)]
    assert all(c in text for c in found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("unit", ["1 ", "$", r"\(", "{", "(1,", r"\boxed{", "= ", "answer is 1 ", "1,000,", "a+"])
def test_the_time_for_candidates_grows_with_the_length_and_no_faster(unit: str) -> None:
    def seconds(length: int) -> float:
        began = time.thread_time()
        candidates(unit * (length // len(unit)))
        return time.thread_time() - began

    assert seconds(60_000) < 10 * seconds(15_000) + 0.5
