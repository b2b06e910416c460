"""Chat templates: conversations follow the template, and a solution that it would rewrite is refused."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.model_folder.end_of_turn import end_of_turn
from int_lightning.prompts.chat import encode_chat, encode_solution, encode_text
from int_lightning.types import UserError

from model_families import CHATML, FAMILIES, SHOWS_AN_EMPTY_THOUGHT, STRIPS_EVERY_THOUGHT, family, with_template

ASKED = [{"role": "user", "content": "1+2"}]
THOUGHT = "<think>\n1, 2\n</think>\n\n3"


@pytest.mark.parametrize("name", FAMILIES)
def test_the_end_of_turn_is_the_templates(name: str) -> None:
    assert end_of_turn(family(name).tokenizer) == family(name).end_id


def test_an_end_of_turn_need_not_be_the_end_of_sequence() -> None:
    tokenizer = deepcopy(family("llama3").tokenizer)
    tokenizer.eos_token = "<|end_of_text|>"
    assert family("llama3").end_id not in tokenizer.all_special_ids
    assert end_of_turn(tokenizer) == family("llama3").end_id


@pytest.mark.parametrize(
    "template", [CHATML.replace("<|im_end|>", "###"), "{{ messages[0].content }}"], ids=["no-special-token", "no-turn"]
)
def test_a_template_without_an_end_of_turn_is_refused(template: str) -> None:
    with pytest.raises(UserError, match=r"without a special token.*chat_template\.jinja"):
        end_of_turn(with_template("qwen3", template).tokenizer)


@pytest.mark.parametrize("call", [lambda t: encode_chat(t, ASKED), end_of_turn, lambda t: encode_solution(t, "3", "r")])
def test_without_a_template_the_remedy_is_named(call) -> None:
    with pytest.raises(UserError, match=r"no chat template: add chat_template\.jinja"):
        call(with_template("qwen3", None).tokenizer)


@pytest.mark.parametrize("template", ["{{ raise_exception('no user turns') }}", "{% if %}"], ids=["refuses", "broken"])
def test_what_a_template_objects_to_is_said(template: str) -> None:
    with pytest.raises(UserError, match=r"refuses a conversation of user: (no user turns|Expected an expression)"):
        encode_chat(with_template("qwen3", template).tokenizer, ASKED)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_earlier_turn_is_shown_as_the_template_shows_it(name: str) -> None:
    tokenizer = family(name).tokenizer
    said = "1+2=3" if name == "mini" else THOUGHT
    conversation = [*ASKED, {"role": "assistant", "content": said}, {"role": "user", "content": "2+2"}]
    shown = tokenizer.decode(encode_chat(tokenizer, conversation))
    assert shown == tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    assert ("<think>" in shown) == (name in ("smollm2", "llama3"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_solution_is_its_text_and_the_end_of_turn(name: str) -> None:
    model, solution = family(name), "1+2=3\n\n\\boxed{3}"
    ids = encode_solution(model.tokenizer, solution, "r")
    assert model.read(ids) == f"{solution}{model.end}".encode()
    assert [i for i in ids if i in model.special] == [model.end_id]


@pytest.mark.parametrize(
    ("template", "solution", "shown"),
    [
        (STRIPS_EVERY_THOUGHT, THOUGHT, "'3<|im_end|>'"),
        (SHOWS_AN_EMPTY_THOUGHT, "3", "'<think> </think> 3<|im_end|>'"),
        (CHATML.replace("if add_generation_prompt", "if false"), "3", "'<|im_start|>assistant 3<|im_end|>'"),
        (CHATML.replace("+ said +", "+ said | trim +"), "3\n", "'3<|im_end|>'"),
    ],
    ids=["strips-thoughts", "adds-a-thought", "no-generation-prompt", "trims"],
)
def test_a_solution_that_would_be_rewritten_is_named_with_what_becomes_of_it(
    template: str, solution: str, shown: str
) -> None:
    with pytest.raises(UserError, match=r"^row 'r7': .*chat_template\.jinja") as caught:
        encode_solution(with_template("qwen3", template).tokenizer, solution, "row 'r7'")
    assert f"as {shown}" in str(caught.value)


def test_a_thought_stays_in_a_solution_where_the_template_leaves_it() -> None:
    model = family("qwen3")
    assert model.read(encode_solution(model.tokenizer, THOUGHT, "r")) == f"{THOUGHT}<|im_end|>".encode()


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("range(1000000000)", "Range too big"),
        ("messages.__class__.__base__.__subclasses__()", "access to attribute '__class__'"),
        ("1 // 0", "integer division"),
        ("messages[0].content + 1", "can only concatenate str"),
        ("nothing.at.all", "'nothing' is undefined"),
        ("[1] | map('nofilter') | list", "nofilter"),
    ],
)
def test_a_template_that_fails_is_named(expression: str, said: str) -> None:
    template = f"{{% for i in [{expression}] %}}{{{{ i }}}}{{% endfor %}}"
    with pytest.raises(UserError, match=r"the chat template of .* correct its chat_template\.jinja") as caught:
        encode_chat(with_template("qwen3", template).tokenizer, ASKED)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES[1:])
@settings(max_examples=40)
@given(data=st.data())
def test_special_tokens_are_the_templates_alone(name: str, data: st.DataObject) -> None:
    model = family(name)
    names = sorted(model.read([i]).decode() for i in model.special)
    pieces = st.lists(st.sampled_from([*names, *(n[1:] for n in names), "é", " ", "\n", "\U000f0000", "<"]), max_size=8)
    text = data.draw(pieces.map("".join))
    assert model.read(encode_text(model.tokenizer, text)) == text.encode()
    assert not model.special.intersection(encode_text(model.tokenizer, text))
    turns = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": text},
    ]
    plain = [turn | {"content": "1"} for turn in turns]
    ids = encode_chat(model.tokenizer, turns)
    shown = model.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert model.read(ids) == shown.encode()
    of_template = [i for i in encode_chat(model.tokenizer, plain) if i in model.special]
    assert [i for i in ids if i in model.special] == of_template
