"""One of several processes of a fit is killed: one line names it, and none of the others is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from commands import MINI, sharded


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


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
