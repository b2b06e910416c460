"""The processes of a fit that Lightning started side by side: if one is killed, the others end at once, with one line."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import lightning as L
from lightning.pytorch.callbacks import Callback

from int_lightning.console import RANK_0, complain, terminal_of
from int_lightning.learn.lightning_internals import ProcessLauncher
from int_lightning.types import UserError

_SECONDS = 0.5
_GRACE = 3.0


class RanksAlive(Callback):
    """The first process watches its children, and they watch it, from before they have joined each other."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._launcher: ProcessLauncher | None = None

    def watch(self, trainer: L.Trainer) -> None:
        """Begins, if there are other processes."""
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        if rank and (parent := os.environ.get(RANK_0)):
            self._start(lambda: self._check_parent(rank, int(parent.partition("/")[0])))
        elif isinstance(trainer.strategy.launcher, ProcessLauncher) and trainer.num_devices > 1:
            self._launcher = trainer.strategy.launcher
            os.environ[RANK_0] = terminal_of()
            self._start(self._check_children)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Waits until it is known which process is gone, the reason to give: calls between processes fail sooner."""
        if not isinstance(exception, UserError | KeyboardInterrupt):
            self._over.wait(2 * _GRACE)
        self._over.set()
        if self._launcher is not None and not isinstance(exception, KeyboardInterrupt):
            self._launcher.kill(signal.SIGKILL)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Ends."""
        self._over.set()

    def _start(self, check: Callable[[], None]) -> None:
        def run() -> None:
            while not self._over.wait(_SECONDS):
                check()

        threading.Thread(target=run, daemon=True, name="ranks").start()

    def _check_parent(self, rank: int, parent: int) -> None:
        if os.getppid() == parent:
            return
        if rank == 1:
            complain(f"rank 0 (process {parent}) was killed, so the fit ends. {_REMEDY}")
        os._exit(1)

    def _check_children(self) -> None:
        assert self._launcher is not None
        for rank, process in enumerate(self._launcher.procs, 1):
            if status := process.poll():
                which, why = f"rank {rank} (process {process.pid})", f"ended with status {status}, see library.log"
                if status < 0:
                    why = f"was killed by {signal.Signals(-status).name}"
                elif self._over.wait(_GRACE):  # this process found out why, and said so itself
                    return
                complain(f"{which} {why}, so the fit ends. {_REMEDY}")
                self._launcher.kill(signal.SIGKILL)
                os._exit(1 if status < 0 else status)


_REMEDY = "Continue from the newest checkpoint with --ckpt_path last"
