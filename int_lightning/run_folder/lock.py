"""One command at a time writes into a run's folder."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.markup import escape

from int_lightning.console import say
from int_lightning.types import UserError

LOCK = ".lock"
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_PR_SET_PDEATHSIG = 1
_held: list[IO[str]] = []


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other commands out of a run's folder, which is made if it is missing. The operating system releases the lock when the
    process that holds it ends, in any way; the file itself stays.

    Raises:
        UserError: if another command is at work there, or if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror}. Choose another folder") from error
    with file:
        _take(file, folder)
        _held.append(file)
        try:
            yield
        finally:
            _held.remove(file)


def _take(file: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        raise UserError(
            f"--out {folder} is in use by {holder}: wait until that command has ended, or choose another folder"
        ) from error
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        say(
            f"[yellow]the file system of {escape(str(folder))} has no locks ({error.strerror}): make sure that no other "
            "command writes into this folder[/]"
        )
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()


def end_with_parent() -> None:
    """Called in a child before its program starts: it ends when its parent ends, and so does the lock that it takes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _let_go_in_child() -> None:
    """Closes the locks in a forked child, which would otherwise keep them when its parent is killed."""
    for file in _held:
        os.close(file.fileno())


os.register_at_fork(after_in_child=_let_go_in_child)
