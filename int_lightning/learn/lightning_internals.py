"""Every private part of Lightning that the fits use, each with what it is needed for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import lightning as L
from lightning.fabric.plugins.collectives.torch_collective import default_pg_timeout
from lightning.fabric.strategies.launchers.subprocess_script import _set_num_threads_if_needed
from lightning.fabric.utilities.load import _load_distributed_checkpoint
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector

CheckpointConnector = _CheckpointConnector
"""Reads checkpoints for a Trainer, which has no hook around that."""

load_distributed_checkpoint = _load_distributed_checkpoint
"""Reads a folder of shards into one process; Lightning offers it only as a command."""


class ProcessLauncher(_SubprocessScriptLauncher):
    """Starts the other processes of a fit, and has them. Lightning's own launcher also has a thread that kills the first process
    within five seconds of another one's failure, before it can say why."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: L.Trainer | None = None, **kwargs: Any) -> Any:
        """See ``_SubprocessScriptLauncher.launch``."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        self._call_children_scripts()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


def starts_its_processes(trainer: L.Trainer) -> bool:
    """Whether a trainer would start the other processes of a fit with this one's command line."""
    return isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)


def use_process_launcher(trainer: L.Trainer) -> ProcessLauncher:
    """Has a trainer that starts its processes itself do so with a ``ProcessLauncher``; a strategy takes none as an argument."""
    given = trainer.strategy.launcher
    assert isinstance(given, _SubprocessScriptLauncher)
    launcher = ProcessLauncher(given.cluster_environment, given.num_processes, given.num_nodes)
    trainer.strategy._launcher = launcher
    return launcher


def mesh_sizes(strategy: ModelParallelStrategy) -> tuple[int, int]:
    """The data-parallel and the tensor-parallel size that a strategy will have; it finds out when its processes have started."""
    data, tensor = strategy._data_parallel_size, strategy._tensor_parallel_size
    return (
        strategy.num_nodes if data == "auto" else int(data),
        strategy.num_processes if tensor == "auto" else int(tensor),
    )


def let_exchanges_take(strategy: DDPStrategy | ModelParallelStrategy, seconds: float) -> None:
    """Makes the process group wait at least this long for other processes. The command line has made the strategy by then, and
    its ``timeout`` cannot be given afterwards."""
    strategy._timeout = max(strategy._timeout or default_pg_timeout, timedelta(seconds=seconds))


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
