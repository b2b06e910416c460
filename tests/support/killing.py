"""Killing a run's processes at a random moment. ``INT_KILLS`` says how many moments each test of it tries."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

KILLS = int(os.environ.get("INT_KILLS", "2"))


def killed(command: list[str], out: Path, rng: random.Random) -> bool:
    """Starts a run, and kills all its processes at a moment after its first checkpoint; False if it came to its end before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not (out / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.05)
    time.sleep(rng.uniform(0, 1))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL and not (out / "results.json").exists()
