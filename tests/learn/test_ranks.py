"""One of several processes of a fit is killed or fails: one line says which and why, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from int_lightning.engines.base import EngineConfig
from int_lightning.learn.strategy import prepare_strategy
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.types import UserError

from commands import MINI, sharded
from ended_fits import alive, failing, line_at_the_end


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_named_and_the_others_end(rank: int, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = [f"--data.init_args.folder={dataset}", "--data.init_args.batch_size=4", "--data.init_args.epochs=4000"]
    command = sharded(2, "-c", str(MINI / "sft.yaml"), f"--out={out}", *given)
    with open(tmp_path / "said", "w") as said:
        first = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 200
        while not (out / "metrics.csv").exists() and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        pids = [first.pid, *children(first.pid)]
        assert len(pids) == 2
        os.kill(pids[rank], signal.SIGKILL)
        assert first.wait(60) != 0
        deadline = time.monotonic() + 60
        while any(map(alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(map(alive, pids))
    finally:
        first.kill()
    (line,) = [line for line in (tmp_path / "said").read_text().splitlines() if line.startswith("int-lightning: ")]
    assert f"rank {rank} (process {pids[rank]}) was killed" in line
    assert "--ckpt_path last" in line


@pytest.mark.parametrize(
    ("rank", "how", "limit", "said"),
    [
        (1, "mistake", 600, "rank 1: the reward is gone"),
        (1, "error", 600, "rank 1: KeyError: 'the reward is gone'"),
        (0, "mistake", 600, "the reward is gone"),
        (1, "hang", 15, "did not end within 15 s"),
    ],
)
def test_a_rank_that_fails_ends_all_in_half_a_minute_with_its_reason_said_once(
    rank: int, how: str, limit: int, said: str, dataset: Path, tmp_path: Path
) -> None:
    given = [f"--data.init_args.folder={dataset}", "--data.init_args.batch_size=4", failing(rank, how, tmp_path)]
    command = sharded(
        2, "-c", str(MINI / "sft.yaml"), f"--out={tmp_path / 'run'}", *given, f"--engine.time_limit={limit}"
    )
    assert said in line_at_the_end(command, tmp_path)


class OwnStrategy(DDPStrategy):
    """One of which nothing is known."""


def test_a_strategy_that_nobody_has_tested_is_refused() -> None:
    trainer = EngineTrainer(accelerator="cpu", devices=2, strategy=OwnStrategy(), logger=False)
    with pytest.raises(
        UserError, match=r"trainer.strategy is OwnStrategy, whose gradients .*: write ddp, or .*_size: 2, tensor"
    ):
        prepare_strategy(trainer, EngineConfig())


@pytest.mark.parametrize("sizes", [None, {"data_parallel_size": 2, "tensor_parallel_size": 1}])
@pytest.mark.parametrize(("limit", "least"), [(7200.0, timedelta(hours=2)), (5.0, timedelta(minutes=30))])
def test_a_process_group_waits_longer_than_the_time_limit_that_says_what_hangs(
    sizes: dict[str, int] | None, limit: float, least: timedelta
) -> None:
    strategy = DDPStrategy() if sizes is None else ModelParallelStrategy(**sizes)
    trainer = EngineTrainer(accelerator="cpu", devices=2, strategy=strategy, logger=False)
    prepare_strategy(trainer, EngineConfig(time_limit=limit))
    assert strategy._timeout is not None
    assert strategy._timeout >= least
    assert strategy._timeout.total_seconds() > limit
