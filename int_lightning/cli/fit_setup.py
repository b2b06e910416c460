"""What every fit of the command line has: Lightning's defaults, loggers, checkpoints, and a collection run before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from rich.markup import escape

from int_lightning import console
from int_lightning.learn.metrics_csv import MetricsCSV
from int_lightning.learn.run_checkpoint import RunCheckpoint
from int_lightning.learn.tensorboard import RunTensorBoard
from int_lightning.run_folder.lock import end_with_parent
from int_lightning.sft.data import InterventionData
from int_lightning.types import UserError

FIT_DEFAULTS = {
    "max_epochs": 1,
    "check_val_every_n_epoch": None,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
    "inference_mode": False,
    "log_every_n_steps": 1,
}


def run_loggers(out: str) -> list[Logger]:
    """``metrics.csv`` and TensorBoard events in the run's folder."""
    return [MetricsCSV(out), RunTensorBoard(out)]


def run_checkpoints(out: str, every: int) -> ModelCheckpoint:
    """Keeps the newest checkpoint, written every ``every`` steps and after the last one; ``last.ckpt`` links to it."""
    return RunCheckpoint(
        dirpath=f"{out}/checkpoints",
        filename="step-{step}",
        every_n_train_steps=every,
        save_on_train_epoch_end=False,
        save_last="link",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )


def collect_first(data: InterventionData) -> None:
    """Runs the collection that the data needs in a separate process, because an engine leaves a process group behind in which a
    fit on several devices could not start.

    Raises:
        UserError: if that collection fails.
    """
    if not Path(data.collect_config or "").is_file():
        raise UserError(
            f"data.collect_config: {data.collect_config} does not exist: give the config of a collection, or null and a "
            f"data.folder with one ({data.folder} has none)"
        )
    console.say(escape(f"{data.folder} has no finished collection: collecting with {data.collect_config} first"))
    command = [sys.executable, "-m", "int_lightning", "collect", f"--config={data.collect_config}"]
    done = subprocess.run(  # noqa: S603
        [*command, f"--out={data.folder}"],
        check=False,
        stdout=console.console.file,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,
    )
    if done.returncode:
        reason = done.stderr.strip().removeprefix("int-lightning: ") or f"exit status {done.returncode}"
        raise UserError(f"{data.folder}: the collection failed: {reason}")
