"""Which checkpoint a fit resumes from, and whether it is whole.

A checkpoint is a file, or a folder of shards that several processes wrote. Its key ``RECORD`` holds what it was trained with.
"""

from __future__ import annotations

import pickle  # only for the name of its error
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape

from int_lightning.console import say
from int_lightning.run_folder.sharded import damage
from int_lightning.types import UserError

RECORD = "int_lightning_run"
FORMAT = 2
"""Of the record. The settings of format 1 had the modules of classes, and keys with other names."""
_LAST = "last.ckpt"
_OF_A_FOLDER = "meta.pt"


@dataclass(frozen=True)
class Saved:
    """A checkpoint that can be read.

    Args:
        path: The file or folder.
        step: Optimiser steps taken.
        settings: The run's settings, flat.
        contents: Digests of what some of the settings name.
    """

    path: Path
    step: int
    settings: Mapping[str, Any]
    contents: Mapping[str, str]


class DamagedError(Exception):
    """Why a checkpoint cannot be read."""


def newest(folder: Path, to_its_end: bool = True) -> Saved | None:
    """The newest checkpoint in a run's folder of checkpoints; None if it has none. Says so if ``last.ckpt`` does not point to it.

    Args:
        to_its_end: Whether to read all of it, for its checksums. One process of several does.

    Raises:
        UserError: if ``last.ckpt`` is damaged, or all are; names one to resume from, if there is one.
    """
    last = folder / _LAST
    whole: list[Saved] = []
    damaged: dict[Path, DamagedError] = {}
    for path in sorted({path.resolve() for path in folder.glob("*.ckpt") if path.exists()}):
        try:
            whole.append(_read(path))
        except DamagedError as error:
            damaged[path] = error
    whole.sort(key=lambda saved: (saved.step, saved.path == last.resolve()))
    fatal = [path for path in damaged if not whole or path == last.resolve()]
    if fatal:
        raise UserError(_remedy(fatal[0], damaged[fatal[0]], whole))
    for path, reason in damaged.items():
        say(f"[yellow]{escape(str(path))} cannot be resumed from and is passed over[/] ({escape(str(reason))})")
    if not whole and last.is_symlink():
        raise UserError(
            f"{last} points to {last.readlink()}, which is gone, and it is the only checkpoint: put it back, or start the run "
            "again in another --out"
        )
    if not whole:
        return None
    found = whole[-1]
    if found.path == last.resolve():
        found = replace(found, path=last)  # Lightning keeps a checkpoint that it was given under its own name
    else:
        why = "is older" if last.exists() else "points to nothing" if last.is_symlink() else "is missing"
        say(f"{escape(str(last))} {why}: resuming from {escape(found.path.name)}, the newest, of step {found.step}")
    return _checked(found, whole[:-1]) if to_its_end else found


def given(path: Path, to_its_end: bool = True) -> Saved:
    """A checkpoint that the user names; see ``newest``.

    Raises:
        UserError: if it does not exist or is damaged; names another one of its folder, if there is a whole one.
    """
    if not path.exists():
        raise UserError(f"--ckpt_path {path}: this checkpoint does not exist: give last, or a path that exists")
    try:
        saved = _read(path)
        return _checked(saved, _others(path)) if to_its_end else saved
    except DamagedError as error:
        raise UserError(_remedy(path, error, _others(path))) from error


def _others(path: Path) -> list[Saved]:
    found = []
    for other in path.absolute().parent.glob("*.ckpt"):
        if other.exists() and other.resolve() != path.resolve():
            try:
                found.append(_read(other.resolve()))
            except DamagedError:
                continue
    return sorted(found, key=lambda saved: saved.step)


def _read(path: Path) -> Saved:
    """What a checkpoint says about itself, without loading its tensors."""
    file = path / _OF_A_FOLDER if path.is_dir() else path
    if not file.exists():
        raise DamagedError(f"its {file.name} is missing")
    if not zipfile.is_zipfile(file):
        raise DamagedError("it was cut short, or never was one")
    try:
        checkpoint = torch.load(file, mmap=True, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise DamagedError("it holds other things than tensors and plain values") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise DamagedError("its index cannot be read") from error
    if not isinstance(checkpoint, dict) or RECORD not in checkpoint:
        raise DamagedError(
            "it does not say what it was trained with: `int-lightning fit` of this version did not write it"
        )
    record = dict(checkpoint[RECORD])
    if record.pop("format", 1) != FORMAT:
        raise DamagedError("another version of int-lightning wrote it, whose settings had other names")
    return Saved(path, checkpoint["global_step"], **record)


def _checked(saved: Saved, others: list[Saved]) -> Saved:
    """Reads the checkpoint to its end, for its checksums.

    Raises:
        UserError: if they do not match the content.
    """
    found = damage(saved.path) if saved.path.is_dir() else _damaged_bytes(saved.path)
    if found:
        raise UserError(_remedy(saved.path, DamagedError(found), others))
    return saved


def _damaged_bytes(file: Path) -> str | None:
    with zipfile.ZipFile(file) as archive:
        try:
            intact = archive.testzip() is None
        except zipfile.BadZipFile:
            intact = False
    return None if intact else "its bytes are not those that were written"


def _remedy(path: Path, error: DamagedError, others: list[Saved]) -> str:
    where = f"{path} cannot be resumed from ({error})"
    if others:
        return f"{where}: resume from that of step {others[-1].step} with --ckpt_path {others[-1].path}"
    return f"{where}, and it is the only one in its folder: give another one, or start the run again in another --out"
