"""Which of Lightning's strategies train one model on several processes, the one that a single process would train."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy

from int_lightning.engines.base import EngineConfig
from int_lightning.learn.lightning_internals import let_exchanges_take, mesh_sizes, starts_its_processes
from int_lightning.time_limit import MARGIN
from int_lightning.types import UserError


def prepare_strategy(trainer: L.Trainer, engine: EngineConfig) -> None:
    """Refuses a strategy that would train another model than one process does, and lets exchanges between processes take longer
    than ``engine.time_limit``, whose message then comes first. Nothing is loaded before.

    Each process trains on its own rows, so the data-parallel size has to be the number of processes; and the gradient has to be
    clipped by its norm over all of them.

    Raises:
        UserError: with the strategy to write instead.
    """
    _check_engine(engine, trainer.world_size)
    strategy = trainer.strategy
    mesh = f"{{data_parallel_size: {trainer.world_size}, tensor_parallel_size: 1}}"
    fsdp = f"{{class_path: ModelParallelStrategy, init_args: {mesh}}}"
    if isinstance(strategy, ModelParallelStrategy):
        data, tensor = mesh_sizes(strategy)
        if (data, tensor) != (trainer.world_size, 1):
            raise UserError(
                f"trainer.strategy is a ModelParallelStrategy with data_parallel_size {data} and tensor_parallel_size {tensor} "
                f"on {trainer.world_size} process(es), which would not train one model: write {fsdp}"
            )
    elif type(strategy) not in (SingleDeviceStrategy, DDPStrategy):  # not isinstance: DeepSpeed's is a DDPStrategy
        raise UserError(
            f"trainer.strategy is {type(strategy).__name__}, whose gradients a fit does not clip by their norm over all "
            f"processes: write ddp, or to shard the model {fsdp}"
        )
    if strategy.launcher is not None and not starts_its_processes(trainer):
        raise UserError(
            f"trainer.strategy starts its processes by fork or spawn, which a fit cannot: write ddp, or {fsdp}"
        )
    if isinstance(strategy, DDPStrategy | ModelParallelStrategy):
        let_exchanges_take(strategy, engine.time_limit + MARGIN)


def _check_engine(engine: EngineConfig, processes: int) -> None:
    if processes % engine.tensor_parallel_size:
        raise UserError(
            f"engine.tensor_parallel_size is {engine.tensor_parallel_size}, and the fit has {processes} process(es): an engine "
            "spans that many of them. Set trainer.devices to a multiple of it, or engine.tensor_parallel_size to 1"
        )
