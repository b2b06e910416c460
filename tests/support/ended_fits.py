"""Fits in several processes that end because one of them fails."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def left_of(session: int) -> list[int]:
    """The processes of a session that are still there."""
    left = []
    for pid in [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]:
        try:
            if os.getsid(pid) == session and alive(pid):
                left.append(pid)
        except OSError:  # it has ended meanwhile
            continue
    return left


def line_at_the_end(command: list[str], folder: Path) -> str:
    """What a fit says, all of whose processes end within half a minute of the moment when one fails, which makes the file
    ``since`` in the folder."""
    with open(folder / "said", "w") as file:
        environment = os.environ | {"HANGS_SINCE": str(folder / "since")}
        first = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
    try:
        assert first.wait(300) != 0
        assert (folder / "since").exists(), (folder / "said").read_text()
        assert time.time() - (folder / "since").stat().st_mtime < 30
        deadline = time.monotonic() + 10
        while left_of(first.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left_of(first.pid) == []
    finally:
        for pid in left_of(first.pid):
            os.kill(pid, signal.SIGKILL)
    assert "Traceback" not in (folder / "said").read_text()
    (line,) = [line for line in (folder / "said").read_text().splitlines() if line.startswith("int-lightning: ")]
    return line


def failing(rank: int, how: str, folder: Path) -> str:
    """The callback with which a rank fails."""
    arguments = f"{{rank: {rank}, how: {how}, since: {folder / 'since'}}}"
    return f"--trainer.callbacks=[{{class_path: failing_rank.FailingRank, init_args: {arguments}}}]"
