"""Checks of problems before anything is sampled, dry runs that leave their folder free, and extended collections."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from int_lightning.__main__ import main
from int_lightning.collect.store import Store
from int_lightning.grading.grader import Grader
from int_lightning.models.resolve import resolve_model
from int_lightning.preflight import Fitting, check_golds, check_legible, usable
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.sources.reading import load_problems
from int_lightning.types import Problem, UserError

from commands import MINI, PORTABLE_ENGINE

UNREADABLE = "all multiples of 9, excluding 0"
READABLE = ["12", "0", r"\frac{1}{2}", "x^2 + 1", "(1, 2)", "yes", "3 and 5", r"\sqrt{2}", "1,000"]


def problem(index: int, answer: str, text: str = "1+1") -> Problem:
    return Problem(f"p-{index}", text, "2", answer, "a.jsonl")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(resolve_model("mini"))


def test_golds_that_the_grader_cannot_read_are_counted_and_named(capfd: pytest.CaptureFixture[str]) -> None:
    problems = [problem(i, a) for i, a in enumerate([*READABLE, UNREADABLE])]
    with Grader() as grader:
        report = check_golds(grader, problems)
        assert check_golds(grader, problems[: len(READABLE)]).examples == []
    assert (report.checked, report.unreadable, report.unequal) == (len(READABLE) + 1, 1, 0)
    assert [(e.source, e.id, e.answer) for e in report.examples] == [("a.jsonl", f"p-{len(READABLE)}", UNREADABLE)]
    report.show("imo: ")
    said = capfd.readouterr().out
    assert "imo: 1 of 10 gold answers cannot be read by the grader" in said
    assert UNREADABLE in said


def test_a_gold_that_does_not_equal_itself_is_counted_apart(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Grader() as grader:
        monkeypatch.setattr(grader, "grade", lambda texts, golds: [gold != "13" for gold in golds])
        report = check_golds(grader, [problem(0, "12"), problem(1, "13")])
    report.show()
    assert (report.unequal, report.unreadable) == (1, 0)
    assert "1 of 2 gold answers do not equal themselves" in capfd.readouterr().out


def test_golds_of_a_huge_pool_are_read_no_further_than_needed() -> None:
    drawn = []

    def endless() -> Any:
        while True:
            drawn.append(len(drawn))
            yield problem(len(drawn), str(len(drawn)))

    with Grader() as grader:
        assert check_golds(grader, endless(), most=600).checked == 600
    assert len(drawn) == 600


def test_a_model_that_cannot_read_the_problems_is_refused_in_one_line(tokenizer: Any) -> None:
    prompts = PromptSet("mini")
    assert check_legible(tokenizer, prompts, load_problems("mini:easy:5"), "mini") == ""
    real = [problem(0, "22", "A tank holds 300 litres and loses 7 each hour.")]
    with pytest.raises(UserError, match=r"model 'mini' cannot read these problems .*p-0 .*give a model") as caught:
        check_legible(tokenizer, prompts, real, "mini")
    assert "\n" not in str(caught.value)
    mostly = [*load_problems("mini:easy:50"), problem(0, "2", "1+1?")]
    assert "p-0" in check_legible(tokenizer, prompts, mostly, "mini")
    with pytest.raises(UserError, match="prompt set 'math'"):
        check_legible(tokenizer, PromptSet("math"), load_problems("mini:easy:5"), "mini")


def test_prompts_that_leave_no_room_are_left_out_counted_and_named(
    tokenizer: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    problems = [problem(0, "2"), problem(1, "2", "1+" * 40 + "1"), problem(2, "2", "1+2")]
    fitting = Fitting(iter(problems), tokenizer, PromptSet("mini"), 4096)
    assert len(list(fitting)) == 3
    fitting = Fitting(problems, tokenizer, PromptSet("mini"), 32)
    assert [p.id for p in fitting] == [p.id for p in fitting] == ["p-0", "p-2"]
    assert fitting.left_out == 1
    assert list(fitting.longest) == ["p-1"]
    assert [p.id for p in usable(problems, tokenizer, PromptSet("mini"), 32, "mini", "aime: ")] == ["p-0", "p-2"]
    assert "aime: 1 problems whose prompt leaves no room in engine.max_model_len = 32: p-1" in capfd.readouterr().out
    with pytest.raises(UserError, match="no problem's prompt fits"):
        usable(problems[1:2], tokenizer, PromptSet("mini"), 32, "mini")


def collect(out: Path, *overrides: str) -> int:
    sizes = ["--collection.attempts=4", "--collection.guided=2", "--collection.batch_problems=4"]
    return main(["collect", "-c", str(MINI / "collect.yaml"), f"--out={out}", *sizes, PORTABLE_ENGINE, *overrides])


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_dry_run_says_what_is_wrong_with_the_problems_and_leaves_its_folder_free(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    tank = {"problem": "A tank holds 300 litres. Half of it?", "solution": "half", "answer": "150"}
    rows = [tank, tank | {"answer": "149"}, {"problem": "All of them?", "solution": "s", "answer": UNREADABLE}]
    source = write(tmp_path / "real.jsonl", *rows)
    assert collect(out, f"--source={source}", "--dry-run") == 0
    said = capfd.readouterr().out
    assert "model 'mini' cannot read these problems" in said
    assert "1 of 2 gold answers cannot be read by the grader" in said
    assert "real-000001 has '149', the other copy of its text '150'" in said
    found = json.loads((out / "dry-run.json").read_text())
    assert found["golds"]["unreadable"] == found["pool"]["total"]["conflicting_answers"] == 1
    assert collect(out, "--problems=mini:hard-train:3", "--collection.attempts=2", "--dry-run") == 0
    assert [path.name for path in out.iterdir()] == ["dry-run.json"]
    assert collect(out, f"--source={source}") == 2
    assert "model 'mini' cannot read these problems" in capfd.readouterr().err
    assert not (out / "dataset").exists()


def ids(out: Path) -> list[str]:
    return [id for (id,) in Store(out / "dataset").columns("problems", "id")]


def test_a_finished_collection_is_extended_by_a_larger_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    long = {"id": "long", "problem": "1+" * 200 + "1", "solution": "2", "answer": "2"}
    problems = [vars_of(p) for p in load_problems("mini:hard-train:6")]
    source = "--source=" + write(tmp_path / "own.jsonl", *problems[:2], long, *problems[2:])
    assert collect(out, source, "--problems=null", "--limit=3", "--dry-run") == 0
    assert collect(out, source, "--limit=3") == 0
    assert json.loads((out / "collection.json").read_text())["too_long"]["problems"] == 1
    assert collect(out, source, "--limit=7") == 0
    assert collect(whole, source) == 0
    assert sorted(ids(out)) == sorted(ids(whole)) == sorted(p["id"] for p in problems)
    summaries = [json.loads((folder / "collection.json").read_text()) for folder in (out, whole)]
    assert summaries[0]["pool"] == summaries[1]["pool"]
    assert summaries[0]["conditioning"] == summaries[1]["conditioning"]
    capsys.readouterr()
    assert collect(out, source, "--limit=2") == 2
    assert "--limit 2" in capsys.readouterr().err
    assert collect(out, source, "--limit=7", "--collection.attempts=5") == 2


def vars_of(given: Problem) -> dict[str, Any]:
    return {"id": given.id, "problem": given.problem, "solution": given.solution, "answer": given.answer}
