"""A user's mistake: one clear message that names file, row or key, a non-zero exit, no traceback, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from int_lightning.__main__ import main
from int_lightning.models.resolve import resolve_model

from commands import MINI, fit_sft

GOOD = {"problem": "1+1", "solution": "2 > \\boxed{2}", "answer": "2"}


def fails(capsys: pytest.CaptureFixture[str], args: list[str]) -> str:
    """Runs a command that must fail; returns what it said."""
    try:
        status = main(args)
    except SystemExit as exit_:
        status = exit_.code
    said = capsys.readouterr()
    assert status not in (0, None)
    assert "Traceback" not in said.out + said.err
    return said.err


def collect_from(rows: list[object], folder: Path) -> list[str]:
    """The command line that collects from a JSONL file with these rows."""
    file = folder / "problems.jsonl"
    file.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return ["collect", "-c", str(MINI / "collect.yaml"), f"--out={folder / 'out'}", f"--problems={file}"]


def test_an_unknown_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(capsys, ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path}", "--collection.atempts=3"])
    assert "atempts" in said
    config = tmp_path / "c.yaml"
    config.write_text((MINI / "collect.yaml").read_text() + "colection: 3\n")
    assert "colection" in fails(capsys, ["collect", "-c", str(config), f"--out={tmp_path / 'x'}"])


def test_an_unknown_key_of_a_class_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(capsys, ["fit", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path}", "--data.init_args.bach_size=3"])
    assert "bach_size" in said


def test_a_wrong_type_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(
        capsys, ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path}", "--collection.attempts=many"]
    )
    assert "collection.attempts" in said
    assert "many" in said


def test_a_value_out_of_range_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "--collection.sampling={max_tokens: 0}"
    said = fails(capsys, ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path}", bad])
    assert "max_tokens" in said


def test_a_missing_config_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone.yaml" in fails(capsys, ["collect", "-c", "gone.yaml"])


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "colect" in fails(capsys, ["colect"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([GOOD, {**GOOD, "solution": ""}], ["problems.jsonl", "row 2", "reference"]),
        ([GOOD, "{not json"], ["problems.jsonl", "row 2", "JSON"]),
        ([{"problem": "1+1"}], ["problems.jsonl", "first 1 row", "solution"]),
        ([], ["problems.jsonl", "no problem"]),
        ([{**GOOD, "answer": ""}], ["row 1", "answer"]),
        ([{**GOOD, "answer": "\\frac{1"}], ["row 1", "answer"]),
    ],
    ids=["no-reference", "not-json", "missing-key", "empty", "no-answer", "answer-does-not-parse"],
)
def test_bad_problems_are_named(
    rows: list[object], said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(capsys, collect_from(rows, tmp_path))
    for part in said:
        assert part in message


def test_a_missing_problem_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path}", "--problems=gone.jsonl"]
    assert "gone.jsonl" in fails(capsys, command)


def test_a_model_folder_without_tokenizer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    shutil.copytree(resolve_model("mini"), model)
    (model / "tokenizer.json").unlink()
    (model / "tokenizer_config.json").unlink()
    command = ["evaluate", "-c", str(MINI / "evaluate.yaml"), f"--out={tmp_path / 'out'}", f"--model={model}"]
    said = fails(capsys, command)
    assert str(model) in said
    assert "tokenizer" in said
    fit = ["fit", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path / 'fit'}", f"--model.init_args.model={model}"]
    assert "tokenizer" in fails(capsys, fit)


def test_a_folder_without_interventions_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    command = ["fit", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path / 'x'}", f"--data.init_args.folder={empty}"]
    command += ["--data.init_args.collect_config=null"]
    said = fails(capsys, command)
    assert str(empty) in said
    assert "collect" in said


def test_an_out_folder_with_another_run_is_refused_and_kept(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(dataset, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    command = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={out}", "--collection.attempts=5"]
    assert str(out) in fails(capsys, command)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")} == before
    assert fit_sft(tmp_path / "fit", out, "--trainer.max_steps=1") == 0
    capsys.readouterr()
    again = ["fit", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path / 'fit'}", f"--data.init_args.folder={out}"]
    assert "--ckpt_path" in fails(capsys, again)


def test_an_out_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    command = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={tmp_path / 'file' / 'run'}"]
    assert str(tmp_path / "file" / "run") in fails(capsys, command)


def test_easy_problems_give_nothing_to_intervene_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "easy"
    command = ["collect", "-c", str(MINI / "collect.yaml"), f"--out={out}", "--problems=mini:easy:3"]
    assert "hard" in fails(capsys, [*command, "--collection.attempts=4"])
    assert list((out / "dataset" / "attempts").glob("*.parquet"))


def test_the_folder_of_a_run_given_as_a_model_is_told_the_model_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(resolve_model("mini"), tmp_path / "run" / "model")
    command = [
        "evaluate",
        "-c",
        str(MINI / "evaluate.yaml"),
        f"--out={tmp_path / 'out'}",
        f"--model={tmp_path / 'run'}",
    ]
    assert f"this is the folder of a run: give {tmp_path / 'run' / 'model'}" in fails(capsys, command)
