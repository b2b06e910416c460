"""A callback with which one process of a fit fails."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from int_lightning.types import UserError


class FailingRank(Callback):
    """In its second step, the process of a rank raises a user's mistake, raises an error, or hangs; a file says since when.

    Args:
        rank: Of the process.
        how: ``mistake``, ``error`` or ``hang``.
        since: The file, which is made then.
    """

    def __init__(self, rank: int, how: str, since: str) -> None:
        self.rank = rank
        self.how = how
        self.since = Path(since)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_rank != self.rank or trainer.global_step != 1:
            return
        self.since.touch()
        if self.how == "mistake":
            raise UserError("the reward is gone")
        if self.how == "error":
            raise KeyError("the reward is gone")
        time.sleep(600)
