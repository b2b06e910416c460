"""Prompt sets: what is filled in, what is left alone, and how conversations become tokens."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.prompts.chat import encode_chat
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Problem, UserError

PROBLEM = Problem("p", "What is \\frac{1}{2} of {reference}?", "It is {attempt} \\boxed{7}.", "7")
STEPS = ["{problem} gives 3\n\n", "so \\boxed{3}"]
PIECES = st.lists(st.sampled_from(["{problem}", "{reference}", "{attempt}", "{x}", "\\1", "\\g<0>", "{", "}"])).map(
    "".join
)


def write_set(folder: Path, **templates: str) -> Path:
    folder.mkdir()
    for name, text in templates.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def test_mini_prompts_written_out() -> None:
    prompts = PromptSet("mini")
    problem = Problem("p", "7+3@2", "0 > 7 > \\boxed{7}", "7")
    assert prompts.solve(problem) == [{"role": "user", "content": "7+3@2"}]
    assert prompts.guide(problem) is None
    assert prompts.verify(problem, ["7+3=0\n\n", "0@2=2"], worked="not used") == [
        {
            "role": "user",
            "content": "Verify: 7+3@2\nReference: 0 > 7 > \\boxed{7}\nStep 0: 7+3=0\n\nStep 1: 0@2=2",
        }
    ]


def test_math_solve_keeps_latex_braces_and_fills_in_once() -> None:
    (message,) = PromptSet("math").solve(PROBLEM)
    assert message["role"] == "user"
    assert message["content"].startswith("What is \\frac{1}{2} of {reference}?\n")
    assert message["content"].endswith("\\boxed{}.")
    assert PROBLEM.solution not in message["content"]


def test_math_verify_is_a_conversation_of_two_turns() -> None:
    prompts = PromptSet("math")
    guide = prompts.guide(PROBLEM)
    assert guide is not None
    assert PROBLEM.problem in guide[0]["content"]
    assert PROBLEM.solution in guide[0]["content"]
    conversation = prompts.verify(PROBLEM, STEPS, worked="I worked it through.")
    assert [m["role"] for m in conversation] == ["user", "assistant", "user"]
    assert conversation[0] == guide[0]
    assert conversation[1]["content"] == "I worked it through."
    question = conversation[2]["content"]
    assert "Step 0: {problem} gives 3\n\nStep 1: so \\boxed{3}" in question
    assert (
        '<intervention>{"location": NUMBER_OF_THE_STEP, "content": "THE REPLACEMENT STEP"}</intervention>' in question
    )
    assert question.endswith("<intervention>{}</intervention>")
    assert prompts.verify(PROBLEM, STEPS)[1] == {"role": "assistant", "content": ""}


@settings(deadline=None)
@given(PIECES, PIECES)
def test_placeholders_in_what_is_filled_in_stay_as_they_are(problem: str, solution: str) -> None:
    (message,) = PromptSet("mini").verify(Problem("p", problem, solution, "1"), ["{reference}"])
    assert message["content"] == f"Verify: {problem}\nReference: {solution}\nStep 0: {{reference}}"


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    folder = write_set(
        tmp_path / "own", solve="\n{problem} {other} {{problem}}\n", verify="{attempt}", guide="{reference}"
    )
    prompts = PromptSet(str(folder))
    problem = Problem("p", "x", "y", "1")
    assert prompts.solve(problem)[0]["content"] == "x {other} {x}"
    assert [m["content"] for m in prompts.verify(problem, ["a", "b"], "w")] == ["y", "w", "Step 0: a\n\nStep 1: b"]


def test_a_set_without_solve_is_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "own", verify="x")
    with pytest.raises(UserError, match=r"no solve\.txt") as caught:
        PromptSet(str(folder))
    assert str(folder) in str(caught.value)


def test_a_set_without_verify_solves_but_cannot_propose(tmp_path: Path) -> None:
    prompts = PromptSet(str(write_set(tmp_path / "own", solve="{problem}")))
    problem = Problem("p", "x", "y", "1")
    assert prompts.solve(problem)[0]["content"] == "x"
    with pytest.raises(UserError, match=r"no verify\.txt"):
        prompts.verify(problem, ["a", "b"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone"):
        PromptSet(str(tmp_path / "gone"))


def test_versions_follow_the_text_of_each_template(tmp_path: Path) -> None:
    one = PromptSet(str(write_set(tmp_path / "one", solve="{problem}", verify="{attempt}"))).versions
    same = PromptSet(str(write_set(tmp_path / "same", solve="{problem}", verify="{attempt}"))).versions
    other = PromptSet(str(write_set(tmp_path / "other", solve="{problem}!", verify="{attempt}"))).versions
    assert one == same
    assert one["verify"] == other["verify"]
    assert one["solve"] != other["solve"]
    for name, version in one.items():
        assert version.startswith(f"{name}@")
        assert len(bytes.fromhex(version.removeprefix(f"{name}@"))) == 4


def test_a_conversation_is_encoded_up_to_the_assistants_turn() -> None:
    tokenizer = build_tokenizer()
    turns = [("user", "1+2"), ("assistant", "1+2=3"), ("user", "3*3")]
    ids = encode_chat(tokenizer, [{"role": role, "content": content} for role, content in turns])
    user, assistant = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>"])
    first, answer, second = (tokenizer.convert_tokens_to_ids(list(content)) for _, content in turns)
    assert ids == [user, *first, assistant, *answer, tokenizer.eos_token_id, user, *second, assistant]


def test_without_a_chat_template_the_remedy_is_named() -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="chat template"):
        encode_chat(tokenizer, [{"role": "user", "content": "1+2"}])
