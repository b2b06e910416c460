"""A callback with which one process of a fit fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from int_lightning.engines.vllm import VLLMEngine
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.types import UserError


class FailingRank(Callback):
    """From its second step, the process of a rank raises a user's mistake, raises an error, hangs, gives its engine wrong
    weights, or is killed while vLLM decodes; a file says since when.

    Args:
        rank: Of the process.
        how: ``mistake``, ``error``, ``hang``, ``sync`` or ``decoding``.
        since: The file, which is made then.
    """

    def __init__(self, rank: int, how: str, since: str) -> None:
        self.rank = rank
        self.how = how
        self.since = Path(since)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_rank != self.rank or trainer.global_step != 1:
            return
        if self.how == "sync":
            self._give_wrong_weights(trainer)
            return
        if self.how == "decoding":
            VLLMEngine.step = self._die  # type: ignore[assignment, method-assign]
            return
        self.since.touch()
        if self.how == "mistake":
            raise UserError("the reward is gone")
        if self.how == "error":
            raise KeyError("the reward is gone")
        time.sleep(600)

    def _give_wrong_weights(self, trainer: L.Trainer) -> None:
        assert isinstance(trainer, EngineTrainer)
        engine: Any = trainer._engine
        load = engine.load_weights

        def load_wrong(weights: Iterable[tuple[str, Tensor]]) -> None:
            self.since.touch()
            load((name, weight + 0.1) for name, weight in weights)

        engine.load_weights = load_wrong

    def _die(self, *_: Any) -> NoReturn:
        self.since.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process goes on")
