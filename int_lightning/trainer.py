"""The Trainer whose extra methods are the commands ``collect``, ``evaluate`` and ``run``."""

from __future__ import annotations

from typing import Any

import lightning as L

from int_lightning.engines.base import Engine, EngineConfig


class IntTrainer(L.Trainer):
    """Lightning's Trainer with a run folder and an engine.

    ``engine_config`` is set by the command line; ``open_engine`` starts the engine when something first needs it.
    """

    engine_config: EngineConfig = EngineConfig()
    seed: int = 0

    def open_engine(self, folder: str) -> Engine:
        """The engine, serving the weights of a model folder."""
        from int_lightning.engines import open_engine

        return open_engine(folder, self.engine_config)


def trainer_defaults() -> dict[str, Any]:
    """Settings of every fit: one epoch is the whole run, and validation follows the number of steps."""
    return {
        "max_epochs": 1,
        "check_val_every_n_epoch": None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "inference_mode": False,
        "log_every_n_steps": 1,
    }
