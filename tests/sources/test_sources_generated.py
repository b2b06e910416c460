"""Sources that are not files, and the ready configs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from int_lightning.sources.reading import read
from int_lightning.sources.source_config import SourceConfig
from int_lightning.types import Problem, UserError

from commands import ROOT

CONFIGS = sorted((ROOT / "configs" / "sources").glob("*.yaml"))


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    """A dataset in the hub's layout, with two configs."""
    folder = tmp_path / "someone" / "Some-Math"
    for config in ("easy", "hard"):
        (folder / config).mkdir(parents=True)
        for split in ("train", "test"):
            rows = [{"q": f"{config} {split} {i}?", "a": [str(i)], "picture": "x"} for i in range(20)]
            (folder / config / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- {config_name: easy, data_dir: easy, default: true}\n- {config_name: hard, data_dir: hard}\n---\n"
    )
    return str(folder)


def test_hub_datasets_stream(dataset: str) -> None:
    pytest.importorskip("datasets", reason="needs the hub extra")
    columns = {"problem": "q", "answer": "a"}
    for path, first in ((f"hf:{dataset}", "easy train 0?"), (f"hf:{dataset}:hard:test", "hard test 0?")):
        source = SourceConfig(path, columns, require_solution=False)
        items = list(read(source))
        assert len(items) == 20
        assert items[0] == Problem("Some-Math-000000", first, "", "0", path)
    with pytest.raises(UserError, match=r"has 'question': the last one has q, a, picture"):
        list(read(SourceConfig(f"hf:{dataset}", {"problem": "question", "answer": "a"}, require_solution=False)))
    for wrong in (f"hf:{dataset}:medium", f"hf:{dataset}::dev", "hf:", "hf:a:b:c:d"):
        with pytest.raises(UserError, match="hf:"):
            read(wrong)


def test_a_hub_that_cannot_be_reached_is_a_user_error(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the hub extra")
    code = "from int_lightning.sources.reading import read; read('hf:someone/some-dataset')"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "UserError: hf:someone/some-dataset: cannot be opened" in run.stderr
    assert "check the name, config and split and the connection" in run.stderr


@pytest.mark.parametrize(
    ("path", "library", "extra"), [("hf:a/b", "datasets", "hub"), ("gym:x", "reasoning_gym", "gym")]
)
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, path: str, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"{path}: needs the .* library: pip install 'int-lightning\[{extra}\]'"):
        read(path)


def test_reasoning_gym_tasks_are_the_same_every_time() -> None:
    pytest.importorskip("reasoning_gym", reason="needs the gym extra")
    source = SourceConfig("gym:basic_arithmetic:30", require_solution=False)
    items = list(read(source))
    assert len(items) == 30
    assert items == list(read(source))
    for number, item in enumerate(items):
        assert isinstance(item, Problem)
        assert item.id == f"basic_arithmetic-{number:06d}"
        assert float(item.answer) == pytest.approx(float(item.answer))
    for wrong in ("gym:basic_arithmetics", "gym:basic_arithmetic:0", "gym:basic_arithmetic:many", "gym:"):
        with pytest.raises(UserError, match="gym:"):
            read(wrong)
    with pytest.raises(UserError, match="set require_solution to false"):
        list(read("gym:basic_arithmetic"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_ready_configs_are_sources(path: Path) -> None:
    parser = ArgumentParser()
    parser.add_argument("-c", action="config")
    parser.add_argument("--problems", type=list[SourceConfig])
    (source,) = parser.instantiate(parser.parse_args(["-c", str(path)])).problems
    assert isinstance(source, SourceConfig)
    assert source.path.startswith("hf:") or path.stem == "mathodyssey"
    assert "Local form: path:" in path.read_text() or "Hub form: path:" in path.read_text()


def test_seven_ready_configs() -> None:
    names = ["acereason-math", "dapo", "deepscaler", "mathodyssey", "olympiadbench", "omni-math", "polaris"]
    assert [path.stem for path in CONFIGS] == names


def test_ready_columns_fit_rows_of_the_published_shape(tmp_path: Path) -> None:
    parser = ArgumentParser()
    parser.add_argument("-c", action="config")
    parser.add_argument("--problems", type=list[SourceConfig])
    shapes = {
        "dapo": {
            "prompt": [
                {
                    "role": "user",
                    "content": "Solve the following math problem step by step. The last line of your response should be of "
                    "the form Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\nWhat is 1+1?"
                    '\n\nRemember to put your answer on its own line after "Answer:".',
                }
            ],
            "reward_model": {"ground_truth": "2", "style": "rule-lighteval/MATH_v2"},
        },
        "mathodyssey": {
            "Problem_1": {
                "question": "What is 1+1?\n\t\\end{problem}\\noindent",
                "reasoning": "Count.",
                "answer": "2\\\\\n\\noindent",
            }
        },
        "olympiadbench": {"id": 7, "question": "What is 1+1?", "solution": ["Count.", "Add."], "final_answer": ["2"]},
        "omni-math": {"problem": "What is 1+1?", "solution": "Count.", "answer": "2", "difficulty": 1.0},
    }
    for name, row in shapes.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps(row))
        config = next(c for c in CONFIGS if c.stem == name)
        (source,) = parser.instantiate(parser.parse_args(["-c", str(config)])).problems
        (problem,) = read(SourceConfig(**{**vars(source), "path": str(path)}))
        assert isinstance(problem, Problem)
        assert (problem.problem, problem.answer) == ("What is 1+1?", "2")
