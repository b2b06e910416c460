"""What a command finds in its run's folder: nothing, its own run to continue, or another run that it must not touch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from yaml import YAMLError

from int_lightning.console import say
from int_lightning.learn.run_record import check_settings
from int_lightning.run_files import DRY_RUN, write_whole
from int_lightning.run_folder.checkpoints import Saved, given, newest
from int_lightning.run_folder.lock import LOCK
from int_lightning.run_folder.settings import differences, flat
from int_lightning.types import UserError
from int_lightning.yaml_text import load_yaml

_OF_NO_MATTER = ("out", "verbose", "config")
_ONLY_OF_A_FIT = "checkpoint_every"
_REFUSED = {
    "max_epochs": (1, "one epoch is the whole run: set its length by data.init_args.epochs or data.init_args.steps"),
    "min_epochs": (None, "one epoch is the whole run"),
    "gradient_clip_val": (None, "gradients are clipped by model.init_args.max_grad_norm"),
    "gradient_clip_algorithm": (None, "gradients are clipped to a norm, by model.init_args.max_grad_norm"),
    "accumulate_grad_batches": (
        1,
        "set the rows of an optimiser step by data.init_args.batch_size, those of a micro-batch by data.init_args.max_tokens",
    ),
    "limit_train_batches": (None, "cut a run short by trainer.max_steps"),
    "overfit_batches": (0.0, "train on few problems by limiting the data"),
    "reload_dataloaders_every_n_epochs": (0, "one epoch is the whole run"),
}


def check_trainer_options(config: Mapping[str, Any]) -> None:
    """Refuses the trainer's keys that would mean nothing, or something else, in our runs.

    Raises:
        UserError: naming the key and the one to use.
    """
    trainer = config["trainer"]
    for name, (neutral, instead) in _REFUSED.items():
        value = trainer.get(name, neutral)
        if value is not None and value != neutral:
            raise UserError(f"trainer.{name} is {value}: leave it out; {instead}")
    if trainer.get("logger") is False:
        raise UserError("trainer.logger is false: leave it out; a run always keeps metrics.csv, a small file")
    steps = trainer.get("max_steps", -1)
    if steps < 1 and steps != -1:
        raise UserError(f"trainer.max_steps is {steps}: give at least 1, or leave it out")


def claim(folder: Path, config: str, free: Sequence[str] = ()) -> None:
    """Writes the ``config.yaml`` of a command that, started again, continues where it stopped.

    Args:
        config: Its text.
        free: Keys that may change when the command continues; the command handles them itself.

    Raises:
        UserError: if the folder holds another run, naming what differs.
    """
    saved = folder / "config.yaml"
    before = flat(_settings_in(saved)) if saved.exists() and _holds_work(folder) else None
    if before and (found := differences(before, flat(load_yaml(config)), (*_OF_NO_MATTER, *free))):
        raise UserError(
            f"--out {folder} already holds another run, with other settings (see {saved}): {found}. Choose another folder"
        )
    write_whole(saved, config)


def checkpoint_of(
    folder: Path, command: str, ckpt_path: str | None, settings: Mapping[str, Any], rank: int
) -> Saved | None:
    """The checkpoint that a fit continues from or that a validation scores; None for a fresh start.

    Args:
        folder: The run's folder.
        ckpt_path: ``last``, a path or nothing.
        settings: The command's settings, flat.
        rank: Of this process; rank 0 compares settings and clears what a run without a checkpoint left.

    Raises:
        UserError: if no such checkpoint exists, if it is damaged or of other settings, or if the folder holds another run.
    """
    if ckpt_path == "best":
        raise UserError("--ckpt_path best: a run keeps its newest checkpoint, not its best: give last, or a path")
    if command == "validate":
        if ckpt_path == "last":
            raise UserError("--ckpt_path last: give the path of a checkpoint, for instance RUN/checkpoints/last.ckpt")
        return given(Path(ckpt_path)) if ckpt_path else None
    checkpoints = folder / "checkpoints"
    ours = (folder / "config.yaml").exists() and _holds_work(folder)
    if ckpt_path is None:
        if ours and rank == 0:
            raise UserError(
                f"--out {folder} already holds a run (see {folder / 'config.yaml'}): choose another folder, or resume it with "
                "--ckpt_path last"
            )
        return None
    saved = newest(checkpoints, rank == 0) if ckpt_path == "last" else given(Path(ckpt_path), rank == 0)
    if rank > 0:
        return saved
    if saved is None:
        _start_afresh(folder, ours)
        return None
    if ours and saved.path.resolve().parent != checkpoints.resolve():
        raise UserError(
            f"--out {folder} already holds a run, and --ckpt_path {ckpt_path} is of another one: choose another folder"
        )
    check_settings(saved, settings)
    return saved


def _start_afresh(folder: Path, ours: bool) -> None:
    """Clears what a run killed before its first checkpoint left behind.

    Raises:
        UserError: if the folder holds more than that.
    """
    if ours:
        if _ONLY_OF_A_FIT not in _settings_in(folder / "config.yaml") or (folder / "model").exists():
            raise UserError(
                f"--out {folder} holds a finished run or one of another command, and no checkpoint: choose another folder"
            )
        (folder / "metrics.csv").unlink(missing_ok=True)
        for name in ("rollouts", "exports"):
            shutil.rmtree(folder / name, ignore_errors=True)
    say(f"{escape(str(folder / 'checkpoints'))} holds no checkpoint yet: the run starts from its first step")


def _settings_in(saved: Path) -> dict[str, Any]:
    try:
        settings = load_yaml(saved.read_text(encoding="utf-8"), saved)
    except (OSError, ValueError, YAMLError):
        settings = None
    if not isinstance(settings, dict):
        raise UserError(f"{saved} cannot be read as the settings of the run in its folder: choose another --out")
    return settings


def _holds_work(folder: Path) -> bool:
    """Whether a run's folder holds more than what a command leaves that ends at once with a mistake."""
    return any(
        file.name not in ("config.yaml", "tensorboard", LOCK, DRY_RUN)
        and not file.match("library*.log")
        and not _is_empty(file)
        for file in folder.iterdir()
    )


def _is_empty(file: Path) -> bool:
    """Whether it is the folder of an evaluation that ended before its first batch."""
    return file.name == "evaluation" and not any(file.rglob("*.parquet"))
