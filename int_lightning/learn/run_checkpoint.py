"""Checkpoints of a fit, each of which is there whole or not at all."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.markup import escape

from int_lightning.console import say
from int_lightning.learn.lightning_internals import metrics_of_ending_step
from int_lightning.learn.metrics_csv import MetricsCSV
from int_lightning.run_files import replacing

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class RunCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that also saves after the last step, and after a step during which SIGINT or SIGTERM arrived.

    The last step is saved as a step, not as the end of an epoch, so that a run cut short by ``max_steps`` can continue. An
    interrupted run finishes its step, saves ``interrupted.ckpt`` and ends non-zero; a second signal ends it at once. Nothing is
    saved on exceptions: if one rank raised, the others would hang.
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
        """The same name for every number of steps between checkpoints."""
        return type(self).__name__

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores its list of checkpoints, with their new paths if the run's folder was moved."""
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
        """Saves aside and renames, so that a run that dies meanwhile keeps its earlier checkpoint. Every rank calls it.

        Raises:
            UserError: if it cannot be written.
        """
        _log_ending_step(trainer)
        with replacing(Path(filepath), trainer.is_global_zero) as aside:
            if trainer.is_global_zero:
                aside.parent.mkdir(exist_ok=True)
            trainer.strategy.barrier("before a checkpoint is saved")
            super()._save_checkpoint(trainer, str(aside))
        trainer.strategy.barrier("after a checkpoint was saved")
        self._last_checkpoint_saved = filepath

    @staticmethod
    def _link_checkpoint(trainer: L.Trainer, filepath: str, linkpath: str) -> None:
        """Points the link to another checkpoint of its folder, without a moment in which it points to nothing."""
        if trainer.is_global_zero:
            with replacing(Path(linkpath)) as aside:
                aside.symlink_to(Path(filepath).name)
        trainer.strategy.barrier("after the newest checkpoint was linked")

    def _remove_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        """Removes a checkpoint, once ``last.ckpt`` points to the newest one."""
        assert self.dirpath is not None
        self._link_checkpoint(trainer, self._last_checkpoint_saved, f"{self.dirpath}/{self.CHECKPOINT_NAME_LAST}.ckpt")
        super()._remove_checkpoint(trainer, filepath)

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
        say("interrupted: a checkpoint is saved after this step; interrupt again to end at once")


def _log_ending_step(trainer: L.Trainer) -> None:
    """Logs the metrics of the ending step before its checkpoint is saved, so that a run that is killed in between has them."""
    row = metrics_of_ending_step(trainer)
    if row is None:
        return
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.log_metrics(*row)
