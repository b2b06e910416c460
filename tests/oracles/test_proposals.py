"""What an oracle wrote: the location and content that are read from it, and why the rest is not used."""

import gzip
import json
import time
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from int_lightning.oracles.proposals.loose_json import UnreadableError, read
from int_lightning.oracles.proposals.parse import Parsed, parse_proposal

from malformed_proposals import DEFECTIVE
from readable_proposals import STEPS, USABLE, Case
from shared_data import SHARED, needs_shared

MEGABYTE = 1_000_000

TEXT = st.lists(
    st.sampled_from(
        ["We add 25.", " so ", "x = 3", r"\frac{1}{2}", r"\times ", r" \neq 0", r"\sqrt{2}", r"\(x\)", r"\beta ", r"\rho ",
         r"\{1, 2\}", r"\left\{ x", "{a}", "{", "}", "it's", "f'(x) ", 'the "odd" ones', '"', "'", ", ", ": ", "\n", "\n\n",
         "of Step 3", '"location": 5', "location: 5", "// no", "# 4", "[2]", "/* x", "1,000", "é", "𝑥", "null", "\t"]
    ),
    min_size=1,
    max_size=8,
).map("".join)  # fmt: skip
LOCATIONS = st.integers(0, len(STEPS) - 1)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FRAGMENTS = st.sampled_from(
    ["<intervention>", "</intervention>", "{", "}", "[", "]", '"', "'", '"""', ":", ",", '"location"', "location", '"content"',
     "1", "-1", "3.0", '"Step 1"', "null", "\\", '\\"', "\\u", "\\ud800", "\\frac", "//", "/*", "*/", "#", "\n", " ", "and"]
)  # fmt: skip


def tagged(body: str) -> str:
    return f"<intervention>{body}</intervention>"


def kind(parsed: Parsed) -> str:
    return parsed.defect.kind if parsed.defect else ""


def no_escapes(text: str) -> str:
    """The text without what could be a JSON escape as well as a LaTeX command: a line break or tab before letters."""
    return text.replace("\n", "\n ").replace("\t", "\t ")


class Form(NamedTuple):
    """A wrong way to write a proposal; ``exact`` if its content must still be read, and not only never misread."""

    name: str
    render: Callable[[int, str], str]
    exact: bool


def escaped(content: str, quote: str = '"') -> str:
    return content.replace(quote, "\\" + quote)


FORMS = [
    Form("json", lambda i, c: json.dumps({"location": i, "content": c}), True),
    Form("unicode", lambda i, c: json.dumps({"content": c, "location": str(i)}, ensure_ascii=False), True),
    Form("lone backslashes", lambda i, c: f'{{"location": {i}, "content": "{escaped(c)}"}}', True),
    Form("unescaped quotes", lambda i, c: f'{{"location": "Step {i}", "content": "{c}"}}', False),
    Form("content first", lambda i, c: f'{{"content": "{c}", "location": {i}}}', False),
    Form("python", lambda i, c: f"{{'location': {i}, 'content': '{escaped(c, chr(39))}', 'note': None}}", True),
    Form("single quotes", lambda i, c: f"{{'location': {i}, 'content': '{c}'}}", False),
    Form("trailing comma", lambda i, c: f'{{"location": {i}.0,\n "content": {json.dumps(c)},\n}}', True),
    Form("bare keys", lambda i, c: f"{{location: step #{i}, content: {json.dumps(c)}}}", True),
    Form("list", lambda i, c: json.dumps([{"location": 99, "content": "later"}, {"location": [i], "content": c}]), True),
    Form("no last brace", lambda i, c: f'{{"location": {i}, "content": "{escaped(c)}"', False),
]  # fmt: skip
FRAMES: list[Callable[[str], str]] = [
    tagged,
    lambda body: f"1. holds.\n2. is wrong.\n\n{tagged(body)}\n\nThis repairs it.",
    lambda body: f"```json\n{tagged(body)}\n```",
    lambda body: tagged(f"```json\n{body}\n```"),
    lambda body: tagged(f"\n{body} // the first error\n"),
    lambda body: tagged('{"location": 11, "content": "a draft"}') + f" No.\n{tagged(body)}",
    lambda body: "I answer in <intervention>...</intervention>. " + tagged(body),
    lambda body: tagged(body) + " As asked, it stands in the <intervention> tag.",
    lambda body: f"<replacement> {body} </replacement>",
]


