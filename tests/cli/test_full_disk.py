"""A full disk and a folder that vanishes, at the start, in the middle and in a checkpoint: every command ends with one line."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback

from int_lightning.__main__ import main
from int_lightning.cli.command_line import _user_error
from int_lightning.oracles.base import Attempt
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Proposal, Sampling, UserError

from commands import MINI, PORTABLE_ENGINE, SMALL_COLLECT, fit_sft, short_grpo

COLLECT = ["collect", "-c", str(MINI / "collect.yaml"), *SMALL_COLLECT[:-1], PORTABLE_ENGINE]
EVALUATE = ["evaluate", "-c", str(MINI / "evaluate.yaml"), "--limit=8", "--evaluation.rollouts=8", PORTABLE_ENGINE]

Disk = Callable[[str], Path]


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system of a given size cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a disk of a given size."""
    with ExitStack() as mounts:
        yield lambda size: mounts.enter_context(mounted(tmp_path / "disk", size))


def fill(disk: Path) -> None:
    with open(disk / "full", "wb", buffering=0) as file:
        for piece in (b"x" * 4096, b"x"):
            try:
                while True:
                    file.write(piece)
            except OSError:
                continue


class AfterStep2(Callback):
    """Fills the disk, or deletes the run's folder."""

    def __init__(self, fills: str = "", deletes: str = "") -> None:
        self.fills = fills
        self.deletes = deletes

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step == 2 and self.fills:
            fill(Path(self.fills))
        if trainer.global_step == 2 and self.deletes:
            shutil.rmtree(self.deletes)


class DeletingOracle(PolicyOracle):
    """Deletes the run's folder when it is asked for proposals."""

    def __init__(self, folder: str) -> None:
        super().__init__(2, Sampling(max_tokens=24))
        self.folder = folder

    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        shutil.rmtree(self.folder, ignore_errors=True)
        return await super().propose(attempts, sampler)


def after_step_2(**what: Path) -> str:
    arguments = ", ".join(f"{name}: {path}" for name, path in what.items())
    return f"--trainer.callbacks=[{{class_path: test_full_disk.AfterStep2, init_args: {{{arguments}}}}}]"


def one_line(status: int, capfd: pytest.CaptureFixture[str], *parts: str) -> None:
    said = capfd.readouterr()
    (line,) = (line for line in said.err.splitlines() if not line.startswith("INFO: "))
    assert status == 2
    for part in parts:
        assert part in line
    assert "Traceback" not in said.out


@pytest.mark.parametrize("size", ["8k", "150k"], ids=["start", "middle"])
def test_a_collection_on_a_full_disk(size: str, disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    out = disk(size) / "run"
    one_line(main([*COLLECT, f"--out={out}"]), capfd, f"{out}/dataset", "No space left on device")
    assert not (out / "results.json").exists()


@pytest.mark.parametrize("size", ["8k", "60k"], ids=["start", "middle"])
def test_an_evaluation_on_a_full_disk(size: str, disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    out = disk(size) / "run"
    status = main([*EVALUATE, f"--out={out}", "--evaluation.batch_problems=1"])
    one_line(status, capfd, f"{out}/evaluation", "No space left on device")
    assert not (out / "results.json").exists()


def test_a_collection_whose_folder_vanishes_is_not_finished(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    oracle = ["--oracle.class_path=test_full_disk.DeletingOracle", f"--oracle.init_args.folder={out}"]
    one_line(main([*COLLECT, f"--out={out}", *oracle]), capfd, f"{out}/dataset/manifest.jsonl was deleted meanwhile")
    assert not out.exists()


@pytest.mark.parametrize(
    ("size", "given", "where"),
    [("8k", [], ""), ("1m", ["--checkpoint_every=1"], "checkpoints")],
    ids=["start", "checkpoint"],
)
def test_a_fit_on_a_full_disk(
    size: str, given: list[str], where: str, dataset: Path, disk: Disk, capfd: pytest.CaptureFixture[str]
) -> None:
    out = disk(size) / "run"
    one_line(fit_sft(out, dataset, *given), capfd, f"{out}/{where}", "No space left on device")


def test_a_fit_whose_disk_fills_up(dataset: Path, disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    folder = disk("20m")
    given = [after_step_2(fills=folder), "--data.init_args.epochs=400"]
    one_line(fit_sft(folder / "run", dataset, *given), capfd, f"{folder}/run", "No space left on device")


def test_a_grpo_whose_disk_fills_up(disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    folder = disk("20m")
    status = main(["fit", *short_grpo(folder / "run"), PORTABLE_ENGINE, after_step_2(fills=folder)])
    one_line(status, capfd, f"{folder}/run/rollouts", "No space left on device")


def test_a_fit_whose_folder_vanishes(dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    one_line(
        fit_sft(out, dataset, after_step_2(deletes=out)), capfd, f"{out}/metrics.csv", "deleted or moved meanwhile"
    )
    assert not out.exists()


def test_a_grpo_whose_folder_vanishes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    status = main(["fit", *short_grpo(out), PORTABLE_ENGINE, after_step_2(deletes=out)])
    one_line(status, capfd, f"{out}/", "deleted or moved meanwhile")
    assert not out.exists()


def test_a_page_on_a_full_disk(dataset: Path, disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    page = disk("4k") / "page.html"
    one_line(main(["inspect", str(dataset), f"--html={page}"]), capfd, str(page), "No space left on device")


def test_the_search_for_a_mistake_ends_on_a_cyclic_chain_and_finds_the_full_disk() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "events")
    wrapped = ValueError("you tried to log 0.0")
    full.__context__, wrapped.__cause__ = wrapped, full
    assert "events could not be written (No space left" in str(_user_error(wrapped))
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__context__ = second, first
    assert _user_error(first) is None
    second.__cause__ = UserError("mine")
    assert _user_error(first) is second.__cause__
