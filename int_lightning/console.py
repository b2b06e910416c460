"""What the user sees: our own progress, results and errors.

Everything that is shown goes through here, and may hold text from outside: problems, answers, names of files, messages of servers
and exceptions. Characters that would steer a terminal are therefore named instead (``visible``).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from select import PIPE_BUF
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from int_lightning.types import UserError
from int_lightning.visible import in_line, visible

SECONDS_BETWEEN_LINES = 10.0


USER_ERROR, INTERRUPTED = 2, 130
RANK_0 = "INT_LIGHTNING_RANK_0"
"""The environment variable that tells the other processes of a fit where in ``/proc`` the first one has its terminal."""
REASONS = "INT_LIGHTNING_REASONS"
"""The same for a pipe of the first one, from which it reads why another process ended."""


def _console(stream: TextIO | None = None) -> Console:
    """On a stream, or on what stdout is when it prints."""
    width = None if (stream or sys.stdout).isatty() else 120
    return Console(file=stream, highlight=False, emoji=False, soft_wrap=True, width=width)


console = _console()


@contextmanager
def shown_on(stream: TextIO) -> Iterator[None]:
    """Everything is shown on a stream during the block."""
    global console
    before, console = console, _console(stream)
    try:
        yield
    finally:
        console = before


def terminal_of() -> str:
    """Where in ``/proc`` this process shows things to the user."""
    return f"{os.getpid()}/fd/{console.file.fileno()}"


def say(text: str, style: str | None = None) -> None:
    """Prints one line (rich markup)."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        console.print(in_line(text), style=style)


def show_text(text: str) -> None:
    """Prints a text as it is, with its line breaks; it is not markup."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        console.print(Text(visible(text)))


def complain(text: str) -> None:
    """Prints one line, which is text and not markup, from any rank."""
    console.print(Text(in_line(f"int-lightning: {text}")))


def print_error(text: str) -> None:
    """Prints the line with which a command ends, on stderr. A process of a fit leaves it to the first one to say."""
    if not _left_to_rank_0(text):
        print(f"int-lightning: {visible(text)}", file=sys.stderr)


def complain_at_end(text: str) -> None:
    """Prints the line with which a process ends whose stderr is a log file, or leaves it to the first one of a fit to say."""
    if not _left_to_rank_0(text):
        complain(text)


def _left_to_rank_0(text: str) -> bool:
    """Gives the first process of a fit the reason why this one ends, so that it is said once; False if there is none."""
    local_rank, pipe = os.environ.get("LOCAL_RANK", "0"), os.environ.get(REASONS)
    if local_rank == "0" or pipe is None:
        return False
    who = "" if text.startswith("rank ") else f"rank {local_rank}: "
    try:
        with open(f"/proc/{pipe}", "wb", buffering=0) as reasons:
            reasons.write(f"{who}{text}\0".encode()[:PIPE_BUF])
    except OSError:
        return False
    return True


def exit_status(command: Callable[[], object]) -> int:
    """Runs a command; returns 0, or ``USER_ERROR`` or ``INTERRUPTED`` after one line that says so."""
    try:
        command()
        return 0
    except UserError as error:
        print_error(str(error))
        return USER_ERROR
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED


@contextmanager
def progress(what: str, total: int | None, unit: str) -> Iterator[Callable[[int, str], None]]:
    """Shows the progress of a piece of work, its rate and the time left; yields ``advance(count, note)``.

    A terminal gets a bar; anything else gets a line at most every ``SECONDS_BETWEEN_LINES`` seconds, and one at the end.

    Args:
        what: The work.
        total: Its size, None if unknown.
        unit: Of counts, in the plural.
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
    # what libraries write meanwhile goes where stdout and stderr lead: to a file in a quiet run
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
