"""Invariants of training, through the real command line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from int_lightning.__main__ import main

from commands import ALTERNATING, COLD, ENGINE, MINI, fit_grpo, fit_sft, metrics, small_run_config


def same_weights(a: Path, b: Path) -> bool:
    left, right = (load_file(out / "model" / "model.safetensors") for out in (a, b))
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def close(a: list[list[float]], b: list[list[float]], tolerance: float) -> bool:
    return len(a) == len(b) and torch.allclose(torch.tensor(a), torch.tensor(b), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("updates", [1, 2])
def test_a_resumed_grpo_is_the_uninterrupted_one(updates: int, tmp_path: Path) -> None:
    per_batch = f"--data.init_args.updates_per_batch={updates}"
    assert fit_grpo(tmp_path / "whole", per_batch) == 0
    assert fit_grpo(tmp_path / "parts", per_batch, "--trainer.max_steps=3") == 0
    assert fit_grpo(tmp_path / "parts", per_batch, "--ckpt_path=last") == 0
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    watched = ("train/reward", "train/length")
    assert metrics(tmp_path / "whole", *watched)[3:] == metrics(tmp_path / "parts", *watched)[-1:]


def test_grpo_learns_from_groups_with_an_advantage_and_engine_and_trainer_agree(tmp_path: Path) -> None:
    assert fit_grpo(tmp_path / "cold", COLD, ALTERNATING, "--engine.name=vllm") == 0
    assert len(gaps := metrics(tmp_path / "cold", "train/engine_gap")) == 4
    assert all(0 <= gap < 1e-4 for (gap,) in gaps)
    assert fit_grpo(tmp_path / "hot", ALTERNATING) == 0
    assert all(norm > 0 for (norm,) in metrics(tmp_path / "hot", "train/grad_norm"))
    assert all(ratio == pytest.approx(1.0, abs=1e-6) for (ratio,) in metrics(tmp_path / "hot", "train/ratio"))


def test_the_kl_term_and_the_entropy_bonus_run(tmp_path: Path) -> None:
    terms = "--model.init_args.objective={kl_coefficient: 0.1, entropy_coefficient: 0.01}"
    assert fit_grpo(tmp_path / "kl", terms, ALTERNATING, "--data.init_args.updates_per_batch=2") == 0
    kl = [value for (value,) in metrics(tmp_path / "kl", "train/kl")]
    assert kl[0] == pytest.approx(0.0, abs=1e-6)
    assert kl[-1] > 0


def test_sft_collects_first_where_nothing_was_collected(tmp_path: Path) -> None:
    config = small_run_config(tmp_path).with_name("collect.yaml")
    fresh = tmp_path / "fresh"
    assert fit_sft(tmp_path / "fit", fresh, f"--data.init_args.collect_config={config}") == 0
    assert (fresh / "results.json").exists()
    assert (tmp_path / "fit" / "model" / "model.safetensors").exists()


def test_validate_scores_held_out_rows(dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["validate", "-c", str(MINI / "sft.yaml"), f"--out={tmp_path}", f"--data.init_args.folder={dataset}"]
    assert main([*command, "--data.init_args.validation=0.5"]) == 0
    assert "val/nll" in capfd.readouterr().out


def test_validate_scores_held_out_problems(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["validate", "-c", str(MINI / "grpo.yaml"), f"--out={tmp_path}", ENGINE]
    assert main([*command, "--data.init_args.validation=mini:easy:6"]) == 0
    said = capfd.readouterr()
    assert "val/pass@8" in said.out
    assert said.err == ""


def test_sigterm_saves_a_checkpoint_that_the_run_goes_on_from(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "int_lightning", "fit", "-c", str(MINI / "sft.yaml"), f"--out={out}"]
    command += [
        f"--data.init_args.folder={dataset}",
        "--data.init_args.epochs=2000",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    written = out / "metrics.csv"
    while time.monotonic() < deadline and not (written.exists() and written.read_text().count("\n") > 10):
        time.sleep(0.2)
    process.terminate()
    said, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "interrupted.ckpt" in said
    assert "Traceback" not in said + errors
    reached = int(metrics(out, "step", "train/loss")[-1][0]) + 1
    further = ["--data.init_args.epochs=2000", f"--trainer.max_steps={reached + 2}"]
    interrupted = out / "checkpoints" / "interrupted.ckpt"
    resumed = ["fit", "-c", str(MINI / "sft.yaml"), f"--out={out}", f"--data.init_args.folder={dataset}"]
    assert main([*resumed, *further, f"--ckpt_path={interrupted}"]) == 0
    steps = [int(step) for step, _ in metrics(out, "step", "train/loss")]
    assert steps[-1] == reached + 1