@pytest.mark.parametrize("case", USABLE + DEFECTIVE, ids=lambda case: case.raw[-60:])
def test_malformed_outputs(case: Case) -> None:
    parsed = parse_proposal(case.raw, STEPS)
    assert (parsed.location, parsed.content, kind(parsed)) == (case.location, case.content, case.defect)
    assert parsed.defect is None or parsed.defect.detail


def test_the_corpus_is_large_and_names_each_output_once() -> None:
    assert len(USABLE) >= 70 and len(DEFECTIVE) >= 70
    assert len({case.raw for case in USABLE + DEFECTIVE}) == len(USABLE) + len(DEFECTIVE)


@pytest.mark.parametrize(
    "rest", ["", "\n```\n", " Wait, it", "\nThe ", "</inter", "</intervention>", "</intervention>\n", " No"]
)
def test_what_the_length_limit_cut_counts_only_where_the_proposal_ends_it(rest: str) -> None:
    raw = '1. holds.\n<intervention>{"location": 1, "content": "We add 1."}' + rest
    whole = Parsed(1, "We add 1.")
    assert parse_proposal(raw, STEPS) == whole
    goes_on = any(c.isalpha() for c in rest.replace("</intervention>", "").replace("</inter", ""))
    assert kind(parse_proposal(raw, STEPS, cut=True)) == ("truncated" if goes_on else "")
    assert kind(parse_proposal("1. holds. 2. ho", STEPS, cut=True)) == "truncated"


def test_a_label_that_the_student_wrote_stays() -> None:
    steps = ["Step 1: Let x = 2.", "Step 2: So x = 3."]
    assert (
        parse_proposal(tagged('{"location": 1, "content": "Step 2: So x = 2."}'), steps).content == "Step 2: So x = 2."
    )
    assert parse_proposal(tagged('{"location": 1, "content": "Step 1: So x = 2."}'), steps).content == "So x = 2."
    assert kind(parse_proposal(tagged('{"location": 1, "content": "Step 3: So x = 2."}'), steps)) == "ambiguous"
    assert kind(parse_proposal(tagged('{"location": 1, "content": "So x = 3"}'), steps)) == "repeats the step"


def test_a_number_that_no_step_has_is_the_oracles_own() -> None:
    def read_as(content: str, steps: list[str], location: int = 1) -> tuple[str, str]:
        parsed = parse_proposal(tagged(json.dumps({"location": location, "content": content})), steps)
        return parsed.content, str(parsed.defect or "")

    assert read_as("Step 4: Solve for z.", ["a", "b", "c"]) == ("Solve for z.", "")
    assert "the number of another step" in read_as("Step 2: Solve for z.", ["a", "b", "c"])[1]
    assert (
        "the student's own numbering it is 2" in read_as("Step 4: Solve.", ["Step 1: a", "Step 2: b", "Step 3: c"])[1]
    )
    mixed = ["Step 1: a", "b", "c", "Step 2: d", "e"]
    assert read_as("Step 1: Solve.", mixed, 2) == ("Step 1: Solve.", "")
    assert read_as("Step 2: Solve.", mixed, 1) == ("Step 2: Solve.", "")
    assert read_as("Step 4: Solve.", mixed, 2)[1].startswith("ambiguous")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(LOCATIONS, TEXT, st.sampled_from(FRAMES))
@settings(max_examples=60)
@example(3, 'take {"a", "b"} now', tagged)
@example(3, r"\frac{f'}{g'}", tagged)
@example(3, 'a", "location": 5, "x": "b', tagged)
@example(3, 'a"}', tagged)
@example(3, "<intervention>{'location': 5, 'content': 'a'}</intervention>", tagged)
def test_a_wrongly_written_proposal_is_read_as_meant_or_is_a_defect(
    form: Form, location: int, content: str, frame: Callable[[str], str]
) -> None:
    content = no_escapes(content).strip()
    assume(not content.startswith(('""', "''")))  # with the opening quote it would begin a string in three quotes
    parsed = parse_proposal(frame(form.render(location, content)), STEPS)
    if not parsed.defect:
        assert parsed == Parsed(location, content)
    elif form.exact:
        assert kind(parsed) in ("no content", "no critical error", "ambiguous") or "</intervention>" in content


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@given(LOCATIONS, st.text(), st.sampled_from(FRAMES))
@settings(max_examples=60)
def test_no_content_leads_to_another_location(
    form: Form, location: int, content: str, frame: Callable[[str], str]
) -> None:
    assert parse_proposal(frame(form.render(location, content)), STEPS).location in (location, -1)


