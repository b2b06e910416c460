"""GRPO's invariants through the real command line, and what a kill at any moment leaves."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from commands import (
    ALTERNATING,
    LINEAR,
    PORTABLE_ENGINE,
    fit_grpo,
    grpo_sharded,
    metrics,
    parallel,
    sharded,
    short_grpo,
)
from killing import KILLS, killed

WATCHED = ("train/loss", "train/grad_norm", "train/reward", "train/length")
SCHEDULE = "--model.init_args.scheduler={class_path: WarmupCosine}"
OPTIONS = ["--data.init_args.updates_per_batch=2", "--checkpoint_every=1", ALTERNATING, SCHEDULE, PORTABLE_ENGINE]


def watched(out: Path) -> torch.Tensor:
    return torch.tensor(metrics(out, *WATCHED))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 steps, 2 on each batch."""
    out = tmp_path_factory.mktemp("grpo") / "whole"
    assert fit_grpo(out, *OPTIONS) == 0
    return out


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same under an optimiser whose steps are linear in the gradients."""
    out = tmp_path_factory.mktemp("grpo") / "linear"
    assert fit_grpo(out, *OPTIONS, LINEAR) == 0
    return out


@pytest.mark.numeric
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
    layout: list[str], linear: Path, tmp_path: Path
) -> None:
    assert fit_grpo(tmp_path / "run", *OPTIONS, LINEAR, *layout) == 0
    assert torch.allclose(watched(linear), watched(tmp_path / "run"), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same by two processes."""
    out = tmp_path_factory.mktemp("grpo") / "two"
    assert run(*grpo_sharded(out, 2, *OPTIONS, LINEAR)) == 0
    return out


def run(*command: str) -> int:
    return subprocess.run(command, capture_output=True, timeout=300).returncode


def assert_same_run(a: Path, b: Path, rate: str = "lr-AdamW") -> None:
    """Bit for bit, every step once."""
    left, right = (load_file(out / "model" / "model.safetensors") for out in (a, b))
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert metrics(b, "step", *WATCHED) == metrics(a, "step", *WATCHED)
    assert metrics(b, "step", rate) == metrics(a, "step", rate) != []


def test_two_processes_with_an_engine_each_take_the_steps_of_one(linear: Path, two: Path) -> None:
    assert torch.allclose(watched(linear), watched(two), atol=1e-5, rtol=1e-5)


def test_two_processes_that_each_hold_the_whole_model_take_the_steps_of_one(linear: Path, tmp_path: Path) -> None:
    assert run(*parallel(2, "ddp", *short_grpo(tmp_path / "two"), *OPTIONS, LINEAR)) == 0
    assert torch.allclose(watched(linear), watched(tmp_path / "two"), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("strategy", "lora"), [("ddp", "null"), ("fsdp2", "{rank: 4}")])
def test_two_processes_replace_groups_and_intervene_as_one_does(strategy: str, lora: str, tmp_path: Path) -> None:
    """Of the problems half are solved and half fail: an odd number of groups is replaced and of interventions is made."""
    oracle = "{class_path: PolicyOracle, init_args: {proposals: 2, sampling: {max_tokens: 24}}}"
    in_loop = f"{{class_path: InterveneOnFailedGroups, init_args: {{use: both, guided: 4, oracle: {oracle}}}}}"
    given = [f"--trainer.callbacks=[{in_loop}]", f"--model.init_args.lora={lora}", "--data.init_args.steps=2"]
    given += ["--data.init_args.problems=[{path: 'mini:hard-train:5'}, {path: 'mini:easy:3'}]", LINEAR, PORTABLE_ENGINE]
    given += ["--data.init_args.groups.resample=1", "--data.init_args.updates_per_batch=2"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert fit_grpo(one, *given) == 0
    own = [*short_grpo(two), *given]
    assert run(*(sharded(2, *own) if strategy == "fsdp2" else parallel(2, strategy, *own))) == 0
    names = ("train/groups_sampled", "train/failed_groups", "train/interventions", "train/tokens", *WATCHED)
    left, right = (torch.tensor(metrics(out, *names)) for out in (one, two))
    assert torch.allclose(left, right, atol=1e-5, rtol=1e-5)
    assert left[0, 0] > 4 and (left[:, 1:3] > 0).all()


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_at_a_random_moment_and_resumed_it_is_the_uninterrupted_run(
    seed: int, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    if killed([sys.executable, "-m", "int_lightning", "fit", *short_grpo(out), *OPTIONS], out, random.Random(seed)):
        assert fit_grpo(out, *OPTIONS, "--ckpt_path=last") == 0
    assert_same_run(whole, out)


def test_resumed_within_a_batch_it_is_the_uninterrupted_run(tmp_path: Path) -> None:
    """Of each batch's two steps the second has nothing to train on, and no metrics of the first."""
    one_group = ["--data.init_args.rewards=[{path: example_rewards.alternating_on_one}]"]
    one_group += ["--data.init_args.prompts_per_batch=8", "--data.init_args.updates_per_batch=2", PORTABLE_ENGINE]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert fit_grpo(whole, *one_group) == 0
    assert [step for step, loss, norm in metrics(whole, "step", "train/loss", "train/grad_norm") if loss or norm] == [
        0,
        2,
    ]
    assert [step for step, _ in metrics(whole, "step", "train/reward")] == [0, 1, 2, 3]
    assert [step for step, _ in metrics(whole, "step", "train/entropy")] == [0, 2]
    assert fit_grpo(parts, *one_group, "--trainer.max_steps=1") == 0
    assert fit_grpo(parts, *one_group, "--ckpt_path=last") == 0
    assert_same_run(whole, parts)


def test_two_processes_killed_and_resumed_are_the_uninterrupted_run(two: Path, tmp_path: Path) -> None:
    command = grpo_sharded(tmp_path, 2, *OPTIONS, LINEAR)
    if killed(command, tmp_path, random.Random(0)):
        assert run(*command, "--ckpt_path=last") == 0
    assert_same_run(two, tmp_path, "lr-SGD")
