"""What an oracle wrote: which output is used, and why the rest is not."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.collect.proposals import Parsed, leaks, parse_proposal

STEPS = ["x + 2 = 5\n\n", "so x = 7\n\n", "\\boxed{7}"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.fixed_dictionaries({}, optional={"location": JSON, "content": JSON}).map(json.dumps) | JSON.map(json.dumps)
FRAGMENTS = st.sampled_from(
    [
        '{"location": ',
        "0",
        "-1",
        "3",
        '"Step 1"',
        ', "content": "',
        "\\",
        '\\"',
        "\\u",
        "\\ud800",
        "\\frac{1}{2}",
        '"}',
        "{}",
    ]
)


def tagged(body: str) -> str:
    return f"<intervention>{body}</intervention>"


def proposal(location: object, content: object) -> str:
    return tagged(json.dumps({"location": location, "content": content}))


def test_the_last_tag_counts_whatever_stands_around_it() -> None:
    raw = f"First {proposal(0, 'a')}, no:\n{proposal(1, ' so x = 3 ')} That is all."
    assert parse_proposal(raw, STEPS) == Parsed(1, "so x = 3", "")
    assert parse_proposal(f"{proposal(1, 'a')} {tagged('{}')}", STEPS).location == -1


def test_line_breaks_in_the_object_and_in_its_strings() -> None:
    assert parse_proposal(tagged('\n{"location": 1,\n "content": "so\nx = 3"}\n'), STEPS) == Parsed(1, "so\nx = 3")
    assert parse_proposal(proposal(1, "so\n\nx = 3"), STEPS).content == "so\n\nx = 3"


@pytest.mark.parametrize("location", [1, "1", " 1 ", "Step 1", "step 1", "Substep 1", "STEP1"])
def test_ways_to_write_a_step_number(location: object) -> None:
    assert parse_proposal(proposal(location, "so x = 3"), STEPS) == Parsed(1, "so x = 3")


@pytest.mark.parametrize("location", [True, False, None, "one", "", "1 or 2", [1], {"step": 1}, 1.5, "Step"])
def test_what_is_not_a_step_number(location: object) -> None:
    parsed = parse_proposal(proposal(location, "so x = 3"), STEPS)
    assert (parsed.location, parsed.content) == (-1, "")
    assert "not a step number" in parsed.defect


@pytest.mark.parametrize("location", [3, -1, "Step 3", "-1", 10**30])
def test_a_location_outside_the_attempt(location: object) -> None:
    parsed = parse_proposal(proposal(location, "so x = 3"), STEPS)
    assert (parsed.location, parsed.content) == (-1, "")
    assert "outside the attempt: step" in parsed.defect


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        ("", "no tagged JSON"),
        ('{"location": 1, "content": "so x = 3"}', "no tagged JSON"),
        ("<intervention>{}", "no tagged JSON"),
        (tagged("{}"), "no critical error"),
        (tagged(" {} "), "no critical error"),
        (tagged(""), "not JSON"),
        (tagged("location 1"), "not JSON"),
        (tagged("[1, 2]"), "not JSON"),
        (tagged('{"location": 1, "content": "so'), "not JSON"),
        (tagged('{"location": 1}'), "missing or empty"),
        (proposal(1, None), "missing or empty"),
        (proposal(1, " \n"), "missing or empty"),
        (proposal(1, ["so x = 3"]), "missing or empty"),
        (proposal(1, " so x = 7"), "repeats the step"),
        (tagged('{"content": "so x = 3"}'), "not a step number"),
    ],
)
def test_the_reason_is_given(raw: str, defect: str) -> None:
    parsed = parse_proposal(raw, STEPS)
    assert (parsed.location, parsed.content) == (-1, "")
    assert defect in parsed.defect


@pytest.mark.parametrize(
    "content",
    [
        r"\boxed{x}",
        r"\frac{1}{2} \times \theta",
        r"\rho \beta \text{a}",
        r"\sqrt{2} \alpha",
        r"\(x\) is \le 3",
    ],
)
def test_latex_backslashes_doubled_or_not(content: str) -> None:
    assert parse_proposal(proposal(1, content), STEPS) == Parsed(1, content)
    assert parse_proposal(tagged(f'{{"location": 1, "content": "{content}"}}'), STEPS) == Parsed(1, content)


def test_escaped_quotes_survive_the_leniency() -> None:
    assert (
        parse_proposal(tagged(r'{"location": 1, "content": "the \"set\" \{x\}"}'), STEPS).content == r'the "set" \{x\}'
    )


@pytest.mark.parametrize("content", [r"\underline{x}", r"\upsilon", r"x \uparrow y"])
def test_latex_commands_that_begin_with_u(content: str) -> None:
    assert parse_proposal(tagged(f'{{"location": 1, "content": "{content}"}}'), STEPS) == Parsed(1, content)


def test_doubled_and_single_backslashes_in_one_string() -> None:
    raw = tagged(r'{"location": 1, "content": "\\frac{1}{2} \sqrt{2}"}')
    assert parse_proposal(raw, STEPS) == Parsed(1, r"\frac{1}{2} \sqrt{2}")


@pytest.mark.parametrize("body", ["[" * 100_000, '{"location": 1, "content": ' + "[" * 5000 + "]" * 5000 + "}"])
def test_endless_brackets_are_a_defect_and_no_exception(body: str) -> None:
    assert parse_proposal(tagged(body), STEPS).defect


def test_half_a_surrogate_pair_does_not_reach_the_record() -> None:
    parsed = parse_proposal(tagged(r'{"location": 1, "content": "so \ud835 = 3"}'), STEPS)
    assert "\ud835" not in parsed.content


@settings(deadline=None)
@given(
    st.text() | BODIES.map(tagged) | st.lists(FRAGMENTS, max_size=8).map("".join).map(tagged),
    st.lists(st.text(), max_size=4),
)
def test_every_output_gives_a_step_of_the_attempt_or_a_reason(raw: str, steps: list[str]) -> None:
    parsed = parse_proposal(raw, steps)
    if parsed.defect:
        assert (parsed.location, parsed.content) == (-1, "")
    else:
        assert 0 <= parsed.location < len(steps)
        assert parsed.content.strip()
        assert parsed.content != steps[parsed.location].strip()


@pytest.mark.parametrize(
    ("content", "answer", "stated", "substring"),
    [
        ("the answer is 12.", "12", True, True),
        ("x=12, so", "12", True, True),
        ("\\boxed{12}", "12", True, True),
        ("12", " 12 ", True, True),
        ("it is 112 or 123", "12", False, True),
        ("about 12.5 or 0.12", "12", False, True),
        ("x_12y", "12", False, True),
        ("half, \\frac{1}{2}", "\\frac{1}{2}", True, True),
        ("factor it first", "12", False, False),
        ("anything", "", False, False),
        ("anything", "  ", False, False),
        ("a.b is a+b", "a+b", True, True),
        ("aab", "a+b", False, False),
    ],
)
def test_leakage_policies(content: str, answer: str, stated: bool, substring: bool) -> None:
    assert leaks(content, answer, "stated") is stated
    assert leaks(content, answer, "substring") is substring
    assert leaks(content, answer, "off") is False


@settings(deadline=None)
@given(st.text(alphabet="12.ab +\\"), st.text(alphabet="12.ab +\\", max_size=4))
def test_what_is_stated_occurs(content: str, answer: str) -> None:
    assert leaks(content, answer, "substring") or not leaks(content, answer, "stated")
    if answer.strip():
        assert leaks(f"{content} {answer.strip()} {content}", answer, "stated")
