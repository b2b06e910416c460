"""Callbacks of every fit: progress for the user, the exported model, a checkpoint when the run is interrupted."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from rich.markup import escape

from int_lightning.console import progress, say
from int_lightning.learn.metrics_csv import MetricsCSV
from int_lightning.learn.module import PolicyModule
from int_lightning.run_files import RESULTS, replacing, write_json
from int_lightning.time_limit import time_limit


class FitProgress(Callback):
    """Shows the optimiser steps of a fit with the metrics a user watches.

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
    it came to its end.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._export(trainer, pl_module, trainer.global_step)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """For a run that was killed before its model was written: Lightning trains nothing after ``max_steps``, and so ends
        nothing either."""
        if 0 < trainer.max_steps <= checkpoint["global_step"]:
            self._export(trainer, pl_module, checkpoint["global_step"])

    def _export(self, trainer: L.Trainer, module: L.LightningModule, steps: int) -> None:
        assert isinstance(module, PolicyModule)
        model = self.folder / "model"
        with replacing(model, trainer.is_global_zero) as aside:
            if trainer.is_global_zero:
                aside.mkdir()
            module.export_to(aside)
        if trainer.is_global_zero:
            write_json(self.folder / RESULTS, {"steps": steps, "model": model.name})


def finished_steps(folder: Path) -> int | None:
    """The steps of the fit that came to its end in a run's folder; None if none did."""
    results = folder / RESULTS
    if not results.exists():
        return None
    steps: int | None = json.loads(results.read_text(encoding="utf-8")).get("steps")
    return steps


class StepTimeLimit(Callback):
    """Ends the process where an optimiser step does not come to its end, for another process is gone or hangs.

    Args:
        seconds: The limit.
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


_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class RunCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that also saves after the last step, and after the step during which SIGINT or SIGTERM came.

    The last step is saved as a step, not as the end of an epoch, so that a run cut short by ``max_steps`` can be taken
    further. An interrupted run finishes its step, saves ``interrupted.ckpt`` and ends non-zero; a second signal ends it at
    once. Nothing is saved on exceptions: with one rank raising, the others would hang.
    """

    _requested = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if threading.current_thread() is threading.main_thread():
            self._handlers = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for number, handler in self.__dict__.pop("_handlers", {}).items():
            signal.signal(number, handler)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        super().on_train_batch_end(trainer, *args, **kwargs)
        ends = (trainer.max_steps, trainer.num_training_batches)
        if trainer.global_step in ends and self._last_global_step_saved != trainer.global_step:
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)
        if trainer.strategy.reduce_boolean_decision(self._requested, all=False):
            assert self.dirpath is not None
            path = Path(self.dirpath) / "interrupted.ckpt"
            self._save_checkpoint(trainer, str(path))
            say(f"interrupted after step {trainer.global_step}; continue with --ckpt_path {escape(str(path))}")
            raise KeyboardInterrupt

    @property
    def state_key(self) -> str:
        """One name, whatever the steps between checkpoints are."""
        return type(self).__name__

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what it knew of its checkpoints, where they are now if the run's folder was moved meanwhile."""
        before, now = str(state_dict.get("dirpath")), str(self.dirpath)
        newest = Path(now) / Path(state_dict["best_model_path"]).name
        if before != now and newest.exists():
            moved = {path: path.replace(before, now, 1) for path in state_dict["best_k_models"]}
            best = {moved[path]: score for path, score in state_dict["best_k_models"].items()}
            kept = {key: state_dict[key] for key in ("best_model_score", "kth_value")}
            paths = {key: state_dict[key].replace(before, now, 1) for key in _PATHS}
            state_dict = {**kept, **paths, "best_k_models": best, "dirpath": now}
        super().load_state_dict(state_dict)

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        """Saves aside and renames, so that a run that dies meanwhile keeps the checkpoint it had. Every rank calls it.

        Raises:
            UserError: if it cannot be written.
        """
        _keep_step_metrics(trainer)
        with replacing(Path(filepath), trainer.is_global_zero) as aside:
            if trainer.is_global_zero:
                aside.parent.mkdir(exist_ok=True)
            trainer.strategy.barrier("before a checkpoint is saved")
            super()._save_checkpoint(trainer, str(aside))
        trainer.strategy.barrier("after a checkpoint was saved")
        self._last_checkpoint_saved = filepath

    @staticmethod
    def _link_checkpoint(trainer: L.Trainer, filepath: str, linkpath: str) -> None:
        """Lets the link point to another checkpoint of its folder, without a moment in which it points to none."""
        if trainer.is_global_zero:
            with replacing(Path(linkpath)) as aside:
                aside.symlink_to(Path(filepath).name)
        trainer.strategy.barrier("after the newest checkpoint was linked")

    def _remove_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        """Removes a checkpoint, after ``last.ckpt`` points to the newest one."""
        assert self.dirpath is not None
        self._link_checkpoint(trainer, self._last_checkpoint_saved, f"{self.dirpath}/{self.CHECKPOINT_NAME_LAST}.ckpt")
        super()._remove_checkpoint(trainer, filepath)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
        say("interrupted: a checkpoint is saved after this step; interrupt again to end at once")


def _keep_step_metrics(trainer: L.Trainer) -> None:
    """Writes the row of the step that ends, if one does: Lightning writes it after the checkpoint, and a run that is killed in
    between would never have it."""
    connector = trainer._logger_connector
    within_a_step = connector._first_loop_iter is not None
    for logger in trainer.loggers if within_a_step else []:
        if isinstance(logger, MetricsCSV):
            row = {**cast(dict[str, float], connector.metrics["log"]), "epoch": trainer.current_epoch}
            logger.log_metrics(row, trainer.fit_loop.epoch_loop._batches_that_stepped)


def log_held_out(trainer: L.Trainer, metrics: Mapping[str, float]) -> None:
    """Logs metrics of the newest weights as ``val/...``, at the number of optimiser steps taken: 0 for the weights that the run
    starts from. Callbacks find them in ``trainer.callback_metrics``."""
    named = {f"val/{name}": value for name, value in metrics.items()}
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in named.items()})
    for logger in trainer.loggers:
        logger.log_metrics(named, trainer.global_step)
