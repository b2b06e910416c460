"""Temporary folders, which may be as large as a model. A process that a time limit ends removes its own; what a killed one left
is removed when the next folder is made."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import BinaryIO

_PREFIX = "int-lightning-"
_LOCK = "owner"
_held: set[Path] = set()


@contextmanager
def scratch_folder(what: str, parent: str | None = None) -> Iterator[Path]:
    """An empty folder that exists during the block. Folders that dead processes left in the same place are removed first.

    Args:
        what: Its name, and part of that of the folder around it.
        parent: Where it is made; None is the machine's temporary folder.
    """
    place = Path(parent or gettempdir())
    for other in place.glob(f"{_PREFIX}{what}-*"):
        _remove_if_left(other)
    made, lock = _made_and_locked(f"{_PREFIX}{what}-", place)
    with made, lock:
        folder = Path(made.name)
        _held.add(folder)
        try:
            inner = folder / what
            inner.mkdir()
            yield inner
        finally:
            _held.discard(folder)


def remove_scratch_folders() -> None:
    """Removes the folders of this process, which is about to end without leaving its blocks."""
    for folder in list(_held):
        shutil.rmtree(folder, ignore_errors=True)


def _made_and_locked(prefix: str, place: Path) -> tuple[TemporaryDirectory[str], BinaryIO]:
    """A new folder and its lock, which this process holds while it lives. Before it does, another process may take the folder
    for one that was left, and remove it: then another one is made."""
    while True:
        made = TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True)
        path = Path(made.name) / _LOCK
        lock = open(path, "wb")  # noqa: SIM115
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return made, lock
        lock.close()
        made.cleanup()


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError), open(folder / _LOCK, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
