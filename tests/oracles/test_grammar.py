"""The grammar of interventions: what it allows between the tags, and that this is read as it was written."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from int_lightning.defects import DefectKind
from int_lightning.oracles.grammar import intervention_tag
from int_lightning.oracles.proposals.parse import Parsed, parse_proposal

xgrammar = pytest.importorskip("xgrammar")

STEPS = ["x = 1\n\n", "y = 2\n\n", "z = 3"]
BYTES = xgrammar.TokenizerInfo([bytes([i]) for i in range(256)], stop_token_ids=[0])
GRAMMAR = xgrammar.GrammarCompiler(BYTES).compile_structural_tag(json.dumps(intervention_tag(len(STEPS))))


def kind(said: Parsed) -> DefectKind | None:
    return said.defect.kind if said.defect else None


def allowed(text: str) -> bool:
    return xgrammar.GrammarMatcher(GRAMMAR).accept_string(text)


def tagged(body: str) -> str:
    return f"so < step <inter> 1 is wrong\n<intervention>{body}</intervention> and that is it"


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "{ }",
        '{"location": 0, "content": "x"}',
        '{"location": 2, "content": "x"}',
        '{"location":1,"content":"x"}',
        '{\n  "location": 1,\n  "content": "x"\n}',
        r'{"location": 1, "content": "$\\frac{1}{2} < 3$ and \"so\"\n\nx <\\pi, x <= 2, <<3, 解 é 😀 "}',
        r'{"location": 1, "content": "\\sqrt"}',
    ],
)
def test_what_may_stand_between_the_tags(body: str) -> None:
    assert allowed(tagged(body))
    assert not allowed(f"<intervention>{body}{body}</intervention>")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no",
        "\n{}",
        '{"location": 3, "content": "x"}',
        '{"location": -1, "content": "x"}',
        '{"location": 12, "content": "x"}',
        '{"location": 01, "content": "x"}',
        '{"location": 1.0, "content": "x"}',
        '{"location": "1", "content": "x"}',
        '{"location": 1}',
        '{"content": "x"}',
        '{"location": 1, "content": "x", "why": "y"}',
        '{"location": 1, "content": ""}',
        '{"location": 1, "content": " "}',
        r'{"location": 1, "content": "\n"}',
        '{"location": 1, "content": "\u3000"}',
        '{"location": 1, "content": "a"b"}',
        '{"location": 1, "content": "a\nb"}',
        '{"location": 1, "content": "a\tb"}',
        r'{"location": 1, "content": "a \frac{1}{2}"}',
        r'{"location": 1, "content": "a \times b"}',
        r'{"location": 1, "content": "a \sqrt b"}',
        r'{"location": 1, "content": "a \ud800"}',
        '{"location": 1, "content": "a</intervention>"}',
        '{"location": 1, "content": "a<intervention>"}',
        '{"location": 1, "content": "a<|end|>"}',
        f'{{"location": 1, {" " * 9}"content": "a"}}',
    ],
)
def test_what_may_not_stand_between_the_tags(body: str) -> None:
    assert not allowed(tagged(body))


def test_the_tag_itself_has_one_spelling_and_any_number_of_turns() -> None:
    assert not allowed("the <interventions> are")
    assert allowed("<intervention>{}</intervention> no: <intervention>{}</intervention>")
    assert not allowed("<intervention>{}</intervention> no: <intervention>none")


def test_every_step_of_a_long_attempt_is_a_location() -> None:
    compiled = xgrammar.GrammarCompiler(BYTES).compile_structural_tag(json.dumps(intervention_tag(250)))
    for location, inside in [(0, True), (99, True), (249, True), (250, False), (2490, False)]:
        text = f'<intervention>{{"location": {location}, "content": "x"}}</intervention>'
        assert xgrammar.GrammarMatcher(compiled).accept_string(text) == inside


pieces = st.one_of(
    st.sampled_from(
        ["\\frac{", "\\begin{", "\\", '"', "< ", "<", "}", "{", "[", "]", ",", ":", "\n- ", "location", " ", "0"]
    ),
    st.characters(codec="utf-8", exclude_characters="\n"),
)


@given(st.lists(pieces, max_size=14).map("".join))
def test_what_the_grammar_allows_is_json_and_is_read_as_it_was_written(content: str) -> None:
    escaped = content.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    body = f'{{"location": 1, "content": "{escaped}"}}'
    if not allowed(tagged(body)):
        return
    assert json.loads(body) == {"location": 1, "content": content}
    parsed = parse_proposal(tagged(body), STEPS)
    kept_back = ("repeats the step", "ambiguous: the content seems to hold another object")
    if not any(c.isalnum() for c in content):
        kept_back = ("no content",)
    assert parsed == Parsed(1, content.strip()) or str(parsed.defect).startswith(kept_back)


def test_a_completion_that_was_cut_anywhere_is_whole_or_a_defect() -> None:
    whole = tagged(r'{"location": 2, "content": "x = 12, \"so\"\n\n$y = \\frac{1}{2}$ < 3"}')
    complete = Parsed(2, 'x = 12, "so"\n\n$y = \\frac{1}{2}$ < 3')
    found = [parse_proposal(whole[:end], STEPS) for end in range(len(whole) + 1)]
    first = found.index(complete)
    assert whole[:first].endswith("}")
    assert all(parsed == complete for parsed in found[first:])
    assert {kind(parsed) for parsed in found[:first]} == {DefectKind.TRUNCATED, DefectKind.NO_PROPOSAL}


def test_a_vocabulary_of_bytes_never_leaves_the_grammar() -> None:
    """Stands in for an untrained model: random bytes out of those that the grammar allows, the closing quote more often."""
    generator = torch.Generator().manual_seed(0)
    mask = xgrammar.allocate_token_bitmask(1, 256)
    closed = 0
    for _ in range(100):
        matcher, said = xgrammar.GrammarMatcher(GRAMMAR), b"<intervention>"
        assert matcher.accept_string(said)
        while len(said) < 120 and not said.endswith(b"</intervention>"):
            matcher.fill_next_token_bitmask(mask)
            bits = (mask[0, torch.arange(256) // 32] >> (torch.arange(256) % 32)) & 1
            weights = bits.double()
            weights[ord('"')] *= 20
            token = int(torch.multinomial(weights, 1, generator=generator))
            assert matcher.accept_token(token)
            said += bytes([token])
        parsed = parse_proposal(said.decode("utf-8", "replace"), STEPS)
        if said.endswith(b"</intervention>"):
            closed += 1
            json.loads(said[len(b"<intervention>") : -len(b"</intervention>")])
            assert 0 <= parsed.location < 3 or kind(parsed) in (DefectKind.NO_ERROR, DefectKind.NO_CONTENT)
        else:
            assert kind(parsed) is DefectKind.TRUNCATED or parsed.content
    assert closed > 50
