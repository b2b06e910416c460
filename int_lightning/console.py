"""What the user sees: our own progress, results and errors. Everything libraries print goes to a file in the run's folder.

Everything that is shown goes through here, and may hold text from outside: problems, answers, names of files, messages of servers
and of exceptions. So characters that would steer a terminal are named instead (``visible``), whatever the text is made of.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from int_lightning.types import UserError
from int_lightning.visible import in_line, visible

SECONDS_BETWEEN_LINES = 10.0


class _OurLog(logging.Handler):
    """Shows int-lightning's own log records on the console."""

    def emit(self, record: logging.LogRecord) -> None:
        say(escape(record.getMessage()), style="yellow" if record.levelno >= logging.WARNING else None)


class _LibraryLog(logging.Handler):
    """Writes the records of libraries to whatever stderr is at the time: a file in a quiet run."""

    def emit(self, record: logging.LogRecord) -> None:
        print(visible(self.format(record)), file=sys.stderr)


class _LibraryFile(io.FileIO):
    """What a library says is not a reason to end a run: what finds no room on the disk is dropped."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            return super().write(data) or len(data)
        return len(data)


USER_ERROR, INTERRUPTED = 2, 130
RANK_0 = "INT_LIGHTNING_RANK_0"
"""In the environment of a fit's other processes: where in ``/proc`` the first one has its terminal."""


def _console(stream: TextIO | None = None) -> Console:
    """On a stream, or on whatever stdout is at the time of printing."""
    width = None if (stream or sys.stdout).isatty() else 120
    return Console(file=stream, highlight=False, emoji=False, soft_wrap=True, width=width)


console = _console()
_redirected = False


def terminal_of() -> str:
    """Where in ``/proc`` this process has what the user sees."""
    return f"{os.getpid()}/fd/{console.file.fileno()}"


def _open_terminal(inherited: int) -> int:
    """What the user sees: of a process that the first one of a fit started, that one's terminal, because what this one
    inherits is its log file."""
    with suppress(OSError):
        if int(os.environ.get("LOCAL_RANK", "0")) and (first := os.environ.get(RANK_0)):
            return os.open(f"/proc/{first}", os.O_WRONLY | os.O_APPEND)
    return os.dup(inherited)


def say(text: str, style: str | None = None) -> None:
    """Prints one line (rich markup)."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        console.print(in_line(text), style=style)


def show_text(text: str) -> None:
    """Prints a text as it is, line breaks and all; it is not markup."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        console.print(Text(visible(text)))


def complain(text: str) -> None:
    """Prints one line, which is text and not markup, from whatever rank this is."""
    console.print(Text(in_line(f"int-lightning: {text}")))


def print_error(text: str) -> None:
    """Prints the line with which a command ends, on stderr."""
    print(f"int-lightning: {visible(text)}", file=sys.stderr)


@contextmanager
def library_output_to(log_file: Path) -> Iterator[None]:
    """Sends everything written to stdout and stderr, by C code too, into ``log_file``; the console keeps the terminal.

    Warnings and library log records go the same way. Inside another such block nothing changes.
    """
    global console, _redirected
    if _redirected:
        yield
        return
    _redirected = True
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal, errors = os.dup(1), os.dup(2)
    sink = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    before, streams = console, (sys.stdout, sys.stderr)
    with os.fdopen(_open_terminal(terminal), "w", encoding="utf-8", buffering=1) as stream:
        console = _console(stream)
        try:
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            library = _LibraryFile(os.dup(sink), "w", closefd=False)
            weakref.finalize(library, os.close, library.fileno())  # libraries keep it beyond this block
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
            console = before
            _redirected = False


def exit_status(command: Callable[[], object]) -> int:
    """Runs a command to its end: 0, or after one line about a user's mistake ``USER_ERROR``, or ``INTERRUPTED``."""
    try:
        command()
        return 0
    except UserError as error:
        print_error(str(error))
        return USER_ERROR
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED


def configure_logging(verbose: bool) -> None:
    """Our own records go to the console, those of libraries to stderr, which is a file in a quiet run."""
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
    for library in ("httpx", "httpx2"):  # below that they write what a server made up, be it the key that it was given
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.simplefilter("default" if verbose else "once")
    warnings.simplefilter("ignore", ResourceWarning)


@contextmanager
def progress(what: str, total: int | None, unit: str) -> Iterator[Callable[[int, str], None]]:
    """Shows how far a piece of work is, its rate and the time left; yields ``advance(count, note)``.

    ``total`` None is not known. A terminal gets a bar, anything else a line at most every ``SECONDS_BETWEEN_LINES`` seconds and
    one at the end.
    """
    shown = _bar if console.is_terminal else _lines
    with shown(what, total, unit) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Callable[[int, str], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    started = time.monotonic()
    # what libraries write meanwhile is not ours to show: it goes where stdout and stderr lead, which is a file in a quiet run
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(escape(in_line(what)), total=total, rate="", note="")

        def advance(count: int, note: str = "") -> None:
            done = bar.tasks[task].completed + count
            rate = done / max(1e-9, time.monotonic() - started)
            bar.update(task, advance=count, rate=f"{rate:.3g}/s", note=escape(in_line(note)))

        yield advance


@contextmanager
def _lines(what: str, total: int | None, unit: str) -> Iterator[Callable[[int, str], None]]:
    started = last = time.monotonic()
    done, latest = 0, ""

    def line() -> None:
        elapsed = max(1e-9, time.monotonic() - started)
        rate = done / elapsed
        of, left = "", ""
        if total is not None:
            of, left = f"/{total}", f", {(total - done) / rate if rate else 0.0:.0f} s left"
        say(escape(f"  {what}: {done}{of} {unit}, {rate:.3g}/s, {elapsed:.0f} s{left} {latest}".rstrip()))

    def advance(count: int, note: str = "") -> None:
        nonlocal done, latest, last
        done, latest = done + count, note
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES and done != total:
            last = time.monotonic()
            line()

    yield advance
    line()


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; cells are text, never markup."""
    table = Table(title=Text(in_line(title)), title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(Text(in_line(column)), justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(Text(in_line(cell)) for cell in row))
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        console.print(table)


def interval(estimate: Mapping[str, float]) -> str:
    """``mean [low, high]`` with three digits."""
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
