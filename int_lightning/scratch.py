"""Temporary folders, which may be as large as a model. A process that a time limit ends removes its own; what a killed one left
is removed when the next folder is made."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

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
    with TemporaryDirectory(prefix=f"{_PREFIX}{what}-", dir=place, ignore_cleanup_errors=True) as made:
        folder = Path(made)
        with open(folder / _LOCK, "wb") as lock:  # held by this process while it lives
            fcntl.flock(lock, fcntl.LOCK_EX)
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


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError), open(folder / _LOCK, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
