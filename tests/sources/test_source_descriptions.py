"""One description of sources wherever problems are named, in a config and on the command line, and one line where it is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from int_lightning.__main__ import main
from int_lightning.evaluation.held_out import HeldOutPassAtK
from int_lightning.grpo.data import RolloutData
from int_lightning.sft.collecting import CollectInterventions
from int_lightning.sources.pool import open_pool
from int_lightning.sources.reading import load_problems
from int_lightning.sources.source_config import SourceConfig, Sources
from int_lightning.types import UserError

from commands import MINI, PORTABLE_ENGINE

WRONG = {"path": "p.jsonl", "columns": {"question": "question"}}
ROLLOUTS = "RolloutData"
HELD_OUT = "HeldOutPassAtK"
COLLECTING = "CollectInterventions"


@pytest.mark.parametrize(
    "given",
    [
        "a.jsonl",
        "mini:easy:5",
        {"path": "a.csv", "columns": {"problem": "Problem"}, "require_solution": False},
        ["a.jsonl", {"path": "b.jsonl", "weight": 2.0, "attempts": 32}],
    ],
)
def test_a_description_is_written_back_as_it_was_given(given: Any) -> None:
    sources = Sources.of(given)
    assert sources.plain() == given
    assert Sources.of(sources.plain()) == sources
    assert all(isinstance(source, SourceConfig) for source in sources)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (WRONG, r"p\.jsonl: columns maps \['question'\]: its keys are id, problem, solution, answer"),
        ({"path": "p.jsonl", "colums": {}}, r"no key 'colums' \(did you mean 'columns'\?\)"),
        ({"columns": {"problem": "q"}}, "has columns and no path"),
        ({"path": "p.jsonl", "columns": {"answer": 3}}, "give the source's name as text"),
        ({"path": "p.jsonl", "columns": ["answer"]}, "columns is"),
        ({"path": "p.jsonl", "weight": "much"}, "weight is 'much': give a number"),
        ({"path": "p.jsonl", "attempts": 1.5}, "attempts is 1.5: give a whole number"),
        ({"path": "p.jsonl", "require_solution": "no thanks"}, "give true or false"),
        ({"path": "mini:easy", "columns": {"problem": "q"}}, "mini world have no columns"),
        ({"path": 3}, "the path 3: give a path"),
        ([["a.jsonl"]], "a source of problems is"),
        ("{path: a.jsonl", "is not YAML: check its brackets"),
        (7, "a source of problems is 7: give a path"),
        ("", "the path ''"),
    ],
)
def test_a_wrong_description_says_why(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Sources.of(given)
    assert "\n" not in str(caught.value)


def config(path: Path, content: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    ("command", "base", "content"),
    [
        ("collect", "collect", {"problems": [WRONG]}),
        ("collect", "collect", {"problems": WRONG}),
        ("collect", "collect", {"source": WRONG}),
        ("collect", "collect", {"decontaminate": [WRONG]}),
        ("evaluate", "evaluate", {"problems": {"imo": WRONG}}),
        ("fit", "grpo", {"data": {"class_path": ROLLOUTS, "init_args": {"problems": WRONG}}}),
        (
            "fit",
            "grpo",
            {"data": {"class_path": ROLLOUTS, "init_args": {"problems": "mini:easy", "validation": WRONG}}},
        ),
        ("fit", "grpo", {"trainer": {"callbacks": [{"class_path": HELD_OUT, "init_args": {"problems": WRONG}}]}}),
        ("fit", "sft", {"trainer": {"callbacks": [{"class_path": COLLECTING, "init_args": {"problems": [WRONG]}}]}}),
    ],
)
def test_a_wrong_key_in_columns_is_one_line_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, base: str, content: dict[str, Any]
) -> None:
    given = config(tmp_path / "given.yaml", content)
    assert main([command, "-c", str(MINI / f"{base}.yaml"), "-c", given, f"--out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert "p.jsonl: columns maps ['question']: its keys are id, problem, solution, answer" in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_a_key_of_a_source_by_itself_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [f"--out={tmp_path / 'out'}", "--problems.path=p.jsonl"]
    assert main(["collect", "-c", str(MINI / "collect.yaml"), *args]) == 2
    assert "--problems takes a source such as {path: p.jsonl, columns: {answer: gold}}" in capsys.readouterr().err


@pytest.fixture
def benchmark(tmp_path: Path) -> dict[str, Any]:
    """A benchmark with its own header, whose problems are the first ones of the mini world."""
    path = tmp_path / "benchmark.csv"
    rows = [f"imo-{i},{p.problem},{p.answer}\n" for i, p in enumerate(load_problems("mini:hard-train:3"))]
    path.write_text("Problem ID,Problem,Short Answer\n" + "".join(rows))
    columns = {"id": "Problem ID", "problem": "Problem", "answer": "Short Answer"}
    return {"path": str(path), "columns": columns, "require_solution": False}


def test_a_benchmark_with_its_own_header_is_kept_out_of_a_pool(
    tmp_path: Path, benchmark: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    args = ["--problems=mini:hard-train:12", f"--decontaminate=[{json.dumps(benchmark)}]", "--dry-run"]
    assert main(["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path / 'out'}", *args]) == 0
    found = json.loads((tmp_path / "out" / "dry-run.json").read_text())
    assert found["pool"]["total"]["contaminated"] == 3
    assert found["plan"]["problems"] == 9
    assert "is imo-0 of" in capfd.readouterr().out


def test_a_benchmark_with_its_own_header_is_evaluated(tmp_path: Path, benchmark: dict[str, Any]) -> None:
    sizes = ["--evaluation.rollouts=2", "--evaluation.k=[1]", PORTABLE_ENGINE]
    sets = f"--problems={json.dumps({'own': benchmark, 'both': [benchmark, 'mini:easy:2']})}"
    assert main(["evaluate", "-c", str(MINI / "evaluate.yaml"), f"--out={tmp_path / 'out'}", sets, *sizes]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {name: s["problems"] for name, s in results["sets"].items()} == {"own": 3, "both": 5}
    saved = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert saved["problems"] == {"own": benchmark, "both": [benchmark, "mini:easy:2"]}


def test_training_data_and_callbacks_take_the_same(benchmark: dict[str, Any]) -> None:
    for given in (benchmark, [benchmark, "mini:easy:2"], "mini:easy:2"):
        wanted = Sources.of(given)
        data = RolloutData(problems=given, validation=given)
        assert data.source == data.validation == wanted
        assert HeldOutPassAtK(given).source == wanted
        assert CollectInterventions(given).sources == wanted
        assert open_pool(wanted).sources == wanted


def test_several_sources_make_one_set_with_ids_of_their_own(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        row = {"problem": f"{folder}?", "solution": "s", "answer": "1"}
        (tmp_path / folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    problems = load_problems(Sources.of([str(tmp_path / folder / "test.jsonl") for folder in ("x", "y")]))
    assert [(p.id, p.problem) for p in problems] == [("test-000000", "x?"), ("test-000000~2", "y?")]
