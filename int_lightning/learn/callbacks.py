"""Callbacks of every fit: progress for the user, the exported model, a checkpoint when the run is interrupted."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from int_lightning.console import progress
from int_lightning.learn.module import PolicyModule


class FitProgress(Callback):
    """Shows the optimiser steps of a fit with the metrics a user watches.

    Args:
        what: What is being fitted.
    """

    WATCHED = ("loss", "reward", "zero_advantage_ratio")

    def __init__(self, what: str) -> None:
        self.what = what
        self._stack = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        total = int(trainer.num_training_batches)
        if trainer.max_steps > 0:
            total = min(total, trainer.max_steps)
        self._advance = self._stack.enter_context(progress(self.what, total, "steps"))
        self._advance(trainer.global_step, "")

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        watched = {k: trainer.callback_metrics.get(f"train/{k}") for k in self.WATCHED}
        self._advance(1, " ".join(f"{k} {float(v):.4g}" for k, v in watched.items() if v is not None))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stack.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stack.close()


class ExportModel(Callback):
    """Writes the trained policy as a Hugging Face folder when the fit ends.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, PolicyModule)
        pl_module.export_to(Path(self.folder))


class InterruptCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that also saves ``interrupted.ckpt`` on KeyboardInterrupt and SIGTERM, and on nothing else.

    Saving on any exception would hang the other ranks when a single one raised.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _interrupt)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and self.dirpath is not None and trainer.global_step:
            trainer.save_checkpoint(str(Path(self.dirpath) / "interrupted.ckpt"))


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {signum}")
