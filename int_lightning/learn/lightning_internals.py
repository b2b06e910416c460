"""Every private part of Lightning that the fits use, each with what it is needed for."""

from __future__ import annotations

from typing import cast

import lightning as L
from lightning.fabric.utilities.load import _load_distributed_checkpoint
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector

CheckpointConnector = _CheckpointConnector
"""Reads checkpoints for a Trainer, which has no hook around that."""

load_distributed_checkpoint = _load_distributed_checkpoint
"""Reads a folder of shards into one process; Lightning offers it only as a command."""

ProcessLauncher = _SubprocessScriptLauncher
"""Starts the other processes of a fit, and has them: only to watch them, which Lightning does not."""


def use_connector(trainer: L.Trainer, connector: CheckpointConnector) -> None:
    """Has a trainer read checkpoints with this connector; ``Trainer`` takes none as an argument."""
    trainer._checkpoint_connector = connector


def rank_of_process() -> int:
    """The rank of this process as its launcher set it, before there is a Trainer to ask; 0 without a launcher."""
    return _get_rank() or 0


def forget_step_metrics(trainer: L.Trainer) -> None:
    """Forgets what the last step logged: Lightning would log it again for a step that does not measure it."""
    for metric in trainer._results.values() if trainer._results else ():
        if not metric.meta.on_epoch:
            metric.reset()


def metrics_of_ending_step(trainer: L.Trainer) -> tuple[dict[str, float], int] | None:
    """The row that Lightning is about to log for the step that ends, and its number; None between steps. Lightning logs it after
    it has saved a checkpoint, and a run that is killed in between would never have it."""
    connector = trainer._logger_connector
    if connector._first_loop_iter is None:
        return None
    metrics = {**cast(dict[str, float], connector.metrics["log"]), "epoch": trainer.current_epoch}
    return metrics, trainer.fit_loop.epoch_loop._batches_that_stepped


class CommandLine(LightningCLI):
    """LightningCLI with a hook after the command line is parsed and before anything is built, which it has not: setting the seed
    is the first thing that it does then."""

    def after_parsing(self) -> None:
        """Called once."""

    def _set_seed(self) -> None:
        self.after_parsing()
        super()._set_seed()
