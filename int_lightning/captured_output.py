"""Where output of libraries goes: into a file of the run's folder, so that the user sees ours alone."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.markup import escape

from int_lightning.console import RANK_0, say, shown_on
from int_lightning.visible import visible

_redirected = False


class _OurLog(logging.Handler):
    """Shows our own log records on the console."""

    def emit(self, record: logging.LogRecord) -> None:
        say(escape(record.getMessage()), style="yellow" if record.levelno >= logging.WARNING else None)


class _LibraryLog(logging.Handler):
    """Writes the log records of libraries to what stderr is at the time: a file in a quiet run."""

    def emit(self, record: logging.LogRecord) -> None:
        print(visible(self.format(record)), file=sys.stderr)


class _LibraryFile(io.FileIO):
    """Drops what does not fit on the disk: output of a library is not a reason to end a run."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            return super().write(data) or len(data)
        return len(data)


def _open_terminal(inherited: int) -> int:
    """Where things are shown to the user. A process that the first one of a fit started uses that one's terminal, because it
    inherits a log file."""
    with suppress(OSError):
        if int(os.environ.get("LOCAL_RANK", "0")) and (first := os.environ.get(RANK_0)):
            return os.open(f"/proc/{first}", os.O_WRONLY | os.O_APPEND)
    return os.dup(inherited)


@contextmanager
def library_output_to(log_file: Path) -> Iterator[None]:
    """Sends all that is written to stdout and stderr, by C code too, into ``log_file``; the console keeps the terminal.

    Warnings and log records of libraries go there too. A block within another one changes nothing.
    """
    global _redirected
    if _redirected:
        yield
        return
    _redirected = True
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal, errors = os.dup(1), os.dup(2)
    sink = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    streams = sys.stdout, sys.stderr
    with os.fdopen(_open_terminal(terminal), "w", encoding="utf-8", buffering=1) as stream, shown_on(stream):
        try:
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            library = _LibraryFile(os.dup(sink), "w", closefd=False)
            weakref.finalize(library, os.close, library.fileno())  # libraries keep it after this block
            sys.stdout = sys.stderr = io.TextIOWrapper(
                io.BufferedWriter(library), encoding="utf-8", line_buffering=True
            )
            yield
        finally:
            sys.stdout.flush()
            sys.stdout, sys.stderr = streams
            os.dup2(terminal, 1)
            os.dup2(errors, 2)
            for fd in (terminal, errors, sink):
                os.close(fd)
            _redirected = False


def configure_logging(verbose: bool) -> None:
    """Our own log records go to the console, those of libraries to stderr, which is a file in a quiet run."""
    ours = logging.getLogger("int_lightning")
    ours.handlers = [_OurLog()]
    ours.setLevel(logging.INFO)
    ours.propagate = False
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    if not any(isinstance(h, _LibraryLog) for h in root.handlers):
        handler = _LibraryLog()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
    for library in (
        "httpx",
        "httpx2",
    ):  # their INFO shows what a server made up, which may be the key that it was given
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.simplefilter("default" if verbose else "once")
    warnings.simplefilter("ignore", ResourceWarning)
