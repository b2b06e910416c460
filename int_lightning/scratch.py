"""Temporary folders that may be as large as a model, and that no process leaves behind: not one that a time limit ended, and one
that was killed only until the next is made."""

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
    """An empty folder for as long as the block lasts. Those that dead processes left in the same place are removed first.

    Args:
        what: Part of its name.
        parent: Where it is made; the machine's temporary folder if not given.
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
    """Removes those of this process, which is about to end without leaving its blocks."""
    for folder in list(_held):
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError), open(folder / _LOCK, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