@given(LOCATIONS, TEXT, st.data())
def test_an_output_cut_anywhere_is_read_in_full_or_is_a_defect(
    location: int, content: str, data: st.DataObject
) -> None:
    content = no_escapes(content).strip()
    form = data.draw(st.sampled_from([form for form in FORMS if form.exact]))
    whole = (
        tagged(json.dumps({"location": 11, "content": "a draft"})) + " No. " + tagged(form.render(location, content))
    )
    cut = data.draw(st.integers(whole.index("No. <intervention>") + len("No. <intervention>"), len(whole)))
    parsed = parse_proposal(whole[:cut], STEPS)
    assert parsed.defect or parsed == Parsed(location, content)


@given(LOCATIONS, st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\")))
def test_json_as_a_program_writes_it_is_read_exactly(location: int, content: str) -> None:
    content = f"Then {content}".strip()
    parsed = parse_proposal(tagged(json.dumps({"location": location, "content": content})), STEPS)
    if "location" not in content and "intervention" not in content:
        assert parsed == Parsed(location, content)


@given(
    st.text()
    | ANYTHING.map(json.dumps).map(tagged)
    | st.fixed_dictionaries({}, optional={"location": ANYTHING, "content": ANYTHING}).map(json.dumps).map(tagged)
    | st.lists(FRAGMENTS, max_size=12).map("".join)
    | st.lists(FRAGMENTS, max_size=12).map("".join).map(tagged),
    st.lists(st.text(), max_size=4),
)
@settings(max_examples=300)
def test_every_output_gives_a_step_of_the_attempt_or_a_reason(raw: str, steps: list[str]) -> None:
    parsed = parse_proposal(raw, steps)
    if parsed.defect:
        assert (parsed.location, parsed.content) == (-1, "")
        assert parsed.defect.detail
    else:
        assert 0 <= parsed.location < len(steps)
        assert parsed.content == parsed.content.strip() != ""
        assert parsed.content != steps[parsed.location].strip()
        parsed.content.encode()


@needs_shared
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_real_steps_come_through_every_form(form: Form) -> None:
    with gzip.open(SHARED / "processbench" / "math.json.gz", "rt", encoding="utf-8") as file:
        found = chain.from_iterable(attempt["steps"] for attempt in json.load(file)[:300])
    steps = [step.strip() for step in found if any(c.isalnum() for c in step)]
    assert len(steps) > 1500
    for i, step in enumerate(steps):
        parsed = parse_proposal(tagged(form.render(i % len(STEPS), step)), [f"{step} So it is."] * len(STEPS))
        assert parsed == Parsed(i % len(STEPS), step)


@pytest.mark.parametrize(
    ("start", "unit"),
    [("", unit) for unit in ["<intervention>", "<intervention> and </intervention>", "<", "< "]]
    + [("<intervention>{}</intervention>", unit) for unit in [" ", "1. ", "<intervention>{}</intervention> "]]
    + [('<intervention>{"content": "x", "location": "Step', unit) for unit in [" ", "_", " (", "0", "#:"]]
    + [("<intervention>", unit) for unit in ["[", '{"a":', '"', "{ ", " ", "` "]]
    + [
        ('<intervention>{"location": 1, "content": "', unit)
        for unit in [
            '{"a":',
            '"',
            '", "',
            '"//',
            '",\n#',
            '{"}',
            "\\",
            r"\nu ",
            "\n",
            "<intervention>",
            r"\\begin{array}",
            "$",
            "</think>",
            "“",
            '" + ',
        ]
    ],
)
def test_a_megabyte_of_anything_takes_seconds(start: str, unit: str) -> None:
    began = time.thread_time()
    parse_proposal(start + unit * (MEGABYTE // len(unit)), STEPS)
    parse_proposal(start + unit * (MEGABYTE // len(unit)) + '"}</intervention>', STEPS)
    assert time.thread_time() - began < 10


def test_loose_json_keeps_every_value_of_a_key_and_says_where_it_stopped() -> None:
    assert read('{"a": 1, A: "x", "b": [None, true, 2.5, {}]} rest')[0] == {"a": [1, "x"], "b": [[None, True, 2.5, {}]]}
    assert read('{"a": 1} rest')[1] == 8
    with pytest.raises(UnreadableError, match="no value at character 6") as stopped:
        read('{"a": }')
    assert stopped.value.position == 6
    for text in ['{"a": "x', '{"a": 1', '{"a"', "[", '{"a": ']:
        with pytest.raises(UnreadableError) as stopped:
            read(text)
        assert stopped.value.position == len(text)
    with pytest.raises(UnreadableError, match="not escaped"):
        read('{"a": "the "odd" ones"}', cut=True)
