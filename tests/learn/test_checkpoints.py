"""Checkpoints that survive what happens while they are written."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from int_lightning.run_folder.checkpoints import newest
from int_lightning.types import UserError

from commands import fit_sft, fit_sft_sharded

FULL_DISK = """
import resource, sys
from commands import fit_sft, fit_sft_sharded
from int_lightning.run_folder.checkpoints import newest
from int_lightning.types import UserError
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
sys.exit(fit_sft(Path(sys.argv[1]), Path(sys.argv[2]), "--ckpt_path=last", "--trainer.max_steps=4"))
"""


def test_where_the_disk_is_full_the_last_good_checkpoint_survives(dataset: Path, tmp_path: Path) -> None:
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=2", "--checkpoint_every=1") == 0
    last = tmp_path / "checkpoints" / "last.ckpt"
    before = last.resolve()
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(dataset)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
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
    assert "holds no checkpoint yet" in capfd.readouterr().out
    assert fit_sft(tmp_path, dataset, "--trainer.max_steps=2", "--ckpt_path=last") == 0
    assert "holds no checkpoint yet" not in capfd.readouterr().out


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run cut short after 2 steps. Copy it, do not change it."""
    out = tmp_path_factory.mktemp("checkpoints") / "run"
    assert fit_sft(out, dataset, "--trainer.max_steps=2") == 0
    return out


@pytest.fixture(scope="module")
def sharded(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run by two processes, whose checkpoint is a folder."""
    out = tmp_path_factory.mktemp("checkpoints") / "sharded"
    fit_sft_sharded(out, dataset, 2, "--trainer.max_steps=2")
    return out


class Runs:
    """What a malicious pickle could do."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch it-ran",)


def flip(file: Path) -> None:
    """Changes one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "text": lambda file: file.write_text("no checkpoint\n" * 1000),
    "a flipped bit": flip,
    "of another program": lambda file: torch.save({"global_step": 2, "state_dict": {}}, file),
    "a tensor": lambda file: torch.save(torch.zeros(3), file),
    "malicious": lambda file: torch.save({"global_step": Runs()}, file),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_with_one_to_resume_from(
    damage: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints = shutil.copytree(run / "checkpoints", tmp_path / "checkpoints", symlinks=True)
    file = checkpoints / "step-2.ckpt"
    shutil.copy(file, checkpoints / "interrupted.ckpt")
    DAMAGES[damage](file)
    with pytest.raises(UserError, match=r"(step-2|last)\.ckpt cannot be resumed from .* --ckpt_path \S*interrupted\.ckpt"):
        newest(checkpoints)
    (checkpoints / "interrupted.ckpt").unlink()
    with pytest.raises(UserError, match=r"(step-2|last)\.ckpt cannot be resumed from .* the only one"):
        newest(checkpoints)
    assert not (tmp_path / "it-ran").exists()


SHARD_DAMAGES: dict[str, Callable[[Path], object]] = {
    "a shard cut short": lambda folder: os.truncate(folder / "__1_0.distcp", 1000),
    "a shard missing": lambda folder: (folder / "__0_0.distcp").unlink(),
    "a flipped bit": lambda folder: flip(folder / "__1_0.distcp"),
    "no index": lambda folder: (folder / ".metadata").unlink(),
    "a malicious index": lambda folder: (folder / ".metadata").write_bytes(pickle.dumps(Runs())),
    "no record": lambda folder: (folder / "meta.pt").unlink(),
}


@pytest.mark.parametrize("damage", SHARD_DAMAGES)
def test_a_damaged_checkpoint_of_several_processes_is_named(
    damage: str, sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints = shutil.copytree(sharded / "checkpoints", tmp_path / "checkpoints", symlinks=True)
    found = newest(checkpoints)
    assert found is not None
    assert found.step == 2
    SHARD_DAMAGES[damage](checkpoints / "step-2.ckpt")
    with pytest.raises(UserError, match=r"(step-2|last)\.ckpt cannot be resumed from"):
        newest(checkpoints)
    assert not (tmp_path / "it-ran").exists()


def test_a_missing_or_dangling_last_is_not_a_fresh_start(
    run: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(run, tmp_path / "run", symlinks=True)
    checkpoints = out / "checkpoints"
    (checkpoints / "last.ckpt").unlink()
    assert fit_sft(out, dataset, "--trainer.max_steps=3", "--ckpt_path=last") == 0
    assert "last.ckpt is missing: resuming from step-2.ckpt" in capfd.readouterr().out
    for path in checkpoints.glob("step-*.ckpt"):
        path.unlink()
    assert fit_sft(out, dataset, "--trainer.max_steps=4", "--ckpt_path=last") == 2
    assert "last.ckpt points to step-3.ckpt, which is gone" in capfd.readouterr().err
    (checkpoints / "last.ckpt").unlink()
    assert fit_sft(out, dataset, "--trainer.max_steps=4", "--ckpt_path=last") == 2
    assert "choose another folder" in capfd.readouterr().err


def test_an_interrupted_run_is_resumed_from_its_newest_checkpoint(run: Path, tmp_path: Path) -> None:
    checkpoints = shutil.copytree(run / "checkpoints", tmp_path / "checkpoints", symlinks=True)
    newer = torch.load(checkpoints / "last.ckpt", weights_only=True) | {"global_step": 7}
    torch.save(newer, checkpoints / "interrupted.ckpt")
    found = newest(checkpoints)
    assert found is not None
    assert (found.path.name, found.step) == ("interrupted.ckpt", 7)
