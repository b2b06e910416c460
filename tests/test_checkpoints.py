"""Checkpoints that survive what happens while they are written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from commands import fit_sft

FULL_DISK = """
import resource, sys
from commands import fit_sft
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
sys.exit(fit_sft(Path(sys.argv[1]), Path(sys.argv[2]), "--ckpt_path=last", "--trainer.max_steps=4"))
"""


def test_where_the_disk_is_full_the_last_good_checkpoint_survives(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=2", "--checkpoint_every=1") == 0
    last = tmp_path / "checkpoints" / "last.ckpt"
    before = last.resolve()
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(dataset)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=Path(__file__).parent)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "could not be written" in done.stderr
    assert last.resolve() == before
    assert torch.load(last, weights_only=True)["global_step"] == 2
    assert fit_sft(tmp_path, dataset, "--ckpt_path=last", "--trainer.max_steps=4") == 0
    assert torch.load(last, weights_only=True)["global_step"] == 4


def test_only_the_newest_checkpoint_is_kept_and_linked(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=3", "--checkpoint_every=1") == 0
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["last.ckpt", "step-3.ckpt"]
    assert (tmp_path / "checkpoints" / "last.ckpt").readlink() == Path("step-3.ckpt")


def test_last_where_there_is_no_checkpoint_says_that_it_starts(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=1", "--ckpt_path=last") == 0
    assert "there is no checkpoint in" in capfd.readouterr().out
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=2", "--ckpt_path=last") == 0
    assert "there is no checkpoint in" not in capfd.readouterr().out
