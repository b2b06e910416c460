"""The processes of a fit that Lightning started side by side: if one fails or is killed, all end in seconds, with one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import lightning as L
from lightning.pytorch.callbacks import Callback

from int_lightning.console import RANK_0, REASONS, terminal_of
from int_lightning.learn.lightning_internals import ProcessLauncher, starts_its_processes, use_process_launcher
from int_lightning.time_limit import AT_END, end_process
from int_lightning.types import UserError

_SECONDS = 0.5
_GRACE = 3.0
_LEAVING = 20.0


class RanksAlive(Callback):
    """The first process watches its children, and they watch it, from before they have joined each other. A child that fails ends
    at once and leaves its reason to the first process, which says it and ends the others."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._launcher: ProcessLauncher | None = None
        self._is_child = False

    def watch(self, trainer: L.Trainer) -> None:
        """Begins, if there are other processes."""
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        if rank and (parent := os.environ.get(RANK_0)):
            self._is_child = True
            self._start(lambda: self._check_parent(rank, int(parent.partition("/")[0])))
        elif trainer.num_devices > 1 and starts_its_processes(trainer):
            self._launcher = use_process_launcher(trainer)
            self._reasons, write_end = os.pipe()
            os.set_blocking(self._reasons, False)
            os.environ[RANK_0] = terminal_of()
            os.environ[REASONS] = f"{os.getpid()}/fd/{write_end}"
            AT_END.append(self._kill_children)
            self._start(self._check_children)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Ends a child; the first process ends its children, and itself if it cannot leave.

        An exception that is not the user's mistake waits first: calls between processes fail when another one is gone, which is
        then found out and said.
        """
        mistake = isinstance(exception, UserError | KeyboardInterrupt)
        if not mistake:
            self._over.wait(2 * _GRACE)
        if self._is_child and isinstance(exception, Exception):
            traceback.print_exception(exception, file=sys.stderr)
            end_process(_reason(exception))
        self._over.set()
        if self._launcher is not None and not isinstance(exception, KeyboardInterrupt):
            self._kill_children()
            self._end_if_it_cannot_leave(_reason(exception))

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
            end_process(f"rank 0 (process {parent}) was killed, so the fit ends. {_REMEDY}")
        os._exit(1)

    def _check_children(self) -> None:
        assert self._launcher is not None
        for rank, process in enumerate(self._launcher.procs, 1):
            if status := process.poll():
                if status > 0 and self._over.wait(_GRACE):  # this process met the same mistake, and says so itself
                    return
                why = f"ended with status {status}, see library-{rank}.log"
                if status < 0:
                    why = f"was killed by {signal.Signals(-status).name}"
                said = self._said_by_children()
                end_process(said or f"rank {rank} (process {process.pid}) {why}, so the fit ends. {_REMEDY}")

    def _said_by_children(self) -> str:
        """The reason that the first child to fail left; empty if none did."""
        try:
            said = os.read(self._reasons, 1 << 16)
        except BlockingIOError:
            return ""
        return said.partition(b"\0")[0].decode(errors="ignore")

    def _kill_children(self) -> None:
        assert self._launcher is not None
        self._launcher.kill(signal.SIGKILL)

    def _end_if_it_cannot_leave(self, reason: str) -> None:
        """Libraries wait for the other processes when they are closed, some of them forever."""
        timer = threading.Timer(_LEAVING, end_process, [reason])
        timer.daemon = True
        timer.start()


def _reason(exception: BaseException) -> str:
    if isinstance(exception, UserError):
        return str(exception)
    return f"{type(exception).__name__}: {exception} (the traceback is in the log of this process). {_REMEDY}"


_REMEDY = "Continue from the newest checkpoint with --ckpt_path last"
