"""At which step GRPO logs the metrics of held-out problems."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from int_lightning.__main__ import main

from commands import ALTERNATING, MINI, PORTABLE_ENGINE, fit_grpo, metrics

NAMES = ("val/pass@1", "val/pass@4", "val/reward", "val/length", "val/truncated")
HELD_OUT = "--data.init_args.validation=mini:hard-train:6"
FAST = "--model.init_args.optimizer={class_path: torch.optim.SGD, init_args: {lr: 10.0}}"
"""So fast that each step changes what is sampled."""


def validated(model: Path, out: Path) -> list[float]:
    """The metrics of a model's weights, with the seeds of a fit."""
    sizes = ["--data.init_args.rollouts_per_prompt=4", "--data.init_args.sampling={max_tokens: 48, temperature: 1.5}"]
    command = ["validate", "-c", str(MINI / "grpo.yaml"), f"--out={out}", PORTABLE_ENGINE, HELD_OUT, *sizes]
    assert main([*command, f"--model.init_args.model={model}"]) == 0
    found = json.loads((out / "results.json").read_text())
    return [found[name] for name in NAMES]


def test_metrics_of_weights_after_n_steps_are_logged_at_step_n_and_at_the_end(tmp_path: Path) -> None:
    run = tmp_path / "run"
    every = ["--trainer.val_check_interval=2", "--export_every=2"]
    assert fit_grpo(run, PORTABLE_ENGINE, HELD_OUT, FAST, ALTERNATING, *every) == 0
    (second, *at_two), (fourth, *at_four) = metrics(run, "step", *NAMES)
    assert (second, fourth) == (2, 4)
    assert at_two != at_four
    assert at_two == pytest.approx(validated(run / "exports" / "step-2", tmp_path / "two"), rel=1e-6)
    assert at_four == pytest.approx(validated(run / "model", tmp_path / "four"), rel=1e-6)


def test_without_an_interval_the_last_step_is_validated(tmp_path: Path) -> None:
    assert fit_grpo(tmp_path, PORTABLE_ENGINE, HELD_OUT, ALTERNATING, "--data.init_args.steps=3") == 0
    assert [step for step, _ in metrics(tmp_path, "step", "val/pass@1")] == [3]
