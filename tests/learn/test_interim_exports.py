"""Exports of the policy during a fit, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from int_lightning.__main__ import main

from commands import ENGINE, LINEAR, MINI, PORTABLE_ENGINE, fit_sft, fit_sft_sharded

EVERY_SECOND = ["--export_every=2", "--exports_kept=2", LINEAR]


def exports(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "exports").iterdir())


def weights(model: Path) -> dict[str, Tensor]:
    return load_file(model / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_exports_are_those_of_runs_that_end_there_and_the_newest_are_kept(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "run", dataset, *EVERY_SECOND, "--trainer.max_steps=7") == 0
    assert exports(tmp_path / "run") == ["step-4", "step-6"]
    assert fit_sft(tmp_path / "short", dataset, LINEAR, "--trainer.max_steps=4") == 0
    assert not (tmp_path / "short" / "exports").exists()
    assert same(tmp_path / "run" / "exports" / "step-4", tmp_path / "short" / "model")
    assert not same(tmp_path / "run" / "exports" / "step-6", tmp_path / "run" / "model")


def test_a_resumed_run_continues_the_series(dataset: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert fit_sft(whole, dataset, *EVERY_SECOND, "--trainer.max_steps=6") == 0
    assert fit_sft(parts, dataset, *EVERY_SECOND, "--trainer.max_steps=3") == 0
    assert exports(parts) == ["step-2"]
    killed = parts / "exports" / "step-4.tmp"  # what a kill in the middle of an export leaves
    killed.mkdir()
    (killed / "model.safetensors").write_text("half")
    assert fit_sft(parts, dataset, *EVERY_SECOND, "--trainer.max_steps=6", "--ckpt_path=last") == 0
    assert exports(parts) == exports(whole) == ["step-4", "step-6"]
    for name in exports(whole):
        assert same(whole / "exports" / name, parts / "exports" / name)


def test_an_export_is_evaluated_like_any_model(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "run", dataset, *EVERY_SECOND, "--trainer.max_steps=2") == 0
    for name, model in (("interim", "exports/step-2"), ("last", "model")):
        sets = ["--problems={easy: 'mini:easy:4'}", "--evaluation={rollouts: 4, k: [1, 4]}"]
        command = ["evaluate", "-c", str(MINI / "evaluate.yaml"), f"--out={tmp_path / name}", PORTABLE_ENGINE, *sets]
        assert main([*command, f"--model={tmp_path / 'run' / model}"]) == 0
    interim, last = (json.loads((tmp_path / n / "results.json").read_text())["sets"] for n in ("interim", "last"))
    assert interim == last


def test_two_sharded_processes_export_what_one_does(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path / "one", dataset, *EVERY_SECOND, "--trainer.max_steps=5") == 0
    fit_sft_sharded(tmp_path / "two", dataset, 2, ENGINE, *EVERY_SECOND, "--trainer.max_steps=5")
    assert exports(tmp_path / "two") == exports(tmp_path / "one") == ["step-2", "step-4"]
    for name in exports(tmp_path / "one"):
        one, two = (weights(tmp_path / run / "exports" / name) for run in ("one", "two"))
        assert one.keys() == two.keys()
        assert all(torch.allclose(one[k], two[k], atol=1e-5, rtol=1e-4) for k in one)
