"""GRPO's invariants through the real command line, and what a kill at any moment leaves."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from commands import _short_grpo, fit_grpo, fit_grpo_sharded, metrics

WATCHED = ("train/loss", "train/grad_norm", "train/reward", "train/length")
EVERY_STEP = "--checkpoint_every=1"


def watched(out: Path) -> torch.Tensor:
    return torch.tensor(metrics(out, *WATCHED))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 steps, 2 on each batch."""
    out = tmp_path_factory.mktemp("grpo") / "whole"
    assert fit_grpo(out, EVERY_STEP, "--data.init_args.updates_per_batch=2") == 0
    return out


@pytest.mark.parametrize(
    "layout",
    [
        ["--data.init_args.packing=false"],
        ["--data.init_args.max_tokens=128"],
        ["--data.init_args.packing=false", "--data.init_args.max_tokens=200"],
        ["--model.init_args.gradient_checkpointing=true", "--model.init_args.head=reference"],
    ],
)
def test_however_rows_are_cut_into_micro_batches_the_steps_are_the_same(
    layout: list[str], whole: Path, tmp_path: Path
) -> None:
    assert fit_grpo(tmp_path / "run", "--data.init_args.updates_per_batch=2", *layout) == 0
    assert torch.allclose(watched(whole), watched(tmp_path / "run"), atol=1e-5, rtol=1e-5)


def test_two_processes_with_an_engine_each_take_the_steps_of_one(whole: Path, tmp_path: Path) -> None:
    fit_grpo_sharded(tmp_path / "two", 2, "--data.init_args.updates_per_batch=2")
    assert torch.allclose(watched(whole), watched(tmp_path / "two"), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_a_random_moment_and_resumed_it_is_the_uninterrupted_run(
    seed: int, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "int_lightning", "fit", *_short_grpo(out), EVERY_STEP]
    command.append("--data.init_args.updates_per_batch=2")
    saved = out / "checkpoints" / "last.ckpt"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not saved.exists():
        time.sleep(0.05)
    time.sleep(random.Random(seed).uniform(0, 2))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert fit_grpo(out, EVERY_STEP, "--data.init_args.updates_per_batch=2", "--ckpt_path=last") == 0
    left, right = (load_file(run / "model" / "model.safetensors") for run in (whole, out))
    assert all(torch.equal(left[name], right[name]) for name in left)
    by_step = {step: row for step, *row in metrics(out, "step", *WATCHED)}
    assert [row for _, row in sorted(by_step.items())] == metrics(whole, *WATCHED)
