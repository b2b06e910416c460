"""Files in a run's folder, which are there whole or not at all, and what is said if they cannot be written or read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from int_lightning.types import UserError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

RESULTS = "results.json"
"""In a run's folder once its command has ended."""

DRY_RUN = "dry-run.json"
"""What a dry run found; its folder stays free for any run."""


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file; see ``write_whole``."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file; see ``replacing``."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path, is_writer: bool = True) -> Iterator[Path]:
    """Yields a name beside ``path`` for a file, a folder or a link, which takes the place of ``path`` when the block ends.

    ``path`` is there whole or not at all, after a power cut too: everything is flushed to the disk before the rename. What a
    killed process left under the name beside it is removed first.

    Args:
        path: What is written.
        is_writer: Whether this process does that: of several that enter the block together, one does.

    Raises:
        UserError: if it cannot be written; ``path`` is then as it was.
    """
    aside = path.with_suffix(".tmp")
    with written(path):
        if is_writer:
            remove(aside)
        yield aside
        if is_writer:
            flush(aside)
            if path.is_dir() and not path.is_symlink():
                remove(path)  # a folder cannot be renamed over another one
            aside.replace(path)
            _fsync(path.parent)


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Waits until a file, or a folder with all that is in it, is on the disk."""
    if path.is_symlink():
        return
    if path.is_dir():
        for inner in path.iterdir():
            flush(inner)
    _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(value: Any) -> str:
    """16 hex digits that stand for a JSON value."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest()


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Says so, and what to do, if writing ``path`` fails for lack of room or access, or because its folder is gone."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise not_written(path, error) from error


def not_written(path: Path | str, error: Exception) -> UserError:
    """What to say about a file that could not be written."""
    remedy = ". What was written before is intact: make room or access and run the command again"
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        remedy = (
            ": its folder was deleted or moved meanwhile. Put it back and run the command again, or give another --out"
        )
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
    return UserError(f"{path} could not be written ({reason}){remedy}")


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that caused it, each once: a chain is cyclic if one object is raised again."""
    seen: set[int] = set()
    found: list[BaseException | None] = [error]
    while found:
        if (cause := found.pop(0)) is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            found += [cause.__cause__, cause.__context__]


def lacked_room(error: BaseException) -> OSError | None:
    """What caused an exception, if it is a full disk or a quota."""
    return next((e for e in causes(error) if isinstance(e, OSError) and e.errno in _NO_ROOM), None)


@contextmanager
def read(path: Path) -> Iterator[None]:
    """Says so if reading ``path`` fails."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} could not be read ({error.strerror or error}): put it back, or run the command again"
        ) from error
