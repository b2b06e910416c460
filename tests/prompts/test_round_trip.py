"""A tokenizer that loses text is refused by name before anything is sampled, and no prompt depends on the day."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from transformers.utils import chat_template_utils

from int_lightning.__main__ import main
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts import recorded_tokenizer
from int_lightning.prompts.chat import encode_chat, encode_solution
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.prompts.recorded_tokenizer import tokenizer_fingerprint
from int_lightning.rollout_sampler import check_problem_text
from int_lightning.types import Problem, UserError

from commands import MINI, PORTABLE_ENGINE
from model_families import CHATML, family, with_template

WORDS = Problem("p", "Ann has 12 pens,  and\tgives 5 away.", "She keeps 12 - 5 = 7.\n\nThe answer is \\boxed{7}.", "7")
DATED = "{{ strftime_now('%d %b %Y') + '\\n' }}" + CHATML


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "qwen3-tekken", "llama3"])
def test_text_comes_back(name: str) -> None:
    check_problem_text(family(name).tokenizer, PromptSet("math"), WORDS)


def test_characters_that_are_composed_otherwise_are_the_same() -> None:
    decomposed = Problem("p", "Cafe\u0301 x\u0304", "e\u0301", "7")
    check_problem_text(family("qwen3").tokenizer, PromptSet("math"), decomposed)


def test_a_class_that_drops_spaces_is_refused(tmp_path: Path) -> None:
    family("qwen3-tekken").tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tokenizer_class": "LlamaTokenizerFast"}))
    tokenizer = load_tokenizer(str(tmp_path))
    with pytest.raises(UserError, match=r"loses text: the prompt of problem 'p' .*write PreTrainedTokenizerFast") as e:
        check_problem_text(tokenizer, PromptSet("math"), WORDS)
    assert str(tmp_path) in str(e.value)
    file.write_text(json.dumps({**json.loads(file.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))
    check_problem_text(load_tokenizer(str(tmp_path)), PromptSet("math"), WORDS)


def test_a_reference_that_the_tokenizer_cannot_write_is_refused() -> None:
    tokenizer = family("mini").tokenizer
    check_problem_text(tokenizer, PromptSet("mini"), Problem("p", "1+2@4", "1+2=3", "3"))
    with pytest.raises(UserError, match=r"reference solution of problem 'p' has '1\+2=three', .* '1\+2=<\|unk\|>"):
        check_problem_text(tokenizer, PromptSet("mini"), Problem("p", "1+2@4", "1+2=three", "3"))
    with pytest.raises(UserError, match=r"^the tokenizer of .* loses text: row 'r': the solution has"):
        encode_solution(tokenizer, "1+2=three", "row 'r'")


@pytest.mark.parametrize("command", ["collect", "collect --dry-run", "evaluate", "fit"])
def test_every_command_says_so_at_its_start(tmp_path: Path, command: str, capfd: pytest.CaptureFixture[str]) -> None:
    model = shutil.copytree(resolve_model("mini"), tmp_path / "model")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"String": "@"}, "content": ""}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = [f"--out={tmp_path / 'out'}", PORTABLE_ENGINE]
    name, *flags = command.split()
    problems = "mini:hard-train:3"
    arguments = {
        "collect": ["-c", str(MINI / "collect.yaml"), f"--problems={problems}", f"--model={model}", *flags],
        "evaluate": ["--prompts=mini", f"--problems.mine={problems}", f"--model={model}"],
        "fit": [
            "-c",
            str(MINI / "grpo.yaml"),
            f"--data.init_args.problems={problems}",
            f"--model.init_args.model={model}",
        ],
    }
    assert main([name, *arguments[name], *out]) == (0 if flags else 2)  # a dry run says it and continues
    captured = capfd.readouterr()
    said = " ".join((captured.out + captured.err).split())
    assert f"the tokenizer of {model} loses text: the prompt of problem" in said


def test_a_prompt_is_the_same_on_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = with_template("qwen3", DATED).tokenizer
    asked = [{"role": "user", "content": "1+2"}]
    prompts, fingerprints = set(), set()
    for day in (1, 2):

        class Today(datetime):
            @classmethod
            def now(cls, tz=None) -> datetime:
                return datetime(2030, 1, day)  # noqa: B023

        monkeypatch.setattr(chat_template_utils, "datetime", Today)
        prompts.add(tuple(encode_chat(tokenizer, asked)))
        fingerprints.add(tokenizer_fingerprint(tokenizer))
    assert len(prompts) == len(fingerprints) == 1
    assert tokenizer.decode(list(*prompts)).startswith("01 Jan 2025\n")


def test_the_date_is_part_of_the_fingerprint_where_a_template_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [family("qwen3").tokenizer, with_template("qwen3", DATED).tokenizer]
    before = [tokenizer_fingerprint(t) for t in models]
    monkeypatch.setattr(recorded_tokenizer, "TODAY", datetime(2030, 1, 1))
    after = [tokenizer_fingerprint(t) for t in models]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]
