"""Steps: joined, they give the text back; each boundary is where the segmentation says."""

from __future__ import annotations

from itertools import accumulate
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.steps import KEYWORDS, Segmentation, number_steps, split_steps

from real_attempts import real_texts
from shared_data import needs_shared

HOW: tuple[Segmentation, ...] = get_args(Segmentation)
TEXTS = st.text() | st.text(alphabet="ab1 =.\\\n\n\n\t\r", max_size=60)
OPENINGS = [
    "Wait",
    "but wait",
    "MAYBE",
    "waiting",
    "Hmm",
    "let me",
    "\n",
    "\n\n",
    ". ",
    "? ",
    "\n1. ",
    "\r\n",
    " ",
    "x",
    "**",
    '"',
    "\u3000",
]
TRACES = TEXTS | st.lists(st.sampled_from(OPENINGS), max_size=30).map("".join)


@given(TRACES, st.sampled_from(HOW))
def test_joined_steps_are_the_text(text: str, how: Segmentation) -> None:
    steps = split_steps(text, how)
    assert "".join(steps) == text
    assert all(step.strip() for step in steps) or not text.strip()


@given(TEXTS.filter(lambda t: not t[:1].isspace()))
def test_a_step_holds_only_the_blank_line_that_it_ends_with(text: str) -> None:
    steps = split_steps(text)
    for step in steps:
        assert "\n\n" not in step.rstrip()
        assert step == text or step.strip()
    for step in steps[:-1]:
        assert step[len(step.rstrip()) :].count("\n") >= 2


@given(TRACES)
def test_lines_hold_one_line_each(text: str) -> None:
    steps = split_steps(text, "lines")
    assert [step.strip().count("\n") for step in steps] == [0] * len(steps)
    assert len(steps) == max(1, sum(bool(line.strip()) for line in text.split("\n"))) or not text


@given(TRACES)
def test_keywords_only_add_boundaries_to_those_of_blank_lines(text: str) -> None:
    def ends(how: Segmentation) -> list[int]:
        return list(accumulate(map(len, split_steps(text, how))))

    assert set(ends("blank_lines")) <= set(ends("keywords"))


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
        ("one\r\n\r\ntwo\r\nthree", ["one\r\n\r\n", "two\r\nthree"]),
        ("one\n\r\ntwo\r\n", ["one\n\r\n", "two\r\n"]),
        ("one\n\u00a0\ntwo\n\u3000\u2003\n three", ["one\n\u00a0\n", "two\n\u3000\u2003\n ", "three"]),
    ],
)
def test_splits_written_out(text: str, steps: list[str]) -> None:
    assert split_steps(text) == steps


def test_lines_written_out() -> None:
    assert split_steps("\n one\n  two\n\nthree\n", "lines") == ["\n one\n  ", "two\n\n", "three\n"]
    assert split_steps("one", "lines") == ["one"]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("x = 2. Wait, no. So x = 3.", ["x = 2. ", "Wait, no. So x = 3."]),
        ("I wait. But wait: why? maybe 3\nHowever", ["I wait. ", "But wait: why? ", "maybe 3\n", "However"]),
        ("Good!) *Hmm*, so\n\nfine.\n- wait", ["Good!) ", "*Hmm*, so\n\n", "fine.\n- wait"]),
        ("She is waiting. Waiting. Let mean", ["She is waiting. Waiting. Let mean"]),
        ("Oh, wait. OH WAIT", ["Oh, wait. ", "OH WAIT"]),
        ('He said: "Wait." "Let me see."', ['He said: "Wait." ', '"Let me see."']),
        ("  Alternatively, 3.5 maybe", ["  Alternatively, 3.5 maybe"]),
        ("...\n\n\n  Wait", ["...\n\n\n  ", "Wait"]),
        (
            "Two cases:\n1. Wait, n = 0.\n 2. Maybe n = 1. Hmm",
            ["Two cases:\n", "1. Wait, n = 0.\n ", "2. Maybe n = 1. ", "Hmm"],
        ),
        ("12. Actually no\r\nHmm", ["12. Actually no\r\n", "Hmm"]),
        ("So n = 1. Wait", ["So n = 1. ", "Wait"]),
    ],
)
def test_keywords_written_out(text: str, steps: list[str]) -> None:
    assert split_steps(text, "keywords") == steps


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_opens_a_step_in_any_case(keyword: str) -> None:
    for opening in (keyword, keyword.upper(), f"But {keyword}"):
        assert split_steps(f"x = 2. {opening}, x = 3", "keywords") == ["x = 2. ", f"{opening}, x = 3"]
        assert split_steps(f"x = 2\n{opening}", "keywords") == ["x = 2\n", opening]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "unit", ["\n", " \n", ". ", ".", "a\n\n", " ", "\n \t", "wait. ", "!)" * 5, "\u3000\n", "\n1. ", "\r\n", "\n\u3000"]
)
def test_splitting_is_linear_in_the_length(unit: str, how: Segmentation) -> None:
    text = unit * 100_000 + "x"
    assert "".join(split_steps(text, how)) == text


@pytest.mark.parametrize("text", [" \n\none\n\ntwo", "\t\n\n\none"])
def test_white_space_in_front_is_not_a_separate_step(text: str) -> None:
    assert all(step.strip() for step in split_steps(text))


def test_numbering_counts_from_zero_and_strips() -> None:
    assert number_steps(["a = 1\n\n", "b\nc \n\n\n", "d"]) == "Step 0: a = 1\n\nStep 1: b\nc\n\nStep 2: d"
    assert number_steps([]) == ""


@needs_shared
def test_real_attempts_in_steps_are_the_attempts() -> None:
    counts = dict.fromkeys(HOW, 0)
    for text in real_texts():
        for how in HOW:
            steps = split_steps(text, how)
            assert "".join(steps) == text
            assert all(step.strip() for step in steps)
            counts[how] += len(steps)
    print(f"{len(real_texts())} attempts:", counts)
    assert len(real_texts()) > 4000
    assert counts["blank_lines"] < counts["keywords"] < counts["lines"]
