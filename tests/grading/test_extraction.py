"""Where a response gives its answer: what each rule must read, and what it must leave alone."""

from __future__ import annotations

import time
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.grading.extraction import final_answer
from int_lightning.grading.grader import Grader

READ = {
    "boxes": [
        (r"So \boxed{42}. It is put in \boxed{}.", "42"),
        (r"So \boxed{42}. Put it in \boxed{\text{ }} or \boxed{...}.", "42"),
        (r"\boxed{1}, \boxed{2}", "1, 2"),
        (r"\boxed{4} \quad \text{and} \quad \boxed{9}", "4, 9"),
        (r"The roots are \(\boxed{4}\) and \(\boxed{9}\).", "4, 9"),
        (r"$\boxed{3}$, $\boxed{5}$, and $\boxed{7}$", "3, 5, 7"),
        (r"x=\boxed{1} and y=\boxed{2}", "x = 1, y = 2"),
        (r"\boxed{2}, that is, $\boxed{2}$", "2"),
        (r"First \boxed{3}, and after much more work with other numbers and letters we get \boxed{5}.", "5"),
        (r"\boxed 5", "5"),
        (r"$\boxed-7.5$", "-7.5"),
        (r"$\boxed\frac12$ of it", r"\frac12"),
        (r"\\boxed{\\frac{1}{2}}", r"\\frac{1}{2}"),
        (r"\fbox{a+b}", "a+b"),
        (r"\boxed{\text{The answer is } 4}", "4"),
        (r"\boxed{11}. Let me check: 5 + 6 = 11. Yes.", "11"),
        (r"We save \boxed{255}. Final Answer: The final answer is $10,455$. I hope it is correct.", "$10,455$"),
        (r"The answer is \boxed{12} metres, not 13.", "12"),
    ],
    "thoughts and turns": [
        (r"<think>\boxed{5}</think> So \boxed{4}", "4"),
        ("<think>The answer is 5.</think>\nThe answer is 4.", "4"),
        ("It is 5, I think.</think>The answer is 4.", "4"),
        ("<answer>3</answer> or better <answer>4</answer>", "4"),
        ("So the answer is 4.<|im_end|><|im_start|>user\nThe answer is 5.", "4"),
        ("So the answer is 4.\n\nHuman: What about 5? The answer is 5.", "4"),
    ],
    "phrases": [
        ("6 * 7 = 42\n#### 42", "42"),
        ("Long.\n\n**Answer:** 7", "7"),
        ("Long.\n\n**Final Answer**\n\n7 cm", "7 cm"),
        ("### Final Answer\n$$\n\\frac{1}{3}\n$$", "$$\n\\frac{1}{3}\n$$"),
        ("The final answer is $y=2x+1$. I hope it is correct.", "$y=2x+1$"),
        ("Final Answer: The largest $m$ is 31.", "31"),
        ("Final Answer: Jane started 3 hours ago. I hope it is correct.", "3 hours"),
        ("So the answer is 14, because 7 * 2 = 14.", "14"),
        ("The answer is 14.\n\nNote that 15 would be too large.", "14"),
        ("The answer is 3.\n\nWait, that is wrong. The answer is 4.", "4"),
        ("Thus $x \\geq 5$ is the solution.", r"$x \geq 5$"),
        ("x = 14\n\nThis is the final answer.", "x = 14"),
        ('```json\n{"answer": "\\\\frac{1}{2}"}\n```', r"\frac{1}{2}"),
        ("Option B is correct.", "B"),
        ("The answer is for sure D, it can't be A or B", "D"),
        ("The correct option is (C).", "(C)"),
        ("因此,答案是 12。", "12"),
        ("故选 B。", "B"),
        ("La respuesta es 12.", "12"),
        ("Die Antwort ist 12.", "12"),
        ("Ответ: 12", "12"),
        ("答えは12です。", "12"),
    ],
    "last sentences": [
        ("We add them. Therefore, x = 5", "x = 5"),
        ("3 + 4 = 7.\n\nSo she has 7 apples in total.", "7 apples"),
        ("Therefore, there are 12 distinct sequences that meet the three conditions.", "12 distinct sequences"),
        ("P = 2/3 Therefore, the probability that Ann wins the game is 2/3.", "2/3"),
        ("The two differ. The sum of all values is $5 + 7 = 12$.", "12"),
        ("We conclude that the area is\n\\[ A = 12\\pi. \\]", r"\[ A = 12\pi. \]"),
        ("They meet. Thus, $\\angle ABC = 45^\\circ$.", r"$\angle ABC = 45^\circ$"),
        ("We add both. So x = 5 and y = 6.", "x = 5 and y = 6"),
        ("Both fail. Therefore there is no solution.", "no solution"),
        (r"We add both. Therefore the total is \$1,250.", r"\$1,250"),
        ("He pays 9. So she needs $24 - 9 = 15$ more dollars.", "15"),
        ("The minimum value is $-3$, attained at $x=2$.", "$-3$"),
        ("En conclusion, la probabilité est de **25%**.", "25%"),
    ],
    "answers by themselves": [
        ("12", "12"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
        ("no solution", "no solution"),
        ("Total length: 15", "15"),
    ],
}  # fmt: skip

NOTHING = {
    "boxes": [r"\boxed{1} then \boxed{2", r"\boxed{4", r"\boxed{}"],
    "thoughts": [r"<think>\boxed{5}", "<think>The answer is 5."],
    "phrases": [
        "The final answer is",
        "Is the answer 5?",
        "The answer is 5? No.",
        "Suppose the answer is 8. Then 8 + 1 = 9, a contradiction.",
        "So the answer is 3.\n\nWait, that is wrong. Let me recompute: 2 + 2",
        "If n is 4, the answer is 5. If n is 6, then we still have to look",
    ],
    "last sentences": [
        "We add the first two. So we need to add 7",
        "So the first number is 4.\nNow we have to find the second number, and add the two",
        "There are 10 balls in the bag. We draw 3 of them.",
        "She has 7 apples. He has 8 apples.",
        "They meet. So there are at least 12 people",
        "They meet. So it may be 12.",
        "Hence only n = 7 has to be checked.",
        "So we subtract 5.",
        "So there is no solution with n even, and we look at the odd ones.",
        "So she needs to pay 5.",
        "They differ. So if n is odd there is no solution.",
        "We look at both. Thus she gets 3 or 4 apples.",
    ],
}


def cases(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return list(chain.from_iterable(table.values()))


@pytest.mark.parametrize(("text", "answer"), cases(READ))
def test_what_a_response_commits_to_is_read(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize("text", list(chain.from_iterable(NOTHING.values())))
def test_a_response_that_commits_to_nothing_has_no_answer(text: str) -> None:
    assert final_answer(text) == ""


HEDGED = [
    ("The answer is 5 or maybe 6.", "5"),
    ("The answer is 5 or maybe 6.", "6"),
    ("The answer is either 5 or 6.", "5"),
    ("The answer is not 5.", "5"),
    ("The answer is a multiple of 5.", "5"),
    ("The answer is greater than 5.", "5"),
    ("The answer is 12 more than 5.", "5"),
    ("The answer is 18.", "1"),
    ("An upper bound for the answer is 12.", "12"),
    ("Maybe the answer is 7.", "7"),
    ("So far we have 12.", "12"),
    ("The student's answer is 7, which is wrong.", "7"),
    ("Thus 3 does not divide n.", "3"),
    ("Both fit, so the answer is A or B.", "A"),
    ("Answer: unknown. There are 12 left.", "12"),
    ("We know that 17 is prime.", "17"),
    ("2, 3, 5, 7", "7"),
    (r"x=\boxed{1} and y=\boxed{2}", "2"),
    (r"\boxed{3} and \boxed{5}", "5"),
]
FIRM = [
    ("The locus is a circle. No other curve is.", "The locus is a circle. No other curve is."),
    (r"x=\boxed{1} and y=\boxed{2}", "x=1, y=2"),
    (r"\boxed 5", "5"),
    ("So she has 7 apples in total.", "7"),
    ("Therefore, the correct answer is (B) 7.", "B"),
    ("Therefore the answer is option D: 15.", "D"),
    (r"\text{Final Answer: } \boxed{14}", "14"),
]


def test_completions_and_pairs_are_read_alike() -> None:
    pairs = [
        *HEDGED,
        *FIRM,
        ("Step by step. " * 300 + r"So \boxed{8}.", "8"),
        ("Long. " * 500 + "The answer is 8.", "8"),
    ]
    texts, golds = map(list, zip(*pairs, strict=True))
    expected = [False] * len(HEDGED) + [True] * (len(FIRM) + 2)
    with Grader(workers=1) as grader:
        assert grader.grade(texts, golds) == expected
        assert [verdict.equal for verdict in grader.equivalent(texts, golds)] == expected


@pytest.mark.parametrize("text", [r"We get \boxed{12} so", "So the answer is 1", "Thus x = 1", "#### 1", "12"])
def test_of_a_response_that_was_cut_off_only_a_box_counts(text: str) -> None:
    assert final_answer(text, cut=True) == ("12" if "boxed" in text else "")


@given(st.text(alphabet="\\boxed{}answer is $1.\n=Sothu<>/#", max_size=80))
def test_any_text_is_searched(text: str) -> None:
    final_answer(text)
    final_answer(f"The answer is {text}")


@pytest.mark.parametrize(
    "piece",
    [r"\boxed{", r"\boxed{1} ", r"\boxed 5 ", " ", "\n", "answer is ", "The answer is 5. ", "is the answer ", "$", "1 ", ". ",
     "So ", "<answer>", "<think>", r"\[", "$$ ", r"\(", "#", "* ", "A: ", "final "],
)  # fmt: skip
def test_long_responses_are_searched_in_linear_time(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        began = time.thread_time()
        final_answer(text)
        final_answer(text + "!")
        return time.thread_time() - began

    assert min(seconds(80_000) for _ in range(3)) < 12 * seconds(20_000) + 0.5
