"""Callbacks of every fit: progress for the user, exported models, and a time limit for each step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from int_lightning.console import progress
from int_lightning.learn.module import PolicyModule
from int_lightning.run_files import RESULTS, remove, replacing, write_json
from int_lightning.time_limit import time_limit


class FitProgress(Callback):
    """Shows the optimiser steps of a fit, with the metrics that a user watches.

    Args:
        what: What is being fitted.
    """

    WATCHED = ("train/loss", "train/reward", "train/zero_advantage_ratio", "val/nll", "val/pass@1")

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
        self._advance(1, self._watched(trainer))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._advance(0, self._watched(trainer))
        self._stack.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stack.close()

    def _watched(self, trainer: L.Trainer) -> str:
        watched = {k.removeprefix("train/"): trainer.callback_metrics.get(k) for k in self.WATCHED}
        return " ".join(f"{k} {float(v):.4g}" for k, v in watched.items() if v is not None)


class ExportModel(Callback):
    """Writes the trained policy as a Hugging Face folder ``model`` when the fit ends, and then ``results.json``, which says that
    it has ended.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._export(trainer, pl_module, trainer.global_step)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Exports the model of a run that was killed before: after ``max_steps`` Lightning neither trains nor ends training."""
        if 0 < trainer.max_steps <= checkpoint["global_step"]:
            self._export(trainer, pl_module, checkpoint["global_step"])

    def _export(self, trainer: L.Trainer, module: L.LightningModule, steps: int) -> None:
        assert isinstance(module, PolicyModule)
        model = self.folder / "model"
        write_model(module, model)
        if trainer.is_global_zero:
            write_json(self.folder / RESULTS, {"steps": steps, "model": model.name})


class ExportSteps(Callback):
    """Writes the policy in training as a Hugging Face folder ``exports/step-N`` every ``every`` steps. A run that is resumed from
    an earlier step writes the later ones again, as it reaches them.

    Args:
        folder: The run's folder.
        every: Optimiser steps from one export to the next.
        kept: How many are kept: the newest.
    """

    def __init__(self, folder: str, every: int, kept: int) -> None:
        self.folder = Path(folder) / "exports"
        self.every = every
        self.kept = kept

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, PolicyModule)
        if trainer.global_step % self.every:
            return
        self.folder.mkdir(exist_ok=True)
        write_model(pl_module, self.folder / f"step-{trainer.global_step}")
        if trainer.is_global_zero:
            names = (path.name.removeprefix("step-") for path in self.folder.iterdir())
            until_now = sorted(int(n) for n in names if n.isdigit() and int(n) <= trainer.global_step)
            for step in until_now[: -self.kept]:
                remove(self.folder / f"step-{step}")


def write_model(module: PolicyModule, folder: Path) -> None:
    """Writes the policy as a Hugging Face folder, which is there whole or not at all. Every rank calls it."""
    is_writer = module.trainer.is_global_zero
    with replacing(folder, is_writer) as aside:
        if is_writer:
            aside.mkdir()
        module.export_to(aside)


def finished_steps(folder: Path) -> int | None:
    """The steps of the finished fit in a run's folder; None if there is none."""
    results = folder / RESULTS
    if not results.exists():
        return None
    steps: int | None = json.loads(results.read_text(encoding="utf-8")).get("steps")
    return steps


class StepTimeLimit(Callback):
    """Ends the process if an optimiser step does not end, because another process is gone or hangs.

    Args:
        seconds: The limit for a step.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._stack = ExitStack()

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        call = f"rank {trainer.global_rank}, step {trainer.global_step}: the optimiser step"
        self._stack.enter_context(time_limit(self.seconds, call))

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._stack.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stack.close()


def log_held_out(trainer: L.Trainer, metrics: Mapping[str, float]) -> None:
    """Logs metrics of the newest weights as ``val/...`` at the current step, which is 0 for the weights that the run starts from.
    Callbacks find them in ``trainer.callback_metrics``."""
    named = {f"val/{name}": value for name, value in metrics.items()}
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in named.items()})
    for logger in trainer.loggers:
        logger.log_metrics(named, trainer.global_step)
