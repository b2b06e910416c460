"""A wrong key or value on the command line is one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from int_lightning.__main__ import main

from commands import MINI, fit_sft

MISTAKES = [
    ("--data.init_args.target=bogus", ["data.init_args.target takes one of prefix_intervention", "not 'bogus'"]),
    ("--data.init_args.epochs=many", ["data.init_args.epochs takes a whole number, not 'many'"]),
    ("--data.init_args.nosuch=1", ["unknown key --data.init_args.nosuch", "--help"]),
    ("--model.class_path=Nowhere", ["model: ", "Nowhere"]),
    ("--nosuch=1", ["nosuch"]),
    ("--checkpoint_every=0", ["checkpoint_every", "0"]),
]


@pytest.mark.parametrize(("given", "parts"), MISTAKES)
def test_a_mistake_is_one_line_that_says_where_and_what(
    given: str, parts: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path}", given]) == 2
    said = capfd.readouterr().err
    assert said.startswith("int-lightning: ")
    assert said.count("\n") == 1
    for part in parts:
        assert part in said


def test_the_process_of_a_mistake_says_no_more_than_that_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "int_lightning", "fit", "-c", str(MINI / "grpo.yaml"), f"--out={tmp_path}"]
    done = subprocess.run([*command, "--data.rollouts_per_prompt=1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("int-lightning: data.rollouts_per_prompt is 1: ")
    assert done.stderr.count("\n") == 1


def test_after_a_mistake_the_same_folder_is_free_and_after_a_run_it_is_not(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_sft(tmp_path, tmp_path / "nowhere", "--data.init_args.collect_config=null") == 2
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=1") == 0
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=1") == 2
    assert "already holds a run" in capfd.readouterr().err


@pytest.mark.parametrize(
    "given", [["--dry-run"], ["--dry_run", "true"], ["--dry-run", "true", "--seed_everything", "3"]]
)
def test_a_switch_means_true_alone_and_takes_a_value(given: list[str], tmp_path: Path) -> None:
    assert main(["fit", "-c", str(MINI / "grpo.yaml"), f"--out={tmp_path / 'run'}", *given]) == 0
    assert not (tmp_path / "run").exists()
